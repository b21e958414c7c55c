package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestExitCodes holds docs/exit-codes.md to the scripts: the script that a row
// names has a line that runs the subcommand and asks for the code.
func TestExitCodes(t *testing.T) {
	page := string(read(t, "docs/exit-codes.md"))
	row := regexp.MustCompile(`^\| (\d+|128\+n) \| (.*) \| (\S+) \|$`)
	signal := regexp.MustCompile(`here (\d+)$`)
	rows, section := 0, ""
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section, _, _ = strings.Cut(title, ",")
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		rows++
		code := m[1]
		if s := signal.FindStringSubmatch(m[2]); s != nil {
			code = s[1]
		}
		script, err := os.ReadFile(filepath.Join("testscripts", m[3]+".txtar"))
		if err != nil {
			t.Errorf("%s, code %s: %v", section, code, err)
			continue
		}
		runs := regexp.MustCompile(`(?m)^(sb&? ` + code + ` ` + section + `\b|sh ` + code + ` .*secretboot ` + section + `\b)`)
		if !runs.Match(script) {
			t.Errorf("%s does not run %s for code %s", m[3], section, code)
		}
	}
	if rows < 30 {
		t.Errorf("found %d rows only", rows)
	}
}

// TestExitCodesComplete: no code of the program is missing from the page.
func TestExitCodesComplete(t *testing.T) {
	page := string(read(t, "docs/exit-codes.md"))
	for _, code := range []plan.Code{
		plan.CodeUsage, plan.CodeData, plan.CodeMissing, plan.CodeUnavailable, plan.CodeBug, plan.CodeSink, plan.CodeIO, plan.CodeProtocol,
		plan.CodeDenied, plan.CodeConfig, plan.CodeUnwrapped, plan.CodeLeak, plan.CodeOwn, plan.CodeNotExecutable, plan.CodeNotFound,
	} {
		if !regexp.MustCompile(`(?m)(^\| |Code )` + strconv.Itoa(int(code)) + `\b`).MatchString(page) {
			t.Errorf("code %d is not on the page", code)
		}
	}
}
