package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// sameUser is what to do when what others delivered cannot be looked at: the
// marker is for its owner alone.
const sameUser = "the probe has to run as the same user as the secretboot that delivers"

// Ready tells whether the files in a folder can be used at the time now: a whole
// generation is published, it has not expired, and it was delivered for good or its
// owner lives. It changes nothing and looks at nothing but the folder.
//
// The error is a [plan.Problem]: CodeUnavailable says what is not ready yet or any
// more, CodeSink that it cannot be told: another user's folder or marker, or a
// foreign file under one of our names.
func Ready(dir string, now time.Time) error {
	o := Options{Dir: filepath.Clean(dir)}
	root, err := openFolder(o.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notReady(o.Dir, "nothing was delivered yet: the folder is not there")
	case errors.Is(err, fs.ErrPermission):
		return sinkProblem(&o, err, "permission denied", sameUser)
	case err != nil:
		return folderProblem(&o, err)
	}
	v := &Volume{opts: o, sink: sink{dir: o.Dir, held: held{root: root}}}
	defer root.Close()
	return v.usable(now)
}

func notReady(dir, why string) *plan.Problem {
	return &plan.Problem{Code: plan.CodeUnavailable, What: "not ready " + strconv.Quote(dir), Why: why}
}

// usable looks at the lock, the marker and ..data in this order. A lock is younger
// than its owner's first record, so a record that is read after it is no dead owner's;
// and an owner that switches in between has a generation there before and after.
func (v *Volume) usable(now time.Time) error {
	rec, owned, err := v.glance()
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, errSwapped):
		return notReady(v.opts.Dir, "nothing was delivered yet, or it was taken away")
	case errors.Is(err, fs.ErrPermission) || err != nil && v.ofAnother():
		return sinkProblem(&v.opts, err, "its marker belongs to another user", sameUser)
	case err != nil:
		return v.markerProblem(err)
	}
	target, err := v.dataTarget()
	if err != nil {
		return err
	}
	there, same := target != "" && isOwnDir(v.sink.root, target), rec.Generation == target
	switch {
	case rec.State == "" || !there:
		return notReady(v.opts.Dir, "nothing was delivered yet")
	case !owned && (rec.State == stateLive || !rec.names(target)):
		return notReady(v.opts.Dir, "the secretboot that delivered is gone and has not cleaned up")
	case !same: // switched this moment; the record is the next thing that its owner writes
		return nil
	}
	return v.unexpired(rec, now)
}

func (v *Volume) unexpired(rec record, now time.Time) error {
	until, err := time.Parse(time.RFC3339, rec.Expires) // "" is never
	if err == nil && !now.Before(until) {
		return notReady(v.opts.Dir, "what was delivered expired at "+rec.Expires)
	}
	return nil
}

// ofAnother tells whether another user has the marker.
func (v *Volume) ofAnother() bool {
	info, err := v.sink.root.Lstat(markerName)
	return err == nil && !ownedByUs(info)
}

// glance reads the marker without its lock, and tells whether an owner lives. A
// record is one write that does not change the size, so no half of one is seen.
func (v *Volume) glance() (rec record, owned bool, err error) {
	file, err := findMarker(v.sink.root, os.O_RDONLY)
	if err != nil {
		return record{}, false, err
	}
	defer file.Close()
	if owned, err = signed(file); err != nil {
		return record{}, false, err
	}
	rec, err = readRecord(file)
	return rec, owned, err
}
