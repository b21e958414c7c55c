package process_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/process"
)

// supervise runs Supervise in the test's own process. It must be the only one
// that has children then.
func supervise(t *testing.T, l *lines, signals <-chan os.Signal, killTimeout time.Duration, words ...string) int {
	t.Helper()
	report := ""
	if l != nil {
		report = l.path
	}
	code, err := process.Supervise(process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, words...), Env: environ("child", report),
		KillTimeout: killTimeout, Log: slog.New(slog.DiscardHandler),
	}, signals)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestExitCodes(t *testing.T) {
	for want := range 256 {
		if got := supervise(t, nil, nil, 0, "exit", strconv.Itoa(want)); got != want {
			t.Errorf("exit %d gave %d", want, got)
		}
	}
}

func TestDeathBySignal(t *testing.T) {
	harmless := []syscall.Signal{syscall.SIGCHLD, syscall.SIGCONT, syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGURG, syscall.SIGWINCH}
	for n := syscall.Signal(1); n <= 64; n++ {
		if slices.Contains(harmless, n) || n == 32 || n == 33 { // 32 and 33 are the C library's
			continue
		}
		if got := supervise(t, nil, nil, 0, "die", strconv.Itoa(int(n))); got != 128+int(n) {
			t.Errorf("signal %d gave %d, want %d", n, got, 128+int(n))
		}
	}
}

func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	text := dir + "/text"
	if err := os.WriteFile(text, []byte("no first line\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{dir + "/none": syscall.ENOENT, dir: syscall.EACCES, text: syscall.ENOEXEC} {
		spec := process.Spec{Path: path, Argv: []string{"x"}, Log: slog.New(slog.DiscardHandler)}
		if _, err := process.Supervise(spec, nil); !errors.Is(err, want) {
			t.Errorf("Supervise(%s) = %v, want %v", path, err, want)
		}
		if err := process.Replace(spec); !errors.Is(err, want) {
			t.Errorf("Replace(%s) = %v, want %v", path, err, want)
		}
	}
}

func TestChildGetsOnlyItsEnvironment(t *testing.T) {
	l := newLines(t)
	t.Setenv("PROCESS_TEST_INHERITED", "1")
	if got := supervise(t, l, nil, 0, "environ"); got != 0 {
		t.Errorf("code %d", got)
	}
	if got, want := l.next(), strings.Join(environ("child", l.path), " "); got != want {
		t.Errorf("the child has %s, want %s", got, want)
	}
}

// forwardable are the signals that a Go program can be told of, but for the
// SIGTERM that ends a test.
func forwardable() []syscall.Signal {
	var out []syscall.Signal
	for n := syscall.Signal(1); n <= 64; n++ {
		if process.Forwarded(n) && n != syscall.SIGTERM && n != syscall.SIGPROF && (n < 32 || n > 34) {
			out = append(out, n)
		}
	}
	return out
}

func TestForwarded(t *testing.T) {
	var kept []int
	for n := syscall.Signal(1); n <= 64; n++ {
		if !process.Forwarded(n) {
			kept = append(kept, int(n))
		}
	}
	// KILL, PIPE, CHLD, STOP, TTIN, TTOU, URG
	if want := []int{9, 13, 17, 19, 21, 22, 23}; !slices.Equal(kept, want) {
		t.Errorf("not forwarded: %v, want %v", kept, want)
	}
}

// TestForwarding sends every signal to a wrapper; the child tells which it got,
// one after the other.
func TestForwarding(t *testing.T) {
	l := newLines(t)
	cmd := startWrapper(t, l, "wrapper", "record")
	l.want("ready")
	for _, n := range forwardable() {
		for _, kept := range []syscall.Signal{syscall.SIGURG, syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGTTIN, syscall.SIGTTOU} {
			if err := cmd.Process.Signal(kept); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Signal(n); err != nil {
			t.Fatal(err)
		}
		if got := l.want("got"); got[0] != int(n) {
			t.Fatalf("the child got %d, want %d", got[0], n)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	l.want("got 15")
	if got := code(t, cmd); got != 0 {
		t.Errorf("code %d", got)
	}
	if rest := l.end(); len(rest) > 0 {
		t.Errorf("more than once: %q", rest)
	}
}

// TestBurst fills the wrapper while it cannot look: it is stopped. The kernel
// makes one of several pending signals below 32, and Go one of any.
func TestBurst(t *testing.T) {
	l := newLines(t)
	cmd := startWrapper(t, l, "wrapper", "record")
	l.want("ready")
	distinct := slices.DeleteFunc(forwardable(), func(n syscall.Signal) bool {
		return n == syscall.SIGCONT || n == syscall.SIGTSTP
	})
	for i := range 400 {
		if err := cmd.Process.Signal(distinct[i%len(distinct)]); err != nil {
			t.Fatal(err)
		}
	}
	got := map[int]bool{}
	for len(got) < len(distinct) && !t.Failed() {
		got[l.want("got")[0]] = true
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if c := code(t, cmd); c != 0 {
		t.Errorf("code %d", c)
	}
}

func TestKillTimeout(t *testing.T) {
	l := newLines(t)
	signals := make(chan os.Signal, 8)
	done := make(chan int, 1)
	go func() { done <- supervise(t, l, signals, 50*time.Millisecond, "deaf") }()
	for range 2 { // the child and its helper
		if pids := l.want("ready"); pids[1] == syscall.Getpgrp() {
			t.Error("the child is in our process group")
		}
	}
	signals <- syscall.SIGTERM
	signals <- syscall.SIGTERM // the second does not make it wait longer
	if got := <-done; got != 128+9 {
		t.Errorf("code %d, want 137", got)
	}
	for _, rest := range l.end() { // its helper is gone too
		if rest != "got 15" {
			t.Errorf("unexpected %q", rest)
		}
	}
}

func TestEndsInTime(t *testing.T) {
	l := newLines(t)
	signals := make(chan os.Signal, 8)
	done := make(chan int, 1)
	go func() { done <- supervise(t, l, signals, time.Hour, "record") }()
	l.want("ready")
	signals <- syscall.SIGURG
	signals <- syscall.SIGTERM
	l.want("got 15")
	if got := <-done; got != 0 {
		t.Errorf("code %d", got)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	l := newLines(t)
	cmd := startWrapper(t, l, "wrapper", "orphans 100")
	if left := l.want("left"); left[0] != 0 {
		t.Errorf("%d of 100 orphans were not reaped", left[0])
	}
	if got := code(t, cmd); got != 0 {
		t.Errorf("code %d", got)
	}
}

func TestIgnoredHangupStaysIgnored(t *testing.T) {
	for role, want := range map[string]string{"nohup": "ignored true", "wrapper": "ignored false"} {
		l := newLines(t)
		cmd := startWrapper(t, l, role, "ignored 1")
		if got := l.next(); got != want {
			t.Errorf("%s: %s, want %s", role, got, want)
		}
		if got := code(t, cmd); got != 0 {
			t.Errorf("%s: code %d", role, got)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(path string, mode fs.FileMode) {
		t.Helper()
		if err := os.MkdirAll(dir+"/"+path[:strings.LastIndex(path, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("one/app", 0o755)
	write("two/app", 0o755)
	write("plain/app", 0o644)
	write("folder/app/x", 0o755)
	write("./here", 0o755)
	tests := []struct {
		name, path, want string
		err              error
	}{
		{"app", "one:two", "one/app", nil},
		{"app", "two:one", "two/app", nil},
		{"app", "none:one", "one/app", nil},
		{"app", "plain:one", "one/app", nil},
		{"app", "folder:one", "one/app", nil},
		{"app", "here:one", "one/app", nil}, // a file where a folder should be
		{"app", "plain", "", syscall.EACCES},
		{"app", "folder", "", syscall.EISDIR},
		{"app", "none:plain:folder", "", syscall.EACCES},
		{"app", "none", "", syscall.ENOENT},
		{"app", "one:", "one/app", nil},
		{"here", ":one", "./here", nil},
		{"here", "one::two", "./here", nil},
		{"here", "one:", "./here", nil},
		{"here", "one", "", fs.ErrNotExist},
		{"no-such-program-anywhere", "", "", syscall.ENOENT},
		{"one/app", "two", "one/app", nil},
		{"./here", "", "./here", nil},
		{"./none", "one", "./none", syscall.ENOENT},
		{"folder/app", "", "folder/app", syscall.EISDIR},
		{"plain/app", "", "plain/app", syscall.EACCES},
		{"/dev/null", "", "/dev/null", syscall.EACCES},
		{"", "one", "", syscall.ENOENT},
	}
	for _, tt := range tests {
		got, err := process.Find(tt.name, tt.path)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Find(%q, %q) = %q, %v; want %q, %v", tt.name, tt.path, got, err, tt.want, tt.err)
		}
	}
}
