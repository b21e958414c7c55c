package process

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ignoredAtStart reports whether our parent had us ignore a signal. os/signal
// does not know of the terminal's signals, which the runtime leaves as they are, so
// the kernel is asked. The answer is right until somebody asks for the signal.
func ignoredAtStart(s os.Signal) bool {
	n, ok := s.(syscall.Signal)
	return signal.Ignored(s) || ok && action(n) == sigIgn
}

// sigIgn is SIG_IGN.
const sigIgn = 1

// action gives what a signal does; the handler is the first member of the
// kernel's struct on everything that Go runs on but mips (rt_sigaction(2)).
func action(n syscall.Signal) uintptr {
	var old [16]uintptr
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
	if errno != 0 {
		return 0
	}
	return old[0]
}
