package main

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process/mask"
)

// TestScanBounds: however much is found or cannot be read, what is kept is bounded
// and the rest is counted.
func TestScanBounds(t *testing.T) {
	s, err := newSearch(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.know([]mask.Secret{{Name: "a#b", Value: []byte("CANARY-value")}})
	for i := range 1000 {
		s.name(fmt.Sprintf("dir/%d-CANARY-value", i))
		s.cannot("dir/CANARY-value", fs.ErrNotExist)
	}
	if s.report.Found != 1000 || len(s.report.Hits) != maxHits || len(s.report.Problems) != maxProblems {
		t.Errorf("found %d, kept %d and %d problems", s.report.Found, len(s.report.Hits), len(s.report.Problems))
	}
	ps := problems(s.unread())
	if len(ps) != maxProblems+1 || !strings.Contains(ps[maxProblems].Error(), "900 more") || plan.CodeOf(ps) != plan.CodeIO {
		t.Errorf("%d problems, the last is %v", len(ps), ps[len(ps)-1])
	}
	var out strings.Builder
	if err := s.report.text(&out); err != nil || strings.Contains(out.String()+ps.Error(), "CANARY") {
		t.Errorf("%v, or the value is in the report:\n%s", err, out.String())
	}
}

func TestScanExcluded(t *testing.T) {
	for _, c := range []struct {
		glob, below string
		want        bool
	}{
		{"*.log", "a.log", true},
		{"*.log", "x/y/a.log", true},
		{"node_modules", "x/node_modules", true},
		{"x/*.log", "x/a.log", true},
		{"x/*.log", "z/x/a.log", false},
		{"x/*.log", "a.log", false},
		{"*.log", "a.logs", false},
	} {
		s, err := newSearch([]string{"unrelated", c.glob})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.excluded(c.below); got != c.want {
			t.Errorf("%s leaves out %s: %v", c.glob, c.below, got)
		}
	}
	for _, bad := range []string{"", "[", `a\`} {
		if _, err := newSearch([]string{bad}); plan.CodeOf(err) != plan.CodeUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestScanEnds: a walk ends with the context, and with its cause.
func TestScanEnds(t *testing.T) {
	s, err := newSearch(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.know(nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	if err := s.path(ctx, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	cancel(&interrupted{syscall.SIGTERM})
	for _, name := range []string{t.TempDir(), "testdata"} {
		if err := s.path(ctx, name); err == nil || err.Error() != "signal terminated" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.unread() != nil {
		t.Errorf("the end is told as a problem: %v", s.unread())
	}
}
