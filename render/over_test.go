package render

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// over executes a template of a dialect that has data.
func over(t testing.TB, template plan.Template, data string) (string, error) {
	t.Helper()
	template.Name = "t"
	p, err := new(Language).compile(template, testOrigin(), testClock)
	if err != nil {
		return "", err
	}
	v, err := p.ExecuteOver(t.Context(), parseTree(t, data).Reveal())
	return string(v.Reveal()), err
}

// checkOver wants a result, or "error CODE: part of the message".
func checkOver(t *testing.T, template plan.Template, data, want string) {
	t.Helper()
	got, err := over(t, template, data)
	message, fails := strings.CutPrefix(want, "error ")
	switch {
	case fails:
		checkError(t, err, message)
	case err != nil:
		t.Errorf("%s: %v", template.Text, err)
	case got != want:
		t.Errorf("%s\n got %q\nwant %q", template.Text, got, want)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("%s: the error holds a value: %v", template.Text, err)
	}
}

func TestExternalSecrets(t *testing.T) {
	const data = `{"u": "appuser", "pw": "` + canary + `", "dash-key": "aGVsbG8=", "n": "5432", "json": "{\"k\":\"v\",\"n\":12345678901234567890}"}`
	for text, want := range map[string]string{
		`{{ .u | upper }}`:                              "APPUSER",
		`{{ index . "dash-key" }}`:                      "aGVsbG8=",
		`{{ .u }}:{{ .pw | b64enc }}`:                   "appuser:Q0FOQVJZLXBhNTV3b3Jk",
		`{{ (.json | fromJson).k }}`:                    "v",
		`{{ (.json | fromJson).n }}`:                    "12345678901234567890",
		`{{ join "," (list "a" "b") }}`:                 "a,b",
		`{{ (split "/" "a/b")._1 }}`:                    "b",
		`{{ trimSuffix "r" .u }}`:                       "appuse",
		`{{ contains "user" .u }}`:                      "true",
		`{{ replace "app" "x" .u }}`:                    "xuser",
		`{{ "  a " | trim }}`:                           "a",
		`{{ now | date "2006" }}`:                       "2024",
		`{{ dateInZone "15:04" 1709209740 "UTC" }}`:     "12:29",
		`{{ randAlphaNum 8 | len }}`:                    "8",
		`{{ len uuidv4 }}`:                              "36",
		`{{ range $k, $v := . }}{{ $k }} {{ end }}`:     "dash-key json n pw u ",
		`{{ $_ := set . "new" "x" }}{{ .new }}`:         "x",
		`{{ if hasKey . "nope" }}a{{ else }}b{{ end }}`: "b",
		`{{ .nope }}`:                                   "error 66: template t:1:3: <.nope>: there is no such value (declared at secretboot.yaml:3:5); the data have dash-key, json, n, pw, u",
		`{{ if .nope }}x{{ end }}`:                      "error 66: no such value",
		`{{ index . "nope" }}`:                          "error 66: the value is missing",
		`{{ .a-b }}`:                                    `error 65: bad character U+002D '-' (declared at secretboot.yaml:3:5); a key with a dash is written {{ index . "the-key" }}`,
		`{{ .u `:                                        "error 65: unclosed action",
		`{{ env "HOME" }}`:                              "error 65: the function env reads the environment",
		`{{ expandenv "$HOME" }}`:                       "error 65: the function expandenv reads the environment",
		`{{ getHostByName "a" }}`:                       "error 65: the function getHostByName asks the network",
		`{{ secret "a" }}`:                              "error 65: there is no function secret",
		`{{ sprig_upper "a" }}`:                         "error 65: there is no function sprig_upper",
		`{{ fail .pw }}`:                                "error 65: the template calls fail",
		`{{ .pw | fromJson }}`:                          "error 65: the value is not JSON",
		`{{ .pw.x }}`:                                   "error 65: no such field",
		`{{ range until 100000 }}{{ range until 100000 }}x{{ end }}{{ end }}`: "error 65: million steps",
		`{{ randAlphaNum 100000000 }}`:                                        "error 65: 16 MiB",
		`{{ randAlpha -1 }}`:                                                  "error 65: negative",
		`{{ date "2006" .pw }}`:                                               "error 65: a time or a whole number",
		`{{ dateInZone "2006" 1 .pw }}`:                                       "error 65: this time zone is not known",
	} {
		checkOver(t, plan.Template{Text: text, Dialect: plan.DialectExternalSecrets}, data, want)
	}
	checkOver(t, plan.Template{Text: `<< .u >> {{ }}`, Left: "<<", Right: ">>", Dialect: plan.DialectExternalSecrets}, data, "appuser {{ }}")
}

func TestBankVaults(t *testing.T) {
	const data = `{"user": "app", "a.b": "dot", "n": 5432, "nul": null, "map": {"k": "` + canary + `"}, "list": ["a", 1.50]}`
	for text, want := range map[string]string{
		`${ .user }`:                       "app",
		`jdbc:${ .user }@${ .n }`:          "jdbc:app@5432",
		`${ index . "a.b" }`:               "dot",
		`${ .map | toJson }`:               `{"k":"` + canary + `"}`,
		`${ index .list 1 }`:               "1.50",
		`${ add .n 1 }`:                    "5433",
		`${ .nope | default "x" }`:         "x",
		`{{ .user }}`:                      "{{ .user }}",
		`${ .nope }`:                       "error 66: the value is missing (declared at secretboot.yaml:3:5); the data have a.b, list, map, n, nul, user; check the name",
		`${ .nul }`:                        "error 66: the value is missing",
		`${ if .nope }a${ else }b${ end }`: "b",
		`${ .a-b }`:                        `error 65: ${ index . "the-key" }`,
		`${ awskms "x" }`:                  "error 65: the function awskms asks the network",
		`${ file "/etc/passwd" }`:          "error 65: the function file reads a file",
		`${ accessor "x" }`:                "error 65: the function accessor is for",
		`${ env "X" }`:                     "error 65: reads the environment",
		`${ toYaml . }`:                    "error 65: there is no function toYaml",
		`${ .n `:                           "error 65: unclosed action",
	} {
		checkOver(t, plan.Template{Text: text, Dialect: plan.DialectBankVaults}, data, want)
	}
	checkOver(t, plan.Template{Text: "${ if .nope }a${ end }", Dialect: plan.DialectBankVaults, Missing: plan.MissingError}, data, "error 66: no such value")
}

// TestOverOnly: a template that has data is not mixed up with one that asks Vault.
func TestOverOnly(t *testing.T) {
	p, err := new(Language).Compile(plan.Template{Text: "x"}, testOrigin())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.ExecuteOver(t.Context(), nil); plan.CodeOf(err) != plan.CodeBug {
		t.Errorf("%v", err)
	}
	if _, err := new(Language).Compile(plan.Template{Dialect: 99}, testOrigin()); plan.CodeOf(err) != plan.CodeConfig {
		t.Errorf("%v", err)
	}
}

// TestOtherFunctionsAreStrict gives every function of the other dialects a value
// that is missing, and values that it cannot use.
func TestOtherFunctionsAreStrict(t *testing.T) {
	lenient := strings.Fields("and or not default coalesce empty ternary")
	const data = `{"x": "` + canary + `", "m": {"` + canary + `": 1}, "l": ["` + canary + `"]}`
	calls, failed := 0, 0
	try := func(dialect plan.Dialect, call string) error {
		left, right := "{{", "}}"
		_, err := over(t, plan.Template{Text: left + " if " + call + " " + right + left + " end " + right, Left: left, Right: right, Dialect: dialect}, data)
		calls++
		return err
	}
	for dialect, table := range map[plan.Dialect]*table{plan.DialectExternalSecrets: externalTable(), plan.DialectBankVaults: bankTable()} {
		for name, f := range table.whole() {
			least, most := f.arity()
			if most == 0 || slices.Contains(lenient, name) {
				continue
			}
			for at := range max(least, 1) {
				args := slices.Repeat([]string{`"x"`}, max(least, 1))
				args[at] = `(index . "absent")`
				if err := try(dialect, name+" "+strings.Join(args, " ")); !errors.Is(err, ErrMissing) {
					t.Errorf("%s %v: %v", name, args, err)
				}
			}
			for _, arg := range []string{".x", ".m", ".l", "(list .x 1)"} {
				err := try(dialect, name+strings.Repeat(" "+arg, max(least, 1)))
				if err == nil {
					continue
				}
				failed++
				// The keys of the data themselves are named; these are deeper.
				if strings.Contains(err.Error(), canary) {
					t.Errorf("%s %s: the error holds data: %v", name, arg, err)
				}
			}
		}
	}
	if calls < 2000 || failed < 500 {
		t.Errorf("only %d calls, of which %d failed", calls, failed)
	}
}

// TestLanguageIsLazy: the tables of other dialects cost nothing unless wanted.
func TestLanguageIsLazy(t *testing.T) {
	var l Language
	for range 2 {
		if _, err := l.Compile(plan.Template{Text: "${ .a }", Dialect: plan.DialectBankVaults}, testOrigin()); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.tables) != 1 {
		t.Errorf("%d tables", len(l.tables))
	}
}
