// Package process starts and supervises one child the way an init should. It
// knows nothing of secrets.
//
// The contract: every signal that reached us is passed on, except those that
// are about ourselves (SIGCHLD, SIGURG, SIGPIPE); the child's end decides, with
// its own exit code or 128+n for a signal; orphans become ours, and are reaped;
// the child is its own process group, and has the terminal when we have it; what
// it leaves in that group is ended too, daemons in sessions of their own are not.
// When we vanish the child is ended: by a [Janitor], or else by the kernel.
//
// There is one owner of wait(2): nothing in this program may use os/exec or
// os.Process.Wait beside this package, because a reaper of all children would
// steal their exit status.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Spec is what to start.
type Spec struct {
	Path string   // of the executable
	Argv []string // with the name as Argv[0]
	Env  []string // NAME=VALUE, complete

	// Inherit are descriptors that the child gets under the same number, besides
	// the three standard ones. They are inherited from then on by everything
	// that is started.
	Inherit []int

	// KillTimeout is how long the child may take to end after a SIGTERM before
	// its whole group is killed; 0 is for ever. A second SIGTERM kills it at once.
	KillTimeout time.Duration

	Privileges Privileges   // of the child
	Core       *unix.Rlimit // of core files, for the child; nil: ours, see Guard

	// Here tells that the calling thread has a mount namespace of its own, which
	// is for the child. The thread loses then what the child shall not have.
	Here bool

	// Leave makes / our working folder once the child, which keeps ours, is there.
	Leave bool

	// Janitor, which may be nil, is told of the child.
	Janitor *Janitor

	// Streams, which may be nil, take what the child writes.
	Streams *Streams

	Log *slog.Logger

	kill <-chan struct{} // closed when the child's group is to be killed
}

// Supervise starts the child and returns its exit code when it has ended:
// 0 to 255, or 128+n when signal n ended it. What it left in its process group
// has ended then too: it gets a SIGTERM, and after a second, or the kill timeout
// where that is shorter, a SIGKILL. signals is where the caller receives signals;
// it must be buffered. The error is the one from starting the child, as an errno.
//
// When we vanish the kernel sends the child a SIGTERM if there is a janitor that
// will see to the rest, else a SIGKILL (PR_SET_PDEATHSIG, prctl(2)). A child that is
// set-user-ID, or takes on another user by itself, loses that.
//
// With Streams, what the child wrote may not be passed on yet, see [Streams.Wait].
func Supervise(s Spec, signals <-chan os.Signal) (int, error) {
	if err := s.share(); err != nil {
		return 0, err
	}
	// The death signal comes when the thread ends that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	wires, err := s.wire()
	if err != nil {
		return 0, err
	}
	starter, err := s.monitored(wires)
	if err != nil {
		wires.abandon()
		return 0, err
	}
	death := syscall.SIGKILL
	if s.Janitor != nil || wires.screen != nil { // a monitor sees to the rest too
		death = syscall.SIGTERM
	}
	// Orphans become ours also when we are not process 1. An error means a kernel
	// before Linux 3.4.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	tty := openTerminal()
	defer tty.close()
	ended := make(chan struct{})
	defer close(ended)
	g := group{fd: -1}
	lent := wires.screen == nil && tty.foreground()
	attr := &syscall.SysProcAttr{Setpgid: true, Foreground: lent, Ctty: tty.fd, Pdeathsig: death, PidFD: &g.fd}
	if wires.screen != nil {
		attr = wires.session(death, &g.fd)
	}
	g.leader, err = starter.fork(&syscall.ProcAttr{Env: s.Env, Files: wires.files, Sys: attr}, ended)
	if err != nil {
		wires.abandon()
		return 0, err
	}
	defer g.close()
	defer wires.end()
	wires.start()
	tty.lent = lent
	if s.Leave {
		leave()
	}
	events := make(chan event)
	go reap(g.leader, events)
	s.Janitor.entrust(g)
	c := &child{spec: s, group: g, tty: tty, screen: wires.screen}
	code := c.watch(signals, events)
	if s.Streams != nil && !c.asked.IsZero() && s.KillTimeout > 0 {
		s.Streams.until = c.asked.Add(s.KillTimeout)
	}
	return code, nil
}

// Command starts a program beside the child, before there is one, and returns its
// exit code when it has ended, as Supervise does. It is in a process group of its
// own, reads nothing, and writes whatever it says to our standard error, or to that
// of Streams, for which the caller waits. When ctx
// ends the group is killed, and the error is the cause of ctx; any other error
// is the one from starting, as an errno. What the program leaves running when it
// ends by itself is left alone. When we vanish the kernel kills it.
//
// The program is started from the calling goroutine's thread, so it sees a mount
// namespace that this thread alone has.
func Command(ctx context.Context, s Spec) (int, error) {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/null: %w", err)
	}
	defer func() { _ = unix.Close(null) }()
	runtime.LockOSThread() // as in Supervise
	defer runtime.UnlockOSThread()
	g := group{fd: -1}
	wires := &wiring{files: []uintptr{uintptr(null), 2, 2}}
	if s.Streams != nil {
		if err := s.pipe(wires, s.Streams.Stderr, toStderr, 1, 2); err != nil {
			wires.abandon()
			return 0, err
		}
	}
	g.leader, err = s.start(&syscall.ProcAttr{
		Env:   s.Env,
		Files: wires.files,
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		wires.abandon()
		return 0, err
	}
	defer wires.end()
	wires.start()
	events := make(chan event)
	go reap(g.leader, events)
	c := &child{spec: s, group: g}
	done := ctx.Done()
	for {
		select {
		case ev := <-events:
			if ev.stopped {
				continue // it may be continued, or its time will be up
			}
			if done == nil {
				return 0, context.Cause(ctx)
			}
			return ev.code, nil
		case <-done:
			c.killGroup()
			done = nil
		}
	}
}

// share clears close-on-exec. The only child that is ever started is the one
// that shall have them, so nobody else can inherit them in between.
func (s Spec) share() error {
	for _, fd := range s.Inherit {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// event is a change of the child's state.
type event struct {
	stopped bool
	code    int
}

// reap is the one owner of wait. It reaps whatever ends and tells of the main
// child only; when that has ended it stops reaping, because we end then too.
func reap(main int, events chan<- event) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WUNTRACED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			events <- event{code: 255}
			return
		case pid != main:
			continue
		case ws.Stopped():
			events <- event{stopped: true}
		case ws.Signaled():
			events <- event{code: 128 + int(ws.Signal())}
			return
		case ws.Exited():
			events <- event{code: ws.ExitStatus()}
			return
		}
	}
}

type child struct {
	spec  Spec
	group group
	tty   *terminal

	screen *screen // the child's own terminal; nil: it has none

	asked time.Time        // when the first SIGTERM came
	late  <-chan time.Time // the kill timeout since then
}

// watch passes signals on until the child has ended, and ends its group then.
func (c *child) watch(signals <-chan os.Signal, events <-chan event) int {
	for {
		select {
		case ev := <-events:
			if ev.stopped {
				c.stopWithChild()
				continue
			}
			c.endGroup(signals)
			return ev.code
		case <-c.late:
			c.killGroup() // before the log, which a full pipe may block
			c.spec.Log.Warn("the command did not end in time; its process group was killed",
				slog.String("kill_timeout", c.spec.KillTimeout.String()))
			c.late = nil
		case <-c.spec.kill:
			c.killGroup()
			c.spec.kill = nil
		case sig := <-signals:
			if n, ok := sig.(syscall.Signal); ok && Forwarded(n) {
				c.signal(n)
			}
		}
	}
}

// signal does what a signal to us asks for.
func (c *child) signal(n syscall.Signal) {
	switch n {
	case syscall.SIGTERM:
		c.terminate()
	case syscall.SIGCONT:
		c.resume()
	case syscall.SIGWINCH:
		if !c.screen.resize() { // that tells the child
			c.forward(n)
		}
	default:
		c.forward(n)
	}
}

// sameTerm is how close together two SIGTERMs are one request: timeout(1) sends
// one to us and one more to our group.
const sameTerm = 250 * time.Millisecond

// terminate passes the first SIGTERM on, and kills the group at a second one.
func (c *child) terminate() {
	switch {
	case c.asked.IsZero():
		c.asked = time.Now()
		if c.spec.KillTimeout > 0 {
			c.late = time.After(c.spec.KillTimeout)
		}
	case time.Since(c.asked) > sameTerm:
		c.killGroup()
		c.spec.Log.Warn("a second SIGTERM came; the command's process group was killed")
		c.late = nil
		return
	}
	c.forward(syscall.SIGTERM)
}

// forward passes one signal on. A terminal stop goes to the whole group, as the
// terminal would send it; everything else to the child, as kill(1) would.
func (c *child) forward(n syscall.Signal) {
	target := c.group.leader
	if n == syscall.SIGTSTP || n == syscall.SIGCONT {
		target = -target
	}
	if err := syscall.Kill(target, n); err != nil && !errors.Is(err, syscall.ESRCH) {
		c.spec.Log.Warn("a signal could not be passed on", slog.String("signal", n.String()), slog.String("why", err.Error()))
	}
}

func (c *child) killGroup() {
	if c.screen != nil {
		c.screen.kill()
		_ = c.group.signal(syscall.SIGCONT) // should the monitor be stopped
		return
	}
	_ = c.group.signal(syscall.SIGKILL)
	_ = syscall.Kill(c.group.leader, syscall.SIGKILL) // the child may have left its group
}

// stopWithChild stops us too when the child was stopped, so that the shell that
// started us gets its prompt back. The SIGCONT that ends our stop is passed on
// like any other. As process 1 nobody could continue us.
func (c *child) stopWithChild() {
	if os.Getpid() == 1 || !c.tty.ours() {
		return
	}
	c.screen.leave()
	c.tty.takeBack()
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
}

// resume continues the child, in the foreground if that is where we are: a
// shell's bg continues us without it, a later fg comes as one more SIGCONT.
func (c *child) resume() {
	if c.screen != nil {
		c.screen.enter()
	} else {
		c.tty.lend(c.group.leader)
	}
	c.forward(syscall.SIGCONT)
}

// Forwarded reports whether a signal is passed on to the child. SIGURG is the
// Go runtime's own, SIGCHLD is about the child, SIGPIPE about our log; SIGTTIN
// and SIGTTOU are about our own use of the terminal.
func Forwarded(n syscall.Signal) bool {
	switch n {
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGKILL, syscall.SIGSTOP:
		return false
	}
	return true
}

// Ending lists the signals that end a program which does nothing about them
// and that are used to ask it to end.
func Ending() []os.Signal {
	return []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM}
}

// Notify sends to c the given signals, or all there are when none is given,
// but leaves alone those that our parent had us ignore (nohup), so that the
// child inherits that too; of SIGHUP, SIGINT, SIGTSTP, SIGTTIN and SIGTTOU that
// is, for the Go runtime has handlers of its own for the others. SIGURG and SIGCHLD are never wanted, and a burst of
// them would fill the channel. SIGPROF and 32 to 34 are kept by the Go runtime
// and never come (os/signal).
func Notify(c chan<- os.Signal, which ...os.Signal) {
	if len(which) == 0 {
		for n := syscall.Signal(1); n <= 64; n++ {
			which = append(which, n)
		}
	}
	for _, s := range which {
		if !ignoredAtStart(s) && s != syscall.SIGURG && s != syscall.SIGCHLD {
			signal.Notify(c, s)
		}
	}
}
