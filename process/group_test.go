package process_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// TestRestOfGroup: what the child leaves in its process group is asked to end,
// and then killed, before Supervise returns.
func TestRestOfGroup(t *testing.T) {
	for how, grace := range map[string]time.Duration{"record": 0, "deaf": 50 * time.Millisecond} {
		t.Run(how, func(t *testing.T) {
			l := newLines(t)
			if got := supervise(t, l, nil, grace, "leave", how, "4"); got != 4 {
				t.Errorf("code %d, want 4", got)
			}
			told := l.end() // which waits until nobody is left who could tell
			if !slices.Contains(told, "got 15") {
				t.Errorf("told %q, want a SIGTERM", told)
			}
		})
	}
}

// TestTermEndsTheRestAtOnce: nobody waits out the grace who was asked to end.
func TestTermEndsTheRestAtOnce(t *testing.T) {
	l := newLines(t)
	signals := make(chan os.Signal, 1)
	done := make(chan int)
	start := time.Now()
	go func() { done <- supervise(t, l, signals, time.Hour, "leave", "deaf", "4") }()
	for got := ""; got != "got 15"; got = l.next() { // the helper heard us: its parent has ended
		if t.Failed() {
			return
		}
	}
	signals <- syscall.SIGTERM
	if got := <-done; got != 4 {
		t.Errorf("code %d, want 4", got)
	}
	if d := time.Since(start); d > 900*time.Millisecond {
		t.Logf("it took %v", d) // on a machine that is busy the grace may be over
	}
	l.end()
}

// TestDaemonLivesOn: what has a session of its own is not ours to end, and our end
// does not wait for it, though it has our standard output.
func TestDaemonLivesOn(t *testing.T) {
	l := newLines(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Stdout = environ("wrapper", l.path, envChild+"=leave session 4"), w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	daemon := l.want("ready")[0]
	if got := code(t, cmd); got != 4 {
		t.Errorf("code %d, want 4", got)
	}
	if err := r.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("standard output: %v, want it to be held by the daemon", err)
	}
	if err := syscall.Kill(daemon, syscall.SIGTERM); err != nil {
		t.Errorf("the daemon: %v", err)
	}
	l.want("got 15")
}

func TestSecondTermKills(t *testing.T) {
	l := newLines(t)
	signals := make(chan os.Signal, 8)
	done := make(chan int, 1)
	go func() { done <- supervise(t, l, signals, time.Hour, "deaf") }()
	l.want("ready")
	l.want("ready") // its helper
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM // the same request, as timeout(1) makes it
	l.want("got 15")
	select {
	case <-done:
		t.Fatal("two at once count as two")
	case <-time.After(300 * time.Millisecond):
	}
	signals <- syscall.SIGTERM
	select {
	case got := <-done:
		if got != 128+9 {
			t.Errorf("code %d, want 137", got)
		}
	case <-time.After(patience):
		t.Fatal("a second SIGTERM did not kill it")
	}
	l.end()
}

// TestManyRuns: the end of a child that ends at once is never missed.
func TestManyRuns(t *testing.T) {
	path, err := process.Find("true", "")
	if err != nil {
		t.Fatal(err)
	}
	runs := 300
	if os.Getenv(envLong) != "" {
		runs = 5000
	}
	for i := range runs {
		done := make(chan error, 1)
		go func() {
			_, err := process.Supervise(process.Spec{Path: path, Argv: []string{"true"}, Log: slog.New(slog.DiscardHandler)}, nil)
			done <- err
		}()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatalf("run %d of %d hangs", i, runs)
		}
	}
}

// TestStorm sends signals without a pause while the child ends: our code is the
// child's or that of one of them, and it is we who end.
func TestStorm(t *testing.T) {
	storm := []syscall.Signal{syscall.SIGWINCH, syscall.SIGHUP, syscall.SIGCONT, syscall.SIGUSR1, syscall.SIGINT, syscall.SIGUSR2, syscall.SIGALRM}
	codes := []int{7}
	for _, n := range storm {
		codes = append(codes, 128+int(n))
	}
	for i := range 200 {
		l := newLines(t)
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = environ("wrapper", l.path, envLine+`=echo ready >"$`+envReport+`"; exit 7`)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.want("ready")
		ended := make(chan struct{})
		go func() {
			for n := 0; ; n++ {
				select {
				case <-ended:
					return
				default:
					_ = cmd.Process.Signal(storm[n%len(storm)])
				}
			}
		}()
		got := code(t, cmd)
		close(ended)
		if !slices.Contains(codes, got) {
			t.Fatalf("run %d: %v", i, cmd.ProcessState)
		}
	}
}

// asProcess1 makes a wrapper the first process of a namespace.
func asProcess1(t *testing.T, l *lines, childWords string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must run this test as root")
		}
		t.Skip("SKIPPED, NOT PASSED: a pid namespace needs root")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env, cmd.Stderr = environ("wrapper", l.path, envChild+"="+childWords), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestProcess1(t *testing.T) {
	t.Run("codes", func(t *testing.T) {
		for words, want := range map[string]int{"exit 0": 0, "exit 1": 1, "exit 255": 255, "die 9": 137, "die 15": 143, "leave deaf 3": 3} {
			if got := code(t, asProcess1(t, newLines(t), words)); got != want {
				t.Errorf("%s gave %d", words, got)
			}
		}
	})
	t.Run("orphans", func(t *testing.T) {
		l := newLines(t)
		cmd := asProcess1(t, l, "orphans 100")
		if left := l.want("left"); left[0] != 0 {
			t.Errorf("%d of 100 orphans were not reaped", left[0])
		}
		if got := code(t, cmd); got != 0 {
			t.Errorf("code %d", got)
		}
	})
	t.Run("signals", func(t *testing.T) {
		l := newLines(t)
		cmd := asProcess1(t, l, "record")
		if pids := l.want("ready"); pids[0] != 2 && pids[0] > 20 {
			t.Errorf("the child is process %d: this is no namespace", pids[0])
		}
		for _, n := range append(forwardable(), syscall.SIGTERM) {
			if err := cmd.Process.Signal(n); err != nil {
				t.Fatal(err)
			}
			if got := l.want("got"); got[0] != int(n) {
				t.Fatalf("the child got %d, want %d", got[0], n)
			}
		}
		if got := code(t, cmd); got != 0 {
			t.Errorf("code %d", got)
		}
	})
}

// facts is what a command can see of what it inherited. A shell looks, because the
// runtime of a Go program changes some of it for itself.
const facts = `cat /proc/self/status /proc/self/limits /proc/self/oom_score_adj; cut -d' ' -f 19 /proc/self/stat; pwd; ls /proc/self/fd; cat <&7`

// odd gives itself attributes that nobody has by default, and becomes the wrapper,
// or a shell.
func odd(words []string) int {
	runtime.LockOSThread() // a priority is the thread's
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	unix.Umask(0o137)
	for which, limit := range map[int]uint64{unix.RLIMIT_NOFILE: 300, unix.RLIMIT_MEMLOCK: 4096, unix.RLIMIT_STACK: 4 << 20} {
		if unix.Setrlimit(which, &unix.Rlimit{Cur: limit, Max: limit}) != nil {
			return 98
		}
	}
	score := os.WriteFile("/proc/self/oom_score_adj", []byte("345"), 0)
	if err := errors.Join(score, unix.Setpriority(unix.PRIO_PROCESS, 0, 7), os.Chdir("/usr")); err != nil {
		return 97
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 96
	}
	_, _ = w.WriteString("from a descriptor\n")
	if errors.Join(w.Close(), unix.Dup3(int(r.Fd()), 7, 0), r.Close()) != nil {
		return 95
	}
	path, argv := "/bin/sh", []string{"sh", "-c", facts}
	if words[0] == "wrapper" {
		path, argv = "/proc/self/exe", []string{"wrapper"}
	}
	_ = syscall.Exec(path, argv, environ("wrapper", "", envLine+"="+facts))
	return 94
}

// TestInherited: the child has all that we were given, bit by bit.
func TestInherited(t *testing.T) {
	ask := func(how string) string {
		cmd := exec.Command("/proc/self/exe", how)
		cmd.Env, cmd.Stderr = environ("odd", ""), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(how, err)
		}
		var b bytes.Buffer
		for line := range strings.Lines(string(out)) {
			name, _, isStatus := strings.Cut(line, ":\t")
			inherited := []string{"Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Cpus_allowed"}
			if !isStatus || slices.Contains(inherited, name) {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	direct, through := ask("direct"), ask("wrapper")
	if direct != through {
		t.Errorf("directly:\n%s\nthrough us:\n%s", direct, through)
	}
	// HUP, INT, TSTP, TTIN and TTOU; whoever started the test may have had others ignored.
	for _, want := range []string{"380003\nSigCgt:", "Umask:\t0137\n", "Max open files            300 ", "\n345\n7\n/usr\n", "from a descriptor\n"} {
		if !strings.Contains(direct, want) {
			t.Errorf("no %q in\n%s", want, direct)
		}
	}
}
