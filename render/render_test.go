package render

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// canary is a value that must never be seen in an error.
const canary = "CANARY-pa55word"

func testOrigin() plan.Origin { return plan.Origin{Front: "config", At: "secretboot.yaml:3:5"} }

func testClock() time.Time { return time.Date(2024, 2, 29, 12, 30, 0, 0, time.UTC) }

// parseTree reads a JSON object as an answer of Vault is read.
func parseTree(t testing.TB, text string) secret.Tree {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return secret.NewTree(m)
}

// answersOf makes answers of {"path": {data}}; a path that ends with / is a list.
func answersOf(t testing.TB, text string) Answers {
	t.Helper()
	out := Answers{}
	for path, data := range parseTree(t, text).Reveal() {
		read := plan.Read{Path: strings.TrimSuffix(path, "/")}
		if strings.HasSuffix(path, "/") {
			read.Op = plan.OpList
		}
		out[read.Key()] = Answer{Secret: secret.Secret{
			Data: secret.NewTree(data.(map[string]any)), LeaseID: "lease", Lease: 90 * time.Second, Renewable: true,
		}}
	}
	return out
}

func execute(t testing.TB, text string, in Input) (Output, error) {
	t.Helper()
	p, err := new(Language).compile(plan.Template{Name: "t", Text: text}, testOrigin(), testClock)
	if err != nil {
		return Output{}, err
	}
	return p.Execute(t.Context(), in)
}

// TestGolden runs testdata/*.txtar. Each has a template, data.json (the answers
// by path) and either want or error; the last newline of a section belongs to
// the archive. env.json gives variables, missing names another policy.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, sections(string(text)))
		})
	}
}

// sections takes a txtar archive apart: "-- name --" starts a section.
func sections(text string) map[string]string {
	part, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(rest, " --\n") {
			name = strings.TrimSuffix(rest, " --\n")
			continue
		}
		part[name] += line
	}
	for name, text := range part {
		part[name] = strings.TrimSuffix(text, "\n")
	}
	return part
}

func golden(t *testing.T, part map[string]string) {
	tmpl := plan.Template{Name: "t", Text: part["template"]}
	if policy, ok := plan.ParseMissing(part["missing"]); ok {
		tmpl.Missing = policy
	}
	in := Input{}
	if part["data.json"] != "" {
		in.Answers = answersOf(t, part["data.json"])
	}
	p, err := new(Language).compile(tmpl, testOrigin(), testClock)
	var out Output
	if err == nil {
		out, err = p.Execute(t.Context(), in)
	}
	if want, ok := part["error"]; ok {
		if err == nil {
			t.Fatalf("no error, but %q", out.Bytes.Reveal())
		}
		if err.Error() != want {
			t.Errorf("error\n got %s\nwant %s", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out.Bytes.Reveal()); got != part["want"] {
		t.Errorf("\n got %q\nwant %q", got, part["want"])
	}
}

func TestReads(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"plain", `{{ secret "a/b" }}`, []string{"read a/b"}},
		{"trimmed", `{{ with secret " /a/b/ " }}{{ end }}`, []string{"read a/b"}},
		{"version", `{{ with secret "a/b?version=3" }}{{ end }}`, []string{"read a/b version=3"}},
		{"piped", `{{ with "a" | secret }}{{ end }}`, []string{"read a"}},
		{"inside if, range, else", `{{ if true }}{{ range secrets "l" }}{{ secret "a" }}{{ else }}{{ secret "b" }}{{ end }}{{ end }}`, []string{"list l", "read a", "read b"}},
		{"inside define", `{{ define "x" }}{{ secret "d" }}{{ end }}{{ template "x" }}`, []string{"read d"}},
		{"in parentheses", `{{ (secret "p").Data.x }}`, []string{"read p"}},
		{"template argument", `{{ define "x" }}{{ end }}{{ template "x" (secret "q") }}`, []string{"read q"}},
		{"assigned", `{{ $x := secret "v" }}{{ $y := secret "v" }}`, []string{"read v"}},
		{"computed", `{{ secret (print "a" "b") }}{{ $p := "a" }}{{ secret $p }}{{ printf "a/%s" "b" | secret }}`, nil},
		{"a write is not done ahead", `{{ secret "pki/issue/x" "common_name=a" }}{{ "k=v" | secret "p" }}`, nil},
		{"comment", `{{/* secret "a" */}}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := new(Language).Compile(plan.Template{Text: tc.text}, testOrigin())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range p.Reads() {
				if r.Origin != testOrigin() {
					t.Errorf("origin %v", r.Origin)
				}
				got = append(got, r.Key())
			}
			if strings.Join(got, ", ") != strings.Join(tc.want, ", ") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLackingFindsAllIndependentReads(t *testing.T) {
	text := `{{ $p := "a" }}{{ with secret $p }}{{ .Data.x | toUpper }}{{ end }}
{{ (secret (print "b")).Data.x | base64Decode }}
{{ index (secret (print "c")).Data "k" "l" | toJSON | parseJSON }}
{{ range secrets (print "l") }}{{ secret (print "l/" .) }}{{ end }}
{{ secret (print "pki/issue/x") "common_name=a" "ttl=1h" }}`
	out, err := execute(t, text, Input{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range out.Lacking {
		key, _, _ := strings.Cut(n.Key(), " body=")
		got = append(got, key)
	}
	if want := "read a, read b, read c, list l, write pki/issue/x"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if out.Bytes.Len() != 0 {
		t.Error("bytes besides lacking reads")
	}
	body := out.Lacking[4].Body
	if string(body["common_name"].Reveal()) != "a" || string(body["ttl"].Reveal()) != "1h" {
		t.Error("the body is not what the template gave")
	}
}

func TestErrorBeforeLackingIsTold(t *testing.T) {
	in := Input{Answers: answersOf(t, `{"a": {}}`)}
	if _, err := execute(t, `{{ with secret "a" }}{{ .Data.x }}{{ end }}{{ secret "b" }}`, in); plan.CodeOf(err) != plan.CodeMissing {
		t.Errorf("got %v", err)
	}
}

func TestWriteIsAnsweredByItsBody(t *testing.T) {
	need, _ := newNeed("secret", []string{"p", "a=1", "b=x=y"})
	other, _ := newNeed("secret", []string{"p", "a=2", "b=x=y"})
	if need.Key() == other.Key() {
		t.Fatal("two bodies, one key")
	}
	in := Input{Answers: Answers{need.Key(): {Secret: secret.Secret{Data: parseTree(t, `{"k":"v"}`)}}}}
	out, err := execute(t, `{{ with secret "p" "a=1" "b=x=y" }}{{ .Data.k }}{{ end }}`, in)
	if err != nil || string(out.Bytes.Reveal()) != "v" {
		t.Errorf("%v %v", out.Lacking, err)
	}
}

func TestAnswerErrorKeepsItsCode(t *testing.T) {
	denied := &plan.Problem{Code: plan.CodeDenied, What: "read a", Why: "permission denied", Fix: "grant it"}
	in := Input{Answers: Answers{"read a": {Err: denied}}}
	_, err := execute(t, "x\n {{ with secret \"a\" }}{{ end }}", in)
	var got *plan.Problem
	if !errors.As(err, &got) || got.Code != plan.CodeDenied || got.Fix != "grant it" || got.Origin != testOrigin() {
		t.Fatalf("got %#v", err)
	}
	if !errors.Is(err, denied) {
		t.Error("the cause is not in the chain")
	}
	if !strings.Contains(err.Error(), `t:2:`) || !strings.Contains(err.Error(), `<secret "a">`) {
		t.Errorf("no place in %s", err)
	}
	in.Answers["read a"] = Answer{Err: errors.New(canary)}
	if _, err := execute(t, `{{ secret "a" }}`, in); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
}

func TestTemplateCannotChangeAnAnswer(t *testing.T) {
	in := Input{Answers: answersOf(t, `{"a": {"x": {"y": "old"}}}`)}
	text := `{{ with secret "a" }}{{ $_ := set .Data.x "y" "new" }}{{ .Data.x.y }}{{ end }}`
	for range 2 {
		if out, err := execute(t, text, in); err != nil || string(out.Bytes.Reveal()) != "new" {
			t.Fatalf("%v", err)
		}
	}
	x := in.Answers["read a"].Secret.Data.Reveal()["x"].(map[string]any)
	if x["y"] != "old" {
		t.Error("the answer was changed")
	}
}

func TestProgramRunsConcurrently(t *testing.T) {
	p, err := new(Language).Compile(plan.Template{Text: `{{ define "x" }}{{ . }}{{ end }}{{ range loop 50 }}{{ template "x" . }}{{ end }}`}, testOrigin())
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for range 20 {
				if out, err := p.Execute(t.Context(), Input{}); err != nil || out.Bytes.Len() != 90 {
					t.Errorf("%d bytes, %v", out.Bytes.Len(), err)
				}
			}
		})
	}
}
