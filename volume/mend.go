package volume

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Mend is [Volume.Mend] for every folder.
func (r *Roots) Mend() error { return each(r.all, (*Volume).Mend) }

// Mend makes the marker again when somebody has removed it: without one, nobody sees
// that the files are ready, and another owner would take them for those of a dead one.
// With it in place, it costs one look.
//
// The error is a [plan.Problem] with CodeSink: another owner has come since, or
// something foreign has its name; or the kernel refuses, when the next call tries again.
func (v *Volume) Mend() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	v.sink.regain()
	mine, err := v.marker.file.Stat()
	named, namedErr := v.sink.root.Lstat(markerName)
	switch {
	case err != nil:
		return v.markerProblem(err)
	case namedErr == nil && os.SameFile(mine, named):
		return nil
	case namedErr != nil && !errors.Is(namedErr, fs.ErrNotExist):
		return v.markerProblem(namedErr)
	}
	return v.remake()
}

// remake takes the folder again, unless another owner has it.
func (v *Volume) remake() error {
	m, err := claim(v.sink.root, true)
	switch {
	case errors.Is(err, errInUse):
		return v.lostProblem(err)
	case err != nil:
		return v.markerProblem(err)
	case !m.created && m.rec.State != "":
		return join(v.lostProblem(errForeignMarker), m.file.Close())
	}
	if err := errors.Join(m.write(v.marker.rec), m.sign()); err != nil {
		return join(v.markerProblem(err), m.remove(v.sink.root), m.file.Close())
	}
	_ = v.marker.file.Close()
	v.marker = m
	v.opts.Log.Warn("somebody removed the marker from the folder; it is there again", slog.String("dir", v.opts.Dir))
	return nil
}

// lostProblem says that the folder is another owner's now.
func (v *Volume) lostProblem(err error) error {
	return &plan.Problem{
		Code: plan.CodeSink, Origin: v.opts.Origin, What: quoteSink(v.opts.Dir), Why: "its marker was removed, and another secretboot has delivered there since",
		Fix: "give each its own folder, and end one of them", Err: err,
	}
}
