package volume_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/volume"
)

// A marker that somebody removed is made again, with all that it said.
func TestMend(t *testing.T) {
	dir := tmpfs(t, "")
	v := publish(t, dir, "text")
	expires := time.Now().Add(time.Hour)
	must(t, v.SetExpiry(expires))
	must(t, v.Mend())
	marker := filepath.Join(dir, "..secretboot")
	before, err := os.ReadFile(marker)
	must(t, err)
	must(t, os.Remove(marker))
	if volume.Ready(dir, time.Now()) == nil {
		t.Fatal("a folder without a marker is ready")
	}
	must(t, v.Mend())
	wantText(t, marker, string(before))
	wantMode(t, marker, 0o600)
	must(t, volume.Ready(dir, time.Now()))
	_, err = volume.Open(volume.Options{Dir: dir})
	wantProblem(t, err, plan.CodeSink, "in use by another secretboot")
	must(t, v.Shred())
	wantEmpty(t, dir)
}

// Who has come since stays.
func TestMendLeavesSuccessor(t *testing.T) {
	for name, end := range map[string]func(*volume.Volume) error{
		"live":      func(*volume.Volume) error { return nil },
		"delivered": (*volume.Volume).Deliver,
	} {
		t.Run(name, func(t *testing.T) {
			dir := tmpfs(t, "")
			first := publish(t, dir, "first")
			must(t, os.Remove(filepath.Join(dir, "..secretboot")))
			second := publish(t, dir, "second")
			must(t, end(second))
			wantProblem(t, first.Mend(), plan.CodeSink, "another secretboot has delivered there since")
			must(t, first.Shred())
			wantText(t, filepath.Join(dir, "db/pass"), "second")
			must(t, second.Shred())
		})
	}
}

// What is foreign stays, and is said.
func TestMendLeavesForeign(t *testing.T) {
	dir, victim := stageWorld(t)
	v := publish(t, dir, "text")
	marker := filepath.Join(dir, "..secretboot")
	must(t, os.Remove(marker))
	must(t, os.Symlink(victim, marker))
	wantProblem(t, v.Mend(), plan.CodeSink, "its marker ..secretboot is not a file that")
	wantText(t, victim, "victim")
	must(t, v.Shred())
}
