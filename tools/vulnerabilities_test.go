package tools_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// database makes one with a single vulnerability of a module, in every version, which
// who calls the symbol has.
func database(t *testing.T, module, pkg, symbol string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"index/db.json":      `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json": `[{"path":"` + module + `","vulns":[{"id":"GO-2099-0001","modified":"2026-01-01T00:00:00Z"}]}]`,
		"index/vulns.json":   `[{"id":"GO-2099-0001","modified":"2026-01-01T00:00:00Z"}]`,
		"ID/GO-2099-0001.json": `{"schema_version":"1.3.1","id":"GO-2099-0001","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z","summary":"made up",
			"details":"made up","affected":[{"package":{"name":"` + module + `","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
			"ecosystem_specific":{"imports":[{"path":"` + pkg + `","symbols":["` + symbol + `"]}]}}]}`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "file://" + dir
}

// TestVulnerabilities: what is found in what we call is a failure, what is in nothing that
// we call is none, and where nobody can be asked that is said.
func TestVulnerabilities(t *testing.T) {
	const cobra = "github.com/spf13/cobra"
	nobody := []string{"VULNDB=", "HTTPS_PROXY=http://127.0.0.1:1", "https_proxy=", "NO_PROXY=", "no_proxy="}
	for name, c := range map[string]struct {
		env  []string
		fail bool
		says string
	}{
		"called":          {[]string{"VULNDB=" + database(t, cobra, cobra, "Command.Execute")}, true, "GO-2099-0001"},
		"not called":      {[]string{"VULNDB=" + database(t, cobra, cobra+"/doc", "GenMan")}, false, "affected by 0"},
		"nobody to ask":   {nobody, false, "NOT CHECKED"},
		"nobody as named": {[]string{"VULNDB=file:///nonexistent"}, true, "NOT CHECKED"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("sh", ".ci/vulnerabilities", ".")
			cmd.Dir, cmd.Env = "..", append(os.Environ(), c.env...)
			out, err := cmd.CombinedOutput()
			if (err != nil) != c.fail || !strings.Contains(string(out), c.says) {
				t.Errorf("%v, want a failure: %v, that says %q:\n%s", err, c.fail, c.says, out)
			}
		})
	}
}
