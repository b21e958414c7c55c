package volume_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/volume"
)

func wantReady(t *testing.T, dir string) {
	t.Helper()
	if err := volume.Ready(dir, time.Now()); err != nil {
		t.Errorf("not ready: %v", err)
	}
}

func wantNotReady(t *testing.T, dir, why string) {
	t.Helper()
	wantProblem(t, volume.Ready(dir, time.Now()), plan.CodeUnavailable, why)
}

func TestReadyThroughALife(t *testing.T) {
	dir := tmpfs(t, "")
	wantNotReady(t, dir+"/missing", "the folder is not there")
	wantNotReady(t, dir, "nothing was delivered yet")
	v := open(t, dir)
	wantNotReady(t, dir, "nothing was delivered yet")
	stage(t, v, map[string]string{"db/pass": "1"})
	wantNotReady(t, dir, "nothing was delivered yet")
	must(t, v.Commit())
	wantReady(t, dir)
	commit(t, v, map[string]string{"db/pass": "2"})
	wantReady(t, dir)
	must(t, v.Deliver())
	wantReady(t, dir)
	must(t, volume.ShredPath(dir, false))
	wantNotReady(t, dir, "nothing was delivered yet")
}

func TestReadyChangesNothing(t *testing.T) {
	dir := tmpfs(t, "")
	wantNotReady(t, dir, "nothing was delivered yet")
	wantEmpty(t, dir)
	deliver(t, dir, map[string]string{"a": "1"})
	before, err := os.ReadFile(dir + "/..secretboot")
	must(t, err)
	wantReady(t, dir)
	wantText(t, dir+"/..secretboot", string(before))
}

func TestKilledOwnerIsNotReady(t *testing.T) {
	dir := tmpfs(t, "")
	owner := liveOwner(t, dir)
	wantReady(t, dir)
	must(t, owner.Process.Kill())
	_ = owner.Wait()
	wantNotReady(t, dir, "is gone and has not cleaned up")
}

// An owner that replaces a delivered generation was seen, or killed, between the
// switch and its record.
func TestReadyBetweenSwitchAndMarker(t *testing.T) {
	dir := tmpfs(t, "")
	deliver(t, dir, map[string]string{"a": "1"})
	other := "..20260102T030405Z.0123456789abcdef"
	must(t, os.Mkdir(dir+"/"+other, 0o755))
	must(t, os.Symlink(other, dir+"/..data_tmp"))
	must(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
	wantNotReady(t, dir, "is gone and has not cleaned up")
	marker, err := os.OpenFile(dir+"/..secretboot", os.O_RDWR, 0)
	must(t, err)
	must(t, unix.FcntlFlock(marker.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Len: 1}))
	wantReady(t, dir)
	must(t, marker.Close())
}

func TestExpiry(t *testing.T) {
	dir := tmpfs(t, "")
	v := open(t, dir)
	wantProblem(t, v.SetExpiry(time.Now()), plan.CodeBug, "before anything was published")
	commit(t, v, map[string]string{"a": "1"})
	wantProblem(t, v.SetExpiry(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), plan.CodeBug, "RFC 3339")
	now := time.Now()
	must(t, v.SetExpiry(now.Add(time.Hour)))
	wantReady(t, dir)
	wantProblem(t, volume.Ready(dir, now.Add(time.Hour)), plan.CodeUnavailable, "expired at "+now.Add(time.Hour).UTC().Format(time.RFC3339))
	must(t, v.SetExpiry(now.Add(-time.Second)))
	wantNotReady(t, dir, "expired at ")
	must(t, v.SetExpiry(time.Time{}))
	wantReady(t, dir)

	must(t, v.SetExpiry(now.Add(-time.Second)))
	stage(t, v, map[string]string{"a": "2"})
	wantNotReady(t, dir, "expired at ")
	must(t, v.Commit()) // a new generation has an expiry of its own, or none
	wantReady(t, dir)

	must(t, v.SetExpiry(now.Add(-time.Second)))
	must(t, v.Deliver())
	wantNotReady(t, dir, "expired at ")
	must(t, open(t, dir).Shred()) // a successor that has nothing to put in its place
	wantNotReady(t, dir, "expired at ")
	wantProblem(t, v.SetExpiry(now), plan.CodeBug, "used after it was delivered")
}

// A switch that is taken back has the expiry of the generation that stays.
func TestExpiryOfTheGenerationThatStays(t *testing.T) {
	base := tmpfs(t, "mode=0755")
	files := []plan.File{{Path: base + "/a/f"}, {Path: base + "/b/f"}}
	r, err := volume.OpenRoots(volume.Options{}, files, nil)
	must(t, err)
	t.Cleanup(func() { _ = r.Shred() })
	stageAll(t, r, files, "1")
	must(t, r.Commit())
	must(t, r.SetExpiry(time.Now().Add(-time.Second)))
	wantNotReady(t, base+"/a", "expired at ")
	wantNotReady(t, base+"/b", "expired at ")
	must(t, os.Remove(base+"/b/..data"))
	must(t, os.WriteFile(base+"/b/..data", nil, 0o600)) // refuses the switch there
	stageAll(t, r, files, "2")
	if err := r.Commit(); err == nil {
		t.Fatal("switched over a foreign ..data")
	}
	wantText(t, base+"/a/f", "1")
	wantNotReady(t, base+"/a", "expired at ")
	must(t, os.Remove(base+"/b/..data"))
}

// The largest record has room in the marker, and the expiry is the last key of it.
func TestExpiryFitsTheMarker(t *testing.T) {
	dir := tmpfs(t, "") + "/secretboot-x"
	v, err := volume.Open(volume.Options{Dir: dir, Ephemeral: true})
	must(t, err)
	t.Cleanup(func() { _ = v.Shred() })
	commit(t, v, map[string]string{"a": "1"})
	must(t, v.SetExpiry(time.Now().Add(time.Hour)))
	must(t, v.Deliver())
	text, err := os.ReadFile(dir + "/..secretboot")
	must(t, err)
	record := strings.TrimRight(string(text), " \n")
	if len(text) != 256 || len(record) > 200 || !strings.Contains(record, `"made":true,"expires":"`) || !strings.HasSuffix(record, `Z"}`) {
		t.Errorf("%d bytes: %s", len(text), record)
	}
}

func TestReadyRefusesWhatIsNotOurs(t *testing.T) {
	dir := tmpfs(t, "")
	marker := filepath.Join(dir, "..secretboot")
	deliver(t, dir, map[string]string{"a": "1"})
	must(t, os.Symlink(dir, dir+"/link"))
	wantProblem(t, volume.Ready(dir+"/link", time.Now()), plan.CodeSink, "symbolic link")
	must(t, os.WriteFile(dir+"/file", nil, 0o600))
	wantProblem(t, volume.Ready(dir+"/file", time.Now()), plan.CodeSink, "not a directory")
	for _, bad := range []string{`{}`, `{"version":1,"state":"half"}`, `{"version":1,"state":"delivered","id":"x","expires":"tomorrow"}`, "x"} {
		must(t, os.WriteFile(marker, []byte(bad), 0o600))
		wantProblem(t, volume.Ready(dir, time.Now()), plan.CodeSink, "marker")
	}
	must(t, os.Remove(marker))
	must(t, unix.Mkfifo(marker, 0o600))
	wantProblem(t, volume.Ready(dir, time.Now()), plan.CodeSink, "marker")
	must(t, os.Remove(marker))
	must(t, os.Remove(dir+"/..data"))
	must(t, os.WriteFile(dir+"/..data", nil, 0o600))
	v, err := volume.Open(volume.Options{Dir: dir})
	if err == nil {
		must(t, v.Shred())
		t.Fatal("opened a folder with a foreign ..data")
	}
}

// Probes look, as fast as they can, at what a killed owner left: its successor is not
// refused because of them, and they never say that it is ready.
func TestProbesDoNotDisturbOwners(t *testing.T) {
	dir := tmpfs(t, "")
	for range 20 {
		killedOwner(t, dir)
		stop, stopped := make(chan struct{}), make(chan error)
		go func() {
			for {
				select {
				case <-stop:
					stopped <- nil
					return
				default:
				}
				if volume.Ready(dir, time.Now()) == nil {
					stopped <- errors.New("what a dead owner left counts as ready")
					return
				}
			}
		}()
		v, err := volume.Open(volume.Options{Dir: dir})
		close(stop)
		must(t, errors.Join(err, <-stopped))
		must(t, v.Shred())
	}
}

// Of another user nothing can be told, and the problem says who could.
func TestReadyOfAnotherUser(t *testing.T) {
	needRoot(t)
	dir := tmpfs(t, "mode=0755")
	deliver(t, dir, map[string]string{"a": "1"})
	must(t, os.Chown(dir+"/..secretboot", 1234, 1234))
	wantProblem(t, volume.Ready(dir, time.Now()), plan.CodeSink, "the probe has to run as the same user")
	must(t, os.Remove(dir+"/..secretboot"))
}
