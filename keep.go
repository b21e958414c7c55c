package main

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/status"
	"github.com/secretboot/secretboot/process"
)

// keeping says how a delivery is kept.
func (a *app) keeping(held *bootstrap.Held, actor bootstrap.Actor) bootstrap.Keep {
	return bootstrap.Keep{Actor: actor, Observer: &observer{board: a.board, rest: held.Rest}, Chance: rand.Float64}
}

// keepDuring keeps the command's secrets fresh while it runs. stop, which may be
// called twice, ends that and waits for it; its error is why the command was ended
// because of it.
func (a *app) keepDuring(ctx context.Context, t *target, held *bootstrap.Held) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	act := commander{actions: t.actions(), target: t, dir: held.Dir(), fds: held.Descriptors(), log: a.logger()}
	go func() {
		err := held.Keep(ctx, a.keeping(held, act))
		if err != nil { // the command is to end as if it had been asked to
			a.signals <- syscall.SIGTERM
		}
		done <- err
	}()
	return sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

// commander acts on the command of run.
type commander struct {
	actions actions
	target  *target
	dir     string
	fds     map[string]int
	log     *slog.Logger
}

// Signal sends a signal to the command.
func (c commander) Signal(name string) error { return c.unlessEnded(c.actions.Signal(name)) }

// Restart starts the command again with its new variables.
func (c commander) Restart(ctx context.Context, vars []bootstrap.Variable) error {
	env, err := c.target.environmentOf(c.dir, c.fds, vars)
	if err != nil {
		return err
	}
	return c.unlessEnded(c.actions.Restart(ctx, env))
}

// Exec runs a program beside the command.
func (c commander) Exec(ctx context.Context, act plan.Action, dir string) error {
	return c.unlessEnded(c.actions.Exec(ctx, act, dir))
}

// unlessEnded makes no failure of the command's end, which may come at any time.
func (c commander) unlessEnded(err error) error {
	if errors.Is(err, process.ErrEnded) || errors.Is(err, process.ErrEnding) {
		c.log.Debug("nothing follows the change: the command has ended")
		return nil
	}
	return err
}

// wantsCare reports whether a declaration says what is to follow a change, so that
// somebody has to be there.
func wantsCare(p plan.Plan) bool {
	for r := range p.Refreshes() {
		if r.OnChange.Value.Kind != plan.ActionNone {
			return true
		}
	}
	return false
}

// observer tells the board what the pipeline does.
type observer struct {
	board *status.Board
	rest  func() // closes connections

	clean atomic.Bool // it was arranged already
}

// What making a generation took is several times what is kept, and nothing else may
// happen for hours: it is overwritten and given back to the kernel. A command that ends
// at once does not wait for that, nor for another connection; those that are closed
// take a moment to end.
const (
	restAfter = time.Second
	washAfter = 500 * time.Millisecond
)

// Delivered also cleans up after what was read.
func (o *observer) Delivered(changed bool) {
	o.board.Delivered(changed)
	if !o.clean.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(restAfter, func() {
		o.rest()
		o.clean.Store(false) // what is read from here on is for the next time
		time.AfterFunc(washAfter, process.Wash)
	})
}

func (o *observer) Read(err error)                 { o.board.Read(class(err)) }
func (o *observer) Renewed(what string, err error) { o.board.Renewed(what, class(err)) }
func (o *observer) Login(err error)                { o.board.Login(class(err)) }
func (o *observer) Expires(at time.Time)           { o.board.Expires(at) }
func (o *observer) Acted(k plan.ActionKind, err error) {
	name := map[plan.ActionKind]string{plan.ActionSignal: "signal", plan.ActionRestart: "restart", plan.ActionExec: "exec"}[k]
	o.board.Acted(name, err == nil)
}

func class(err error) string {
	if err == nil {
		return ""
	}
	return status.Class(plan.CodeOf(err))
}
