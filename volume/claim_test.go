package volume_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// claimOf is what the owner of a folder would have handed on.
func claimOf(t *testing.T, dir string) volume.Claim {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "..secretboot"))
	must(t, err)
	var marker struct{ ID string }
	must(t, json.Unmarshal(text, &marker))
	return volume.Claim{Dir: dir, Owner: marker.ID}
}

func wantDone(t *testing.T, c volume.Claim, want bool) {
	t.Helper()
	if done, err := volume.ShredDead(c); done != want || err != nil {
		t.Errorf("ShredDead(%+v) = %v, %v; want %v", c, done, err, want)
	}
}

func TestShredDead(t *testing.T) {
	for _, env := range []string{"", envStage + "=1"} { // committed, and only staged
		dir := tmpfs(t, "")
		killedOwner(t, dir, env)
		must(t, os.WriteFile(filepath.Join(dir, "foreign"), []byte("stays"), 0o600))
		wantDone(t, claimOf(t, dir), true)
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("left: %q", got)
		}
		wantText(t, filepath.Join(dir, "foreign"), "stays")
		wantDone(t, volume.Claim{Dir: dir, Owner: "x"}, true) // no marker: it was done before
	}
	wantDone(t, volume.Claim{Dir: "/dev/shm/no-such-folder"}, true)
}

// An ephemeral folder goes with what is in it.
func TestShredDeadRemovesFolder(t *testing.T) {
	dir := filepath.Join(tmpfs(t, ""), "secretboot-0123456789abcdef")
	killedOwner(t, dir)
	wantDone(t, claimOf(t, dir), true)
	wantGone(t, dir)
}

// Who has the lock is alive, and may be somebody else.
func TestShredDeadWaitsForLock(t *testing.T) {
	dir := tmpfs(t, "")
	liveOwner(t, dir)
	wantDone(t, claimOf(t, dir), false)
	wantText(t, filepath.Join(dir, "db/pass"), "held")
}

// What another owner left is for that one's janitor, or for the next start.
func TestShredDeadLeavesOthers(t *testing.T) {
	dir := tmpfs(t, "")
	killedOwner(t, dir)
	wantDone(t, volume.Claim{Dir: dir, Owner: "0123456789abcdef"}, true)
	wantText(t, filepath.Join(dir, "db/pass"), "held")
}

// What was delivered stays, whoever delivered it; what was staged beside it goes.
func TestShredDeadLeavesDelivered(t *testing.T) {
	dir := tmpfs(t, "")
	v, err := volume.Open(volume.Options{Dir: dir})
	must(t, err)
	must(t, v.Stage(plan.File{Path: "db/pass"}, secret.New([]byte("delivered"))))
	must(t, v.Commit())
	must(t, v.Deliver())
	killedOwner(t, dir, envStage+"=1")
	wantDone(t, claimOf(t, dir), true)
	wantText(t, filepath.Join(dir, "db/pass"), "delivered")
	generations := 0
	for _, name := range names(t, dir) {
		if strings.HasPrefix(name, "..2") {
			generations++
		}
	}
	if generations != 1 {
		t.Errorf("%d generations in %q", generations, names(t, dir))
	}
}

// The command may have taken the marker away, or what is in it; what its owner left
// goes all the same.
func TestShredDeadWithoutRecord(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"gone":  os.Remove,
		"empty": func(marker string) error { return os.Truncate(marker, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := tmpfs(t, "")
			killedOwner(t, dir)
			must(t, os.WriteFile(filepath.Join(dir, "foreign"), []byte("stays"), 0o600))
			c := claimOf(t, dir)
			must(t, spoil(filepath.Join(dir, "..secretboot")))
			wantDone(t, c, true)
			if got := names(t, dir); len(got) != 1 {
				t.Errorf("left: %q", got)
			}
			wantText(t, filepath.Join(dir, "foreign"), "stays")
		})
	}
}

func TestClaims(t *testing.T) {
	dir := tmpfs(t, "")
	must(t, os.Mkdir(dir+"/in", 0o700))
	must(t, os.Mkdir(dir+"/out", 0o700))
	o, files := twoRoots(dir)
	r, err := volume.OpenRoots(o, files, nil)
	must(t, err)
	got := r.Claims()
	if want := []volume.Claim{claimOf(t, dir+"/in"), claimOf(t, dir+"/out")}; len(got) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	must(t, r.Shred())
}
