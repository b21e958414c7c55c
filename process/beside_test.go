package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/secretboot/secretboot/process"
)

// hook is a program that runs beside the child.
func hook(l *lines, words ...string) process.Spec {
	report := ""
	if l != nil {
		report = l.path
	}
	return process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, words...), Env: environ("child", report), Log: slog.New(slog.DiscardHandler),
	}
}

func TestBesideCodes(t *testing.T) {
	c := control(t, 0, nil, "generation")
	c.want("generation")
	for words, want := range map[string]int{"exit 0": 0, "exit 7": 7, "exit 255": 255, "die 9": 137, "die 15": 143} {
		if got, err := c.Command(t.Context(), hook(nil, strings.Fields(words)...)); got != want || err != nil {
			t.Errorf("%s: %d, %v", words, got, err)
		}
	}
	if _, err := c.Command(t.Context(), process.Spec{Path: "/no/such/program", Argv: []string{"x"}}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("not found: %v", err)
	}
	c.signals <- syscall.SIGTERM
	c.wantEnd(10, nil)
}

// TestBesideIsKilled: with its group, when its context ends.
func TestBesideIsKilled(t *testing.T) {
	c := control(t, 0, nil, "generation")
	c.want("generation")
	cause := errors.New("time is up")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	l := newLines(t)
	go func() {
		_, err := c.Command(ctx, hook(l, "deaf"))
		done <- err
	}()
	first, second := l.want("ready"), l.want("ready")
	if first[1] != second[1] || first[1] == syscall.Getpgrp() {
		t.Errorf("process groups %d and %d", first[1], second[1])
	}
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Error(err)
	}
	if _, err := c.Command(ctx, hook(l, "deaf")); !errors.Is(err, cause) {
		t.Errorf("in a context that has ended: %v", err)
	}
	l.end()
	c.signals <- syscall.SIGTERM
	c.wantEnd(10, nil)
}

// TestBesideEndsWithTheChild, and not with one that is started again.
func TestBesideEndsWithTheChild(t *testing.T) {
	c := control(t, 0, nil, "generation")
	c.want("generation")
	done := make(chan error, 1)
	l := newLines(t)
	go func() {
		_, err := c.Command(t.Context(), hook(l, "deaf"))
		done <- err
	}()
	l.want("ready")
	l.want("ready")
	c.restart(1)
	c.want("got 15")
	c.want("generation 1")
	select {
	case err := <-done:
		t.Fatalf("it ended with the first child: %v", err)
	default:
	}
	c.signals <- syscall.SIGTERM
	c.wantEnd(11, nil)
	if err := <-done; !errors.Is(err, process.ErrEnded) {
		t.Error(err)
	}
	if rest := l.end(); len(rest) > 0 { // it was killed without a word
		t.Errorf("told %q", rest)
	}
}

// TestBesideMany: a hundred at once, each with its own code; and those who leave
// orphans, which are reaped, while the child is started again.
func TestBesideMany(t *testing.T) {
	c := control(t, 0, nil, "generation")
	c.want("generation")
	l := newLines(t)
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			if got, err := c.Command(t.Context(), hook(nil, "exit", strconv.Itoa(n))); got != n || err != nil {
				t.Errorf("exit %d: %d, %v", n, got, err)
			}
		})
	}
	for range 5 {
		all.Go(func() {
			if got, err := c.Command(t.Context(), hook(l, "orphans", "20")); got != 0 || err != nil {
				t.Errorf("orphans: %d, %v", got, err)
			}
		})
	}
	for n := range 10 {
		c.restart(n + 1)
	}
	all.Wait()
	for range 5 {
		if left := l.want("left"); left[0] != 0 {
			t.Errorf("%d of 20 orphans were not reaped", left[0])
		}
	}
	c.signals <- syscall.SIGTERM
	<-c.ended
	c.end()
}

// TestBesideOutput: it reads nothing, writes to our standard error, starts in the
// folder that we were started in and has no descriptor that is for the child.
func TestBesideOutput(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	c := control(t, 0, func(s *process.Spec) { s.Leave, s.Inherit = true, []int{int(r.Fd())} }, "generation")
	c.want("generation")
	for range 2 {
		l := newLines(t)
		line := fmt.Sprintf(`{ pwd; readlink /proc/self/fd/0 /proc/self/fd/1; test -e /proc/self/fd/%d && echo inherited; echo end; } >%s`, r.Fd(), l.path)
		script := process.Spec{Path: "/bin/sh", Argv: []string{"sh", "-c", line}, Log: slog.New(slog.DiscardHandler)}
		if code, err := c.Command(t.Context(), script); code != 0 || err != nil {
			t.Errorf("%d, %v", code, err)
		}
		var told []string
		for got := ""; got != "end" && !t.Failed(); told = append(told, got) {
			got = l.next()
		}
		if !slices.Equal(told[:2], []string{dir, "/dev/null"}) || len(told) != 4 {
			t.Errorf("told %q", told)
		}
		c.restart(c.Restarts() + 1)
	}
	_ = r.Close()
	c.signals <- syscall.SIGTERM
	<-c.ended
	c.end()
}
