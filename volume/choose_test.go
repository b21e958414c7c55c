package volume

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

func shmDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "choose-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestChoose(t *testing.T) {
	shm, xdg, disk := shmDir(t), shmDir(t), t.TempDir()
	open := shmDir(t)
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name    string
		places  places
		xdg     string
		private bool
		parent  string // of the new folder; "" is an error
	}{
		{"secrets first", places{shm, shm}, xdg, true, ""},
		{"runtime dir", places{disk, shm}, xdg, true, xdg},
		{"runtime dir on disk", places{disk, shm}, disk, true, shm},
		{"runtime dir open to others", places{disk, shm}, open, true, shm},
		{"runtime dir relative", places{disk, shm}, "run", true, shm},
		{"no runtime dir", places{disk, shm}, "", true, shm},
		{"not private", places{disk, shm}, xdg, false, "error"},
		{"nothing", places{disk, disk}, disk, true, "error"},
		{"missing", places{disk + "/x", disk + "/y"}, "", true, "error"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o, err := c.places.choose(env(map[string]string{"XDG_RUNTIME_DIR": c.xdg}), c.private, slog.New(slog.DiscardHandler))
			switch c.parent {
			case "error":
				if plan.CodeOf(err) != plan.CodeSink {
					t.Errorf("got %+v, %v", o, err)
				}
			case "":
				if err != nil || o.Dir != shm || o.Ephemeral {
					t.Errorf("got %+v, %v", o, err)
				}
			default:
				if err != nil || filepath.Dir(o.Dir) != c.parent || !isEphemeral(filepath.Base(o.Dir)) || !o.Ephemeral {
					t.Errorf("got %+v, %v", o, err)
				}
			}
		})
	}
}

// ephemeral makes a folder as Choose and Open make it.
func ephemeral(t *testing.T, shm string) *Volume {
	t.Helper()
	o, err := places{"/nowhere", shm}.choose(env(nil), true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	v, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Stage(plan.File{Path: "a/f"}, secret.New([]byte("x"))), v.Commit()); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestChooseSweepsDeadSiblings(t *testing.T) {
	shm := shmDir(t)
	live, delivered, dead := ephemeral(t, shm), ephemeral(t, shm), ephemeral(t, shm)
	if err := delivered.Deliver(); err != nil {
		t.Fatal(err)
	}
	// A process that dies gives its lock up and nothing else.
	if err := errors.Join(dead.marker.file.Close(), dead.sink.root.Close()); err != nil {
		t.Fatal(err)
	}
	orphan, young := filepath.Join(shm, "secretboot-00000000000000aa"), filepath.Join(shm, "secretboot-00000000000000bb")
	foreign := filepath.Join(shm, "secretboot-mine")
	for _, dir := range []string{orphan, young, foreign} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// Killed between making the marker and writing its record; one of them with
	// something else beside the marker, which then may be a lost delivery.
	stillborn, newborn, lost := filepath.Join(shm, "secretboot-00000000000000cc"), filepath.Join(shm, "secretboot-00000000000000dd"), filepath.Join(shm, "secretboot-00000000000000ee")
	old := time.Now().Add(-2 * orphanAge)
	for _, dir := range []string{stillborn, newborn, lost} {
		marker := filepath.Join(dir, markerName)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(marker, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if dir != newborn {
			_ = os.Chtimes(marker, old, old)
		}
	}
	if err := os.WriteFile(filepath.Join(lost, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chtimes(orphan, old, old), os.Chtimes(foreign, old, old)); err != nil {
		t.Fatal(err)
	}
	if _, err := (places{"/nowhere", shm}).choose(env(nil), true, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for dir, stays := range map[string]bool{
		live.Dir(): true, delivered.Dir(): true, young: true, foreign: true, dead.Dir(): false, orphan: false,
		stillborn: false, newborn: true, lost: true,
	} {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) == stays {
			t.Errorf("%s: stays must be %v", dir, stays)
		}
	}
	if err := errors.Join(live.Shred(), ShredPath(delivered.Dir(), true)); err != nil {
		t.Error(err)
	}
}
