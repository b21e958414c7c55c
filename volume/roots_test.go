package volume_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// threeRoots gives the paths of two files outside of dir, each in a folder of
// its own, and one inside.
func threeRoots(t *testing.T) (dir string, files []plan.File) {
	t.Helper()
	base := tmpfs(t, "")
	for _, name := range []string{"dir", "a", "b"} {
		must(t, os.Mkdir(filepath.Join(base, name), 0o700))
	}
	return base + "/dir", []plan.File{{Path: "in"}, {Path: base + "/a/f"}, {Path: base + "/b/f"}}
}

func openRoots(t *testing.T, dir string, files []plan.File) *volume.Roots {
	t.Helper()
	r, err := volume.OpenRoots(volume.Options{Dir: dir}, files, nil)
	must(t, err)
	t.Cleanup(func() { _ = r.Shred() })
	return r
}

func stageAll(t *testing.T, r *volume.Roots, files []plan.File, text string) {
	t.Helper()
	for _, f := range files {
		must(t, r.Check(f.Path))
		must(t, r.Stage(f, secret.New([]byte(text))))
	}
}

func wantAll(t *testing.T, dir string, files []plan.File, text string) {
	t.Helper()
	for _, f := range files {
		path := f.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if text == "" {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		wantText(t, path, text)
		wantMode(t, path, 0o400)
	}
}

func TestRootsDeliver(t *testing.T) {
	dir, files := threeRoots(t)
	r := openRoots(t, dir, files)
	if r.Dir() != dir || len(r.Folders()) != 3 {
		t.Errorf("dir %q, folders %q", r.Dir(), r.Folders())
	}
	stageAll(t, r, files, "1")
	wantAll(t, dir, files, "")
	must(t, r.Commit())
	wantAll(t, dir, files, "1")
	stageAll(t, r, files, "2")
	must(t, r.Commit())
	if n := len(r.Delivered()); n != 3 {
		t.Errorf("%d files delivered", n)
	}
	must(t, r.Deliver())
	must(t, r.Shred())
	wantAll(t, dir, files, "2")
	for _, folder := range r.Folders() {
		wantMarker(t, folder, "delivered")
		must(t, volume.ShredPath(folder, true))
		wantEmpty(t, folder)
	}
}

// The last folder refuses at the switch: those before it are switched back, to
// nothing or to what was there.
func TestRootsRollBack(t *testing.T) {
	plants := map[string]func(last string){
		"at the names":  func(last string) { must(t, os.WriteFile(last+"/f", []byte("foreign"), 0o600)) },
		"at the switch": func(last string) { must(t, os.Mkdir(last+"/..data", 0o700)) },
	}
	for name, plant := range plants {
		for _, before := range []string{"", "committed", "delivered"} {
			t.Run(name+" "+before, func(t *testing.T) {
				dir, files := threeRoots(t)
				last := filepath.Dir(files[2].Path)
				first := files[:2]
				r := openRoots(t, dir, first)
				if before != "" {
					stageAll(t, r, first, before)
					must(t, r.Commit())
				}
				switch before {
				case "delivered":
					must(t, r.Deliver())
				case "":
					must(t, r.Shred())
				}
				if before != "committed" {
					r = openRoots(t, dir, files)
				}
				stageAll(t, r, first, "new")
				if before == "committed" { // the folder that refuses is one of the two
					last, first = filepath.Dir(files[1].Path), files[:1]
					must(t, errors.Join(os.Remove(last+"/f"), os.Remove(last+"/..data")))
				} else {
					must(t, r.Stage(files[2], secret.New([]byte("new"))))
				}
				plant(last)
				wantProblem(t, r.Commit(), plan.CodeSink, "did not make")
				wantAll(t, dir, first, before)
				for _, folder := range r.Folders() {
					for _, name := range names(t, folder) {
						if strings.HasSuffix(name, "_tmp") {
							t.Errorf("left in %s: %s", folder, name)
						}
					}
				}
				if before == "delivered" {
					must(t, r.Shred())
					wantAll(t, dir, first, before)
					wantMarker(t, dir, "delivered")
				}
			})
		}
	}
}

func TestRootsStageFailsForAll(t *testing.T) {
	dir, files := threeRoots(t)
	r := openRoots(t, dir, files)
	stageAll(t, r, files[:2], "x")
	wantProblem(t, r.Stage(plan.File{Path: files[2].Path, Owner: "no such user"}, secret.New([]byte("x"))), plan.CodeConfig, "not known")
	for _, folder := range r.Folders() {
		if got := names(t, folder); !slices.Equal(got, []string{"..secretboot"}) {
			t.Errorf("%s: %q is left", folder, got)
		}
	}
	wantProblem(t, r.Commit(), plan.CodeBug, "could not be staged")
	must(t, r.Shred())
}

func TestRootsRefused(t *testing.T) {
	dir, files := threeRoots(t)
	base := filepath.Dir(dir)
	disk := t.TempDir()
	must(t, os.Symlink(base, disk+"/other"))
	if isRoot() { // TMPDIR is in memory on some machines
		_, err := volume.OpenRoots(volume.Options{Dir: dir}, []plan.File{
			{Path: "/sys/f", Origin: plan.Origin{At: "first"}},
			{Path: files[1].Path},
			{Path: "..x", Origin: plan.Origin{At: "second"}},
			{Path: "/sys/none/f", Origin: plan.Origin{At: "third"}},
		}, nil)
		for _, text := range []string{"first", "second", "third"} {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%v; want %s in it", err, text)
			}
		}
	}
	_, err := volume.OpenRoots(volume.Options{Dir: dir}, append(files, plan.File{Path: disk + "/other/a/g"}), nil)
	wantProblem(t, err, plan.CodeSink, "the same folder as")
	for _, f := range files {
		folder := filepath.Join(base, filepath.Base(filepath.Dir(f.Path)))
		if got := names(t, filepath.Dir(folder)); slices.Contains(got, "..secretboot") {
			t.Errorf("%s: %q is left", folder, got)
		}
	}
	r := openRoots(t, dir, files[:2])
	wantProblem(t, r.Check(files[2].Path), plan.CodeConfig, "none that was declared")
	wantProblem(t, r.Check(base+"/a/../f"), plan.CodeConfig, `starts with ".."`)
	must(t, r.Check(base+"/a/g"))
	must(t, r.Check(dir+"/g"))
	alone := openRoots(t, "", files[2:])
	wantProblem(t, alone.Check("relative"), plan.CodeConfig, "it is relative")
	if alone.Dir() != base+"/b" {
		t.Errorf("dir %q", alone.Dir())
	}
}

// A folder that another one is in, both of them new; and a set.
func TestRootsNested(t *testing.T) {
	base := tmpfs(t, "")
	files := []plan.File{{Path: base + "/new/in/f"}, {Path: base + "/new/f"}}
	r, err := volume.OpenRoots(volume.Options{}, files, []plan.FileSet{{Dir: base + "/set/"}})
	must(t, err)
	stageAll(t, r, append(files, plan.File{Path: base + "/set/a/b"}), "x")
	must(t, r.Commit())
	wantText(t, base+"/set/a/b", "x")
	wantText(t, base+"/new/in/f", "x")
	must(t, r.Shred())
	wantEmpty(t, base)
}

// TestRootsMakeTheWay: the folders above a file outside are made as well, and
// removed by the process that made them; never on a disk.
func TestRootsMakeTheWay(t *testing.T) {
	base := tmpfs(t, "")
	files := []plan.File{{Path: base + "/f"}, {Path: base + "/a/b/c/f"}, {Path: base + "/a/d/e/f", Mode: 0o440}}
	for _, e := range volume.Examine(volume.Options{}, files, nil) {
		if e.Err != nil || e.Missing == (e.Dir == base) {
			t.Errorf("%+v", e)
		}
	}
	wantEmpty(t, base)
	r := openRoots(t, "", files)
	stageAll(t, r, files, "x")
	must(t, r.Commit())
	wantText(t, base+"/a/b/c/f", "x")
	wantText(t, base+"/a/d/e/f", "x")
	wantMode(t, base+"/a/d", 0o755)
	wantMode(t, base+"/a/d/e", 0o711)
	wantMode(t, base+"/a/b/c", 0o700)
	must(t, os.WriteFile(base+"/a/d/other", nil, 0o600))
	must(t, r.Shred())
	wantGone(t, base+"/a/b")
	wantGone(t, base+"/a/d/e")
	wantMode(t, base+"/a/d", 0o755) // somebody uses it

	disk := t.TempDir()
	for folder, text := range map[string]string{disk + "/x/y": "its parent is not in memory", base + "/a/d/other/x": "not a directory"} {
		_, err := volume.OpenRoots(volume.Options{}, []plan.File{{Path: folder + "/f"}}, nil)
		wantProblem(t, err, plan.CodeSink, text)
	}
	wantEmpty(t, disk)
}

// What the first owner made, whoever comes after it removes.
func TestMadeFolderGoesWithItsHeir(t *testing.T) {
	base := tmpfs(t, "")
	dir := base + "/made"
	deliver(t, dir, map[string]string{"f": "1"})
	v := open(t, dir)
	must(t, v.Stage(plan.File{Path: "f", Mode: 0o440}, secret.New([]byte("2"))))
	must(t, v.Commit())
	wantMode(t, dir, 0o711) // who may read the file may also reach it
	must(t, v.Deliver())
	must(t, volume.ShredPath(dir, true))
	wantGone(t, dir)
	killedOwner(t, dir)
	must(t, open(t, dir).Shred())
	wantGone(t, dir)
}

// The command nests folders deeper than we may have descriptors.
func TestShredDeeperThanDescriptors(t *testing.T) {
	dir := tmpfs(t, "")
	v := open(t, dir)
	commit(t, v, map[string]string{"sub/f": "secret"})
	self, err := os.Open(dir + "/sub")
	must(t, err)
	for range 300 {
		must(t, unix.Mkdirat(int(self.Fd()), "d", 0o700))
		fd, err := unix.Openat(int(self.Fd()), "d", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		must(t, self.Close())
		self = os.NewFile(uintptr(fd), "d")
		file, err := unix.Openat(fd, "f", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		must(t, unix.Close(file))
	}
	must(t, self.Close())
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(lowestFree(t)) + 8, Max: old.Max}))
	err = v.Shred()
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, err)
	wantEmpty(t, dir)
}
