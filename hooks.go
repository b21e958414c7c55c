package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

// defaultHookTimeout is how long a command of a file may take that says nothing,
// as for Vault Agent's and consul-template's.
const defaultHookTimeout = 30 * time.Second

// hooks starts the commands that files want to be run when they were delivered.
// They get what the target inherits, and none of its secret variables.
type hooks struct {
	target *target
	beside *process.Control // of the running target; nil: it is not there yet
	later  bool             // it is a change that they follow, and no first delivery
	masks  bool             // what they print is masked
}

// Check finds the program. What is wrong is the declaration or the image, so the
// code is not one of those that tell of the target.
func (h hooks) Check(a plan.Action) error {
	_, err := h.find(a)
	return err
}

func (h hooks) find(a plan.Action) (string, error) {
	name := a.Argv[0]
	if h.beside != nil && strings.Contains(name, "/") {
		return name, nil // it counts from where we were started, and we are elsewhere now
	}
	found, err := find(name, h.target.environ)
	if err == nil {
		return found, nil
	}
	return "", h.problem(a, err)
}

// problem says why a command cannot be started.
func (h hooks) problem(a plan.Action, err error) error {
	var p *plan.Problem
	if !errors.As(startProblem(a.Argv[0], err), &p) {
		return err
	}
	p.Code = plan.CodeConfig
	if errors.Is(err, syscall.ENOENT) && isShell(a.Argv) {
		p.Why = "the image has no shell: the command of this file is for one"
		p.Fix = "use an image that has " + a.Argv[0] + ", or take the command out of the declaration"
	}
	return p
}

// isShell reports whether a command is a line for a shell.
func isShell(argv []string) bool {
	base := path.Base(argv[0])
	return len(argv) > 1 && argv[1] == "-c" && slices.Contains([]string{"sh", "ash", "bash", "dash", "busybox"}, base)
}

// wholeLines ends the last line of what goes through it, so that no line of ours is
// written behind it.
type wholeLines struct {
	to   io.WriteCloser
	open bool // the last line has no end yet
}

func (w *wholeLines) Write(b []byte) (int, error) {
	if len(b) > 0 {
		w.open = b[len(b)-1] != '\n'
	}
	return w.to.Write(b)
}

func (w *wholeLines) Close() error {
	var err error
	if w.open {
		_, err = w.to.Write([]byte("\n"))
	}
	return errors.Join(err, w.to.Close())
}

// errHookTimeout ends a command that takes too long.
var errHookTimeout = errors.New("the time of the command is up")

// Run starts a command and waits for its end.
func (h hooks) Run(ctx context.Context, a plan.Action, dir string) error {
	found, err := h.find(a)
	if err != nil {
		return err
	}
	env := h.target.inherited(dir).list()
	if err := checkTotal(a.Argv, env, argMax()); err != nil {
		return err
	}
	limit := defaultHookTimeout
	if a.Timeout > 0 {
		limit = a.Timeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errHookTimeout)
	defer cancel()
	spec := process.Spec{Path: found, Argv: a.Argv, Env: env, Core: h.target.core, Log: h.target.log}
	if h.masks { // else it has our standard error, also what it leaves running
		spec.Streams = &process.Streams{Stderr: &wholeLines{to: h.target.masks.writer(2, "the output of command "+a.Argv[0])}}
	}
	start, when, left := process.Command, "its file was delivered", "; nothing that was delivered is left"
	if h.beside != nil {
		start = h.beside.Command
	}
	if h.later {
		when, left = "a secret changed", ""
	}
	code, err := start(ctx, spec)
	if spec.Streams != nil && !spec.Streams.Wait(nil, ctx.Done()) {
		h.target.log.Warn("not all that a command printed was passed on: nobody reads it", slog.String("command", a.Argv[0]))
	}
	p := &plan.Problem{Code: plan.CodeData, What: "command " + a.Argv[0], Fix: "see what it wrote to standard error" + left}
	switch {
	case errors.Is(err, errHookTimeout):
		p.Why = "it did not end within " + limit.String() + " after " + when + ", and was killed"
		p.Fix = "give it more time, or let it go to the background"
	case errors.Is(err, process.ErrEnded):
		return err
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		return h.problem(a, err)
	case code != 0:
		p.Why = "it ended with code " + strconv.Itoa(code) + " after " + when
	default:
		return nil
	}
	return p
}
