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
	// the three standard ones. Nothing else that is started gets them.
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

	// Control, which may be nil, is what others act on the child with while it runs.
	Control *Control

	// Streams, which may be nil, take what the child writes.
	Streams *Streams

	Log *slog.Logger

	kill <-chan struct{} // closed when the child's group is to be killed
}

// Supervise starts the child and returns its exit code when it has ended:
// 0 to 255, or 128+n when signal n ended it. What it left in its process group
// has ended then too: it gets a SIGTERM, and after a second, or the kill timeout
// where that is shorter, a SIGKILL. signals is where the caller receives signals;
// it must be buffered. The error is the one from starting the child, as an errno,
// be it the first one or, after a [Control.Restart], another.
//
// When we vanish the kernel sends the child a SIGTERM if there is a janitor that
// will see to the rest, else a SIGKILL (PR_SET_PDEATHSIG, prctl(2)). A child that is
// set-user-ID, or takes on another user by itself, loses that.
//
// With Streams, what the child wrote may not be passed on yet, see [Streams.Wait].
func Supervise(s Spec, signals <-chan os.Signal) (int, error) {
	if s.Control == nil {
		s.Control = NewControl()
	}
	// The death signal comes when the thread ends that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Orphans become ours also when we are not process 1. An error means a kernel
	// before Linux 3.4.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	c := &child{spec: s, tty: openTerminal(), reaper: &reaper{}, group: group{fd: -1}}
	defer c.tty.close()
	if err := c.start(s.Env); err != nil {
		return 0, err
	}
	defer c.release()
	s.Env, c.spec.Env = nil, nil // a restart brings its own
	c.leave()
	close(s.Control.started)
	code, err := c.watch(signals)
	if s.Streams != nil && !c.asked.IsZero() && s.KillTimeout > 0 {
		s.Streams.until = c.asked.Add(s.KillTimeout)
	}
	return code, err
}

// start starts the child, from now on the one that is watched. It is called from the
// thread that was locked to Supervise.
func (c *child) start(env []string) error {
	s := c.spec
	s.Env = env
	if err := s.share(); err != nil {
		return err
	}
	defer s.unshare()
	wires, err := s.wire()
	if err != nil {
		return err
	}
	if err = c.connect(s, wires); err != nil {
		wires.abandon()
	}
	return err
}

// connect starts the child, or the monitor of its terminal, with its streams.
func (c *child) connect(s Spec, wires *wiring) error {
	starter, err := s.monitored(wires)
	if err != nil {
		return err
	}
	death := syscall.SIGKILL
	if s.Janitor != nil || wires.screen != nil { // a monitor sees to the rest too
		death = syscall.SIGTERM
	}
	g := group{fd: -1}
	ended := make(chan struct{})
	events := make(chan event)
	lent := wires.screen == nil && c.tty.foreground()
	attr := &syscall.SysProcAttr{Setpgid: true, Foreground: lent, Ctty: c.tty.fd, Pdeathsig: death, PidFD: &g.fd}
	if wires.screen != nil {
		attr = wires.session(death, &g.fd)
	}
	err = c.reaper.start(events, func() (pid int, err error) {
		g.leader, err = starter.fork(&syscall.ProcAttr{Env: s.Env, Files: wires.files, Sys: attr}, ended)
		return g.leader, err
	})
	if err != nil {
		return err
	}
	wires.start()
	c.tty.lent = lent
	c.group, c.events, c.ended, c.wires, c.screen = g, events, ended, wires, wires.screen
	go c.reaper.reap(g.leader)
	s.Janitor.entrust(g)
	return nil
}

// release frees what belongs to a child that has ended; twice does no harm.
func (c *child) release() {
	c.wires.end()
	c.wires, c.screen = nil, nil
	c.group.close()
	c.group.fd = -1
	if c.ended != nil {
		close(c.ended)
		c.ended = nil
	}
}

// Command starts a program before there is a child, and returns its exit code when
// it has ended, as Supervise does; while there is one, [Control.Command] is for that.
// It is in a process group of its own, reads nothing, and writes whatever it says to
// our standard error, or to that of Streams, for which the caller waits. When ctx
// ends the group is killed, and the error is the cause of ctx; any other error
// is the one from starting, as an errno. What the program leaves running when it
// ends by itself is left alone. When we vanish the kernel kills it.
//
// The program is started from the calling goroutine's thread, so it sees a mount
// namespace that this thread alone has.
func Command(ctx context.Context, s Spec) (int, error) {
	null, err := openNull()
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(null) }()
	runtime.LockOSThread() // as in Supervise
	defer runtime.UnlockOSThread()
	p := &program{reaper: &reaper{}, ended: make(chan event, 1)}
	if err := p.start(s, null); err != nil {
		return 0, err
	}
	go p.reaper.reap(p.pid)
	return p.wait(ctx)
}

// share clears close-on-exec, for as long as it takes to start the child: nothing
// else is started meanwhile, so nobody else inherits them.
func (s Spec) share() error {
	for _, fd := range s.Inherit {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return nil
}

func (s Spec) unshare() {
	for _, fd := range s.Inherit {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
	}
}

// child is what Supervise knows. Its goroutine alone touches it.
type child struct {
	spec   Spec
	tty    *terminal
	reaper *reaper
	folder string // that we were started in, when we have left it

	group  group
	events <-chan event
	ended  chan struct{} // closed when it has ended, for the thread that started it
	wires  *wiring
	screen *screen // the child's own terminal; nil: it has none

	asked   time.Time        // when the first SIGTERM came
	late    <-chan time.Time // the kill timeout since then, or since a restart began
	restart *restart         // the one under way
	leaving bool             // a restart was given up because we were asked to end
}

// watch passes signals on until the child has ended, and ends its group then.
func (c *child) watch(signals <-chan os.Signal) (int, error) {
	for {
		select {
		case ev := <-c.events:
			if ev.stopped {
				c.stopWithChild()
				continue
			}
			again, err := c.afterEnd(signals)
			if err != nil {
				return 0, err
			}
			if !again {
				return ev.code, nil
			}
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
		case call := <-c.spec.Control.calls:
			call(c)
		case r := <-c.restarts():
			c.begin(r)
		}
	}
}

// signal does what a signal to us asks for.
func (c *child) signal(n syscall.Signal) {
	if restarting := c.restart != nil; c.heed(n) && restarting && n == syscall.SIGTERM {
		c.askedToEnd() // the child has had its SIGTERM
		return
	}
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
		c.askedToEnd()
	case time.Since(c.asked) > sameTerm:
		c.killGroup()
		c.spec.Log.Warn("a second SIGTERM came; the command's process group was killed")
		c.late = nil
		return
	}
	c.forward(syscall.SIGTERM)
}

// askedToEnd counts the kill timeout from now on.
func (c *child) askedToEnd() {
	c.asked = time.Now()
	c.setLate()
}

func (c *child) setLate() {
	c.late = nil
	if c.spec.KillTimeout > 0 {
		c.late = time.After(c.spec.KillTimeout)
	}
}

// forward passes one signal on. A terminal stop goes to the whole group, as the
// terminal would send it; everything else to the child, as kill(1) would.
func (c *child) forward(n syscall.Signal) {
	var err error
	if n == syscall.SIGTSTP || n == syscall.SIGCONT {
		err = c.group.signal(n)
	} else {
		err = c.reaper.signal(c.group.leader, n)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
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
	_ = c.reaper.signal(c.group.leader, syscall.SIGKILL) // the child may have left its group
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
