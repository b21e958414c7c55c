package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCells measures three cells in which every level of TLS and of the login
// occurs, with all contestants, a start and a storm under a limit, for real.
func TestCells(t *testing.T) {
	o := forReal(t, "-runs 1 -start 1 -timeout 90s")
	o.points = []point{{2, 0, false, approle}, {2, 0, true, kubernetes}, {2, 0, false, given}}
	rep, err := measureAll(t.Context(), o, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.failures(); err != nil {
		t.Error(err)
	}
	for _, c := range rep.cells {
		for _, r := range c.rows {
			if len(r.samples) != 1 || r.samples[0].Requests < c.n+1-boolean(c.auth != kubernetes) || r.samples[0].rss == 0 || r.cpu() == 0 {
				t.Errorf("%v: %s: %+v", c, r.name, r.samples)
			}
		}
	}
	if len(rep.start.ours) != 1 || rep.start.ours[0].wall == 0 {
		t.Errorf("starts: %+v", rep.start)
	}
	page := filepath.Join(t.TempDir(), "page.md")
	o.into = page
	if err := os.WriteFile(page, []byte("before\n<!-- figures: cells -->\nold\n<!-- end of figures -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rep.save(o, io.Discard); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"before\n<!-- figures: cells -->\n\nMade with", "\n<!-- end of figures -->\nafter\n", "### The worst of each aim\n",
		"### 2 secrets, round trip 0s, TLS, kubernetes\n", "| secretboot-mask | ", "| 10,000 secrets under 64 MiB | not measured |",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestStorm lets five start at once, without and with a limit that turns some away.
func TestStorm(t *testing.T) {
	rep, err := measureAll(t.Context(), forReal(t, "-scale 5 -secrets 2 -limit 5"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.failures(); err != nil {
		t.Error(err)
	}
	for _, s := range rep.storms {
		switch {
		case len(s.ends) != s.n || s.failed != 0 || s.n != 5:
			t.Errorf("%s: %d of %d", s.name, len(s.ends), s.n)
		case (s.limit > 0) != (s.counts.Limited > 0):
			t.Errorf("%s: %d times 429", s.name, s.counts.Limited)
		case s.limit == 0 && s.token == "service" && s.counts.Requests != s.n*(s.secrets+2):
			t.Errorf("%s: %d requests", s.name, s.counts.Requests)
		case (s.token == "service") != (s.writes >= float64(s.n)):
			t.Errorf("%s: %v writes", s.name, s.writes)
		}
	}
	var b bytes.Buffer
	rep.write(&b, markdown)
	if !strings.Contains(b.String(), "| delivered, of all | 5 of 5 | 5 of 5 | 5 of 5 | 5 of 5 | 5 of 5 |\n") {
		t.Error(b.String())
	}
}

// forReal reads a command line for binaries that are there; without them the test
// fails in CI and is skipped elsewhere.
func forReal(t *testing.T, args string) options {
	t.Helper()
	o, err := parse(strings.Fields(args), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	o.path = os.Getenv("PATH")
	for _, binary := range []string{o.vault, o.secretboot, filepath.Join(filepath.Dir(o.vault), "plugins", kubernetes)} {
		if _, err := os.Stat(binary); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("NOT TESTED, run `make build vault`: %v", err)
		}
	}
	return o
}

// TestDesign: what is measured by default has every level of every dimension.
func TestDesign(t *testing.T) {
	seen := map[any]bool{}
	for _, p := range design() {
		for _, level := range []any{p.n, p.rtt.String(), p.tls, p.auth} {
			seen[level] = true
		}
	}
	for _, want := range []any{1, 20, 100, 1000, 10_000, "0s", "1ms", "10ms", "50ms", false, true, approle, kubernetes, given} {
		if !seen[want] {
			t.Errorf("no cell with %v", want)
		}
	}
}

// TestReplacePart: a page without exactly one such part stays as it is.
func TestReplacePart(t *testing.T) {
	const part = "<!-- figures: a -->\nold\n<!-- end of figures -->\n"
	for text, want := range map[string]string{
		"x\n" + part + "y\n": "x\n<!-- figures: a -->\nnew\n<!-- end of figures -->\ny\n",
		part + strings.ReplaceAll(part, "figures: a", "figures: b"): "<!-- figures: a -->\nnew\n<!-- end of figures -->\n" + strings.ReplaceAll(part, "figures: a", "figures: b"),
		"x\n":                        "",
		"<!-- figures: a -->\nold\n": "",
		part + part:                  "",
	} {
		path := filepath.Join(t.TempDir(), "page.md")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := replacePart(path, "a", "new\n")
		got, readErr := os.ReadFile(path)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if (err == nil) != (want != "") || err == nil && string(got) != want || err != nil && string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

// TestAims: the worst is found, and a contestant that failed is not compared.
func TestAims(t *testing.T) {
	of := func(name string, wall, cpu int, rss int64) *row {
		s := sample{rss: rss << 20}
		s.wall, s.cpu = msOf(wall), msOf(cpu)
		return &row{contestant: contestant{name: name}, samples: []sample{s}}
	}
	slow := of("agent-exec", 0, 0, 0)
	slow.err, slow.samples = errSlow, nil
	rep := report{cells: []cell{
		{point{1, 0, false, approle}, []*row{of("floor", 10, 5, 5), of("secretboot-init", 12, 6, 14), of("agent", 60, 50, 80), slow}},
		{point{10_000, 0, true, kubernetes}, []*row{of("floor", 10, 5, 5), of("secretboot-init", 13, 6, 65), of("agent", 10, 3, 80)}},
	}, ownSize: 16 << 20}
	if err := rep.failures(); err != nil {
		t.Error(err)
	}
	got := rep.aims()[1:]
	for i, want := range []struct{ worst, verdict string }{
		{"1.30 times", "**missed in 1 of 2**"},
		{"1.30 times", "**missed in 1 of 2**"},
		{"1.30 times", "**missed in 1 of 2**"},
		{"2.00 times", "**missed in 1 of 2**"},
		{"0.81 times", "holds"},
		{"65.00 MiB", "**missed in 1 of 1**"},
		{noSuchCells, ""},
		{"16.00 MiB", "**missed in 1 of 1**"},
	} {
		if got[i][1] != want.worst || got[i][4] != want.verdict {
			t.Errorf("%s: %q, %q", got[i][0], got[i][1], got[i][4])
		}
	}
}
