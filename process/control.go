package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Why a restart is not carried out, or a child or program not started.
var (
	ErrEnding = errors.New("we were asked to end")
	ErrEnded  = errors.New("the command has ended")
	ErrFolder = errors.New("the working folder that we were started in cannot be entered any more")
)

// Control acts on the child of one [Supervise]. Its methods may be called from
// any goroutine, and whenever it is: before there is a child, and after the end of
// the last one, they do nothing and say so.
//
// The exit code stays that of a child whose end nobody here has asked for. A child
// that ends by itself before a restart has sent its SIGTERM decides, and the restart
// is not carried out. A signal that asks us to end wins over a restart: SIGTERM,
// SIGINT, SIGQUIT, and SIGHUP of a terminal that hangs up; no other child is
// started then, and the end of the one that was told to end decides. A SIGTERM has the
// whole kill timeout and is not passed on, for the child has had one.
//
// Other signals that reach us during a restart are for the child that ends, as long
// as it is there; what comes between two children is lost, as it is for a program that
// is started again by anybody else.
type Control struct {
	calls    chan func(*child) // are made by the goroutine of Supervise
	restarts chan *restart
	started  chan struct{} // closed when there is a child
	ended    chan struct{} // closed when the last one has ended
	count    atomic.Int64
}

// restart is a request for one.
type restart struct {
	env    []string
	answer chan error // buffered
}

// NewControl makes one, for one call of Supervise.
func NewControl() *Control {
	return &Control{
		calls: make(chan func(*child)), restarts: make(chan *restart),
		started: make(chan struct{}), ended: make(chan struct{}),
	}
}

// Started is closed when the first child is there.
func (c *Control) Started() <-chan struct{} { return c.started }

// running tells whether there is a child, or there soon is another.
func (c *Control) running() bool {
	select {
	case <-c.started:
	default:
		return false
	}
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// errGivenUp is for a call that somebody did not wait for any more.
var errGivenUp = errors.New("given up")

// call has f called by the goroutine of Supervise, between two children by waiting
// for the second, and waits for what it gives. The error is that of f, ErrEnded when
// there is no child, or errGivenUp when stop, which may be nil, was closed before.
func (c *Control) call(stop <-chan struct{}, f func(*child) error) error {
	if !c.running() {
		return ErrEnded
	}
	done := make(chan error, 1)
	select {
	case c.calls <- func(ch *child) { done <- f(ch) }:
		return <-done
	case <-c.ended:
		return ErrEnded
	case <-stop:
		return errGivenUp
	}
}

// Signal sends a signal to the child alone, as kill(1) would: to the one that
// ends while a restart waits for that, and to the new one when that is about to be
// started. The error is an errno; ESRCH when there is no child.
func (c *Control) Signal(n syscall.Signal) error {
	err := c.call(nil, func(ch *child) error { return ch.reaper.signal(ch.group.leader, n) })
	if errors.Is(err, ErrEnded) {
		return syscall.ESRCH
	}
	return err
}

// Restart ends the child as a shutdown does, and starts it again with another
// environment, complete as in [Spec], and all else the same: a SIGTERM, also to a
// child that is stopped, which is continued; a SIGKILL to its group after the kill
// timeout; what it leaves in its group is ended. It returns when the new child is there.
//
// The error is ErrEnding when a signal asked us to end, now or before; ErrEnded
// when there is no child, or it has ended by itself; an errno when it may not be
// signalled. All these leave the child and its code as they are. Any other is the one
// from starting the new child, an errno or ErrFolder, and is what Supervise returns too.
// The cause of ctx means that somebody else's restart was under way for so long, or, when
// ours had begun, that it goes on and nobody waits for it.
func (c *Control) Restart(ctx context.Context, env []string) error {
	if !c.running() {
		return ErrEnded
	}
	r := &restart{env: env, answer: make(chan error, 1)}
	select {
	case c.restarts <- r:
	case <-c.ended:
		return ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Restarts counts the times that a new child was started.
func (c *Control) Restarts() int { return int(c.count.Load()) }

// Command does what the function [Command] does, beside the running child, and in a
// private mount namespace with no more privileges than the child may have (see
// Spec.Here). A restart leaves the program alone. When the last child ends before the
// program has, its group is killed, and the error is ErrEnded, as it is when there
// is no child.
func (c *Control) Command(ctx context.Context, s Spec) (int, error) {
	null, err := openNull()
	if err != nil {
		return 0, err
	}
	p := &program{ended: make(chan event, 1)}
	err = c.call(ctx.Done(), func(ch *child) error {
		p.reaper = ch.reaper
		return ch.inFolder(func() error { return p.start(s, null) })
	})
	_ = unix.Close(null)
	if errors.Is(err, errGivenUp) {
		return 0, context.Cause(ctx)
	}
	if err != nil {
		return 0, err
	}
	return p.wait(ctx)
}

// finish tells that there will be no other child.
func (c *Control) finish() {
	if c.running() {
		close(c.ended)
	}
}

// restarts is where requests come from, nowhere while one is under way.
func (c *child) restarts() <-chan *restart {
	if c.restart != nil {
		return nil
	}
	return c.spec.Control.restarts
}

// begin asks the child to end, for another to be started.
func (c *child) begin(r *restart) {
	err := ErrEnding
	if c.asked.IsZero() && !c.leaving {
		err = c.askChild()
	}
	if err != nil {
		r.answer <- err
		return
	}
	c.restart = r
	c.setLate()
}

// askChild sends the SIGTERM of a restart. A child that has ended and waits to be
// reaped would take it without a word.
func (c *child) askChild() error {
	if c.group.fd >= 0 && c.group.leaderEnded() {
		return ErrEnded
	}
	err := c.reaper.signal(c.group.leader, syscall.SIGTERM)
	if errors.Is(err, syscall.ESRCH) {
		return ErrEnded
	}
	if err == nil {
		_ = c.group.signal(syscall.SIGCONT)
	}
	return err
}

// heed gives a restart up when a signal asks us to end, and reports whether the
// signal does.
func (c *child) heed(sig os.Signal) bool {
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT:
	case syscall.SIGHUP:
		if !c.tty.ours() { // it asks a daemon to read its configuration again
			return false
		}
	default:
		return false
	}
	if c.restart != nil {
		c.restart.answer <- ErrEnding
		c.restart, c.leaving = nil, true
	}
	return true
}

// afterEnd follows the end of the child: that of what it has left, and another
// child when that is what it was ended for.
func (c *child) afterEnd(signals <-chan os.Signal) (again bool, err error) {
	if c.restart == nil {
		c.spec.Control.finish() // whoever waits for us need not wait for the group
	}
	c.endGroup(signals)
	if c.restart != nil {
		c.heedAll(signals)
	}
	if c.restart != nil {
		err = c.again()
		again = err == nil
	}
	if !again {
		c.spec.Control.finish()
		c.reaper.endRest()
	}
	return again, err
}

// heedAll looks through the signals that are waiting, which are for no child; not
// for those that come meanwhile, which may be without an end.
func (c *child) heedAll(signals <-chan os.Signal) {
	for range len(signals) {
		c.heed(<-signals)
	}
}

// again starts the child anew.
func (c *child) again() error {
	r := c.restart
	c.restart, c.late = nil, nil
	c.release()
	c.tty.takeBack()
	err := c.inFolder(func() error { return c.start(r.env) })
	if err == nil {
		c.spec.Control.count.Add(1)
	}
	r.answer <- err
	return err
}

// leave makes / our working folder, if that is asked for. The folder that we were
// started in is kept by its name: a descriptor would hold the mount.
func (c *child) leave() {
	if c.spec.Leave {
		c.folder, _ = unix.Getwd()
		leave()
	}
}

// inFolder calls f in the folder that we were started in, and leaves it again.
func (c *child) inFolder(f func() error) error {
	if !c.spec.Leave {
		return f()
	}
	if err := unix.Chdir(c.folder); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	defer leave()
	return f()
}

// program is one that runs beside the child.
type program struct {
	reaper *reaper
	pid    int
	ended  chan event // buffered
	wires  *wiring
}

// start starts it from the calling thread, with null for its standard input.
func (p *program) start(s Spec, null int) error {
	wires := &wiring{files: []uintptr{uintptr(null), 2, 2}}
	var err error
	if s.Streams != nil {
		err = s.pipe(wires, s.Streams.Stderr, toStderr, 1, 2)
	}
	if err == nil {
		err = p.reaper.start(p.ended, func() (pid int, err error) {
			p.pid, err = s.start(&syscall.ProcAttr{
				Env:   s.Env,
				Files: wires.files,
				Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
			})
			return p.pid, err
		})
	}
	if err != nil {
		wires.abandon()
		return err
	}
	wires.start()
	p.wires = wires
	return nil
}

// wait waits for its end, and kills it when ctx ends.
func (p *program) wait(ctx context.Context) (int, error) {
	defer p.wires.end()
	for done := ctx.Done(); ; {
		select {
		case ev := <-p.ended:
			switch {
			case ev.stopped: // it may be continued, or its time will be up
				continue
			case ev.cut:
				return 0, ErrEnded
			case done == nil:
				return 0, context.Cause(ctx)
			}
			return ev.code, nil
		case <-done:
			p.reaper.kill(p.pid)
			done = nil
		}
	}
}

func openNull() (int, error) {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("/dev/null: %w", err)
	}
	return null, nil
}
