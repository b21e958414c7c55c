package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// The test binary runs itself again as the processes of a test: no shell is
// needed. envRole says as what, envReport where lines of output go.
const (
	envRole   = "PROCESS_TEST_ROLE"
	envReport = "PROCESS_TEST_REPORT"
	envCore   = "PROCESS_TEST_CORE"  // set: the limit of core files stays as it is
	envChild  = "PROCESS_TEST_CHILD" // of the wrapper: the words for its child
	envLine   = "PROCESS_TEST_LINE"  // of the wrapper: a shell's command line instead
	envPTY    = "PROCESS_TEST_PTY"   // of the wrapper: the child has a terminal of its own
	envTell   = "PROCESS_TEST_TELL"  // of a child: write to file 3 when it has reported
	envLong   = "PROCESS_TEST_LONG"  // run the long tests in full
)

// patience bounds every wait for another process.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	roles := map[string]func([]string) int{
		"child": child, "wrapper": wrapper, "nohup": nohup, "shell": shell, "middle": middle, "leaf": leaf, "commander": commander,
		"confined": confined, "allowed": allowed, "twice": twice, "reader": reader, "odd": odd, "guarded": guarded,
		"regenerated": regenerated,
	}
	if os.Args[0] == "monitor" {
		os.Exit(monitor())
	}
	if process.IsJanitor() {
		os.Exit(cleaner())
	}
	if role := roles[os.Getenv(envRole)]; role != nil {
		if os.Getenv(envCore) == "" {
			_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
		}
		os.Exit(role(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// environ makes the environment of a role. Go's own SIGURGs would be noticed,
// and the race detector would wait a second at each end.
func environ(role, report string, more ...string) []string {
	return append([]string{envRole + "=" + role, envReport + "=" + report, "GODEBUG=asyncpreemptoff=1", "GORACE=atexit_sleep_ms=0"}, more...)
}

// reporter opens the place that lines are to go to.
func reporter() io.Writer {
	f, err := os.OpenFile(os.Getenv(envReport), os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return os.Stderr
	}
	return f
}

// child is the target of Supervise:
//
//	exit N           end with N
//	die N            be ended by signal N
//	record           report ready and pid, then each signal; end at a SIGTERM
//	deaf             the same, but never end; with a helper in its group
//	ignored N        report whether signal N is ignored
//	leave HOW N      start a helper that records, is deaf, or has a session of its own; end with N
//	read             report ready and pid, then what the terminal says
//	orphans N        make N orphans end, and report how many are left unreaped
//	environ          report the environment
//	chatter          start a process of its own session that writes to standard output for ever; end with 0
//	talk             write to standard output for ever, and report broken when that fails
//	fill N           fill standard output, report full and how much that was, then write up to N bytes
//	say TEXT         write it to standard output
//	terminal         report ready, which of the standard descriptors are terminals and the size, and again when that changes
//	outputs          tell standard error what the standard descriptors are
//	generation HOW   see generation
func child(words []string) int {
	out := reporter()
	number := func() int { n, _ := strconv.Atoi(words[1]); return n }
	switch words[0] {
	case "exit":
		return number()
	case "die":
		dieFrom(syscall.Signal(number()))
	case "record", "deaf":
		return record(out, words[0] == "deaf", len(words) > 1)
	case "leave":
		return leave(words[1], words[2])
	case "read":
		return readTerminal(out)
	case "ignored":
		_, _ = fmt.Fprintln(out, "ignored", signal.Ignored(syscall.Signal(number())))
	case "orphans":
		_, _ = fmt.Fprintln(out, "left", orphans(number()))
	case "generation":
		return generation(out, words[1:])
	case "outputs":
		in, _ := os.Readlink("/proc/self/fd/0")
		out, _ := os.Readlink("/proc/self/fd/1")
		both, _ := os.Readlink("/proc/self/fd/2")
		_, _ = fmt.Fprintf(os.Stderr, "stdin %s, stdout is stderr %v\n", in, out == both)
	case "chatter", "talk", "fill", "say", "terminal":
		return write(words, out)
	case "environ":
		_, _ = fmt.Fprintln(out, strings.Join(os.Environ(), " "))
	}
	return 0
}

// commander runs one Command.
func commander([]string) int {
	code, err := process.Command(context.Background(), process.Spec{Path: "/proc/self/exe", Argv: []string{"child", "outputs"}, Env: environ("child", "")})
	if err != nil {
		return 98
	}
	return code
}

// dieFrom puts the default action back, also where Go has a handler of its
// own, and sends n.
func dieFrom(n syscall.Signal) {
	var action [4]uint64 // handler SIG_DFL, no flags
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	_ = syscall.Kill(os.Getpid(), n)
	select {}
}

// leave ends when its helper has reported, which gets our standard output.
func leave(how, code string) int {
	r, w, err := os.Pipe()
	if err != nil {
		return 99
	}
	cmd := exec.Command("/proc/self/exe", how)
	if how == "session" {
		cmd.Args[1], cmd.SysProcAttr = "record", &syscall.SysProcAttr{Setsid: true}
	}
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = environ("child", os.Getenv(envReport), envTell+"=3"), os.Stdout, os.Stderr, []*os.File{w}
	if err := cmd.Start(); err != nil {
		return 99
	}
	_ = w.Close()
	_, _ = r.Read(make([]byte, 1)) // it says so when it has reported
	n, _ := strconv.Atoi(code)
	return n
}

func readTerminal(out io.Writer) int {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return 99
	}
	_, _ = fmt.Fprintln(out, "ready", os.Getpid(), syscall.Getpgrp())
	line, _ := bufio.NewReader(tty).ReadString('\n')
	_, _ = fmt.Fprintln(out, "read", strings.TrimSpace(line))
	return 0
}

func record(out io.Writer, deaf, stoppable bool) int {
	signals := make(chan os.Signal, 1024)
	for n := syscall.Signal(1); n <= 64; n++ {
		if !stoppable || n != syscall.SIGTSTP {
			signal.Notify(signals, n)
		}
	}
	if deaf {
		cmd := exec.Command("/proc/self/exe", "record")
		cmd.Env, cmd.Stderr = environ("child", os.Getenv(envReport)), os.Stderr
		if err := cmd.Start(); err != nil {
			return 99
		}
	}
	_, _ = fmt.Fprintln(out, "ready", os.Getpid(), syscall.Getpgrp())
	if os.Getenv(envTell) != "" {
		_, _ = syscall.Write(3, []byte("r"))
	}
	for s := range signals {
		n := s.(syscall.Signal)
		_, _ = fmt.Fprintln(out, "got", int(n))
		if n == syscall.SIGTERM && !deaf {
			return 0
		}
	}
	return 0
}

// wrapper stands for secretboot.
func wrapper([]string) int {
	signals := make(chan os.Signal, 512)
	process.Notify(signals)
	spec := process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, strings.Fields(os.Getenv(envChild))...),
		Env: environ("child", os.Getenv(envReport)), Log: slog.New(slog.DiscardHandler),
	}
	if line := os.Getenv(envLine); line != "" {
		spec.Path, spec.Argv = "/bin/sh", []string{"sh", "-c", line}
	}
	if spec.Argv[1] == "generation" {
		spec.Control = process.NewControl()
		go restarter(spec.Control, spec.Env)
	}
	if os.Getenv(envPTY) != "" {
		spec.Streams = &process.Streams{Terminal: fuse{process.FD(1)}, Stderr: process.FD(2), Monitor: []string{"monitor"}}
		spec.KillTimeout = 300 * time.Millisecond
	}
	code, err := process.Supervise(spec, signals)
	if err != nil {
		return 99
	}
	if spec.Streams != nil && !spec.Streams.Wait(signals, nil) {
		return 97
	}
	return code
}

// nohup becomes the wrapper with SIGHUP ignored.
func nohup(words []string) int {
	signal.Ignore(syscall.SIGHUP)
	env := environ("wrapper", os.Getenv(envReport), envChild+"="+os.Getenv(envChild))
	_ = syscall.Exec("/proc/self/exe", append([]string{"wrapper"}, words...), env)
	return 99
}

// orphans starts a process that starts n more and ends, so that they belong to
// the wrapper; then lets them end and counts those that are not reaped.
func orphans(n int) int {
	r, w, err := os.Pipe()
	if err != nil {
		return -1
	}
	cmd := exec.Command("/proc/self/exe", strconv.Itoa(n))
	cmd.Env, cmd.Stdin, cmd.Stderr = environ("middle", ""), r, os.Stderr
	pids, err := cmd.Output()
	if err != nil || len(strings.Fields(string(pids))) != n {
		return -1
	}
	_ = w.Close()
	left := strings.Fields(string(pids))
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); <-time.After(time.Millisecond) {
		// Not /proc, which may be that of other numbers than ours.
		if pid, _ := strconv.Atoi(left[0]); errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			left = left[1:]
		}
	}
	return len(left)
}

func middle(words []string) int {
	n, _ := strconv.Atoi(words[0])
	for range n {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.Stdin, cmd.Stderr = environ("leaf", ""), os.Stdin, os.Stderr
		if err := cmd.Start(); err != nil {
			return 99
		}
		fmt.Println(cmd.Process.Pid)
	}
	return 0
}

func leaf([]string) int {
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// lines reads what processes report.
type lines struct {
	t     *testing.T
	path  string // to be opened by those who report
	write *os.File
	ch    chan string
}

func newLines(t *testing.T) *lines {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	// Both ends at first, so that neither open waits.
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	l := &lines{t: t, path: path, write: w, ch: make(chan string, 4096)}
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			l.ch <- s.Text()
		}
		close(l.ch)
	}()
	t.Cleanup(func() { _ = w.Close(); _ = r.Close() })
	return l
}

// next gives the next line; "" when every writer is gone.
func (l *lines) next() string {
	l.t.Helper()
	select {
	case s := <-l.ch:
		return s
	case <-time.After(patience):
		l.t.Error("no line came in time")
		return ""
	}
}

// want checks the next line by its beginning and gives the numbers after it.
func (l *lines) want(prefix string) []int {
	l.t.Helper()
	got := l.next()
	rest, ok := strings.CutPrefix(got, prefix)
	if !ok {
		l.t.Fatalf("got line %q, want %q", got, prefix)
	}
	var numbers []int
	for _, w := range strings.Fields(rest) {
		n, _ := strconv.Atoi(w)
		numbers = append(numbers, n)
	}
	return numbers
}

// end waits until every process that could report is gone, and gives what is
// left to be read.
func (l *lines) end() []string {
	l.t.Helper()
	_ = l.write.Close()
	var rest []string
	for {
		select {
		case s, ok := <-l.ch:
			if !ok {
				return rest
			}
			rest = append(rest, s)
		case <-time.After(patience):
			l.t.Error("a process is still there")
			return rest
		}
	}
}

// startWrapper starts the wrapper as a process of its own.
func startWrapper(t *testing.T, l *lines, role, childWords string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = environ(role, l.path, envChild+"="+childWords)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// code waits for the end of cmd.
func code(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}
