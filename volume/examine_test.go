package volume_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/volume"
)

func ref() plan.Source { return plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "x"}}} }

// examine looks at one folder, as for one file in it.
func examine(t *testing.T, dir string, f plan.File) volume.Examined {
	t.Helper()
	f.Source = ref()
	all := volume.Examine(volume.Options{Dir: dir}, []plan.File{f}, nil)
	if len(all) != 1 {
		t.Fatalf("%d folders", len(all))
	}
	return all[0]
}

func TestExamineLeavesNothing(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	e := examine(t, dir, plan.File{Path: "a/b"})
	if e.Err != nil || e.FileSystem != "tmpfs" || e.Missing || e.InUse || e.UID != os.Geteuid() {
		t.Errorf("%+v", e)
	}
	wantEmpty(t, dir)
	if e = examine(t, filepath.Join(dir, "new"), plan.File{Path: "a"}); e.Err != nil || !e.Missing {
		t.Errorf("%+v", e)
	}
	wantEmpty(t, dir)
	wantProblem(t, examine(t, filepath.Join(dir, "no", "new"), plan.File{Path: "a"}).Err, plan.CodeSink, "neither it nor its parent exists")
	wantProblem(t, examine(t, "relative", plan.File{Path: "a"}).Err, plan.CodeSink, "not absolute")
	wantProblem(t, examine(t, t.TempDir(), plan.File{Path: "a"}).Err, plan.CodeSink, "not in memory")
}

// TestExamineTouchesNothing: what is delivered, left by the dead, or held by the
// living stays as it is.
func TestExamineTouchesNothing(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	deliver(t, dir, map[string]string{"a": "text"})
	if e := examine(t, dir, plan.File{Path: "a"}); e.Err != nil || e.InUse {
		t.Errorf("delivered: %+v", e)
	}
	wantText(t, filepath.Join(dir, "a"), "text")

	live := tmpfs(t, "size=1m")
	v := open(t, live)
	commit(t, v, map[string]string{"a": "live"})
	if e := examine(t, live, plan.File{Path: "a"}); e.Err != nil || !e.InUse {
		t.Errorf("live: %+v", e)
	}
	wantText(t, filepath.Join(live, "a"), "live")
	must(t, v.Shred())

	dead := tmpfs(t, "size=1m")
	killedOwner(t, dead)
	before := strings.Join(names(t, dead), " ")
	if e := examine(t, dead, plan.File{Path: "z"}); e.Err != nil || e.InUse {
		t.Errorf("dead: %+v", e)
	}
	if after := strings.Join(names(t, dead), " "); after != before || after == "" {
		t.Errorf("%q became %q", before, after)
	}
}

// TestExamineFindsWhatStageWould: an attempt is made with the very owner and in
// the very folder.
func TestExamineFindsWhatStageWould(t *testing.T) {
	dir := tmpfs(t, "size=1m")
	must(t, os.WriteFile(filepath.Join(dir, "foreign"), nil, 0o600))
	wantProblem(t, examine(t, dir, plan.File{Path: "foreign"}).Err, plan.CodeSink, "something that secretboot did not make")
	wantProblem(t, examine(t, dir, plan.File{Path: "a", Owner: "nobody-at-all"}).Err, plan.CodeConfig, "is not known here")
	must(t, os.Symlink(dir, filepath.Join(dir, "link")))
	wantProblem(t, examine(t, filepath.Join(dir, "link"), plan.File{Path: "a"}).Err, plan.CodeSink, "symbolic link")

	all := volume.Examine(volume.Options{Dir: dir}, []plan.File{{Path: "a", Source: ref()}, {Path: filepath.Join(t.TempDir(), "b"), Source: ref()}}, nil)
	if len(all) != 2 || all[0].Err != nil {
		t.Fatalf("%+v", all)
	}
	wantProblem(t, all[1].Err, plan.CodeSink, "not in memory")
}

// TestExamineFindsForeignMarker: what cannot be claimed is told by an attempt too, and
// stays as it is; a pipe holds nobody.
func TestExamineFindsForeignMarker(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"link":   func(path string) error { return os.Symlink("/etc/passwd", path) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"another user": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Chown(path, 4711, 4711))
		},
	} {
		t.Run(name, func(t *testing.T) {
			needRoot(t)
			dir := tmpfs(t, "size=1m")
			must(t, plant(filepath.Join(dir, "..secretboot")))
			before, err := os.Lstat(filepath.Join(dir, "..secretboot"))
			must(t, err)
			wantProblem(t, examine(t, dir, plan.File{Path: "a"}).Err, plan.CodeSink, "is not a file that this user's secretboot made")
			after, err := os.Lstat(filepath.Join(dir, "..secretboot"))
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("it became %v, %v", after, err)
			}
		})
	}
}

func TestExamineReadOnly(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "size=1m")
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"))
	wantProblem(t, examine(t, dir, plan.File{Path: "a"}).Err, plan.CodeSink, "mounted read-only")
}

// TestExamineFull: a folder without a page left is found out by the attempt.
func TestExamineFull(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "size=4k")
	must(t, os.WriteFile(filepath.Join(dir, "full"), make([]byte, 4096), 0o600))
	e := examine(t, dir, plan.File{Path: "a"})
	wantProblem(t, e.Err, plan.CodeIO, "no space left")
	if e.Free != 0 || e.Total != 4096 {
		t.Errorf("%+v", e)
	}
}

// TestTryPrivate: the mount is gone with its thread, and was seen by nobody.
func TestTryPrivate(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "size=1m")
	must(t, os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600))
	must(t, volume.TryPrivate(dir))
	if got := names(t, dir); len(got) != 1 || got[0] != "mine" { // a mount would hide it
		t.Errorf("%v", got)
	}
}

func TestWouldChoose(t *testing.T) {
	dir := tmpfs(t, "size=1m,mode=0700")
	getenv := func(name string) (string, bool) { return dir, name == "XDG_RUNTIME_DIR" }
	o, err := volume.WouldChoose(getenv, true, false)
	must(t, err)
	if o.Dir != "/run/secrets" && filepath.Dir(o.Dir) != dir {
		t.Errorf("%+v", o)
	}
	if o, err = volume.WouldChoose(getenv, true, true); err != nil || filepath.Dir(o.Dir) != dir {
		t.Errorf("%+v, %v", o, err)
	}
	wantEmpty(t, dir)
}
