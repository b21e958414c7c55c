package process

import (
	"os"
	"os/signal"
	"syscall"
)

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

// Crashing lists the signals that end a program which does nothing about them with a
// core, but for SIGQUIT, which is one of Ending. Sent by another process, such as a service
// manager whose watchdog ran out, they would have Go's runtime print all its stacks and
// end us with code 2, with nothing cleaned up. Notify gets only those that were sent: a
// fault of our own is a panic as before (os/signal).
func Crashing() []os.Signal {
	return []os.Signal{
		syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSTKFLT, syscall.SIGSYS,
	}
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
