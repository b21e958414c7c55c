package process

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// groupGrace is how long what the child leaves in its process group may take to
// end, once the child itself has: its secrets go next.
const groupGrace = time.Second

// deathWait bounds the wait for what was sent a SIGKILL. Only an uninterruptible
// wait in the kernel, or a zombie that its parent does not reap, takes longer.
const deathWait = 250 * time.Millisecond

// groupTick is how often a process group is looked at; nothing tells when it
// becomes empty.
const groupTick = 10 * time.Millisecond

// group is the process group that a child leads.
type group struct {
	leader int
	fd     int // a pidfd of the leader; -1: the kernel has none
}

// signal sends n to the group; 0 asks whether anybody is in it. When the leader
// was reaped and the group is empty its number may be somebody else's, so the
// pidfd is used where the kernel can (Linux 6.9, pidfd_send_signal(2)).
func (g group) signal(n syscall.Signal) error {
	if g.fd >= 0 {
		err := unix.PidfdSendSignal(g.fd, n, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		if err == nil || errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return syscall.Kill(-g.leader, n)
}

// empty reports whether nobody is in the group that could still do something. A
// zombie could not: it may wait for ever for a process 1 that reaps nobody.
func (g group) empty() bool {
	return errors.Is(g.signal(0), syscall.ESRCH) || g.onlyZombies()
}

// onlyZombies looks through /proc, as far as that is the one of our own numbers.
func (g group) onlyZombies() bool {
	self, err := os.Readlink("/proc/self")
	if err != nil || self != strconv.Itoa(os.Getpid()) {
		return false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Name()[0] >= '0' && e.Name()[0] <= '9' && g.hasAlive(e.Name()) {
			return false
		}
	}
	return true
}

// hasAlive reports whether a process is in the group and no zombie (proc_pid_stat(5)).
func (g group) hasAlive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false // it is gone
	}
	words := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return len(words) > 2 && words[2] == strconv.Itoa(g.leader) && words[0] != "Z" && words[0] != "X"
}

func (g group) close() {
	if g.fd >= 0 {
		_ = unix.Close(g.fd)
	}
}

// ask tells the group to end, also one that is stopped.
func (g group) ask() {
	_ = g.signal(syscall.SIGTERM)
	_ = g.signal(syscall.SIGCONT)
}

// leaderEnded reports whether the leader has ended, as far as a pidfd tells.
func (g group) leaderEnded() bool {
	if g.fd < 0 {
		return true
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(g.fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// killLeader is for a leader that has left its group.
func (g group) killLeader() {
	if g.fd >= 0 {
		_ = unix.PidfdSendSignal(g.fd, syscall.SIGKILL, nil, 0)
	}
}

// grace is how long the rest of the group may take to end.
func (s Spec) grace() time.Duration {
	if s.KillTimeout > 0 {
		return min(s.KillTimeout, groupGrace)
	}
	return groupGrace
}

// endGroup ends what the child, which was reaped, has left in its process group,
// and reaps what is ours of it. Daemons in sessions of their own live on. A
// SIGTERM meanwhile makes it quick, and a signal that asks us to end wins over a
// restart.
func (c *child) endGroup(signals <-chan os.Signal) {
	if c.group.empty() {
		return
	}
	c.group.ask()
	tick := time.NewTicker(groupTick)
	defer tick.Stop()
	limit := time.NewTimer(c.spec.grace())
	defer limit.Stop()
	killed := false
	kill := func() {
		_ = c.group.signal(syscall.SIGKILL)
		killed = true
		limit.Reset(deathWait)
	}
	for c.reaper.reapEnded(); !c.group.empty(); c.reaper.reapEnded() {
		select {
		case <-tick.C:
		case sig := <-signals:
			c.heed(sig)
			if sig == syscall.SIGTERM && !killed {
				kill()
			}
		case <-limit.C:
			if killed {
				return
			}
			kill()
			c.spec.Log.Warn("what the command left in its process group did not end in time and was killed",
				slog.String("grace", c.spec.grace().String()))
		}
	}
}
