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
	signals := make(chan os.Signal, 1024)
	signal.Notify(signals)
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
	for s := range signals {
		n := s.(syscall.Signal)
		if n != syscall.SIGURG && n != syscall.SIGCHLD && n != syscall.SIGCONT && n != syscall.SIGWINCH {
			_, _ = fmt.Fprintln(out, "got", int(n))
		}
		if n == syscall.SIGTERM {
			break
		}
	}
	return 10 + n
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
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		c.t.Errorf("there still is a child of ours: %d, %v", pid, err)
	}
	return c.end()
}

func (c *controlled) restart(n int) {
	c.t.Helper()
	if err := c.Restart(c.t.Context(), nth(c.env, n)); err != nil || c.Restarts() != n {
		c.t.Fatalf("restart %d: %v, counted %d", n, err, c.Restarts())
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
			if err := syscall.Kill(-old[2], 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the old process group: %v", err)
			}
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
	(&session{lines: c.lines}).awaitState(pid, "T")
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
	for _, pid := range pids { // the helper is an orphan by now, and reaped like all
		for end := time.Now().Add(patience); !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH); <-time.After(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("process %d is still there", pid)
			}
		}
	}
	c.wantAll("got 15", "got 18", "got 18")
	c.want("ready")
	c.want("ready")
	c.signals <- syscall.SIGTERM
	c.wantEnd(137, nil)
}

// TestEndingWins: who is asked to end starts no other child, and his child's end
// decides. The SIGTERM to us is the first, and has the whole kill timeout.
func TestEndingWins(t *testing.T) {
	for _, n := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(n.String(), func(t *testing.T) {
			c := control(t, 400*time.Millisecond, nil, "deaf")
			c.want("ready")
			c.want("ready")
			failed := make(chan error, 1)
			go func() { failed <- c.Restart(t.Context(), nth(c.env, 1)) }()
			c.wantAll("got 15", "got 18", "got 18") // its helper is continued too
			asked := time.Now()
			c.signals <- n
			if err := <-failed; !errors.Is(err, process.ErrEnding) {
				t.Errorf("the restart: %v", err)
			}
			if err := c.Restart(t.Context(), nil); !errors.Is(err, process.ErrEnding) {
				t.Errorf("another restart: %v", err)
			}
			rest := c.wantEnd(137, nil)
			if slices.Contains(rest, "ready") || c.Restarts() != 0 {
				t.Errorf("another child was started: %q", rest)
			}
			if slices.Contains(rest, "got 15") {
				t.Errorf("the child got a second SIGTERM: %q", rest)
			}
			if took := time.Since(asked); n == syscall.SIGTERM && took < 400*time.Millisecond {
				t.Errorf("killed after %v", took)
			}
		})
	}
}

// TestSecondTermDuringRestart: it kills at once.
func TestSecondTermDuringRestart(t *testing.T) {
	c := control(t, time.Hour, nil, "deaf")
	c.want("ready")
	c.want("ready")
	failed := make(chan error, 1)
	go func() { failed <- c.Restart(t.Context(), nil) }()
	c.wantAll("got 15", "got 18", "got 18")
	c.signals <- syscall.SIGTERM
	if err := <-failed; !errors.Is(err, process.ErrEnding) {
		t.Error(err)
	}
	select {
	case <-c.ended:
		t.Fatal("the restart's SIGTERM was counted as ours")
	case <-time.After(sameTermAndMore):
	}
	c.signals <- syscall.SIGTERM
	c.wantEnd(137, nil)
}

// TestEndingWinsInTheGroup: also while it is what the child has left that ends.
func TestEndingWinsInTheGroup(t *testing.T) {
	c := control(t, 0, nil, "leave", "deaf", "4")
	// The child ends by itself as soon as its helper is there: this is the way to
	// a group without its leader. A restart comes too late.
	c.want("ready")
	err := c.Restart(t.Context(), nth(c.env, 1))
	if err != nil && !errors.Is(err, process.ErrEnded) {
		t.Error(err)
	}
	c.signals <- syscall.SIGTERM
	<-c.ended
	if c.code != 4 && c.code != 143 || c.err != nil {
		t.Errorf("code %d, %v", c.code, c.err)
	}
	c.end()
}

// TestHangupGoesToTheChild: it asks a daemon to read its configuration again, and
// is no reason to give up a restart.
func TestHangupGoesToTheChild(t *testing.T) {
	c := control(t, 300*time.Millisecond, nil, "deaf")
	c.want("ready")
	c.want("ready")
	failed := make(chan error, 1)
	go func() { failed <- c.Restart(t.Context(), nth(c.env, 1)) }()
	c.wantAll("got 15", "got 18", "got 18")
	c.signals <- syscall.SIGHUP
	c.want("got 1")
	if err := <-failed; err != nil {
		t.Error(err)
	}
	c.want("ready")
	c.want("ready")
	c.signals <- syscall.SIGTERM
	c.wantEnd(137, nil)
}

// TestOwnEndDecides: whenever a child ends by itself, its code is ours, or it is
// started again; the code of the SIGTERM is never ours.
func TestOwnEndDecides(t *testing.T) {
	again := 0
	for range 100 {
		c := control(t, 0, nil, "exit", "5")
		for running := true; running; {
			select {
			case <-c.ended:
				running = false
			default:
				if c.Restarts() >= 5 {
					<-c.ended
				} else if err := c.Restart(t.Context(), c.env); err == nil {
					again++
				} else if !errors.Is(err, process.ErrEnded) { // there is no child yet, or none any more
					t.Fatal(err)
				}
			}
		}
		c.wantEnd(5, nil)
	}
	t.Logf("%d restarts came in time", again)
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

// openFiles counts our descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestRestartStorm restarts while signals come without a pause and programs run
// beside the child: nothing hangs, and no status, descriptor or process is lost.
func TestRestartStorm(t *testing.T) {
	c := control(t, 0, nil, "generation", "family")
	c.want("ready")
	c.want("generation 0")
	before, stop, stopped := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ { // what a program that has not set up its handlers yet survives
			select {
			case <-stop:
				return
			case c.signals <- []os.Signal{syscall.SIGWINCH, syscall.SIGCONT}[n%2]:
				_ = c.Signal(syscall.SIGWINCH)
			}
		}
	}()
	for n := 1; n <= 200; n++ {
		codes := make(chan string, 1)
		go func() {
			code, err := c.Command(t.Context(), hook(nil, "exit", strconv.Itoa(n%256)))
			codes <- fmt.Sprint(code, err)
		}()
		c.restart(n)
		for got := ""; got != "generation "+strconv.Itoa(n) && !t.Failed(); {
			got, _, _ = cutFields(c.next(), 2)
		}
		if got := <-codes; got != fmt.Sprint(n%256, nil) {
			t.Fatalf("a program beside it: %s, want %d", got, n%256)
		}
		if n == 20 {
			before = openFiles(t)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	close(stop)
	<-stopped
	c.signals <- syscall.SIGTERM
	c.wantEnd(210, nil)
}

// cutFields gives the first n words of a line, joined, and the rest.
func cutFields(line string, n int) (head, rest string, ok bool) {
	at := 0
	for range n {
		for at < len(line) && line[at] == ' ' {
			at++
		}
		for at < len(line) && line[at] != ' ' {
			at++
		}
	}
	return line[:at], line[at:], at < len(line)
}
