package bootstrap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/render"
)

// thousands is a plan of so many templates, each of a secret of its own and of one
// that all have, with the world that has them.
func thousands(n int) (*world, plan.Plan) {
	w, p := newWorld(), plan.Plan{}
	for i := range n {
		path := fmt.Sprintf("s%d", i)
		w.secrets[path] = map[string]any{"v": fmt.Sprintf("value %d", i)}
		p.Files = append(p.Files, template(fmt.Sprintf("f%d", i),
			`{{ with secret "`+path+`" }}{{ .Data.v }}{{ end }} of {{ with secret "app" }}{{ .Data.user }}{{ end }}`))
	}
	return w, p
}

// reads counts how often each path was asked for.
func (w *world) reads() map[string]int {
	reads := map[string]int{}
	for _, e := range w.events {
		if path, ok := strings.CutPrefix(e, "read "); ok {
			reads[path]++
		}
	}
	return reads
}

// TestThousands: a large plan is read and rendered some at a time, and nobody can
// tell: every path is read once, also one that the first and the last need, and
// the files come in the order declared.
func TestThousands(t *testing.T) {
	const n = 2345
	w, p := thousands(n)
	p.Files = append(p.Files, file("user", "app#user"))
	if _, err := w.run(t, t.Context(), p); err != nil {
		t.Fatal(err)
	}
	reads := w.reads()
	if len(reads) != n+1 {
		t.Errorf("%d paths were read, not %d", len(reads), n+1)
	}
	for path, times := range reads {
		if times != 1 {
			t.Errorf("%s was read %d times", path, times)
		}
	}
	var staged []string
	for _, e := range w.events {
		if path, ok := strings.CutPrefix(e, "stage "); ok {
			staged = append(staged, path)
		}
	}
	var want []string
	for i, f := range p.Files {
		want = append(want, f.Path)
		text := fmt.Sprintf("value %d of u", i)
		if i == n {
			text = "u"
		}
		if got := w.files[f.Path]; got != text {
			t.Fatalf("%s has %q, not %q", f.Path, got, text)
		}
	}
	if !slices.Equal(staged, want) {
		t.Error("the files were not staged in the order declared")
	}
}

// TestThousandsCompute: where only a template can tell what it reads, all is at hand
// for it.
func TestThousandsCompute(t *testing.T) {
	w, p := thousands(2345)
	w.secrets["next"] = map[string]any{"path": "s7"}
	p.Files = append(p.Files, template("last", `{{ with secret "next" }}{{ with secret .Data.path }}{{ .Data.v }}{{ end }}{{ end }}`))
	if _, err := w.run(t, t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if w.files["last"] != "value 7" {
		t.Errorf("it has %q", w.files["last"])
	}
	if times := w.reads()["s7"]; times != 1 {
		t.Errorf("the path that two need was read %d times", times)
	}
}

// TestThousandsTell: what is wrong in any batch is told at once, each with its place.
func TestThousandsTell(t *testing.T) {
	w, p := thousands(2345)
	delete(w.secrets, "s3")
	delete(w.secrets, "s2344")
	w.secrets["s1000"] = map[string]any{}
	_, err := w.run(t, t.Context(), p)
	var ps plan.Problems
	if !errors.As(err, &ps) || len(ps) != 3 {
		t.Fatalf("told: %v", err)
	}
	for i, name := range []string{"f3", "f1000", "f2344"} {
		if ps[i].Origin != from(name) || ps[i].Code != plan.CodeMissing {
			t.Errorf("problem %d: %v", i, ps[i])
		}
	}
	if !errors.Is(err, render.ErrMissing) {
		t.Error("no ErrMissing in the chain")
	}
	if len(w.files) > 0 {
		t.Errorf("%d files were delivered", len(w.files))
	}
}
