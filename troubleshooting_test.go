package main

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTroubleshooting: each text on docs/troubleshooting.md is printed by the code, and
// asked for by a test or a script. In their regular expressions a dot or a backslash
// may stand for what cannot be written.
func TestTroubleshooting(t *testing.T) {
	var code, tests strings.Builder
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == "bin" || path == "bench" || path == "devvault" || path == "tools" || strings.HasPrefix(path, ".git")):
			return filepath.SkipDir
		case path == "troubleshooting_test.go":
		case strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".txtar") || path == "docs/faults.md":
			tests.Write(read(t, path))
		case strings.HasSuffix(path, ".go"):
			code.Write(read(t, path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.ReplaceAll(tests.String(), `\`, "")
	n := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .* \\| .* \\|$").FindAllStringSubmatch(strings.Split(string(read(t, "docs/troubleshooting.md")), "## In Kubernetes")[0], -1) {
		n++
		if !strings.Contains(code.String(), m[1]) {
			t.Errorf("the code does not say %q", m[1])
		}
		if !strings.Contains(shown, m[1]) && !strings.Contains(shown, strings.ReplaceAll(m[1], "'", ".")) {
			t.Errorf("no test asks for %q", m[1])
		}
	}
	if n < 40 {
		t.Errorf("found %d texts only", n)
	}
}
