package volume_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// plants puts things under a name of the sink that are not ours. victim is a
// file outside of the sink, on the same file system.
var plants = map[string]func(path, victim string) error{
	"file":      func(path, _ string) error { return os.WriteFile(path, []byte("foreign"), 0o644) },
	"folder":    func(path, _ string) error { return os.Mkdir(path, 0o755) },
	"link":      func(path, victim string) error { return os.Symlink(victim, path) },
	"dangling":  func(path, _ string) error { return os.Symlink("/nowhere/at/all", path) },
	"to folder": func(path, victim string) error { return os.Symlink(filepath.Dir(victim), path) },
	"to itself": func(path, _ string) error { return os.Symlink(filepath.Base(path), path) },
	"ours but": func(path, _ string) error {
		return os.Symlink("..data/another", path)
	},
	"hard link": func(path, victim string) error { return os.Link(victim, path) },
	"pipe":      func(path, _ string) error { return unix.Mkfifo(path, 0o666) },
	"socket":    func(path, _ string) error { return unix.Mknod(path, unix.S_IFSOCK|0o666, 0) },
	"device": func(path, victim string) error {
		if !isRoot() {
			return os.Symlink(victim, path)
		}
		return unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	},
}

// stageWorld gives a sink and a victim beside it, on one file system.
func stageWorld(t *testing.T) (dir, victim string) {
	t.Helper()
	base := tmpfs(t, "")
	dir = filepath.Join(base, "sink")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Mkdir(filepath.Join(base, "outside"), 0o700))
	victim = filepath.Join(base, "outside", "victim")
	must(t, os.WriteFile(victim, []byte("victim"), 0o600))
	return dir, victim
}

func wantUnharmed(t *testing.T, planted, victim string, before fs.FileInfo) {
	t.Helper()
	after, err := os.Lstat(planted)
	if err != nil || !os.SameFile(before, after) || before.Mode() != after.Mode() || before.Size() != after.Size() {
		t.Errorf("the planted thing changed: %v, %v", after, err)
	}
	wantText(t, victim, "victim")
	wantMode(t, victim, 0o600)
	if got := names(t, filepath.Dir(victim)); len(got) != 1 {
		t.Errorf("outside of the sink there is now %q", got)
	}
}

func TestForeignNameRefusedAtCheckAndAtCommit(t *testing.T) {
	for kind, plant := range plants {
		for _, path := range []string{"name", "name/below"} {
			t.Run(kind+" "+path, func(t *testing.T) {
				dir, victim := stageWorld(t)
				v := open(t, dir)
				stage(t, v, map[string]string{path: "secret", "other": "secret"})
				planted := filepath.Join(dir, "name")
				must(t, plant(planted, victim))
				before, err := os.Lstat(planted)
				must(t, err)
				wantProblem(t, v.Check(path), plan.CodeSink, "did not make")
				wantProblem(t, v.Commit(), plan.CodeSink, "did not make")
				for _, name := range []string{"other", "..data"} {
					if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("not rolled back: %s", name)
					}
				}
				must(t, v.Shred())
				wantUnharmed(t, planted, victim, before)
			})
		}
	}
}

func TestForeignSwitchRefused(t *testing.T) {
	for _, name := range []string{"..data", "..data_tmp"} {
		for kind, plant := range plants {
			t.Run(name+" "+kind, func(t *testing.T) {
				dir, victim := stageWorld(t)
				planted := filepath.Join(dir, name)
				v := open(t, dir)
				stage(t, v, map[string]string{"f": "secret"})
				must(t, plant(planted, victim))
				before, err := os.Lstat(planted)
				must(t, err)
				wantProblem(t, v.Commit(), plan.CodeSink, name)
				must(t, v.Shred())
				wantUnharmed(t, planted, victim, before)
				_, err = volume.Open(volume.Options{Dir: dir})
				wantProblem(t, err, plan.CodeSink, name)
				wantUnharmed(t, planted, victim, before)
				if got := names(t, dir); len(got) != 1 {
					t.Errorf("left: %q", got)
				}
			})
		}
	}
}

func TestForeignMarkerRefused(t *testing.T) {
	markers := map[string]func(path, victim string) error{
		"too long": func(path, _ string) error { return os.WriteFile(path, make([]byte, 300), 0o600) },
		"not json": func(path, _ string) error { return os.WriteFile(path, []byte("hello"), 0o600) },
		"no state": func(path, _ string) error { return os.WriteFile(path, []byte(`{"version":1}`), 0o600) },
		"climbs": func(path, _ string) error {
			return os.WriteFile(path, []byte(`{"version":1,"state":"live","generation":"../outside"}`), 0o600)
		},
		"newer": func(path, _ string) error { return os.WriteFile(path, []byte(`{"version":2,"state":"live"}`), 0o600) },
	}
	for kind, plant := range plants {
		markers[kind] = plant
	}
	for kind, plant := range markers {
		t.Run(kind, func(t *testing.T) {
			dir, victim := stageWorld(t)
			planted := filepath.Join(dir, "..secretboot")
			must(t, plant(planted, victim))
			before, err := os.Lstat(planted)
			must(t, err)
			_, err = volume.Open(volume.Options{Dir: dir})
			wantProblem(t, err, plan.CodeSink, "marker")
			wantProblem(t, volume.ShredPath(dir, true), plan.CodeSink, "marker")
			wantUnharmed(t, planted, victim, before)
		})
	}
}

func TestMarkerOfAnotherUserRefused(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "mode=1777")
	path := filepath.Join(dir, "..secretboot")
	must(t, os.WriteFile(path, []byte(`{"version":1,"state":"live"}`), 0o666))
	must(t, os.Chown(path, plainUID, plainUID))
	_, err := volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "marker")
}

func TestNamesOfAnotherUserAreForeign(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "mode=1777")
	link, data := filepath.Join(dir, "name"), filepath.Join(dir, "..data")
	generation := filepath.Join(dir, "..20260102T030405Z.0123456789abcdef")
	must(t, os.Symlink("..data/name", link))
	must(t, os.Lchown(link, plainUID, plainUID))
	must(t, os.Mkdir(generation, 0o777))
	must(t, os.WriteFile(generation+"/file", []byte("theirs"), 0o666))
	must(t, os.Lchown(generation, plainUID, plainUID))
	v := open(t, dir)
	wantProblem(t, v.Check("name"), plan.CodeSink, "did not make")
	must(t, v.Shred())
	wantText(t, generation+"/file", "theirs")

	must(t, os.Symlink(filepath.Base(generation), data))
	must(t, os.Lchown(data, plainUID, plainUID))
	_, err := volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "..data")
}

// A generation that an attacker replaced while it was staged, in a folder where
// he may rename everything, must not lead shredding to other files.
func TestShredOfReplacedGeneration(t *testing.T) {
	dir, victim := stageWorld(t)
	v := open(t, dir)
	stage(t, v, map[string]string{"f": "secret"})
	var generation string
	for _, name := range names(t, dir) {
		if strings.HasSuffix(name, "secretboot") {
			continue
		}
		generation = filepath.Join(dir, name)
	}
	must(t, os.Rename(generation, generation+".away"))
	must(t, os.Symlink(filepath.Dir(victim), generation))
	must(t, v.Discard())
	wantGone(t, generation+".away")
	must(t, v.Shred())
	wantText(t, victim, "victim")

	if !isRoot() {
		return
	}
	must(t, os.Remove(generation))
	must(t, os.Mkdir(generation, 0o755))
	must(t, os.Link(victim, generation+"/f"))
	must(t, os.Chown(generation, plainUID, plainUID))
	must(t, open(t, dir).Shred())
	wantText(t, victim, "victim")
}

// What is planted below a generation is unlinked, not opened and not followed.
func TestShredFollowsNothing(t *testing.T) {
	dir, victim := stageWorld(t)
	v := open(t, dir)
	commit(t, v, map[string]string{"sub/f": "secret"})
	sub := filepath.Join(dir, "sub")
	must(t, os.Symlink(victim, sub+"/link"))
	must(t, os.Symlink(filepath.Dir(victim), sub+"/folder"))
	must(t, os.Symlink("/nowhere", sub+"/dangling"))
	must(t, unix.Mkfifo(sub+"/pipe", 0o600))
	must(t, os.Mkdir(sub+"/more", 0o700))
	must(t, os.WriteFile(sub+"/more/nobody", []byte("x"), 0o600))
	must(t, os.Chmod(sub+"/more/nobody", 0))
	must(t, v.Shred())
	wantEmpty(t, dir)
	wantText(t, victim, "victim")
}

// Someone who may rename in the sink swaps its names for links to the victim as
// fast as he can. Commits may fail; the victim must not change.
func TestSwapRace(t *testing.T) {
	dir, victim := stageWorld(t)
	v := open(t, dir)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			for _, name := range []string{"f", "..data", "..data_tmp", "sub"} {
				path := filepath.Join(dir, name)
				_ = os.Remove(path)
				_ = os.Symlink([]string{victim, filepath.Dir(victim)}[i%2], path)
				_ = os.Remove(path)
			}
			generations, _ := filepath.Glob(dir + "/..*Z.*")
			for _, path := range generations {
				_ = os.Rename(path, dir+"/away")
				_ = os.Symlink(filepath.Dir(victim), path)
				_ = os.Remove(path)
				_ = os.Rename(dir+"/away", path)
			}
		}
	}()
	worked := 0
	rounds := 2000 / every(4)
	for range rounds {
		for _, path := range []string{"f", "sub/victim"} {
			_ = v.Stage(plan.File{Path: path, Mode: 0o440}, secret.New([]byte("secret")))
		}
		if v.Commit() == nil {
			worked++
		}
	}
	close(stop)
	<-done
	_ = v.Shred()
	wantText(t, victim, "victim")
	wantMode(t, victim, 0o600)
	if got := names(t, filepath.Dir(victim)); len(got) != 1 {
		t.Errorf("outside of the sink there is now %q", got)
	}
	t.Logf("%d of %d commits worked", worked, rounds)
}

func TestFull(t *testing.T) {
	needRoot(t)
	for _, c := range []struct{ options, path string }{
		{"size=64k", "big"}, {"size=64k", "sub/big"}, {"nr_inodes=6", "a/b/c/d/e"}, {"nr_inodes=4", "f"},
	} {
		dir := tmpfs(t, c.options)
		v := open(t, dir)
		if err := v.Stage(plan.File{Path: "small"}, secret.New([]byte("TOPSECRET"))); err != nil {
			t.Fatal(err)
		}
		err := v.Stage(plan.File{Path: c.path}, secret.New([]byte(strings.Repeat("TOPSECRET", 20_000))))
		wantProblem(t, err, plan.CodeIO, "no space left")
		wantProblem(t, err, plan.CodeIO, "inodes are free")
		if strings.Contains(err.Error(), "TOPSECRET") {
			t.Error("the message holds the secret")
		}
		if got := names(t, dir); len(got) != 1 || got[0] != "..secretboot" {
			t.Errorf("%s: left %q", c.options, got)
		}
		wantProblem(t, v.Commit(), plan.CodeBug, "could not be staged")
		must(t, v.Shred())
		wantEmpty(t, dir)
	}
}

// The kernel runs out of inodes between the links and the switch.
func TestFullAtCommit(t *testing.T) {
	needRoot(t)
	for inodes := 5; inodes <= 9; inodes++ {
		dir := tmpfs(t, "nr_inodes="+string(rune('0'+inodes)))
		v := open(t, dir)
		stage(t, v, map[string]string{"a": "1", "b": "1"})
		err := v.Commit()
		if inodes < 8 {
			wantProblem(t, err, plan.CodeIO, "no space")
			if got := names(t, dir); len(got) != 1 {
				t.Errorf("%d inodes: not rolled back: %q", inodes, got)
			}
		} else if err != nil {
			t.Errorf("%d inodes: %v", inodes, err)
		}
		must(t, v.Shred())
		wantEmpty(t, dir)
	}
}

func TestNoRoomForMarker(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "size=4k")
	must(t, os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 4096), 0o600))
	_, err := volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "no space")
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
}

func TestReadOnlySink(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "")
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "read-only")
	_, err = volume.Open(volume.Options{Dir: dir + "/missing"})
	wantProblem(t, err, plan.CodeSink, "read-only")
}

func TestRefusedSinks(t *testing.T) {
	base := tmpfs(t, "")
	must(t, os.Symlink(base, base+"/link"))
	must(t, os.WriteFile(base+"/file", nil, 0o600))
	must(t, os.Mkdir(base+"/real", 0o700))
	must(t, os.Symlink("real", base+"/parent"))
	cases := []struct{ dir, text string }{
		{"relative", "not absolute"},
		{"", "not absolute"},
		{t.TempDir(), "not in memory"},
		{t.TempDir() + "/missing", "parent is not in memory"},
		{"/sys", "not in memory"},
		{base + "/link", "symbolic link"},
		{base + "/file", "not a directory"},
		{base + "/file/below", "not a directory"},
		{base + "/missing/missing", "neither it nor its parent"},
	}
	for _, c := range cases {
		_, err := volume.Open(volume.Options{Dir: c.dir, Origin: plan.Origin{Front: "flag", At: "--dir"}})
		wantProblem(t, err, plan.CodeSink, c.text)
		wantProblem(t, err, plan.CodeSink, "--dir")
	}
	v := open(t, base+"/parent/made")
	wantMode(t, base+"/real/made", 0o700)
	must(t, v.Shred())
	wantGone(t, base+"/real/made")
}

func TestUnwritableSink(t *testing.T) {
	if isRoot() {
		t.Skip("root may write anywhere; TestAsPlainUser runs this")
	}
	dir := tmpfs(t, "")
	must(t, os.Chmod(dir, 0o500))
	_, err := volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "not writable")
}

func TestPlantedSinkRefused(t *testing.T) {
	needRoot(t)
	base := tmpfs(t, "mode=1777")
	dir := filepath.Join(base, "planted")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Chown(dir, plainUID, plainUID))
	_, err := volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "another user")
	must(t, os.Chmod(base, 0o755))
	must(t, open(t, dir).Shred())
}
