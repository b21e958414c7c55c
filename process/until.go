package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// WhenGone gives a channel that is closed when the process pid, which need not be a
// child of ours, has ended; at once when there is none. Until then, or until ctx ends
// and nobody waits any more, it costs a descriptor and no time: the kernel tells
// (pidfd_open(2)), whoever the process belongs to.
//
// With signal it can be sent a signal for as long as it is waited for; no other process
// that gets its number afterwards ever is (pidfd_send_signal(2)). Its error is an errno:
// ESRCH for one that has ended.
//
// The error is EINVAL for a thread that leads no process, ENOSYS or EPERM where the
// kernel, or a filter on it, has no such descriptors.
func WhenGone(ctx context.Context, pid int) (gone <-chan struct{}, signal func(syscall.Signal) error, err error) {
	over := make(chan struct{})
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		close(over)
		return over, func(syscall.Signal) error { return syscall.ESRCH }, nil
	}
	if errors.Is(err, unix.EINVAL) { // a thread, or a kernel before 5.10
		if fd, err = unix.PidfdOpen(pid, 0); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("pidfd_open: %w", err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	go func() {
		defer file.Close()
		defer stop()
		if raw.Read(ended) == nil {
			close(over)
		}
	}()
	return over, func(n syscall.Signal) error { return signalTo(raw, n) }, nil
}

// signalTo sends a signal to the process of a pidfd.
func signalTo(pidfd syscall.RawConn, n syscall.Signal) error {
	err := error(syscall.ESRCH)
	_ = pidfd.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), n, nil, 0) }) // closed, once it has ended
	return err
}

// ended tells that the process of a pidfd has ended: it can be read then.
func ended(pidfd uintptr) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small
	n, err := unix.Poll(fds, 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// lookAgain is how often a file is looked for where the kernel does not tell.
const lookAgain = time.Second

// WhenThere gives a channel that is closed when path, whatever it is, is there; at
// once when it is already. The kernel tells (inotify(7)); where it has no more
// watches to give, or the folder is taken away meanwhile, we look once a second. After
// ctx has ended nobody waits any more.
//
// The error is about the folder that path is in: it must be there.
func WhenThere(ctx context.Context, path string) (<-chan struct{}, error) {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "watch", Path: dir, Err: syscall.ENOTDIR}
	}
	if err == nil {
		err = unix.Access(dir, unix.X_OK)
	}
	if err != nil {
		return nil, err
	}
	there := make(chan struct{})
	w := watchFolder(dir) // from here on nothing is missed
	stop := context.AfterFunc(ctx, w.interrupt)
	go func() {
		defer w.close()
		defer stop()
		for !exists(path) {
			if !w.wait(ctx) {
				return
			}
		}
		close(there)
	}()
	return there, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// watch is where the kernel tells that something happens in a folder.
type watch struct {
	dir  string
	file *os.File // of inotify(7)
	fd   int      // the same, while file is open
	lost bool     // the kernel does not tell, or not any more
}

func watchFolder(dir string) *watch {
	w := &watch{dir: dir}
	var err error
	if w.fd, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		w.lost = true
		return w
	}
	w.file = os.NewFile(uintptr(w.fd), "inotify") //nolint:gosec // a descriptor is not negative
	w.lost = w.add() != nil
	return w
}

// add asks to be told of names that appear, and of the folder's own end. For a folder
// that is being watched it changes nothing; one that was made anew it finds.
func (w *watch) add() error {
	_, err := unix.InotifyAddWatch(w.fd, w.dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONLYDIR)
	return err
}

// interrupt ends a wait that has the kernel to wait for.
func (w *watch) interrupt() {
	if w.file != nil {
		_ = w.file.SetReadDeadline(time.Unix(1, 0))
	}
}

func (w *watch) close() {
	if w.file != nil {
		_ = w.file.Close()
	}
}

// wait waits for the next moment to look, and reports whether anybody still wants to.
func (w *watch) wait(ctx context.Context) bool {
	if !w.lost {
		_, err := w.file.Read(make([]byte, 4096))
		w.lost = err != nil || w.add() != nil
		return ctx.Err() == nil
	}
	t := time.NewTimer(lookAgain)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
