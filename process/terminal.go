package process

import (
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is the controlling terminal on our standard input, when our process
// group has its foreground. Otherwise it is nil, and every method does nothing.
type terminal struct{ fd int }

// openForeground finds out whether we have the terminal. A child in a group of
// its own needs the foreground, or it would be stopped when it reads.
func openForeground() *terminal {
	group, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return &terminal{fd: -1}
	}
	return &terminal{fd: 0}
}

func (t *terminal) ours() bool { return t.fd >= 0 }

// give makes group the foreground group. SIGTTOU is ignored meanwhile: giving
// the terminal away from the background would stop us.
func (t *terminal) give(group int) {
	if !t.ours() {
		return
	}
	signal.Ignore(syscall.SIGTTOU)
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group)
	signal.Reset(syscall.SIGTTOU)
}

// close takes the terminal back when the child has ended.
func (t *terminal) close() { t.give(unix.Getpgrp()) }

func containsSlash(s string) bool { return strings.Contains(s, "/") }

// splitPath splits a PATH; an empty element is the working folder (POSIX).
func splitPath(path string) []string {
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	dirs := strings.Split(path, ":")
	for i, d := range dirs {
		if d == "" {
			dirs[i] = "."
		}
	}
	return dirs
}
