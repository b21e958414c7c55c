package tools_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// changed are the functions in which the text/template that we link differs from that of
// the toolchain, and why.
func changed() map[string]string {
	return map[string]string{
		"state.evalField": "methods are not looked up by name, which is what it is there for",
	}
}

// TestTemplateCopy watches over the copy of text/template: what Go mends in its own must
// come to ours. Every function is the toolchain's, to the letter but for package names,
// except those that are known.
func TestTemplateCopy(t *testing.T) {
	ours := functions(t, folder(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/DataDog/datadog-agent/pkg/template")+"/text")
	theirs := functions(t, folder(t, "go", "env", "GOROOT")+"/src/text/template")
	if len(ours) < 100 {
		t.Fatalf("found %d functions only", len(ours))
	}
	known := changed()
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if _, is := known[name]; !is && ours[name] != theirs[name] {
			t.Errorf("text/template of this Go release has another %s than the copy that we link: see what was changed and why, and take a newer copy if it matters", name)
		}
	}
	for name, why := range known {
		if ours[name] == theirs[name] {
			t.Errorf("%s (%s) does not differ any more", name, why)
		}
	}
}

func folder(t *testing.T, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// functions gives the text of each function and method in a folder.
func functions(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			var text bytes.Buffer
			if err := format.Node(&text, set, f); err != nil {
				t.Fatal(err)
			}
			all[receiver(f)+f.Name.Name] = text.String()
		}
	}
	return all
}

// receiver is the type of a method with a dot, or "".
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	switch r := f.Recv.List[0].Type.(type) {
	case *ast.StarExpr:
		return r.X.(*ast.Ident).Name + "."
	case *ast.Ident:
		return r.Name + "."
	}
	return ""
}
