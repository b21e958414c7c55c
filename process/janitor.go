package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A janitor is our own program, started again as a process that outlives us for
// as long as it takes to clean up when we vanish: by SIGKILL, by the kernel for
// want of memory, by a panic. It has nothing of ours but a socket, its orders with the
// descriptors that belong to them, and one of the child, and idles until the socket
// ends: we are gone then. When we end in good order we end it first.
//
// It cannot help when we are process 1: the kernel ends it with us then.

// The messages to a janitor: the kind, and what belongs to it.
const (
	sayOrders = 'o' // what the program wants to be told when we are gone
	sayChild  = 'c' // the child's number, with a pidfd of it
)

// maxOrders is far below what the kernel lets wait in a socket by default.
const maxOrders = 64 << 10

// MaxDescriptors is how many descriptors may go with orders (unix(7), SCM_RIGHTS).
const MaxDescriptors = 253

// Janitor is what a supervisor knows of its janitor.
type Janitor struct {
	conn, pid int
}

// StartJanitor starts our own program again with argv, whose process calls
// [Attend], and which is given orders. It has a session of its own, so
// no key of a terminal reaches it, the folder / and an empty environment; its
// standard input is the socket, and of ours it has only standard error.
//
// The error is one of the kernel's; without /proc there is no way to start it.
// It must be called where no other child of ours is being waited for, or before
// there is one, and [Janitor.Dismiss] before we end.
func StartJanitor(argv []string, orders []byte) (*Janitor, error) {
	conn, pid, err := startHelper(argv, 2)
	if err != nil {
		return nil, err
	}
	j := &Janitor{conn: conn, pid: pid}
	if err := j.Order(orders); err != nil {
		j.Dismiss()
		return nil, err
	}
	return j, nil
}

// Order gives other orders, in the place of those before, and descriptors that belong
// to them: at most [MaxDescriptors], which stay ours. A nil janitor hears nothing. The
// error is the kernel's; the orders before stand then.
func (j *Janitor) Order(orders []byte, descriptors ...int) error {
	if j == nil {
		return nil
	}
	err := error(syscall.EMSGSIZE)
	if len(orders) <= maxOrders {
		err = j.say(append([]byte{sayOrders}, orders...), descriptors...)
	}
	if err != nil {
		return fmt.Errorf("orders: %w", err)
	}
	return nil
}

func (j *Janitor) say(message []byte, descriptors ...int) error {
	var rights []byte
	if len(descriptors) > 0 {
		rights = unix.UnixRights(descriptors...)
	}
	return unix.Sendmsg(j.conn, message, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
}

// entrust hands the child over. Without a pidfd the janitor would have to
// trust a number, and PDEATHSIG ends the child.
func (j *Janitor) entrust(g group) bool {
	if j == nil || g.fd < 0 {
		return false
	}
	return j.say(binary.LittleEndian.AppendUint64([]byte{sayChild}, uint64(g.leader)), g.fd) == nil
}

// Dismiss ends the janitor and reaps it; nil has none to end. What it was to clean
// up is ours then. It idles, so there is nothing to be said: it is killed. It must be
// called where nobody waits for children.
func (j *Janitor) Dismiss() {
	if j == nil {
		return
	}
	// It may have been killed by others, and reaped with other orphans: then its
	// number is no longer that of a child of ours.
	if pid, _ := j.wait(syscall.WNOHANG); pid == 0 {
		_ = syscall.Kill(j.pid, syscall.SIGKILL)
		_, _ = j.wait(0)
	}
	_ = unix.Close(j.conn)
}

func (j *Janitor) wait(options int) (int, error) {
	for {
		pid, err := syscall.Wait4(j.pid, nil, options, nil)
		if !errors.Is(err, syscall.EINTR) {
			return pid, err
		}
	}
}

// Left is what a supervisor that vanished has left to its janitor.
type Left struct {
	Orders      []byte
	Descriptors []int // that came with the orders
	child       group // leader 0: there was none yet
}

// IsJanitor reports whether standard input can be what [StartJanitor] gives.
func IsJanitor() bool {
	kind, err := unix.GetsockoptInt(0, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_SEQPACKET
}

// Attend is the janitor's part: it waits until the supervisor has vanished, and
// tells what it left. No signal that asks a program to end ends a janitor: a service
// manager sends that to all processes at once.
func Attend() Left {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	_ = unix.CloseRange(3, ^uint(0), 0) // what we inherited is for the child
	left := Left{child: group{fd: -1}}
	buf, oob := make([]byte, 1+maxOrders), make([]byte, unix.CmsgSpace(4*MaxDescriptors))
	for {
		n, rights, _, _, err := unix.Recvmsg(0, buf, oob, unix.MSG_CMSG_CLOEXEC)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || n == 0:
			return left
		case buf[0] == sayOrders:
			for _, fd := range left.Descriptors {
				_ = unix.Close(fd)
			}
			left.Orders, left.Descriptors = append([]byte(nil), buf[1:n]...), received(oob[:rights])
		case buf[0] == sayChild && n == 9: // a new one after a restart
			left.child.close()
			left.child = group{leader: int(binary.LittleEndian.Uint64(buf[1:n])), fd: -1}
			if fds := received(oob[:rights]); len(fds) == 1 {
				left.child.fd = fds[0]
			}
		}
	}
}

// received gives the descriptors of a message.
func received(oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil
	}
	return fds
}

// EndChild ends the child and its process group: a SIGTERM, and after a second
// at most a SIGKILL.
func (l Left) EndChild() {
	g := l.child
	gone := func() bool { return g.leaderEnded() && g.empty() }
	if g.leader == 0 || gone() {
		return
	}
	g.ask()
	if !waitFor(groupGrace, gone) {
		_ = g.signal(syscall.SIGKILL)
		g.killLeader()
		waitFor(deathWait, gone)
	}
}

// waitFor waits until ok, and tells whether it came to that.
func waitFor(d time.Duration, ok func() bool) bool {
	tick := time.NewTicker(groupTick)
	defer tick.Stop()
	limit := time.NewTimer(d)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			return false
		}
	}
	return true
}
