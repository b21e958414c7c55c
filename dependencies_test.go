package main

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dependenciesPage says of each module that go.mod asks for why it is there.
const dependenciesPage = "docs/dependencies.md"

// TestDependenciesPage: no module comes without a reason, and none is told of that is gone.
func TestDependenciesPage(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not (or .Indirect .Main)}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(out))
	told := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.+) \\| [0-9]+ \\|$").FindAllStringSubmatch(string(read(t, dependenciesPage)), -1) {
		told[row[1]] = row[2]
	}
	if got := slices.Sorted(maps.Keys(told)); len(want) < 10 || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the page has\n%s\nand go.mod asks for\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
