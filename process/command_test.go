package process_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// command runs Command in the test's own process, as supervise does.
func command(ctx context.Context, l *lines, words ...string) (int, error) {
	report := ""
	if l != nil {
		report = l.path
	}
	return process.Command(ctx, process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, words...), Env: environ("child", report), Log: slog.New(slog.DiscardHandler),
	})
}

func TestCommandCodes(t *testing.T) {
	for words, want := range map[string]int{"exit 0": 0, "exit 7": 7, "exit 255": 255, "die 9": 137, "die 15": 143} {
		if got, err := command(t.Context(), nil, strings.Fields(words)...); got != want || err != nil {
			t.Errorf("%s: %d, %v", words, got, err)
		}
	}
	if got := supervise(t, nil, nil, 0, "exit", "3"); got != 3 {
		t.Errorf("the command after it gave %d", got)
	}
	if _, err := process.Command(t.Context(), process.Spec{Path: "/no/such/program", Argv: []string{"x"}}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("not found: %v", err)
	}
}

// TestCommandIsKilled: when the context ends the whole group does, whatever it
// does about signals, and the cause is what is told.
func TestCommandIsKilled(t *testing.T) {
	l := newLines(t)
	cause := errors.New("time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := command(ctx, l, "deaf")
		done <- err
	}()
	first, second := l.want("ready"), l.want("ready") // it and its helper
	if first[1] != second[1] || first[1] == unix.Getpgrp() {
		t.Errorf("process groups %d and %d, ours is %d", first[1], second[1], unix.Getpgrp())
	}
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	l.end()

	if _, err := command(ctx, nil, "deaf"); !errors.Is(err, cause) {
		t.Errorf("in a context that has ended: %v", err)
	}
}

// TestCommandOutput: it has nothing to read, and both of its outputs are our
// standard error. A copy of ourselves is the one with a standard error to look at.
func TestCommandOutput(t *testing.T) {
	got, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"commander"}, &syscall.ProcAttr{
		Env: environ("commander", ""), Files: []uintptr{0, 1, got.Fd()},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, 0, nil); err != nil || ws.ExitStatus() != 0 {
		t.Fatalf("%v, %d", err, ws.ExitStatus())
	}
	text, err := os.ReadFile(got.Name())
	if err != nil || !strings.HasPrefix(string(text), "stdin /dev/null, stdout is stderr true") {
		t.Errorf("%q, %v", text, err)
	}
}
