package process

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is our controlling terminal; fd is -1 when there is none, and every
// method does nothing then.
//
// A child in a group of its own needs the foreground, or it would be stopped
// when it reads. So the foreground is lent to the child when we have it, taken
// back when the child stops or ends, and lent again when we are continued in the
// foreground. While we are a background job it belongs to the shell and is left
// alone: a child that reads is stopped, and we with it, until the shell's fg.
type terminal struct {
	fd     int
	opened bool // fd is our own
	lent   bool // the child's group has the foreground, or may give it away
}

// openTerminal finds our terminal: /dev/tty, which is ours whatever standard
// input is, or else standard input, for an image without that device.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	t := &terminal{fd: fd, opened: err == nil}
	if err != nil {
		t.fd = 0
	}
	if _, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP); err != nil { // it is not ours
		t.drop()
	}
	return t
}

func (t *terminal) ours() bool { return t.fd >= 0 }

// foreground reports whether our own process group has the foreground.
func (t *terminal) foreground() bool {
	if !t.ours() {
		return false
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// lend gives the foreground to the child's group, if we have it.
func (t *terminal) lend(group int) {
	if t.ours() && !t.lent && t.foreground() {
		t.lent = t.give(group)
	}
}

// takeBack makes us the foreground again, if we had lent it.
func (t *terminal) takeBack() {
	if t.ours() && t.lent {
		t.lent = !t.give(unix.Getpgrp())
	}
}

// give makes group the foreground group. SIGTTOU is blocked meanwhile: giving
// the terminal away from the background would stop us. Its disposition stays
// as it is, for os/signal has only one for the whole program.
func (t *terminal) give(group int) bool {
	return withoutTTOU(func() error { return unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) }) == nil
}

// withoutTTOU calls f while SIGTTOU is blocked on its thread.
func withoutTTOU(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block, before unix.Sigset_t
	block.Val[0] = 1 << (syscall.SIGTTOU - 1) // in the first word, also where that has 32 bits
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, &before); err != nil {
		return err
	}
	err := f()
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	return err
}

// close takes the terminal back when the child has ended.
func (t *terminal) close() {
	t.takeBack()
	t.drop()
}

func (t *terminal) drop() {
	if t.opened {
		_ = unix.Close(t.fd)
	}
	t.fd, t.opened = -1, false
}
