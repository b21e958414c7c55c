package process_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shell is as much of a shell with job control as is needed: it leads a session
// with a terminal, runs the wrapper as its one job, tells of its stops and its
// end, and does what the lines on file 3 say.
func shell(words []string) int {
	out := reporter()
	say := func(a ...any) { _, _ = fmt.Fprintln(out, a...) }
	tty, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		say("no terminal:", err)
		return 99
	}
	stdin, front := uintptr(0), true
	env := environ("wrapper", os.Getenv(envReport), envChild+"="+os.Getenv(envChild))
	if len(words) > 0 && words[0] == "pty" {
		words, env = words[1:], append(env, envPTY+"=1")
	}
	if len(words) > 0 && words[0] == "background" {
		front = false
	} else if len(words) > 0 {
		if null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
			stdin = uintptr(null)
		}
	}
	job, err := syscall.ForkExec("/proc/self/exe", []string{"wrapper"}, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{stdin, 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Foreground: front, Ctty: tty},
	})
	if err != nil {
		say("no job:", err)
		return 99
	}
	group := func() int { n, _ := unix.IoctlGetInt(tty, unix.TIOCGPGRP); return n }
	// The shell is never in the foreground group while it does this; see
	// terminal.give for why it must not be stopped.
	take := func(group int) {
		var all, before unix.Sigset_t
		all.Val[0] = 1 << (syscall.SIGTTOU - 1)
		_ = unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before)
		_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, group)
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for {
			var ws syscall.WaitStatus
			if pid, err := syscall.Wait4(job, &ws, syscall.WUNTRACED, nil); err != nil || pid != job {
				continue
			}
			had := group() == job
			take(syscall.Getpgrp())
			if !ws.Stopped() {
				say("shell: ended", ws.ExitStatus(), had)
				return
			}
			say("shell: stopped", int(ws.StopSignal()), had)
		}
	}()
	for s := bufio.NewScanner(os.NewFile(3, "commands")); s.Scan(); {
		switch s.Text() {
		case "fg":
			take(job)
			_ = syscall.Kill(-job, syscall.SIGCONT)
		case "bg":
			_ = syscall.Kill(-job, syscall.SIGCONT)
		case "front":
			say("shell: front", group(), syscall.Getpgrp())
		case "again":
			_ = syscall.Kill(job, syscall.SIGPIPE) // see restarter
		case "term":
			_ = syscall.Kill(job, syscall.SIGTERM)
		case "kill":
			_ = syscall.Kill(job, syscall.SIGKILL)
		}
	}
	<-ended
	return 0
}

// session is a shell on a new terminal, with a wrapper as its job.
type session struct {
	*lines
	master   *os.File
	commands *os.File
	cmd      *exec.Cmd
	child    int
}

func newSession(t *testing.T, words ...string) *session {
	t.Helper()
	return sessionWith(t, "record stoppable", words...)
}

func sessionWith(t *testing.T, child string, words ...string) *session {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{lines: newLines(t), master: master, commands: w}
	s.cmd = exec.Command("/proc/self/exe", words...)
	s.cmd.Env = environ("shell", s.path, envChild+"="+child)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr, s.cmd.ExtraFiles = tty, tty, os.Stderr, []*os.File{r}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = master.Close(); _ = w.Close() })
	_, _ = tty.Close(), r.Close()
	ready := s.next()
	for _, w := range strings.Fields(ready) { // "ready PID …" or "generation 0 PID …"
		if n, _ := strconv.Atoi(w); n > 0 {
			s.child = n
			break
		}
	}
	return s
}

// press types control characters.
func (s *session) press(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) tell(command string) {
	s.t.Helper()
	if _, err := fmt.Fprintln(s.commands, command); err != nil {
		s.t.Fatal(err)
	}
}

// front gives the foreground group and the shell's.
func (s *session) front() (group, shell int) {
	s.t.Helper()
	s.tell("front")
	got := s.want("shell: front")
	return got[0], got[1]
}

// awaitStopped waits until a process is stopped (proc(5), state T).
func (s *session) awaitStopped(pid int) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(time.Millisecond) {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(rest, "T") {
			return
		}
	}
	s.t.Fatalf("process %d is not stopped", pid)
}

// finish ends the job and checks that nothing was told but what was read.
func (s *session) finish() {
	s.t.Helper()
	s.tell("term")
	s.want("got 15")
	if got := s.next(); got != "shell: ended 0 true" {
		s.t.Errorf("%q, want the job to end with 0 and to give the terminal back", got)
	}
	_ = s.commands.Close()
	if got := code(s.t, s.cmd); got != 0 {
		s.t.Errorf("the shell ended with %d", got)
	}
	if rest := s.end(); len(rest) > 0 {
		s.t.Errorf("also told: %q", rest)
	}
}

// terminals are the ways to have one.
var terminals = map[string][]string{"stdin": nil, "only /dev/tty": {"null"}}

func TestTerminalKeysReachTheChildOnce(t *testing.T) {
	for name, words := range terminals {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, words...)
			if group, _ := s.front(); group != s.child {
				t.Errorf("the foreground is %d, want the child %d", group, s.child)
			}
			for range 3 {
				s.press("\x03")
				s.want("got 2")
				s.press("\x1c")
				s.want("got 3")
			}
			s.finish()
		})
	}
}

func TestStopAndForeground(t *testing.T) {
	for name, words := range terminals {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, words...)
			for range 2 {
				s.press("\x1a")
				if got := s.next(); got != "shell: stopped 19 true" {
					t.Fatalf("%q, want the job to stop and to give the terminal back", got)
				}
				s.awaitStopped(s.child)
				s.tell("fg")
				s.want("got 18")
				if group, _ := s.front(); group != s.child {
					t.Errorf("the foreground is %d, want the child %d", group, s.child)
				}
				s.press("\x03")
				s.want("got 2")
			}
			s.finish()
		})
	}
}

// TestBackground: a job continued by bg runs without the terminal, and has it
// again after fg.
func TestBackground(t *testing.T) {
	s := newSession(t)
	s.press("\x1a")
	s.want("shell: stopped 19 true")
	s.tell("bg")
	s.want("got 18")
	if group, shell := s.front(); group != shell {
		t.Errorf("the foreground is %d: the job took it from the shell", group)
	}
	s.tell("fg")
	s.want("got 18")
	if group, _ := s.front(); group != s.child {
		t.Errorf("the foreground is %d, want the child %d", group, s.child)
	}
	s.press("\x03")
	s.want("got 2")
	s.finish()
}

// TestBackgroundReader: a child that reads the terminal in the background is
// stopped, the shell hears of it, and fg lets it read.
func TestBackgroundReader(t *testing.T) {
	s := sessionWith(t, "read", "background")
	if got := s.next(); got != "shell: stopped 19 false" {
		t.Fatalf("%q, want the job to stop in the background", got)
	}
	s.awaitStopped(s.child)
	s.tell("fg")
	s.awaitFront(s.child)
	s.press("hello\n")
	if got := s.next(); got != "read hello" {
		t.Errorf("the child got %q", got)
	}
	if got := s.next(); got != "shell: ended 0 true" {
		t.Errorf("%q, want the job to end with 0 and to give the terminal back", got)
	}
	_ = s.commands.Close()
	if got := code(t, s.cmd); got != 0 {
		t.Errorf("the shell ended with %d", got)
	}
}

// awaitFront waits until a group has the terminal.
func (s *session) awaitFront(group int) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(time.Millisecond) {
		if front, _ := s.front(); front == group {
			return
		}
	}
	s.t.Fatalf("process group %d does not get the terminal", group)
}
