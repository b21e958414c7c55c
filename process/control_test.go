package process_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// envGeneration is what a restart changes in the environment of its child.
const envGeneration = "PROCESS_TEST_GENERATION"

// generation reports its number, process, group, whether it can gain privileges
// and its folder, then each signal; it ends at a SIGTERM with ten and its number. HOW
// is family for a helper in its group, which does the same.
func generation(out io.Writer, how []string) int {
	signals, end := make(chan os.Signal, 1024), make(chan os.Signal, 1) // which no flood of others fills
	signal.Notify(signals)
	signal.Notify(end, syscall.SIGTERM)
	if slices.Contains(how, "family") {
		r, w, err := os.Pipe()
		if err != nil {
			return 99
		}
		cmd := exec.Command("/proc/self/exe", "generation", "helper")
		cmd.Env, cmd.Stderr, cmd.ExtraFiles = environ("child", os.Getenv(envReport), envTell+"=3"), os.Stderr, []*os.File{w}
		if err := cmd.Start(); err != nil {
			return 99
		}
		_ = w.Close()
		_, _ = r.Read(make([]byte, 1))
	}
	if os.Getenv(envTell) != "" {
		_, _ = fmt.Fprintln(out, "ready")
		_, _ = syscall.Write(3, []byte("r"))
	}
	n, _ := strconv.Atoi(os.Getenv(envGeneration))
	nnp, _ := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	dir, _ := unix.Getwd()
	if os.Getenv(envTell) == "" {
		_, _ = fmt.Fprintln(out, "generation", n, os.Getpid(), syscall.Getpgrp(), nnp, dir)
	}
	for {
		select {
		case s := <-signals:
			switch s {
			case syscall.SIGURG, syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGTERM:
			default:
				_, _ = fmt.Fprintln(out, "got", int(s.(syscall.Signal)))
			}
		case <-end:
			_, _ = fmt.Fprintln(out, "got 15")
			return 10 + n
		}
	}
}

// restarter restarts the child of a wrapper whenever that gets a SIGPIPE, which
// it passes on to nobody, and reports what came of it.
func restarter(c *process.Control, env []string) {
	told := make(chan os.Signal, 16)
	signal.Notify(told, syscall.SIGPIPE)
	out := reporter()
	for n := 1; ; n++ {
		<-told
		err := c.Restart(context.Background(), nth(env, n))
		_, _ = fmt.Fprintln(out, "again", c.Restarts(), err)
	}
}

func nth(env []string, n int) []string {
	return append(slices.Clone(env), fmt.Sprintf("%s=%d", envGeneration, n))
}

// controlled is a Supervise in the test's own process.
type controlled struct {
	*lines
	*process.Control
	signals chan os.Signal
	env     []string
	ended   chan struct{} // closed when code and err are there
	code    int
	err     error
}

// control starts a child; change may have what else is to be in its Spec.
func control(t *testing.T, killTimeout time.Duration, change func(*process.Spec), words ...string) *controlled {
	t.Helper()
	c := &controlled{lines: newLines(t), Control: process.NewControl(), signals: make(chan os.Signal, 512), ended: make(chan struct{})}
	c.env = environ("child", c.path)
	spec := process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, words...), Env: nth(c.env, 0),
		KillTimeout: killTimeout, Control: c.Control, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&spec)
	}
	go func() {
		defer close(c.ended)
		c.code, c.err = process.Supervise(spec, c.signals)
	}()
	t.Cleanup(func() { // of a test that has failed: the next ones must be alone
		for {
			select {
			case <-c.ended:
				return
			case c.signals <- syscall.SIGTERM:
			}
			<-time.After(sameTermAndMore)
		}
	})
	return c
}

// sameTermAndMore is longer than what makes two SIGTERMs one.
const sameTermAndMore = 300 * time.Millisecond

// wantAll reads as many lines as are wanted, in whatever order they come.
func (c *controlled) wantAll(want ...string) {
	c.t.Helper()
	var got []string
	for range want {
		got = append(got, c.next())
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		c.t.Fatalf("told %q, want %q", got, want)
	}
}

// wantEnd waits for the end of Supervise, and of whoever could report.
func (c *controlled) wantEnd(code int, err error) (rest []string) {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.t.Fatal("it does not end") // as the clean-up sees to
	}
	if c.code != code || !errors.Is(c.err, err) {
		c.t.Errorf("code %d, %v; want %d, %v", c.code, c.err, code, err)
	}
	for end := time.Now().Add(patience); ; <-time.After(time.Millisecond) { // an orphan may be about to end
		if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); errors.Is(err, syscall.ECHILD) {
			break
		}
		if time.Now().After(end) {
			c.t.Error("there still is a child of ours")
			break
		}
	}
	return c.end()
}

func (c *controlled) restart(n int) {
	c.t.Helper()
	if err := c.Restart(c.t.Context(), nth(c.env, n)); err != nil || c.Restarts() != n {
		c.t.Fatalf("restart %d: %v, counted %d", n, err, c.Restarts())
	}
}

// awaitGone waits until a process, or with a minus a group, has been reaped. An
// orphan that has ended is, but nobody waits for that.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(patience); !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// TestRestart: the old child and what it has in its group end before the new one
// is there, which is like the old one in all but its environment, and hears signals.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	c := control(t, 0, func(s *process.Spec) { s.Leave, s.Privileges.NoNewPrivs = true, true }, "generation", "family")
	var old []int
	for n := range 4 {
		if n > 0 {
			c.restart(n)
			c.wantAll("got 15", "got 15") // and its helper
			awaitGone(t, -old[2])
		}
		c.want("ready")
		line := c.next()
		var got [4]int
		var in string
		if _, err := fmt.Sscanf(line, "generation %d %d %d %d %s", &got[0], &got[1], &got[2], &got[3], &in); err != nil {
			t.Fatal(line, err)
		}
		if got[0] != n || got[1] != got[2] || got[3] != 1 || in != dir {
			t.Errorf("%q, want generation %d, a group of its own, no new privileges and %s", line, n, dir)
		}
		old = got[:]
		c.signals <- syscall.SIGHUP
		c.want("got 1")
		if err := c.Signal(syscall.SIGUSR1); err != nil {
			t.Error(err)
		}
		c.want("got 10")
	}
	if where, err := unix.Getwd(); err != nil || where != "/" {
		t.Errorf("our own folder is %s, %v", where, err)
	}
	c.signals <- syscall.SIGTERM
	if rest := c.wantEnd(13, nil); len(rest) != 2 { // a SIGTERM each
		t.Errorf("told %q", rest)
	}
}

// TestRestartStopped: a child that is stopped is continued, and ends by itself.
func TestRestartStopped(t *testing.T) {
	c := control(t, time.Hour, nil, "generation")
	pid := c.want("generation")[1]
	if err := c.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	(&session{lines: c.lines}).awaitStopped(pid)
	c.restart(1)
	c.want("got 15")
	c.want("generation 1")
	c.signals <- syscall.SIGTERM
	c.wantEnd(11, nil)
}

// TestRestartKills: one that does not end is killed with its group.
func TestRestartKills(t *testing.T) {
	c := control(t, 50*time.Millisecond, nil, "deaf")
	var pids []int
	for range 2 {
		pids = append(pids, c.want("ready")[0])
	}
	c.restart(1)
	for _, pid := range pids {
		awaitGone(t, pid)
	}
	c.wantAll("got 15", "got 18", "got 18")
	c.want("ready")
	c.want("ready")
	c.signals <- syscall.SIGTERM
	c.wantEnd(137, nil)
}

// TestRestartCannotStart: Supervise ends with what its caller says of a command
// that cannot be started, and whatever runs beside it ends too.
func TestRestartCannotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.Symlink("/proc/self/exe", path); err != nil {
		t.Fatal(err)
	}
	c := control(t, 0, func(s *process.Spec) { s.Path = path }, "generation")
	c.want("generation 0")
	beside := make(chan error, 1)
	go func() {
		_, err := c.Command(t.Context(), hook(c.lines, "record"))
		beside <- err
	}()
	c.want("ready")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(t.Context(), c.env); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the restart: %v", err)
	}
	if err := <-beside; !errors.Is(err, process.ErrEnded) {
		t.Errorf("the program beside it: %v", err)
	}
	if rest := c.wantEnd(0, syscall.ENOENT); !slices.Equal(rest, []string{"got 15"}) || c.Restarts() != 0 {
		t.Errorf("told %q, %d restarts", rest, c.Restarts())
	}
}

// TestRestartWithoutFolder: there is no other folder that it could mean.
func TestRestartWithoutFolder(t *testing.T) {
	dir := t.TempDir() + "/gone"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	c := control(t, 0, func(s *process.Spec) { s.Leave = true }, "generation")
	c.want("generation 0")
	if _, err := c.Command(t.Context(), hook(c.lines, "exit", "0")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Command(t.Context(), hook(c.lines, "exit", "0")); !errors.Is(err, process.ErrFolder) {
		t.Errorf("a program beside it: %v", err)
	}
	if err := c.Restart(t.Context(), c.env); !errors.Is(err, process.ErrFolder) {
		t.Errorf("the restart: %v", err)
	}
	c.wantEnd(0, process.ErrFolder)
}

// TestControlWithoutChild: nothing happens, and nobody hangs.
func TestControlWithoutChild(t *testing.T) {
	none := func(t *testing.T, c *process.Control) {
		t.Helper()
		if err := c.Signal(syscall.SIGHUP); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("Signal: %v", err)
		}
		if err := c.Restart(t.Context(), nil); !errors.Is(err, process.ErrEnded) {
			t.Errorf("Restart: %v", err)
		}
		if _, err := c.Command(t.Context(), hook(nil, "exit", "0")); !errors.Is(err, process.ErrEnded) {
			t.Errorf("Command: %v", err)
		}
		if n := c.Restarts(); n != 0 {
			t.Errorf("%d restarts", n)
		}
	}
	none(t, process.NewControl())
	c := control(t, 0, nil, "exit", "3")
	c.wantEnd(3, nil)
	none(t, c.Control)
	failed := control(t, 0, func(s *process.Spec) { s.Path = "/no/such/program" }, "exit", "3")
	failed.wantEnd(0, syscall.ENOENT)
	none(t, failed.Control)
}

// TestRestartsOneByOne: they wait for each other, or for as long as their context
// lasts. One that has begun is not called back.
func TestRestartsOneByOne(t *testing.T) {
	c := control(t, 300*time.Millisecond, nil, "deaf")
	c.want("ready")
	c.want("ready")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 2)
	go func() { done <- c.Restart(ctx, nth(c.env, 1)) }()
	c.wantAll("got 15", "got 18", "got 18")
	go func() { done <- c.Restart(ctx, nth(c.env, 1)) }()
	impatient := errors.New("no longer")
	cancel(impatient)
	for range 2 {
		if err := <-done; !errors.Is(err, impatient) {
			t.Error(err)
		}
	}
	c.want("ready") // it was not called back
	c.want("ready")
	for c.Restarts() != 1 {
		<-time.After(time.Millisecond)
	}
	c.signals <- syscall.SIGTERM
	c.wantEnd(137, nil)
}

// cutFields gives the first n words of a line, joined, and the rest.
func cutFields(line string, n int) (head, rest string) {
	at := 0
	for range n {
		for at < len(line) && line[at] == ' ' {
			at++
		}
		for at < len(line) && line[at] != ' ' {
			at++
		}
	}
	return line[:at], line[at:]
}
