package plan

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
)

// Why a signal is refused.
var (
	ErrNoSignal   = errors.New("it is not the name of a signal")
	ErrStops      = errors.New("nothing could go on after SIGSTOP")
	ErrOfLibraryC = errors.New("the C library keeps the signals 32 and 33 for itself")
)

// The real-time signals as kill(1) counts them: the C library has two for itself
// (signal(7)).
const (
	firstSignal  = 1
	minRealTime  = 34
	lastSignal   = 64
	firstLibrary = 32
)

// signals are those with names, without SIG (signal(7)).
func signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{
		"ABRT": syscall.SIGABRT, "ALRM": syscall.SIGALRM, "BUS": syscall.SIGBUS, "CHLD": syscall.SIGCHLD, "CONT": syscall.SIGCONT,
		"FPE": syscall.SIGFPE, "HUP": syscall.SIGHUP, "ILL": syscall.SIGILL, "INT": syscall.SIGINT, "IO": syscall.SIGIO,
		"IOT": syscall.SIGIOT, "KILL": syscall.SIGKILL, "PIPE": syscall.SIGPIPE, "POLL": syscall.SIGPOLL, "PROF": syscall.SIGPROF,
		"PWR": syscall.SIGPWR, "QUIT": syscall.SIGQUIT, "SEGV": syscall.SIGSEGV, "STOP": syscall.SIGSTOP, "SYS": syscall.SIGSYS,
		"TERM": syscall.SIGTERM, "TRAP": syscall.SIGTRAP, "TSTP": syscall.SIGTSTP, "TTIN": syscall.SIGTTIN, "TTOU": syscall.SIGTTOU,
		"URG": syscall.SIGURG, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "VTALRM": syscall.SIGVTALRM,
		"WINCH": syscall.SIGWINCH, "XCPU": syscall.SIGXCPU, "XFSZ": syscall.SIGXFSZ,
		"RTMIN": minRealTime, "RTMAX": lastSignal,
	}
}

// ParseSignal reads a signal that can be sent to a command when a secret changed:
// a name in capitals without SIG, RTMIN+N, RTMAX-N, or a number from 1 to 64. SIGKILL can
// be sent. The error is one of the above, and has nothing of the text.
func ParseSignal(name string) (syscall.Signal, error) {
	n, known := signals()[name]
	if !known {
		n = numbered(name)
	}
	switch {
	case n < firstSignal || n > lastSignal:
		return 0, ErrNoSignal
	case n == syscall.SIGSTOP:
		return 0, ErrStops
	case n >= firstLibrary && n < minRealTime:
		return 0, ErrOfLibraryC
	}
	return n, nil
}

// numbered reads a number, or one that is counted from an end of the real-time
// signals; 0 is none.
func numbered(name string) syscall.Signal {
	digits, base, sign := name, 0, 1
	if rest, ok := strings.CutPrefix(name, "RTMIN+"); ok {
		digits, base = rest, minRealTime
	} else if rest, ok := strings.CutPrefix(name, "RTMAX-"); ok {
		digits, base, sign = rest, lastSignal, -1
	}
	n, err := strconv.ParseUint(digits, 10, 7)
	if err != nil || base > 0 && n > lastSignal-minRealTime {
		return 0
	}
	return syscall.Signal(base + sign*int(n))
}
