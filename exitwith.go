package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

func applyExitWith(b *builder, s string, o plan.Origin) error {
	_, _, err := plan.SplitExitWith(s)
	if err == nil {
		b.plan.ExitWith = plan.Set(s, o)
	}
	return err
}

// exitWith gives a channel that is closed when the process that s names is gone, or
// the file is there; one that never is when s names nothing. It watches until ctx
// ends. What is so already counts. With signal the process can be sent one; it is nil
// when s names none.
//
// The error is a *plan.Problem: CodeConfig for what is neither, or a file in a folder
// that is not there or not ours to look at; CodeSink when the kernel has no means to
// watch a process.
func (a *app) exitWith(ctx context.Context, s plan.Setting[string]) (gone <-chan struct{}, signal func(syscall.Signal) error, err error) {
	if !s.IsSet {
		return nil, nil, nil
	}
	problem := &plan.Problem{Code: plan.CodeConfig, Origin: s.Origin, What: "exit_with " + strconv.Quote(s.Value)}
	pid, path, err := plan.SplitExitWith(s.Value)
	if err != nil {
		problem.Why = err.Error()
		return nil, nil, problem
	}
	if pid > 0 {
		gone, signal, err = process.WhenGone(ctx, pid)
	} else {
		gone, err = process.WhenThere(ctx, path)
	}
	switch {
	case err == nil:
		return gone, signal, nil
	case pid > 0 && errors.Is(err, unix.EINVAL):
		problem.Why, problem.Fix = "it is a thread", "give the number of its process"
	case pid > 0:
		problem.Code, problem.Why, problem.Fix = plan.CodeSink, "a process cannot be watched here (pidfd_open: "+plan.PathCause(err)+")", "name a file instead"
	case errors.Is(err, fs.ErrNotExist):
		problem.Why, problem.Fix = "the folder "+strconv.Quote(filepath.Dir(path))+" does not exist", "create it, or mount the volume there"
	default:
		problem.Why = plan.PathCause(err)
	}
	problem.Err = err
	return nil, nil, problem
}
