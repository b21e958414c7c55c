package volume

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// join gives one Problem as it is, and several as Problems.
func join(errs ...error) error {
	var ps plan.Problems
	for _, err := range errs {
		ps.Add(err)
	}
	if len(ps) == 1 {
		return ps[0]
	}
	return ps.Err()
}

// each does the same in every folder and collects the problems.
func each(vs []*Volume, do func(*Volume) error) error {
	var ps plan.Problems
	for _, v := range vs {
		ps.Add(do(v))
	}
	return join(ps)
}

func quoteFile(name string) string { return "file " + strconv.Quote(name) }

func quoteSink(dir string) string { return "sink " + strconv.Quote(dir) }

// cause gives the kernel's word for a failure, without the paths and call names
// that os wraps around it: the Problem names those itself.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

// sinkProblem is a Problem with the folder itself.
func sinkProblem(o *Options, err error, why, fix string) *plan.Problem {
	return &plan.Problem{Code: plan.CodeSink, Origin: o.Origin, What: quoteSink(o.Dir), Why: why, Fix: fix, Err: err}
}

// foreign is the Problem with a name in the folder that is not ours.
func (v *Volume) foreign(name string, from plan.Origin) *plan.Problem {
	return &plan.Problem{
		Code: plan.CodeSink, Origin: from, What: quoteFile(name),
		Why: "something that secretboot did not make has this name in " + strconv.Quote(v.opts.Dir),
		Fix: "remove it or deliver elsewhere",
	}
}

// pathProblem says why a path is not acceptable.
func pathProblem(path string, from plan.Origin, err error) *plan.Problem {
	return &plan.Problem{
		Code: plan.CodeConfig, Origin: from, What: quoteFile(path), Why: err.Error(), Fix: "name a path below the sink", Err: err,
	}
}

func (v *Volume) closedProblem() *plan.Problem {
	return &plan.Problem{
		Code: plan.CodeBug, What: quoteSink(v.opts.Dir), Why: "used after it was delivered or shredded",
	}
}

// markerProblem says why the marker could not be claimed.
func (v *Volume) markerProblem(err error) *plan.Problem { return markerProblem(&v.opts, err) }

func markerProblem(o *Options, err error) *plan.Problem {
	switch {
	case errors.Is(err, errInUse):
		return sinkProblem(o, err, "in use by another secretboot", "give each its own folder, or wait for the other to end")
	case errors.Is(err, errForeignMarker):
		return sinkProblem(o, err, "its marker "+markerName+" is not a file that this user's secretboot made",
			"remove the marker, or choose another folder")
	case errors.Is(err, errNewerMarker):
		return sinkProblem(o, err, "its marker was written by a newer secretboot", "use that version, or empty the folder")
	case errors.Is(err, unix.EROFS):
		return sinkProblem(o, err, "mounted read-only", "mount it writable")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return sinkProblem(o, err, "no space for even the marker", "raise the size limit of the file system")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return sinkProblem(o, err, "not writable for this user: "+cause(err), "change its owner or mode, or run as its owner")
	}
	return sinkProblem(o, err, "cannot hold the marker: "+cause(err), "mount a tmpfs there")
}

// writeProblem says why a file could not be written.
func (v *Volume) writeProblem(f plan.File, err error) *plan.Problem {
	p := &plan.Problem{Code: plan.CodeIO, Origin: f.Origin, What: quoteFile(f.Path), Why: cause(err), Err: err}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		p.Why = "no space left in " + v.sink.space()
		p.Fix = "raise its size or inode limit (emptyDir sizeLimit, the size= option of the tmpfs)"
	case errors.Is(err, unix.EROFS):
		p.Why, p.Fix = "the sink became read-only", "mount it writable"
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.ENOTDIR), errors.Is(err, errNotDir):
		p.Code = plan.CodeConfig
		p.Why, p.Fix = "another file of this delivery has this path, or a part of it", "give every file its own path"
	case errors.Is(err, errChown):
		p.Why = fmt.Sprintf("cannot give it to owner %q, group %q: %s", f.Owner, f.Group, cause(err))
		p.Fix = "run as root with CAP_CHOWN and CAP_FOWNER, or run as that user and declare no owner"
	}
	return p
}
