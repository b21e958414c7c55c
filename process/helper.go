package process

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// startHelper starts our own program again as a helper, a janitor or a detached
// process: with argv, in a session of its own and the folder /, with standard input
// a socket to conn, standard output /dev/null, and so standard error, unless it is
// given one. The error is one of the kernel's.
func startHelper(argv []string, stderr int) (conn, pid int, err error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, fmt.Errorf("socketpair: %w", err)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, 0, errors.Join(fmt.Errorf("/dev/null: %w", err), unix.Close(ends[0]), unix.Close(ends[1]))
	}
	if stderr < 0 {
		stderr = null
	}
	pid, err = syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
		Dir: "/", Env: helperEnv(),
		Files: []uintptr{uintptr(ends[1]), uintptr(null), uintptr(stderr)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	_, _ = unix.Close(ends[1]), unix.Close(null)
	if err != nil {
		return -1, 0, errors.Join(fmt.Errorf("/proc/self/exe: %w", err), unix.Close(ends[0]))
	}
	return ends[0], pid, nil
}

// helperEnv is the environment of our own program as a helper: the runtime would
// keep files of the cgroup open, and have a thread for each processor.
func helperEnv() []string {
	return []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0", "GOMAXPROCS=1"}
}
