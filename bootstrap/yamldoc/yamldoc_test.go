package yamldoc_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/yamldoc"
)

func TestPlaces(t *testing.T) {
	for text, want := range map[string]string{
		"a: {b: CANARY\n":                      "line 1, column 8: it is not valid YAML: a bracket",
		"a:\n\t- x":                            "line 2, column 1: it is not valid YAML: there is a tab",
		"a:\n  b: c\n  d: [x\n":                "line 3, column 7: it is not valid YAML: a bracket",
		"a: [1]\nb: [\n 2,\n 3]\nc: [4\nd: 5":  "line 5, column 5: it is not valid YAML: a bracket",
		"a: \"x\nb: c\n":                       "line 1, column 4: it is not valid YAML: a quoted text",
		"x: 'y'\n# c\nä: 'z' \nü: \"x\nb: c\n": "line 4, column 4: it is not valid YAML: a quoted text",
		"x: {a: 'b', c: 'CANARY":               "line 1, column 16: it is not valid YAML: a quoted text",
		"a: b: c\n":                            "line 1, column 5: it is not valid YAML: there is a \": \"",
		"x: 1\na: b: c\nd: e\n":                "line 2, column 5: it is not valid YAML: there is a \": \"",
		"a: 1\nb\nc: 2\n":                      "line 2, column 1: it is not valid YAML: there is a line without a key",
		"a:\n  b: 1\n c: 2\nd: 3\n":            "line 3, column 2: it is not valid YAML",
		"a: 1\n  b: 2\n":                       "line 2, column 4: it is not valid YAML",
		"a: 1\n\tb: 2\n":                       "line 2, column 1: it is not valid YAML: there is a tab",
		"x:\n  a: `x`\n":                       "line 2, column 6: it is not valid YAML",
		"x: &no 1\na: *no\nb: [*CANARY, *d]":   "line 3, column 5: the alias has no anchor",
		"a: b\n- c\n":                          "line 2, column 1: it is not valid YAML",
		"a: \"\\q\"\n":                         "line 1, column 5: it is not valid YAML: a text in double quotes",
		"a: 'x'y\n":                            "line 1, column 7: it is not valid YAML",
		"a: 1\n---\nb: [\n":                    "line 3, column 4: it is not valid YAML",
		"{a: 1}}\n":                            "line 1, column 7: it is not valid YAML",
		"a: \"\n\n\n\n":                        "line 1, column 4: it is not valid YAML: a quoted text",
		"a: b\nc: d\x01\n":                     "line 2, column 5: there is a control character",
		"a: " + strings.Repeat("[", 20_000):    "line 1, column ",
	} {
		_, err := yamldoc.Parse([]byte(text))
		var told *yamldoc.SyntaxError
		if !errors.As(err, &told) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error()+told.Fix, "CANARY") {
			t.Errorf("%.60q: the error holds a part of the text", text)
		}
	}
}

func TestDocuments(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "# only a comment\n": 0, "---\n": 0, "a: 1\n---\n": 1, "---\na: 1\n...\n": 1, "a\n---\nb\n---\n'': 1": 3, "''": 1, "~": 1,
	} {
		roots, err := yamldoc.Parse([]byte(text))
		if err != nil || len(roots) != want {
			t.Errorf("%q: %d documents, %v", text, len(roots), err)
		}
	}
}

// TestTime holds that no text keeps us long, also where the place of an error is
// looked for: a few parsers need the square of its length.
func TestTime(t *testing.T) {
	for _, part := range []string{
		"a: ", "- ", "[", "{", "? ", "# c\n", "a: 1\n", "'", "\"\\n", "&a ", "*", "! ", "|\n", "{a: 1, ", "a:\n", "x: [\n", "\t",
	} {
		for _, end := range []string{"", "\nz: *a"} {
			text := strings.Repeat(part, 1<<13/len(part)) + end
			start := processorTime(t)
			_, err := yamldoc.Parse([]byte(text))
			if took := processorTime(t) - start; took > 10*time.Second {
				t.Errorf("%q and %q: %v, %v", part, end, took, err)
			}
		}
	}
}

// processorTime is what this process has used: other load does not count.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
