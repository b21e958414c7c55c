package declare_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestFrontsGolden runs testdata/KIND/*.txtar for every kind of --from. The text
// before the first file says in its first line what the case shows; further lines are
//
//	from KIND[:PATH]     the front (needed)
//	env NAME=VALUE       a variable of the environment, as often as needed
//
// The files are those that the front can open, by absolute paths without the
// leading slash. The last one is written by -update: plan.golden, or for a case
// whose name begins with bad- problems.golden.
func TestFrontsGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		front := filepath.Base(filepath.Dir(path))
		if front == "config" || front == "patch" {
			continue // see TestConfigGolden and TestPatchGolden
		}
		t.Run(front+"/"+strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { frontCase(t, path) })
	}
}

func frontCase(t *testing.T, path string) {
	ar := parseArchive(t, path)
	front, vars := caseSettings(t, ar.comment)
	files, golden := fstest.MapFS{}, ""
	var kept []archived
	for _, f := range ar.files {
		if strings.HasSuffix(f.name, ".golden") {
			golden = f.name + "\n" + f.data
			continue
		}
		files[f.name] = &fstest.MapFile{Data: []byte(f.data)}
		kept = append(kept, f)
	}
	in := declare.Input{Open: open(files), Lookup: lookup(vars), Home: "/home/u", Cwd: "/work"}
	for name, value := range vars {
		in.Environ = append(in.Environ, name+"="+value)
	}
	p, _, err := front.Declare(in)
	if err == nil {
		err = p.Check()
	}
	name, got := "plan.golden", dump(p)
	if err != nil {
		name, got = "problems.golden", err.Error()+"\n"
		checkFrontProblems(t, err)
	}
	if bad := strings.HasPrefix(filepath.Base(path), "bad-"); bad != (err != nil) {
		t.Errorf("the case's name and its outcome differ: %v", err)
	}
	if strings.Contains(got, "CANARY") {
		t.Errorf("a value of the declaration is shown:\n%s", got)
	}
	if *update {
		ar.files = append(kept, archived{name, got})
		ar.write(t, path)
		return
	}
	if golden != name+"\n"+got {
		t.Errorf("got %s:\n%s\nwant %s", name, got, golden)
	}
}

// caseSettings reads the head of a case.
func caseSettings(t *testing.T, head string) (declare.Front, map[string]string) {
	t.Helper()
	var front declare.Front
	vars := map[string]string{}
	for line := range strings.Lines(head) {
		line = strings.TrimSuffix(line, "\n")
		if arg, ok := strings.CutPrefix(line, "from "); ok {
			var err error
			if front, err = declare.ParseFrom(arg, plan.Origin{Front: "flag", At: "--from"}); err != nil {
				t.Fatal(err)
			}
		}
		if arg, ok := strings.CutPrefix(line, "env "); ok {
			name, value, _ := strings.Cut(arg, "=")
			vars[name] = value
		}
	}
	if front == nil {
		t.Fatal("the case has no line: from KIND[:PATH]")
	}
	return front, vars
}

// checkFrontProblems asserts what holds for every problem of every front.
func checkFrontProblems(t *testing.T, err error) {
	t.Helper()
	problems, ok := err.(plan.Problems) //nolint:errorlint // the documented type, not wrapped
	if !ok || len(problems) == 0 {
		t.Fatalf("%T is not a list of problems", err)
	}
	for _, p := range problems {
		if p.Code != plan.CodeConfig || p.Origin.At == "" || p.What == "" || p.Why == "" {
			t.Errorf("problem without code, place or reason: %#v", p)
		}
		if strings.Contains(p.Error(), "\n") {
			t.Errorf("more than one line: %q", p.Error())
		}
	}
}
