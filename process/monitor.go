package process

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A monitor leads the session of a terminal that the child has of its own. The
// kernel stops no job whose parent is in another session: without a parent in its
// own, ctrl-Z would do nothing to the child ("orphaned process group", POSIX.1-2024,
// XBD 3.264). It is our own program, started again with the child's user, environment,
// working folder and privileges, and supervises the child as we would: it is stopped
// and ends as the child does, so that it stands for the child to us. sudo has one for
// the same reason.
//
// A pipe tells it what no signal could: a byte is to kill the child's group, the
// end of the pipe that we have vanished.

// monitored gives what starts the monitor of the child.
func (s Spec) monitored(w *wiring) (Spec, error) {
	scr := w.screen
	if scr == nil {
		return s, nil
	}
	if _, err := unix.FcntlInt(uintptr(scr.monitor), unix.F_SETFD, 0); err != nil {
		return s, fmt.Errorf("pipe: %w", err)
	}
	s.Argv = slices.Concat(s.Streams.Monitor, []string{strconv.Itoa(scr.monitor), s.Path}, s.Argv)
	s.Path = "/proc/self/exe"
	return s, nil
}

// kill has the monitor kill the child's process group.
func (s *screen) kill() {
	_, _ = unix.Write(s.control, []byte{'k'})
}

// Monitor is the monitor's part. args are what follows Streams.Monitor, env the
// child's environment, signals and core as those of Supervise and Guard. It returns
// when the child has ended, as Supervise does.
func Monitor(args, env []string, signals chan os.Signal, core *unix.Rlimit, log *slog.Logger) (int, error) {
	if len(args) < 3 {
		return 0, syscall.EINVAL
	}
	fd, err := strconv.Atoi(args[0])
	if err != nil || fd < 3 {
		return 0, syscall.EINVAL
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return 0, err
	}
	Notify(signals)
	kill := make(chan struct{})
	go obey(fd, signals, kill)
	return Supervise(Spec{
		Path: args[1], Argv: args[2:], Env: env, Core: core, Leave: true, Log: log, kill: kill,
	}, signals)
}

// obey does what the pipe to the monitor says.
func obey(fd int, signals chan<- os.Signal, kill chan<- struct{}) {
	n, err := unix.Read(fd, make([]byte, 1))
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(fd, make([]byte, 1))
	}
	if n <= 0 { // we are alone, and end as a janitor would have it
		signals <- syscall.SIGTERM
		<-time.After(groupGrace - deathWait) // before the janitor loses patience with us
	}
	close(kill)
	signals <- syscall.SIGTERM // for a child that has ended already, and its group has not
}
