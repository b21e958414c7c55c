package volume_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// delivered delivers db/pass and gives the claim of its owner.
func delivered(t *testing.T, dir, text string) volume.Claim {
	t.Helper()
	v, err := volume.Open(volume.Options{Dir: dir})
	must(t, err)
	must(t, v.Stage(plan.File{Path: "db/pass"}, secret.New([]byte(text))))
	must(t, v.Commit())
	must(t, v.Deliver())
	return claimOf(t, dir)
}

func wantExpired(t *testing.T, c volume.Claim, want bool) {
	t.Helper()
	if done, err := volume.ShredDelivered(c); done != want || err != nil {
		t.Errorf("ShredDelivered(%+v) = %v, %v; want %v", c, done, err, want)
	}
}

func wantShredded(t *testing.T, dir string, want bool) {
	t.Helper()
	if got := volume.IsShredded(dir); got != want {
		t.Errorf("IsShredded(%s) = %v", dir, got)
	}
}

func TestShredDelivered(t *testing.T) {
	dir := tmpfs(t, "")
	c := delivered(t, dir, "delivered")
	must(t, os.Link(filepath.Join(dir, "..data/db/pass"), filepath.Join(dir, "link")))
	wantShredded(t, dir, false)
	wantExpired(t, c, true)
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
	wantText(t, filepath.Join(dir, "link"), "")
	wantShredded(t, dir, true)
	wantExpired(t, c, true) // it was done before
	must(t, os.Remove(filepath.Join(dir, "link")))
	made := filepath.Join(dir, "made")
	wantExpired(t, delivered(t, made, "delivered"), true)
	wantGone(t, made)
	wantShredded(t, made, true)
	wantExpired(t, volume.Claim{Dir: made, Owner: "x"}, true)
}

// A later delivery is none of the business of an earlier one's end.
func TestShredDeliveredLeavesLater(t *testing.T) {
	dir := tmpfs(t, "")
	first := delivered(t, dir, "first")
	second := delivered(t, dir, "second")
	wantExpired(t, first, true)
	wantText(t, filepath.Join(dir, "db/pass"), "second")
	// A later one that fails leaves it as it was, with its owner.
	v, err := volume.Open(volume.Options{Dir: dir})
	must(t, err)
	must(t, v.Stage(plan.File{Path: "other"}, secret.New([]byte("third"))))
	wantExpired(t, second, false) // v could still replace it
	wantText(t, filepath.Join(dir, "db/pass"), "second")
	must(t, v.Shred())
	wantExpired(t, second, true)
	wantShredded(t, dir, true)
}

// A live owner that came later is not waited for.
func TestShredDeliveredLeavesLive(t *testing.T) {
	dir := tmpfs(t, "")
	c := delivered(t, dir, "first")
	liveOwner(t, dir)
	wantExpired(t, c, true)
	wantText(t, filepath.Join(dir, "db/pass"), "held")
}

// An owner that died before it could deliver left what nobody wants.
func TestShredDeliveredOfDead(t *testing.T) {
	dir := tmpfs(t, "")
	killedOwner(t, dir)
	wantExpired(t, claimOf(t, dir), true)
	wantShredded(t, dir, true)
}

// A marker that is missing does not make files that are there shredded.
func TestIsShreddedNeedsBoth(t *testing.T) {
	dir := tmpfs(t, "")
	delivered(t, dir, "delivered")
	must(t, os.Remove(filepath.Join(dir, "..secretboot")))
	wantShredded(t, dir, false)
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	wantShredded(t, filepath.Join(dir, "file"), false)
}
