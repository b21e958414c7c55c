package volume_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// openAgain opens a folder the way that keeps what was delivered.
func openAgain(t *testing.T, dir string) *volume.Roots {
	t.Helper()
	r, err := volume.OpenRoots(volume.Options{Dir: dir, KeepPrevious: true, Survive: true}, nil, nil)
	must(t, err)
	return r
}

func stageTexts(t *testing.T, r *volume.Roots, files map[string]string) {
	t.Helper()
	for path, text := range files {
		must(t, r.Stage(plan.File{Path: path}, secret.New([]byte(text))))
	}
}

func generationOf(t *testing.T, dir string) string {
	t.Helper()
	name, err := os.Readlink(filepath.Join(dir, "..data"))
	must(t, err)
	return name
}

func TestAdopt(t *testing.T) {
	delivered := map[string]string{"a": "1", "d/b": "2"}
	tests := []struct {
		name   string
		staged map[string]string
		same   bool
	}{
		{"the same", map[string]string{"a": "1", "d/b": "2"}, true},
		{"another text", map[string]string{"a": "1", "d/b": "3"}, false},
		{"longer", map[string]string{"a": "1", "d/b": "22"}, false},
		{"a file more", map[string]string{"a": "1", "d/b": "2", "c": ""}, false},
		{"a file less", map[string]string{"a": "1"}, false},
		{"a file for a folder", map[string]string{"a": "1", "d": "2"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tmpfs(t, "size=1m,mode=0700")
			first := openAgain(t, dir)
			if first.Inherited() {
				t.Error("an empty folder was inherited")
			}
			stageTexts(t, first, delivered)
			must(t, first.Commit())
			must(t, first.Deliver())
			before := generationOf(t, dir)

			second := openAgain(t, dir)
			if !second.Inherited() {
				t.Error("what was delivered was not inherited")
			}
			stageTexts(t, second, tt.staged)
			same, err := second.Adopt()
			must(t, err)
			if same != tt.same || generationOf(t, dir) != before {
				t.Errorf("adopted: %v, generation %s, was %s", same, generationOf(t, dir), before)
			}
			if !same {
				must(t, second.Commit())
			}
			must(t, second.Shred()) // now it is ours, whichever way
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// TestAdoptOfAnotherMode: the mode counts, too.
func TestAdoptOfAnotherMode(t *testing.T) {
	dir := tmpfs(t, "size=1m,mode=0700")
	first := openAgain(t, dir)
	must(t, first.Stage(plan.File{Path: "a", Mode: 0o440}, secret.New([]byte("1"))))
	must(t, first.Commit())
	must(t, first.Deliver())
	second := openAgain(t, dir)
	stageTexts(t, second, map[string]string{"a": "1"})
	if same, err := second.Adopt(); same || err != nil {
		t.Errorf("%v, %v", same, err)
	}
	must(t, second.Commit())
	must(t, second.Shred())
}

// TestPruneByAge: only what was replaced before goes.
func TestPruneByAge(t *testing.T) {
	dir := tmpfs(t, "size=1m,mode=0700")
	r := openAgain(t, dir)
	var generations []string
	var times []time.Time
	for range 3 {
		stageTexts(t, r, map[string]string{"a": "1"})
		must(t, r.Commit())
		generations = append(generations, generationOf(t, dir))
		times = append(times, time.Now())
	}
	must(t, r.Prune(times[1]))
	there := func(i int) bool {
		_, err := os.Stat(filepath.Join(dir, generations[i]))
		return err == nil
	}
	if there(0) || !there(1) || !there(2) {
		t.Errorf("there: %v %v %v", there(0), there(1), there(2))
	}
	must(t, r.Prune(times[2]))
	if there(1) || !there(2) {
		t.Errorf("there: %v %v", there(1), there(2))
	}
	must(t, r.Shred())
}

// TestRetract: nothing is there, and a later Commit works.
func TestRetract(t *testing.T) {
	dir := tmpfs(t, "size=1m,mode=0700")
	r := openAgain(t, dir)
	for range 2 {
		stageTexts(t, r, map[string]string{"a": "1", "b": "2"})
		must(t, r.Commit())
	}
	held, err := os.Open(filepath.Join(dir, "a"))
	must(t, err)
	defer held.Close()
	must(t, r.Retract())
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "..secretboot" {
		t.Errorf("left: %v, %v", left, err)
	}
	if info, err := held.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the open file has %v, %v", info.Size(), err)
	}
	stageTexts(t, r, map[string]string{"c": "3"})
	must(t, r.Commit())
	if text, err := os.ReadFile(filepath.Join(dir, "c")); err != nil || string(text) != "3" {
		t.Errorf("%q, %v", text, err)
	}
	must(t, r.Shred())
}

// TestDiscardOfRoots: what was staged goes, what was committed stays.
func TestDiscardOfRoots(t *testing.T) {
	dir := tmpfs(t, "size=1m,mode=0700")
	r := openAgain(t, dir)
	stageTexts(t, r, map[string]string{"a": "1"})
	must(t, r.Commit())
	before := generationOf(t, dir)
	stageTexts(t, r, map[string]string{"a": "2"})
	must(t, r.Discard())
	if text, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(text) != "1" || generationOf(t, dir) != before {
		t.Errorf("%q, %v", text, err)
	}
	must(t, r.Shred())
}

// TestKilledInTheMiddleOfARotation: what readers have stays for whoever comes next,
// on either side of the switch.
func TestKilledInTheMiddleOfARotation(t *testing.T) {
	for _, switched := range []bool{false, true} {
		dir := tmpfs(t, "size=1m,mode=0700")
		first := openAgain(t, dir)
		stageTexts(t, first, map[string]string{"a": "1"})
		must(t, first.Commit())
		must(t, first.Deliver())
		before, next := generationOf(t, dir), "..20260102T030405Z.0123456789abcdef"
		must(t, os.Mkdir(filepath.Join(dir, next), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, next, "a"), []byte("2"), 0o400))
		want := "1"
		if switched {
			must(t, os.Symlink(next, filepath.Join(dir, "..data_tmp")))
			must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
			want = "2"
		}
		marker := filepath.Join(dir, "..secretboot")
		text, err := os.ReadFile(marker)
		must(t, err)
		text = bytes.Replace(text, []byte(before+`"`), []byte(before+`","next":"`+next+`"`), 1)
		must(t, os.WriteFile(marker, bytes.TrimSpace(text), 0o600))
		must(t, volume.Ready(dir, time.Now()))
		second := openAgain(t, dir)
		if !second.Inherited() {
			t.Errorf("switched %v: nothing was inherited", switched)
		}
		wantText(t, filepath.Join(dir, "a"), want)
		if n := len(names(t, dir)); n != 4 { // a, ..data, the marker, and one generation
			t.Errorf("switched %v: left %q", switched, names(t, dir))
		}
		must(t, second.Shred())
	}
}
