package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// TestPage holds the figures of docs/dependencies.md to a binary. A new release of the
// compiler moves them a little.
func TestPage(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "secretboot")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, ".")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	modules, err := linked(binary)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := bySymbol(binary, modules)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .+ \\| ([0-9]+) \\|$").FindAllStringSubmatch(string(page), -1)
	for _, row := range rows {
		told, _ := strconv.Atoi(row[2])
		if is := int(bytes[row[1]] >> 10); is > told+told/4+8 || is < told-told/4-8 {
			t.Errorf("%s has %d KiB, and the page says %d", row[1], is, told)
		}
	}
	if len(rows) < 10 || bytes[standard] < 1<<20 || bytes[modules[0]] == 0 {
		t.Errorf("%d modules on the page; %v", len(rows), bytes)
	}
}

func TestOwner(t *testing.T) {
	modules := []string{"example.test/a/b", "example.test/a", "go.yaml.in/yaml/v3"}
	for symbol, want := range map[string]string{
		"example.test/a/b.F":           "example.test/a/b",
		"example.test/a/c.(*T).M":      "example.test/a",
		"example.test/abc.F":           standard,
		"go.yaml.in/yaml/v3.Unmarshal": "go.yaml.in/yaml/v3",
		"fmt.Println":                  standard,
		"type:*string":                 nobody,
		"go:func.*":                    nobody,
		"runtime.findfunctab":          nobody,
	} {
		if got := owner(symbol, modules); got != want {
			t.Errorf("%s is of %s, want %s", symbol, got, want)
		}
	}
}
