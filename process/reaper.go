package process

import (
	"errors"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reaper is the one owner of wait(2) while there are children. It reaps whatever
// ends, and tells of those that it has started.
//
// A process is looked at first and reaped under the lock under which others are
// started, so that a number means the same process for as long as somebody is
// entered under it, however soon the kernel gives it away again.
type reaper struct {
	mu     sync.Mutex
	told   map[int]chan<- event // who hears of a process
	ending bool                 // the child has ended: what else was started is killed
}

// event is a change of a process's state.
type event struct {
	stopped bool
	cut     bool // it was killed because the child had ended
	code    int
}

// start calls fork, and has to told of what becomes of the process.
func (r *reaper) start(to chan<- event, fork func() (pid int, err error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err != nil {
		return err
	}
	if r.told == nil {
		r.told = map[int]chan<- event{}
	}
	r.told[pid] = to
	return nil
}

// signal sends n to a process that was started; ESRCH when it was reaped.
func (r *reaper) signal(pid int, n syscall.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[pid] == nil {
		return syscall.ESRCH
	}
	return syscall.Kill(pid, n)
}

// kill kills a process that was started and not reaped yet, and its group.
func (r *reaper) kill(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[pid] != nil {
		killBoth(pid)
	}
}

// killBoth kills a process, which may have left its group, and the group.
func killBoth(pid int) {
	_, _ = syscall.Kill(-pid, syscall.SIGKILL), syscall.Kill(pid, syscall.SIGKILL)
}

// reap reaps whatever ends, until main, the child, has: whoever wants more to be
// reaped starts it again, or calls reapEnded.
func (r *reaper) reap(main int) {
	for {
		pid, err := peek(unix.WEXITED | unix.WSTOPPED)
		if err != nil { // somebody else has reaped it
			r.lost(main)
			return
		}
		if r.take(pid, main) && pid == main {
			return
		}
	}
}

// reapEnded reaps all children that have ended, without waiting for one. It is
// called where reap has returned, so there is still one owner of wait.
func (r *reaper) reapEnded() {
	for {
		pid, err := peek(unix.WEXITED | unix.WNOHANG)
		if pid == 0 || err != nil {
			return
		}
		r.take(pid, 0)
	}
}

// peek gives a child whose state has changed, and leaves it in that state
// (waitid(2), WNOWAIT); 0 when there is none and options say not to wait.
func peek(options int) (int, error) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, options|unix.WNOWAIT, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		// si_pid is the first member of a union that is aligned like a pointer and
		// follows three numbers (sigaction(2)); x/sys/unix does not name it.
		const align = unsafe.Sizeof(uintptr(0))
		const at = (3*unsafe.Sizeof(int32(0)) + align - 1) / align * align
		return int(*(*int32)(unsafe.Add(unsafe.Pointer(&info), at))), err
	}
}

// take reaps a process and tells who wants to know; of a stop it tells of main
// only. It reports whether the process has ended.
func (r *reaper) take(pid, main int) bool {
	ev, to, ok := r.wait(pid)
	if ok && to != nil && (!ev.stopped || pid == main) {
		to <- ev
	}
	return ok && !ev.stopped
}

// wait reaps a process, and gives who is to be told. It is not ok when there was
// nothing to be reaped: the process was continued meanwhile, or is one that could not
// be started, whose number syscall.ForkExec waits for.
func (r *reaper) wait(pid int) (ev event, to chan<- event, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ws syscall.WaitStatus
	if got, err := syscall.Wait4(pid, &ws, syscall.WUNTRACED|syscall.WNOHANG, nil); err != nil || got != pid {
		return event{}, nil, false
	}
	to = r.told[pid]
	switch {
	case ws.Stopped():
		return event{stopped: true}, to, true
	case ws.Signaled():
		ev = event{code: 128 + int(ws.Signal()), cut: r.ending && ws.Signal() == syscall.SIGKILL}
	default:
		ev = event{code: ws.ExitStatus()}
	}
	delete(r.told, pid)
	return ev, to, true
}

// lost is for a process whose end somebody else has reaped.
func (r *reaper) lost(pid int) {
	r.mu.Lock()
	to := r.told[pid]
	delete(r.told, pid)
	r.mu.Unlock()
	if to != nil {
		to <- event{code: 255}
	}
}

// endRest kills, with their groups, the others that were started when the child
// has ended, and reaps them.
func (r *reaper) endRest() {
	r.mu.Lock()
	r.ending = true
	for pid := range r.told {
		killBoth(pid)
	}
	r.mu.Unlock()
	waitFor(deathWait, func() bool {
		r.reapEnded()
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.told) == 0
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, to := range r.told {
		to <- event{cut: true} // which is buffered
	}
	clear(r.told)
}
