package doctor

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/volume"
)

// kernel tries the features that not every kernel, container or profile has.
// What is missing is a failure only where the plan asks for it.
func (e *exam) kernel() {
	p := e.order.Plan
	memfd := slices.ContainsFunc(p.Files, func(f plan.File) bool { return f.Memfd })
	private := p.Sink.Mount.Or(plan.MountShared) == plan.MountPrivate
	for _, f := range []struct {
		name   string
		needed bool
		try    func() error
	}{
		{"memfd", memfd, tryMemfd},
		{"private mount", private, tryMount},
		{"pidfd", false, tryPidfd},
		{"seccomp", false, trySeccomp},
	} {
		e.feature(f.name, f.needed, f.try())
	}
}

func (e *exam) feature(name string, needed bool, err error) {
	var p *plan.Problem
	switch {
	case err == nil:
		e.ok(stepKernel, name, "works")
	case errors.As(err, &p) && needed:
		e.fail(stepKernel, name, p)
	case needed:
		e.fail(stepKernel, name, &plan.Problem{Code: plan.CodeSink, What: name, Why: plan.PathCause(err), Fix: "use a newer kernel or a wider seccomp profile, or leave it out"})
	case p != nil:
		e.ok(stepKernel, name, "not available, and not asked for: "+p.Why)
	default:
		e.ok(stepKernel, name, "not available, and not asked for: "+plan.PathCause(err))
	}
}

// tryMemfd makes a sealed file in memory (memfd_create(2)).
func tryMemfd() error {
	fd, err := unix.MemfdCreate("secretboot-doctor", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "")
	defer file.Close()
	_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	return err
}

// tryMount mounts a private tmpfs where nobody sees it.
func tryMount() error {
	for _, dir := range []string{"/dev/shm", "/run", "/tmp"} {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			return volume.TryPrivate(dir)
		}
	}
	return volume.TryPrivate("/")
}

// tryPidfd opens a descriptor of a process (pidfd_open(2)).
func tryPidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// trySeccomp puts a filter that allows everything on a thread that ends at once
// (seccomp(2)). Without a capability that takes no_new_privs, which the thread
// takes with it.
func trySeccomp() error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never let go: the thread ends with this goroutine
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			failed <- err
			return
		}
		allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
		program := unix.SockFprog{Len: 1, Filter: &allow}
		_, _, errno := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
		runtime.KeepAlive(&allow)
		if errno != 0 {
			failed <- errno
			return
		}
		failed <- nil
	}()
	return <-failed
}
