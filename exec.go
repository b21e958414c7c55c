package main

import (
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

// defaultKillTimeout leaves time to shred and revoke within the ten seconds
// that `docker stop` gives.
const defaultKillTimeout = 6 * time.Second

// target is the process that the secrets are for.
type target struct {
	run     plan.Run
	inputs  []plan.Handle // of the login: what they came from is not the command's
	environ []string      // as we inherited it
	log     *slog.Logger
	path    string // of the executable, found by Check

	privileges process.Privileges
	unknown    error        // the user that was asked for could not be found
	core       *unix.Rlimit // of core files, as we were started with
	keeps      bool         // something is to follow a change
	becomes    bool         // we turn into it, and it is the service then
	here       bool         // the thread that starts it has a mount namespace of its own
	inherit    []int        // descriptors of memfds
	janitor    *process.Janitor
	control    *process.Control            // acts on it while it runs
	expires    plan.Setting[time.Duration] // of its files
	streams    *process.Streams            // nil: our own
	noTerminal error                       // why it cannot have one of its own that was asked for
	masks      *masking
}

// Check finds the executable. It tells "not found" (127) from "found but
// cannot be executed" (126), as chroot(1) and docker do, for the user that it
// runs as.
func (t *target) Check() error {
	if err := errors.Join(t.checkPrivileges(), t.checkExpires(), t.noTerminal); err != nil {
		return err
	}
	name := t.run.Command[0]
	err := t.privileges.As(func() (err error) {
		t.path, err = find(name, t.environ)
		return err
	})
	if err != nil {
		return startProblem(name, err)
	}
	return nil
}

// find looks for a program as execve's callers do, in the PATH that we inherited.
func find(name string, environ []string) (string, error) {
	path, _ := lookupIn(environ, "PATH")
	return process.Find(name, path)
}

// startProblem says why a command cannot be started.
func startProblem(name string, err error) error {
	p := &plan.Problem{Code: plan.CodeNotExecutable, What: "command " + name, Err: err}
	switch {
	case errors.Is(err, process.ErrFolder): // before its cause, which is not about the command
		p.Why, p.Fix = process.ErrFolder.Error(), "leave that folder in place for as long as the command runs"
	case errors.Is(err, syscall.ENOENT):
		p.Code, p.Why, p.Fix = plan.CodeNotFound, "not found", "check its name and PATH, and that its interpreter is in the image"
	case errors.Is(err, syscall.EISDIR):
		p.Why, p.Fix = "is a directory", "name a program"
	case errors.Is(err, syscall.EACCES):
		p.Why, p.Fix = "permission denied", "make it executable (chmod +x) for the user that we run as"
	case errors.Is(err, syscall.ENOEXEC):
		p.Why, p.Fix = "not a program that the kernel can execute", "give a script a first line such as #!/bin/sh"
	case errors.Is(err, syscall.E2BIG):
		p.Why, p.Fix = "its arguments and environment are too long together", "deliver large secrets as files"
	case errors.Is(err, syscall.EAGAIN):
		p.Why, p.Fix = plan.PathCause(err), "raise the limit of processes (ulimit -u, pids.max of the cgroup)"
	default:
		p.Why = plan.PathCause(err)
	}
	return p
}

// replaces reports whether we turn into the command rather than wait for it.
func (t *target) replaces(held *bootstrap.Held) bool {
	switch t.run.Mode.Or(plan.RunAuto) {
	case plan.RunReplace:
		return true
	case plan.RunSupervise:
		return false
	case plan.RunAuto:
	}
	return !held.NeedsCare() && !t.keeps && t.streams == nil
}

// supervise starts the command and waits for its end.
func (t *target) supervise(env []string, signals <-chan os.Signal) (int, error) {
	code, err := process.Supervise(t.spec(env), signals)
	if err != nil {
		return 0, startProblem(t.run.Command[0], err)
	}
	return code, nil
}

// replace turns us into the command; it returns only on failure.
func (t *target) replace(env []string) error {
	return startProblem(t.run.Command[0], process.Replace(t.spec(env)))
}

func (t *target) spec(env []string) process.Spec {
	return process.Spec{
		Path: t.path, Argv: t.run.Command, Env: env, Inherit: t.inherit,
		KillTimeout: t.run.KillTimeout.Or(defaultKillTimeout), Log: t.log,
		Privileges: t.privileges, Core: t.core, Here: t.here, Leave: true,
		Janitor: t.janitor, Control: t.control, Streams: t.streams,
	}
}
