package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/secretboot/secretboot/bootstrap/declare"
)

// TestDeclarationsComplete: every kind of --from has its section on the page, and a
// row of the table there.
func TestDeclarationsComplete(t *testing.T) {
	page := string(read(t, "docs/declarations.md"))
	for _, line := range declare.Kinds() {
		word, _, _ := strings.Cut(line, "\t")
		kind, _, _ := strings.Cut(strings.TrimSuffix(word, "[:PATH]"), ":")
		if !strings.Contains(page, "| [`"+word+"`](#") {
			t.Errorf("the table has no row for %s", word)
		}
		if !regexp.MustCompile("(?m)^## .*\\b" + regexp.QuoteMeta(kind) + "\\b").MatchString(page) {
			t.Errorf("there is no section for %s", kind)
		}
	}
	titles := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^##+ (.*)$").FindAllStringSubmatch(page, -1) {
		titles[strings.ReplaceAll(strings.ToLower(regexp.MustCompile(`[^\w -]`).ReplaceAllString(m[1], "")), " ", "-")] = true
	}
	for _, m := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(page, -1) {
		if !titles[m[1]] {
			t.Errorf("a link leads to #%s, which is no title", m[1])
		}
	}
}

// TestReadmeOptions holds the README's table of settings to the program's.
func TestReadmeOptions(t *testing.T) {
	var table strings.Builder
	table.WriteString("| flag | variable | meaning |\n|---|---|---|\n")
	for _, o := range options() {
		flag := "`--" + o.name
		if o.short != "" {
			flag = "`-" + o.short + "`, " + flag
		}
		if o.kind != "" {
			flag += " " + o.kind
		}
		fmt.Fprintf(&table, "| %s` | `%s` | %s |\n", flag, o.variable(), o.help)
	}
	readme := string(read(t, "README.md"))
	head, rest, ok := strings.Cut(readme, "<!-- options -->\n")
	if !ok {
		t.Fatal("README.md has no <!-- options -->")
	}
	end := strings.Index(rest, "\n\n")
	if rest[:end+1] == table.String() {
		return
	}
	if !*update {
		t.Fatalf("the table of settings in README.md is stale; run go test -run TestReadmeOptions -update .")
	}
	if err := os.WriteFile("README.md", []byte(head+"<!-- options -->\n"+table.String()+rest[end+1:]), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestExamplesAreRun fails for a file under examples/ that no script runs: none names
// it by its path, nor copies its whole folder and names it, or a shell script there does.
// A README there is for people, and those for Kubernetes have a test of their own, on a cluster.
func TestExamplesAreRun(t *testing.T) {
	scripts, err := filepath.Glob("testscripts/example-*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	containers, err := filepath.Glob("e2e/*/*_test.go") // those that need an engine
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range append(scripts, containers...) {
		all = append(all, string(read(t, s)))
	}
	err = filepath.WalkDir("examples", func(path string, d os.DirEntry, err error) error {
		if err == nil && path == "examples/kubernetes" {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || d.Name() == "README.md" {
			return err
		}
		name := strings.TrimPrefix(path, "examples/")
		folder := "$EXAMPLES/" + filepath.Dir(name) + "/* "
		shell, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.sh"))
		inShell := slices.ContainsFunc(shell, func(sh string) bool { return strings.Contains(string(read(t, sh)), d.Name()) })
		if err != nil || !slices.ContainsFunc(all, func(s string) bool {
			return strings.Contains(s, name) || strings.Contains(s, folder) && (inShell || strings.Contains(s, d.Name()))
		}) {
			t.Errorf("no testscripts/example-*.txtar and no test in e2e names %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// cmdDemo compares the standard output of the demonstration, from its second
// part on and with the folder's name taken out, with a golden file.
func cmdDemo(ts *testscript.TestScript, _ bool, args []string) {
	got := ts.ReadFile("stdout")
	got = got[strings.Index(got, "== run"):]
	got = regexp.MustCompile(`/[^ ,]*secretboot-[0-9a-f]+`).ReplaceAllString(got, "DIR")
	want := ts.ReadFile(args[0])
	if got == want {
		return
	}
	if *update {
		ts.Check(os.WriteFile(args[0], []byte(got), 0o644))
		return
	}
	ts.Fatalf("the demonstration printed\n%s\nbut %s has\n%s", got, args[0], want)
}
