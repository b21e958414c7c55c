package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	last := figures{"init-1": 1, "run-20": 2}
	for name, tc := range map[string]struct {
		now    figures
		status int
		says   string
	}{
		"the same":     {figures{"init-1": 1, "run-20": 2}, 0, "as it was"},
		"a bit worse":  {figures{"init-1": 1.19, "run-20": 2}, 0, "as it was"},
		"a fifth":      {figures{"init-1": 1, "run-20": 2.41}, 1, "run-20    2.41, was  2.00: LOST"},
		"better":       {figures{"init-1": 0.5, "run-20": 2}, 0, "better"},
		"not measured": {figures{"run-20": 2}, 1, "init-1    0.00, was  1.00: NOT IN BOTH"},
		"new":          {figures{"init-1": 1, "run-20": 2, "env-20": 1}, 1, "env-20    1.00, was  0.00: NOT IN BOTH"},
	} {
		var out strings.Builder
		if got := report(&out, last, tc.now); got != tc.status || !strings.Contains(out.String(), tc.says) {
			t.Errorf("%s: %d and %q, want %d and %q", name, got, out.String(), tc.status, tc.says)
		}
	}
}

// What is slow once must not count.
func TestRatiosAreOfTheLeast(t *testing.T) {
	got := ratios(map[string][]float64{reference: {90, 10}, "init-1": {20, 30}})
	if len(got) != 1 || got["init-1"] != 2 {
		t.Errorf("got %v", got)
	}
}

func TestFiguresAreReadBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ratios.txt")
	for text, want := range map[string]string{
		string(figures{"init-1": 0.845, "run-20": 2}.text()): "",
		"# nothing\n":   "no figures",
		"init-1\n":      "NAME RATIO",
		"init-1 0\n":    "NAME RATIO",
		"init-1 1.0x\n": "NAME RATIO",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readFigures(path)
		switch {
		case want == "" && (err != nil || got["init-1"] != 0.84 && got["init-1"] != 0.85 || got["run-20"] != 2):
			t.Errorf("%q: %v, %v", text, got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// In CI a machine that cannot count is a failure, and elsewhere it is said.
func TestNothingThatCounts(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out strings.Builder
	if got := run(t.Context(), nil, true, io.Discard); got != 2 {
		t.Errorf("in CI: %d, want 2", got)
	}
	if got := run(t.Context(), nil, false, &out); got != 0 || !strings.Contains(out.String(), "SKIPPED") {
		t.Errorf("elsewhere: %d and %q", got, out.String())
	}
}
