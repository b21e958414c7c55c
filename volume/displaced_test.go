package volume_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// Who lost its marker, and with it the folder to another owner, takes its own files
// with it and leaves the other's.
func TestShredLeavesSuccessor(t *testing.T) {
	ends := map[string]func(*volume.Volume) error{"shred": (*volume.Volume).Shred, "retract": (*volume.Volume).Retract}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			dir := tmpfs(t, "")
			first := publish(t, dir, "first")
			must(t, os.Remove(filepath.Join(dir, "..secretboot")))
			second := publish(t, dir, "second")
			must(t, second.Deliver())
			must(t, end(first))
			wantText(t, filepath.Join(dir, "db/pass"), "second")
			must(t, volume.Ready(dir, time.Now()))
			must(t, volume.ShredPath(dir, false))
			if got := names(t, dir); len(got) != 0 {
				t.Errorf("left: %q", got)
			}
		})
	}
}

func publish(t *testing.T, dir, text string) *volume.Volume {
	t.Helper()
	v, err := volume.Open(volume.Options{Dir: dir, KeepPrevious: true})
	must(t, err)
	must(t, v.Stage(plan.File{Path: "db/pass"}, secret.New([]byte(text))))
	must(t, v.Commit())
	return v
}
