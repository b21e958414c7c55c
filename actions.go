package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

// actions are what follows a change of what was delivered, while the command
// runs. They may be called from any goroutine, and also when the command is gone: the
// error is process.ErrEnded then.
type actions struct {
	control *process.Control
	hooks   hooks
	name    string // of the command
}

// actions makes those of a target that supervise starts.
func (t *target) actions() actions {
	return actions{control: t.control, hooks: hooks{target: t, beside: t.control}, name: t.run.Command[0]}
}

// Signal sends the command a signal, by its name as plan.ParseSignal reads it.
func (a actions) Signal(name string) error {
	n, err := plan.ParseSignal(name)
	if err == nil {
		err = a.control.Signal(n)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ESRCH):
		return process.ErrEnded
	}
	p := &plan.Problem{Code: plan.CodeConfig, What: "signal to command " + a.name, Why: "it could not be sent", Err: err}
	if errors.Is(err, syscall.EPERM) {
		p.Why, p.Fix = "we may not signal it", "leave it the user that it was started as, or give us CAP_KILL"
	}
	return p
}

// Restart ends the command and starts it again with another environment, which is
// the whole of it. The error is process.ErrEnded or process.ErrEnding when the command
// ends anyway, the cause of ctx when nobody waits any more, and otherwise a problem: with
// the new command, which ends supervise too, or that it may not be signalled.
func (a actions) Restart(ctx context.Context, env []string) error {
	err := a.control.Restart(ctx, env)
	switch {
	case err == nil, errors.Is(err, process.ErrEnded), errors.Is(err, process.ErrEnding):
		return err
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return err
	case errors.Is(err, syscall.EPERM):
		return &plan.Problem{Code: plan.CodeConfig, What: "restart of command " + a.name, Why: "we may not signal it", Err: err, Fix: "leave it the user that it was started as, or give us CAP_KILL"}
	}
	return startProblem(a.name, err)
}

// Exec runs a command of the user's beside it, within the time of the action; dir is
// the folder of the files. The error is process.ErrEnded when the command has ended
// before it, the cause of ctx, or a problem with the code that it ended with.
func (a actions) Exec(ctx context.Context, action plan.Action, dir string) error {
	return a.hooks.Run(ctx, action, dir)
}
