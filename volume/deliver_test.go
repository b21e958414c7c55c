package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// The marker of the second folder cannot be written: the first one is taken back,
// so that all of it is still ours to shred.
func TestDeliverAllOrNone(t *testing.T) {
	base := shmDir(t)
	files := []plan.File{{Path: filepath.Join(base, "a", "f")}, {Path: filepath.Join(base, "b", "f")}}
	r, err := OpenRoots(Options{}, files, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := r.Stage(f, secret.New([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Commit(); err != nil {
		t.Fatal(err)
	}
	second := r.all[1].marker
	file := second.file
	if second.file, err = os.Open(filepath.Join(base, "b", markerName)); err != nil { // read-only
		t.Fatal(err)
	}
	if plan.CodeOf(r.Deliver()) != plan.CodeSink {
		t.Error("delivered although a marker could not be written")
	}
	if state := r.all[0].marker.rec.State; state != stateLive {
		t.Errorf("the first folder is %s", state)
	}
	_ = second.file.Close()
	second.file = file
	if err := errors.Join(r.Deliver(), r.Shred()); err != nil {
		t.Error(err)
	}
	for _, dir := range r.Folders() {
		if err := ShredPath(dir, true); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
