package volume_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/volume"
)

func TestTwoOwners(t *testing.T) {
	dir := tmpfs(t, "")
	liveOwner(t, dir)
	_, err := volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "in use by another secretboot")
	wantProblem(t, volume.ShredPath(dir, true), plan.CodeSink, "in use by another secretboot")
	wantText(t, filepath.Join(dir, "db/pass"), "held")
}

func TestKilledOwnerIsSwept(t *testing.T) {
	for _, env := range []string{"", envStage + "=1"} {
		dir := tmpfs(t, "")
		killedOwner(t, dir, env)
		must(t, os.WriteFile(filepath.Join(dir, "foreign"), []byte("stays"), 0o600))
		var log bytes.Buffer
		v, err := volume.Open(volume.Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		must(t, err)
		if got := names(t, dir); len(got) != 2 {
			t.Errorf("not swept: %q", got)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "died") {
			t.Errorf("log: %q", log.String())
		}
		must(t, v.Shred())
		wantText(t, filepath.Join(dir, "foreign"), "stays")
	}
}

func TestKilledOwnerCanBeShredded(t *testing.T) {
	dir := tmpfs(t, "")
	killedOwner(t, dir)
	must(t, volume.ShredPath(dir, true))
	wantEmpty(t, dir)
}

// What was delivered stays until a successor has something to put in its place.
func TestDeliveredOutlivesSuccessorsThatFail(t *testing.T) {
	dir := tmpfs(t, "")
	deliver(t, dir, map[string]string{"db/pass": "first", "gone": "first"})

	v := open(t, dir)
	stage(t, v, map[string]string{"db/pass": "second"})
	must(t, v.Shred())
	wantText(t, filepath.Join(dir, "db/pass"), "first")

	killedOwner(t, dir, envStage+"=1")
	v = open(t, dir)
	wantText(t, filepath.Join(dir, "db/pass"), "first")
	if got := names(t, dir); len(got) != 5 {
		t.Errorf("the half-made generation was not swept: %q", got)
	}
	must(t, v.Deliver())
	wantText(t, filepath.Join(dir, "db/pass"), "first")

	deliver(t, dir, map[string]string{"db/pass": "third"})
	wantText(t, filepath.Join(dir, "db/pass"), "third")
	if got := names(t, dir); len(got) != 4 {
		t.Errorf("the replaced generation or its link stays: %q", got)
	}

	killedOwner(t, dir)
	must(t, open(t, dir).Shred())
	wantEmpty(t, dir)
}

// A successor that is killed after the switch and before it wrote the marker
// leaves a marker that names another generation than ..data does.
func TestKilledBetweenSwitchAndMarker(t *testing.T) {
	dir := tmpfs(t, "")
	deliver(t, dir, map[string]string{"a": "1"})
	other := "..20260102T030405Z.0123456789abcdef"
	must(t, os.Mkdir(filepath.Join(dir, other), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, other, "a"), []byte("2"), 0o400))
	must(t, os.Symlink(other, filepath.Join(dir, "..data_tmp")))
	must(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	must(t, open(t, dir).Shred())
	wantEmpty(t, dir)
}

func TestKilledBeforeSwitch(t *testing.T) {
	dir := tmpfs(t, "")
	deliver(t, dir, map[string]string{"a": "1"})
	must(t, os.Symlink("..20260102T030405Z.0123456789abcdef", filepath.Join(dir, "..data_tmp")))
	must(t, os.Symlink("..data/b", filepath.Join(dir, "b")))
	v := open(t, dir)
	wantText(t, filepath.Join(dir, "a"), "1")
	commit(t, v, map[string]string{"c": "2"})
	if got := names(t, dir); len(got) != 4 {
		t.Errorf("left: %q", got)
	}
}

func TestLostOrEmptyMarkerCountsAsDelivered(t *testing.T) {
	for _, lose := range []func(string) error{os.Remove, func(p string) error { return os.Truncate(p, 0) }} {
		dir := tmpfs(t, "")
		deliver(t, dir, map[string]string{"a": "1"})
		must(t, lose(filepath.Join(dir, "..secretboot")))
		must(t, open(t, dir).Shred())
		wantText(t, filepath.Join(dir, "a"), "1")
		wantMarker(t, dir, "delivered")
	}
}

// Many owners come and go at once: whoever gets the folder has it alone, and
// nobody is left with the lock on a marker that has no name.
func TestOwnersRace(t *testing.T) {
	dir := tmpfs(t, "")
	results := make(chan error)
	const workers, rounds = 4, 200
	for range workers {
		go func() {
			var first error
			for range rounds {
				v, err := volume.Open(volume.Options{Dir: dir})
				if err == nil {
					err = errors.Join(v.Check("f"), v.Commit(), v.Shred())
				} else if strings.Contains(err.Error(), "in use") {
					err = nil
				}
				first = errors.Join(first, err)
			}
			results <- first
		}()
	}
	for range workers {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	wantEmpty(t, dir)
}

func TestShredPath(t *testing.T) {
	base := tmpfs(t, "")
	file := filepath.Join(base, "file")
	must(t, os.WriteFile(file, []byte("x"), 0o400))
	must(t, os.Symlink("file", base+"/link"))
	must(t, unix.Mkfifo(base+"/pipe", 0o600))
	must(t, os.Mkdir(base+"/folder", 0o700))
	for path, text := range map[string]string{
		"/link": "neither a folder nor", "/pipe": "neither a folder nor", "/folder": "no marker",
	} {
		wantProblem(t, volume.ShredPath(base+path, true), plan.CodeSink, text)
	}
	wantProblem(t, volume.ShredPath(base+"/missing", true), plan.CodeIO, "no such file")
	reader, err := os.Open(file)
	must(t, err)
	defer reader.Close()
	must(t, volume.ShredPath(file, true))
	if text, err := io.ReadAll(reader); len(text) != 0 || err != nil {
		t.Errorf("the open file still holds %q, %v", text, err)
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestShredPathOfPlantedHardLink(t *testing.T) {
	_, victim := stageWorld(t)
	public := filepath.Join(filepath.Dir(filepath.Dir(victim)), "public")
	must(t, os.Mkdir(public, 0o700))
	must(t, os.Chmod(public, 0o777))
	must(t, os.Link(victim, public+"/f"))
	wantProblem(t, volume.ShredPath(public+"/f", true), plan.CodeSink, "several names")
	wantText(t, victim, "victim")
	must(t, os.Chmod(public, 0o700))
	must(t, volume.ShredPath(public+"/f", true))
	wantText(t, victim, "")
}

// rootOnly are the tests that a plain user cannot run, and those that would
// start the whole again.
const rootOnly = "^(TestOwner|TestExamineFindsForeignMarker|TestReadOnlyRoot|TestNoAccountFiles|TestPrivateMountOnPlantedFolder|TestSetgidFolder|TestMarkerOfAnotherUserRefused|TestReadyOfAnotherUser|TestNamesOfAnotherUserAreForeign|TestFull|" +
	"TestExamineReadOnly|TestExamineFull|TestTryPrivate|TestFullAtCommit|TestNoRoomForMarker|TestReadOnlySink|TestPlantedSinkRefused|" +
	"TestGroup|TestLostFolderIsNotForeign|TestAsPlainUser|TestWithoutProc|TestWithoutProcAsPlainUser)$"

// needProc are the tests with strace, which reads /proc; and those that take
// long and use nothing of it.
const needProc = "TestTrace|TestKilledAtEverySystemCall|TestRootsKilledAtEverySystemCall|TestSwapRace|TestReaderSeesOneGeneration|TestOwnersRace|TestProbesDoNotDisturbOwners"

func TestAsPlainUser(t *testing.T) { again(t, rootOnly, envUID+"=65534") }

func TestWithoutProc(t *testing.T) {
	again(t, "^(TestAsPlainUser|TestWithoutProc|TestWithoutProcAsPlainUser|TestUnwritableSink|"+needProc+")$", envNoProc+"=1")
}

func TestWithoutProcAsPlainUser(t *testing.T) {
	again(t, strings.TrimSuffix(rootOnly, ")$")+"|"+needProc+")$", envNoProc+"=1", envUID+"=65534")
}

// again runs this test binary in other circumstances, in its own mount
// namespace, where no test may be skipped.
func again(t *testing.T, skip string, env ...string) {
	needRoot(t)
	dir := t.TempDir()
	for p := dir; p != "/tmp" && p != "/"; p = filepath.Dir(p) {
		must(t, os.Chmod(p, 0o755))
	}
	must(t, os.Mkdir(dir+"/tmp", 0o777))
	must(t, os.Chmod(dir+"/tmp", 0o777))
	binary, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(dir+"/volume.test", binary, 0o755))
	cmd := exec.Command(dir+"/volume.test", "-test.v", "-test.skip", skip)
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), "TMPDIR="+dir+"/tmp", "GOCOVERDIR="+dir+"/tmp"), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if skipped := regexp.MustCompile(`(?m)^--- SKIP.*`).FindAllString(string(out), -1); len(skipped) > 0 {
		t.Errorf("skipped: %q", skipped)
	}
	passed := strings.Count(string(out), "\n--- PASS")
	if passed < 20 {
		t.Errorf("only %d tests ran:\n%s", passed, out)
	}
	t.Logf("%d tests passed", passed)
}
