package declare_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// FuzzAgent gives any text to both fronts that read HCL. Neither may panic; a
// problem must have a place with a line, and may not repeat a value. What they
// take must stand the checks of a plan or be told by them.
func FuzzAgent(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	seeds := 0
	for _, path := range paths {
		front := filepath.Base(filepath.Dir(path))
		if front != "agent" && front != "consul-template" {
			continue
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		parts := strings.Split(string(raw), "\n-- ")
		if len(parts) < 2 {
			f.Fatalf("%s has no file", path)
		}
		_, text, _ := strings.Cut(parts[1], "\n")
		f.Add(text)
		seeds++
	}
	if seeds < 60 {
		f.Fatalf("only %d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := fstest.MapFS{"etc/x": {Data: []byte(text)}, "tpl": {Data: []byte("{{ . }}")}}
		in := declare.Input{Open: open(files), Cwd: "/work"}
		for _, front := range []declare.Front{declare.Agent{Path: "/etc/x"}, declare.ConsulTemplate{Path: "/etc/x"}} {
			p, _, err := front.Declare(in)
			if err == nil {
				checkHandles(t, p, text)
				err = p.Check()
			}
			if err != nil {
				checkHCLProblems(t, err)
			}
		}
	})
}

// checkHandles asserts that the place of a value leads to that value.
func checkHandles(t *testing.T, p plan.Plan, text string) {
	t.Helper()
	for _, e := range p.Env {
		for _, piece := range e.Source.Pieces {
			if piece.From > piece.To || piece.To > len(text) || !strings.HasSuffix(text[:piece.From], e.Name+"=") || text[piece.To] != '"' {
				t.Errorf("%s is not at %d to %d", e.Name, piece.From, piece.To)
			}
		}
	}
}

func checkHCLProblems(t *testing.T, err error) {
	t.Helper()
	checkFrontProblems(t, err)
	line := regexp.MustCompile(`^/etc/x:[1-9][0-9]*:[1-9][0-9]*$`)
	for _, p := range err.(plan.Problems) { //nolint:errorlint // the documented type, not wrapped
		if !line.MatchString(p.Origin.At) {
			t.Errorf("no place in the file: %v", p)
		}
		if strings.Contains(p.Why, "CANARY") || strings.Contains(p.Fix, "CANARY") {
			t.Errorf("a value is shown: %v", p)
		}
	}
}

// TestAgentPieces holds the places of exec.env.custom against the file, where
// what stands before them has other lengths in bytes than in characters.
func TestAgentPieces(t *testing.T) {
	for name, text := range map[string]string{
		"hcl":   "# ähnlich €\nexec { command = [\"x\"] env { custom = [\"A=größe€\", \"B=two words\"] } }\n",
		"mark":  "\ufeffexec { command = [\"x\"] env { custom = [\"A=größe€\", \"B=two words\"] } }\n",
		"json":  "\ufeff \n{\"log_level\": \"€\", \"exec\": {\"command\": [\"x\"], \"env\": {\"custom\": [\"A=größe€\" ,\n \"B=two words\"]}}}",
		"block": "exec { command = [\"x\"] env { custom = [/* ö */ \"A=größe€\", \"B=two words\"] } }",
	} {
		t.Run(name, func(t *testing.T) {
			in := declare.Input{Open: open(fstest.MapFS{"c": {Data: []byte(text)}}), Cwd: "/"}
			p, _, err := declare.ConsulTemplate{Path: "c"}.Declare(in)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, e := range p.Env {
				piece := e.Source.Pieces[0]
				behind, err := declare.Resolve(in, *piece.Text)
				if err != nil {
					t.Fatal(err)
				}
				got[e.Name] = string(behind[piece.From:piece.To])
			}
			if got["A"] != "größe€" || got["B"] != "two words" || len(got) != 2 {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestAgentBounds gives files that would cost much time or stack if they were read.
func TestAgentBounds(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"words":      {strings.Repeat("abcdefgh = 1\n", 50_000), "words and signs"},
		"blocks":     {strings.Repeat("template { }\n", 50_000), "words and signs"},
		"json words": {`{"a": [` + strings.Repeat("1,", 400_000) + "1]}", "words and signs"},
		"json keys":  {"{" + strings.Repeat(`"valt": 1,`, 50_000) + `"b": 1}`, "words and signs"},
		"lists":      {"a = " + strings.Repeat("[", 1_000_000), "nested too deeply"},
		"braces":     {strings.Repeat("a {", 300_000), "nested too deeply"},
		"json lists": {`{"a": ` + strings.Repeat("[", 1_000_000), "nested too deeply"},
		"large":      {strings.Repeat("#", declare.MaxFile+1), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			in := declare.Input{Open: open(fstest.MapFS{"etc/x": {Data: []byte(tt.text)}}), Cwd: "/work"}
			_, _, err := declare.Agent{Path: "/etc/x", Origin: plan.Origin{At: "--from"}}.Declare(in)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			checkFrontProblems(t, err)
			if n := len(err.Error()); n > 200 {
				t.Errorf("a message of %d bytes", n)
			}
		})
	}
}
