package volume_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// namedFolder gives the folder that ..data names.
func namedFolder(t *testing.T, dir string) string {
	t.Helper()
	name, err := os.Readlink(filepath.Join(dir, "..data"))
	must(t, err)
	return filepath.Join(dir, name)
}

// openedFile gives a descriptor that shows what becomes of a file's bytes.
func openedFile(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// wantNothingLeft wants a file to have no name and no bytes.
func wantNothingLeft(t *testing.T, f *os.File) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	if st.Size != 0 || st.Nlink != 0 {
		t.Errorf("%d bytes and %d names are left", st.Size, st.Nlink)
	}
}

// A generation, or the folder itself, that was renamed is shredded where it is.
func TestShredOfRenamed(t *testing.T) {
	for name, rename := range map[string]func(dir, elsewhere string) error{
		"in the folder": func(dir, _ string) error {
			return os.Rename(namedFolder(t, dir), filepath.Join(dir, "x"))
		},
		"out of it": func(dir, elsewhere string) error { return os.Rename(namedFolder(t, dir), elsewhere) },
		"below another": func(dir, _ string) error {
			return os.Rename(namedFolder(t, dir), filepath.Join(dir, "theirs", "x"))
		},
		"and replaced": func(dir, elsewhere string) error {
			generation := namedFolder(t, dir)
			must(t, os.Rename(generation, elsewhere))
			return os.Mkdir(generation, 0o700)
		},
		"and locked": func(dir, elsewhere string) error {
			must(t, os.Rename(namedFolder(t, dir), elsewhere))
			return os.Chmod(elsewhere, 0)
		},
		"with the folder": func(dir, elsewhere string) error { return os.Rename(dir, elsewhere) },
	} {
		t.Run(name, func(t *testing.T) {
			base := tmpfs(t, "")
			dir, elsewhere := filepath.Join(base, "sink"), filepath.Join(base, "elsewhere")
			v := open(t, dir)
			commit(t, v, map[string]string{"db/pw": "secret"})
			f := openedFile(t, filepath.Join(dir, "db", "pw"))
			must(t, os.Mkdir(filepath.Join(dir, "theirs"), 0o700))
			must(t, rename(dir, elsewhere))
			err := v.Shred()
			wantNothingLeft(t, f)
			if err != nil && os.Getenv(envNoProc) != "" { // nobody tells where the empty folder is
				wantProblem(t, err, plan.CodeIO, "its files are shredded, but it cannot be removed")
				return
			}
			must(t, err)
			for _, parent := range []string{base, dir, elsewhere} {
				left, _ := filepath.Glob(filepath.Join(parent, "*"))
				for _, path := range left {
					if name := filepath.Base(path); name != "theirs" && path != dir && !(path == elsewhere && parent == base) {
						t.Errorf("left: %s", path)
					}
				}
			}
		})
	}
}

// What replaces a generation that was renamed takes that away, too.
func TestRotationOfRenamed(t *testing.T) {
	dir := tmpfs(t, "")
	v := open(t, dir)
	commit(t, v, map[string]string{"pw": "old"})
	must(t, os.Rename(namedFolder(t, dir), filepath.Join(dir, "x")))
	commit(t, v, map[string]string{"pw": "new"})
	wantText(t, filepath.Join(dir, "pw"), "new")
	wantGone(t, filepath.Join(dir, "x"))
	must(t, v.Shred())
	wantEmpty(t, dir)
}

// Who takes the rights to his own folder away keeps neither its files nor the ones
// before. (For root no right is missing.)
func TestLockedFolder(t *testing.T) {
	dir := filepath.Join(tmpfs(t, ""), "sink")
	must(t, os.Mkdir(dir, 0o750))
	v := open(t, dir)
	commit(t, v, map[string]string{"pw": "old"})
	must(t, os.Chmod(dir, 0))
	commit(t, v, map[string]string{"pw": "new"})
	wantText(t, filepath.Join(dir, "pw"), "new")
	f := openedFile(t, filepath.Join(dir, "pw"))
	must(t, os.Chmod(dir, 0))
	must(t, v.Shred())
	wantNothingLeft(t, f)
	wantMode(t, dir, 0o700)
	wantEmpty(t, dir)
}

// Where the rights cannot be had back, because the folder is another's, the cause is
// not that of a foreign name.
func TestLostFolderIsNotForeign(t *testing.T) {
	needRoot(t)
	dir := mkdir(t, filepath.Join(tmpfs(t, ""), "sink"))
	v := open(t, dir)
	commit(t, v, map[string]string{"pw": "secret"})
	must(t, os.Chmod(dir, 0))
	checked := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Setfsuid(plainUID)
		if err == nil {
			err = v.Check("pw")
		}
		checked <- err
	}()
	wantProblem(t, <-checked, plan.CodeSink, "it cannot be looked at any more: permission denied")
	must(t, v.Shred())
}

// What a dead owner left is found by the descriptors that it gave away.
func TestShredDeadByHandles(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		return // TestWithoutProc: a janitor cannot be started then
	}
	for name, spoil := range map[string]func(dir, elsewhere string) error{
		"as it was": func(string, string) error { return nil },
		"renamed": func(dir, elsewhere string) error {
			return os.Rename(namedFolder(t, dir), elsewhere)
		},
		"moved":  os.Rename,
		"locked": func(dir, _ string) error { return os.Chmod(dir, 0) },
		"moved and renamed and locked": func(dir, elsewhere string) error {
			must(t, os.Rename(namedFolder(t, dir), filepath.Join(dir, "x")))
			must(t, os.Chmod(filepath.Join(dir, "x"), 0))
			must(t, os.Chmod(dir, 0))
			return os.Rename(dir, elsewhere)
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := tmpfs(t, "")
			dir, elsewhere := filepath.Join(base, "sink"), filepath.Join(base, "elsewhere")
			killedOwner(t, mkdir(t, dir))
			c := claimOf(t, dir)
			for _, path := range []string{dir, namedFolder(t, dir)} {
				f := openedFile(t, path)
				c.Handles = append(c.Handles, int(f.Fd()))
			}
			f := openedFile(t, filepath.Join(dir, "db", "pass"))
			must(t, spoil(dir, elsewhere))
			wantDone(t, c, true)
			wantNothingLeft(t, f)
			for _, path := range []string{dir, elsewhere} {
				if left, _ := os.ReadDir(path); len(left) > 0 {
					t.Errorf("left in %s: %v", path, left)
				}
			}
		})
	}
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	must(t, os.Mkdir(dir, 0o700))
	return dir
}

// HandledClaims gives the folder and what the owner made, not what it inherited.
func TestHandledClaims(t *testing.T) {
	dir := mkdir(t, filepath.Join(tmpfs(t, ""), "sink"))
	deliver(t, dir, map[string]string{"a": "before"})
	r, err := volume.OpenRoots(volume.Options{Dir: dir, KeepPrevious: true}, []plan.File{{Path: "a"}}, nil)
	must(t, err)
	t.Cleanup(func() { _ = r.Shred() })
	for _, want := range []int{1, 2, 3} {
		if got := r.HandledClaims()[0].Handles; len(got) != want {
			t.Errorf("%d handles, want %d", len(got), want)
		}
		must(t, r.Stage(plan.File{Path: "a"}, secret.New([]byte("now"))))
		must(t, r.Commit())
	}
}

// What changes all the time does not use up descriptors, and loses none.
func TestHeldIsBounded(t *testing.T) {
	dir := mkdir(t, filepath.Join(tmpfs(t, ""), "sink"))
	r, err := volume.OpenRoots(volume.Options{Dir: dir, KeepPrevious: true}, []plan.File{{Path: "a"}}, nil)
	must(t, err)
	t.Cleanup(func() { _ = r.Shred() })
	for range 50 {
		must(t, r.Stage(plan.File{Path: "a"}, secret.New([]byte("now"))))
		must(t, r.Commit())
	}
	if got := r.HandledClaims()[0].Handles; len(got) != 1+1+4 {
		t.Errorf("%d handles", len(got))
	}
	must(t, r.Prune(time.Now()))
	if got := r.HandledClaims()[0].Handles; len(got) != 1+1 {
		t.Errorf("%d handles", len(got))
	}
	f := openedFile(t, filepath.Join(dir, "a"))
	must(t, r.Shred())
	wantNothingLeft(t, f)
	wantEmpty(t, dir)
}
