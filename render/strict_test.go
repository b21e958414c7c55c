package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestEveryFunctionIsStrict gives every function of the language, at each of its
// parameters, a key that is absent, a null, a null in a deeper map and an
// element that is null.
func TestEveryFunctionIsStrict(t *testing.T) {
	lenient := strings.Fields("and or not default coalesce empty ternary")
	in := testData(t)
	in.Answers["read n"] = answersOf(t, `{"n": {"null": null, "map": {"null": null}, "list": [null]}}`)["read n"]
	calls := 0
	for name, f := range newTable().whole() {
		if slices.Contains(lenient, strings.TrimPrefix(name, "sprig_")) {
			continue
		}
		least, most := f.arity()
		if most == 0 {
			continue
		}
		for at := range max(least, 1) {
			for _, value := range []string{".Data.absent", ".Data.null", ".Data.map.null", ".Data.map.absent", "(index .Data.list 0)", "(first .Data.list)"} {
				args := slices.Repeat([]string{`"x"`}, max(least, 1))
				args[at] = value
				call := name + " " + strings.Join(args, " ")
				_, err := execute(t, `{{ with secret "n" }}{{ if `+call+` }}{{ end }}{{ end }}`, in)
				if !errors.Is(err, ErrMissing) || plan.CodeOf(err) != plan.CodeMissing {
					t.Errorf("%s: %v", call, err)
				}
				calls++
			}
		}
	}
	if calls < 2000 {
		t.Errorf("only %d calls", calls)
	}
}

// TestNullInside has the functions that would print a mark for a null deep inside
// of a value.
func TestNullInside(t *testing.T) {
	in := Input{Answers: answersOf(t, `{"n": {"map": {"x": null}, "list": ["a", [null]]}}`)}
	for _, name := range strings.Fields("print println html js urlquery quote squote cat toString sprig_toString spew_sdump") {
		for _, value := range []string{".Data.map", ".Data.list", "(list .Data.map)", "(dict `k` .Data.list)"} {
			for _, text := range []string{"{{ %s %s }}", "{{ %[2]s | %[1]s }}"} {
				text = `{{ with secret "n" }}` + fmt.Sprintf(text, name, value) + `{{ end }}`
				if _, err := execute(t, text, in); !errors.Is(err, ErrMissing) {
					t.Errorf("%s: %v", text, err)
				}
			}
		}
	}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%T"} {
		text := `{{ with secret "n" }}{{ printf "` + verb + `" .Data.map }}{{ spew_sprintf "` + verb + `" .Data.list }}{{ end }}`
		if _, err := execute(t, text, in); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestTestedIsNotPrinted has the idioms for a value that may be missing.
func TestTestedIsNotPrinted(t *testing.T) {
	in := Input{Answers: answersOf(t, `{"n": {"null": null, "user": "app", "off": false}}`)}
	in.Answers["read none"] = Answer{}
	for _, tc := range [][2]string{
		{`{{ with secret "none" }}{{ .Data.x }}{{ else }}d{{ end }}`, "d"},
		{`{{ with secret "n" }}{{ .Data.absent | default "d" }}{{ end }}`, "d"},
		{`{{ with secret "n" }}{{ .Data.null | default "d" }}{{ end }}`, "d"},
		{`{{ with secret "n" }}{{ or .Data.absent .Data.null "d" }}{{ end }}`, "d"},
		{`{{ with secret "n" }}{{ coalesce .Data.absent .Data.user }}{{ end }}`, "app"},
		{`{{ with secret "n" }}{{ if and .Data.absent (eq .Data.absent "x") }}y{{ else }}n{{ end }}{{ end }}`, "n"},
		{`{{ with secret "n" }}{{ if not .Data.absent }}n{{ end }}{{ end }}`, "n"},
		{`{{ with secret "n" }}{{ if empty .Data.null }}e{{ end }}{{ end }}`, "e"},
		{`{{ with secret "n" }}{{ ternary "y" "n" .Data.off }}{{ end }}`, "n"},
		{`{{ with secret "n" }}{{ if index .Data "absent" }}y{{ else }}n{{ end }}{{ end }}`, "n"},
		{`{{ with secret "n" }}{{ if get .Data "absent" }}y{{ else }}n{{ end }}{{ end }}`, "n"},
		{`{{ with secret "n" }}{{ range .Data.absent }}y{{ else }}n{{ end }}{{ end }}`, "n"},
		{`{{ with secret "n" }}{{ with .Data.absent }}y{{ else with .Data.user }}{{ . }}{{ end }}{{ end }}`, "app"},
		{`{{ if scratch.Get "x" }}y{{ else }}n{{ end }}`, "n"},
		{`{{ with secret "n" }}{{ $x := .Data.absent }}{{ if $x }}y{{ end }}{{ end }}n`, "n"},
		{`{{ define "t" }}{{ if . }}y{{ else }}n{{ end }}{{ end }}{{ with secret "n" }}{{ template "t" .Data.absent }}{{ end }}`, "n"},
	} {
		if out, err := execute(t, tc[0], in); err != nil || string(out.Bytes.Reveal()) != tc[1] {
			t.Errorf("%s: %q, %v; want %q", tc[0], out.Bytes.Reveal(), err, tc[1])
		}
	}
	for _, text := range []string{
		`{{ scratch.Set "k" .Data.absent }}`,
		`{{ scratch.SetX "k" .Data.null }}`,
		`{{ scratch.MapSet "k" "k" .Data.absent }}`,
		`{{ scratch.Get "k" }}`,
		`{{ template "t" .Data.absent }}`,
		`{{ executeTemplate "t" }}`,
		`{{ executeTemplate "t" .Data.null }}`,
		`{{ .Data.off | ternary "y" .Data.absent }}`,
		`{{ .Auth.ClientToken }}`,
		`{{ .WrapInfo.Token }}`,
		`{{ range .Data.absent }}{{ end }}`,
	} {
		text = `{{ define "t" }}{{ . }}{{ end }}{{ with secret "n" }}` + text + `{{ end }}`
		out, err := execute(t, text, in)
		if !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %q, %v", text, out.Bytes.Reveal(), err)
		}
	}
}
