package volume

import (
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// FuzzSwitch does any steps in any order to a folder, each letter of steps being one, and
// holds what a reader finds there after each of them against a model of two maps: what is
// staged, and what was committed. Among the steps are to die at once, which leaves the
// folder as a SIGKILL would, and to come again, with the same options or others.
func FuzzSwitch(f *testing.F) {
	for _, steps := range []string{"abcC", "aCbC", "aCDoC", "aCko", "akoC", "aCSoab", "aCDobCko", "aCRbC", "aCxbCPP", "aCDoaA", "aCDobA", "acCkobC", "abCaCbCcCP", "aCDkoS", "oooo", "aCDoDoS", "aCbDo"} {
		f.Add(steps, false, false)
		f.Add(steps, true, true)
	}
	f.Fuzz(func(t *testing.T, steps string, survive, previous bool) {
		if len(steps) > 60 {
			t.Skip("long enough")
		}
		dir, err := os.MkdirTemp("/dev/shm", "fuzz-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		w := &world{t: t, dir: dir, survive: survive, previous: previous, committed: map[string]string{}}
		w.open()
		for i, step := range steps {
			w.step(step)
			w.check(steps[:i+1])
		}
		w.end()
	})
}

// world is a folder with the model of it.
type world struct {
	t                 *testing.T
	dir               string
	survive, previous bool

	v         *Volume           // nil: nobody has it
	staged    map[string]string // nil: nothing is
	committed map[string]string
	there     bool // something was committed, be it no files
	kept      bool // it outlives its owner
	foreign   bool // and is of one before, until we commit
	count     int
}

func (w *world) open() {
	if w.v != nil {
		return
	}
	v, err := Open(Options{Dir: w.dir, Survive: w.survive, KeepPrevious: w.previous, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.v, w.staged = v, nil
	if !w.kept {
		w.committed, w.there = map[string]string{}, false
	}
	w.foreign = w.kept
	if v.inherited != w.foreign {
		w.t.Fatalf("inherited: %v, want %v", v.inherited, w.foreign)
	}
}

func (w *world) step(step rune) {
	if step == 'o' {
		w.open()
	}
	if w.v == nil {
		return
	}
	var err error
	switch step {
	case 'a', 'b', 'c':
		err = w.stage(map[rune]string{'a': "a", 'b': "d/b", 'c': "d/e/c"}[step])
	case 'C':
		err = w.v.Commit()
		w.committed, w.staged, w.there, w.foreign, w.kept = w.staged, nil, true, false, w.survive
		if w.committed == nil {
			w.committed = map[string]string{}
		}
	case 'A':
		err = w.adopt()
	case 'x':
		err, w.staged = w.v.Discard(), nil
	case 'R':
		err = w.v.Retract()
		w.committed, w.staged, w.there, w.foreign, w.kept = map[string]string{}, nil, false, false, false
	case 'P':
		err = w.v.Prune(time.Now())
	case 'D':
		w.deliver()
	case 'S':
		err = w.v.Shred()
		w.v = nil
		if !w.foreign {
			w.committed, w.there, w.kept = map[string]string{}, false, false
		}
	case 'k': // the kernel closes what a dead process had open, and that is all
		if w.v.staged != nil {
			_ = w.v.staged.root.Close()
		}
		_ = w.v.marker.file.Close()
		_ = w.v.sink.root.Close()
		w.v = nil
	}
	if err != nil {
		w.t.Fatalf("step %c: %v", step, err)
	}
}

// stage writes a text of its own, or the one that is there already: every third time,
// for adopt to find it.
func (w *world) stage(path string) error {
	w.count++
	text, there := w.committed[path]
	if !there || w.count%3 != 0 {
		text = strings.Repeat("x", w.count%7) + path
	}
	if _, twice := w.staged[path]; twice {
		return nil
	}
	if w.staged == nil {
		w.staged = map[string]string{}
	}
	w.staged[path] = text
	return w.v.Stage(plan.File{Path: path}, secret.New([]byte(text)))
}

func (w *world) adopt() error {
	r := &Roots{all: []*Volume{w.v}}
	same, err := r.Adopt()
	if want := w.foreign && w.staged != nil && maps.Equal(w.staged, w.committed); same != want {
		w.t.Fatalf("adopted: %v, want %v", same, want)
	}
	if same {
		w.staged, w.foreign, w.kept = nil, false, w.survive
	}
	return err
}

// deliver leaves what is committed to whoever comes.
func (w *world) deliver() {
	err := w.v.Deliver()
	if w.v.closed {
		w.v, w.kept = nil, w.there
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// check reads the folder as anybody would, by the names at the top.
func (w *world) check(steps string) {
	got := map[string]string{}
	err := filepath.WalkDir(w.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(d.Name(), "..") && d.IsDir() {
			return fs.SkipDir
		}
		rel, _ := filepath.Rel(w.dir, name)
		if strings.HasPrefix(rel, "..") || d.IsDir() {
			return nil
		}
		return readAll(name, rel, got)
	})
	if err != nil || !maps.Equal(got, w.committed) {
		w.t.Fatalf("after %s there is %q, %v; want %q", steps, got, err, w.committed)
	}
}

// readAll reads what a link at the top leads to: a file, or a folder of files.
func readAll(name, rel string, into map[string]string) error {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	return filepath.WalkDir(real, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(at)
		into[rel+strings.TrimPrefix(at, real)] = string(text)
		return err
	})
}

// end lets one more owner come and go: of what was ours nothing is left.
func (w *world) end() {
	w.open()
	w.step('C')
	w.step('S')
	if left, err := os.ReadDir(w.dir); err != nil || len(left) > 0 {
		w.t.Fatalf("left: %v, %v", left, err)
	}
}
