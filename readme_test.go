package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestReadmeBlocks holds the README's code to what the tests execute: every
// fenced block names the file it is from, and stands in it to the letter.
func TestReadmeBlocks(t *testing.T) {
	readme := string(read(t, "README.md"))
	fences := regexp.MustCompile("(?ms)^(<!-- from: (\\S+) -->\n)?```\\w*\n(.*?)^```$").FindAllStringSubmatch(readme, -1)
	if len(fences) < 5 {
		t.Fatalf("found %d blocks only", len(fences))
	}
	for _, m := range fences {
		file, block := m[2], m[3]
		if file == "" {
			t.Errorf("a block names no file:\n%s", block)
			continue
		}
		if !strings.Contains(string(read(t, file)), block) {
			t.Errorf("a block is not in %s:\n%s", file, block)
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

// TestExamplesAreRun fails for a file under examples/ that no script names.
func TestExamplesAreRun(t *testing.T) {
	scripts, err := filepath.Glob("testscripts/example-*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all strings.Builder
	for _, s := range scripts {
		all.Write(read(t, s))
	}
	err = filepath.WalkDir("examples", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !strings.Contains(all.String(), strings.TrimPrefix(path, "examples/")) {
			t.Errorf("no testscripts/example-*.txtar names %s", path)
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
