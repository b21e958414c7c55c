package process_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"github.com/secretboot/secretboot/process"
)

// guarded is a wrapper with a janitor, and panics at a SIGUSR2.
func guarded(words []string) int {
	j, err := process.StartJanitor([]string{"cleaner"}, []byte(os.Getenv(envReport)))
	if err != nil {
		return 98
	}
	fault := make(chan os.Signal, 1)
	signal.Notify(fault, syscall.SIGUSR2)
	go func() { <-fault; panic("a fault of ours") }()
	signals := make(chan os.Signal, 512)
	process.Notify(signals, syscall.SIGTERM)
	code, err := process.Supervise(process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, words...), Env: environ("child", os.Getenv(envReport)),
		Janitor: j, Log: slog.New(slog.DiscardHandler),
	}, signals)
	if err != nil {
		return 99
	}
	j.Dismiss()
	return code
}

// cleaner is the janitor of guarded. Its orders are where to report.
func cleaner() int {
	left := process.Attend()
	left.EndChild()
	out, err := os.OpenFile(string(left.Orders), os.O_WRONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return 99
	}
	_, _ = fmt.Fprintln(out, "cleaned", len(os.Environ()))
	return 0
}

// TestJanitorAfter: the janitor ends the child and cleans up when we end without a
// word, and not when we end in good order.
func TestJanitorAfter(t *testing.T) {
	for n, want := range map[syscall.Signal]string{syscall.SIGUSR2: "cleaned 2", syscall.SIGKILL: "cleaned 2", syscall.SIGTERM: ""} {
		t.Run(n.String(), func(t *testing.T) {
			l := newLines(t)
			cmd := guardedWrapper(t, l, "record")
			l.want("ready")
			if err := cmd.Process.Signal(n); err != nil {
				t.Fatal(err)
			}
			if got := code(t, cmd); (got == 0) != (want == "") {
				t.Errorf("code %d", got)
			}
			if want != "" {
				l.want("got 15")
				if got := l.next(); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
			for _, told := range l.end() { // which waits for the end of the child
				if told != "got 15" || want != "" {
					t.Errorf("told %q", told)
				}
			}
		})
	}
}

// TestThreadsEnd: the child's death signal belongs to the thread that started it,
// and comes for the end of no other.
func TestThreadsEnd(t *testing.T) {
	l := newLines(t)
	signals := make(chan os.Signal, 1)
	done := make(chan int)
	go func() { done <- supervise(t, l, signals, 0, "record") }()
	l.want("ready")
	for range 200 {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		}()
		<-ended
	}
	signals <- syscall.SIGTERM
	l.want("got 15")
	if got := <-done; got != 0 {
		t.Errorf("code %d", got)
	}
}

func guardedWrapper(t *testing.T, l *lines, childWords ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", childWords...)
	cmd.Env = environ("guarded", l.path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}
