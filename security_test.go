package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPage: the tests that docs/security.md names for who can read what are
// there, as scripts or functions.
func TestSecurityPage(t *testing.T) {
	_, rest, _ := strings.Cut(string(read(t, "docs/security.md")), "| shown by |\n")
	table, _, _ := strings.Cut(rest, "\n\n")
	rows, named := 0, 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 5 {
			continue // the line below the head
		}
		rows++
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[4], -1) {
			named++
			if !strings.HasPrefix(m[1], "Test") {
				if _, err := os.Stat("testscripts/" + m[1] + ".txtar"); err != nil {
					t.Errorf("%q: %v", cells[0], err)
				}
			} else if exec.Command("grep", "-rqw", "--include=*_test.go", "func "+m[1], ".").Run() != nil {
				t.Errorf("%q: there is no test %s", cells[0], m[1])
			}
		}
		if !strings.Contains(cells[4], "`") && !strings.HasPrefix(cells[4], "not ") {
			t.Errorf("%q: no test is named", cells[0])
		}
	}
	if rows < 15 || named < 25 {
		t.Errorf("%d rows and %d tests only", rows, named)
	}
}
