package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// write is the child that writes to its standard output.
func write(words []string, out io.Writer) int {
	chunk := bytes.Repeat([]byte{'x'}, 4096)
	switch words[0] {
	case "chatter":
		cmd := exec.Command("/proc/self/exe", "talk")
		cmd.Env, cmd.Stdout, cmd.Stderr = environ("child", os.Getenv(envReport)), os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return 99
		}
	case "talk":
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
		for {
			if _, err := os.Stdout.Write(chunk); err != nil {
				_, _ = fmt.Fprintln(out, "broken", errors.Is(err, syscall.EPIPE))
				return 0
			}
		}
	case "fill":
		total, _ := strconv.Atoi(words[1])
		return fill(out, chunk, total)
	case "say":
		fmt.Print(words[1])
	case "terminal":
		return tellTerminal(out)
	}
	return 0
}

// fill writes total bytes, and reports when there is no more room at first.
func fill(out io.Writer, chunk []byte, total int) int {
	if err := syscall.SetNonblock(1, true); err != nil {
		return 99
	}
	done := 0
	for {
		n, err := syscall.Write(1, chunk)
		if err != nil {
			break
		}
		done += n
	}
	_, _ = fmt.Fprintln(out, "full", done)
	if err := syscall.SetNonblock(1, false); err != nil {
		return 99
	}
	for done < total {
		n, err := syscall.Write(1, chunk[:min(len(chunk), total-done)])
		if err != nil {
			return 98
		}
		done += n
	}
	return 0
}

func tellTerminal(out io.Writer) int {
	changed := make(chan os.Signal, 8)
	signal.Notify(changed, syscall.SIGWINCH, syscall.SIGTERM)
	word := "ready " + strconv.Itoa(os.Getpid())
	for {
		line := word
		for fd := range 3 {
			line += " " + strconv.Itoa(map[bool]int{true: 1}[process.IsTerminal(fd)])
		}
		size, err := unix.IoctlGetWinsize(1, unix.TIOCGWINSZ)
		if err != nil {
			return 99
		}
		_, _ = fmt.Fprintln(out, line, size.Row, size.Col)
		if <-changed == syscall.SIGTERM {
			return 0
		}
		word = "changed"
	}
}

// monitor is the test binary as the leader of a terminal's session.
func monitor() int {
	code, err := process.Monitor(os.Args[1:], os.Environ(), make(chan os.Signal, 512), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return 96
	}
	return code
}

// sink is a writer that can be made to wait and to fail.
type sink struct {
	mu   sync.Mutex
	text bytes.Buffer
	gate chan struct{} // a Write waits until it is closed; nil: it does not
	err  error
}

func (s *sink) Write(b []byte) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.text.Write(b)
}

func (s *sink) Close() error { return nil }

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// through runs a child whose output goes to streams.
func through(t *testing.T, l *lines, s *process.Streams, words ...string) int {
	t.Helper()
	report := ""
	if l != nil {
		report = l.path
	}
	code, err := process.Supervise(process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, words...), Env: environ("child", report),
		Streams: s, Log: slog.New(slog.DiscardHandler),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func waitAll(t *testing.T, s *process.Streams) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !s.Wait(nil, ctx.Done()) {
		t.Fatal("the streams do not end")
	}
}

func TestStreamsKeepTheCode(t *testing.T) {
	for _, c := range []struct {
		words string
		want  int
	}{{"exit 0", 0}, {"exit 7", 7}, {"exit 255", 255}, {"die 9", 137}, {"die 15", 143}, {"die 13", 141}} {
		s := &process.Streams{Stdout: &sink{}, Stderr: &sink{}}
		if got := through(t, nil, s, strings.Fields(c.words)...); got != c.want {
			t.Errorf("%s: %d, want %d", c.words, got, c.want)
		}
		waitAll(t, s)
	}
}

// TestStreamsLeakedPipe: a daemon that keeps a pipe does not keep us, whether it
// says nothing or writes for ever; its pipe is broken then.
func TestStreamsLeakedPipe(t *testing.T) {
	l := newLines(t)
	s := &process.Streams{Stdout: &sink{}, Stderr: &sink{}}
	if got := through(t, l, s, "leave", "session", "3"); got != 3 {
		t.Errorf("code %d", got)
	}
	daemon := l.want("ready")[0]
	waitAll(t, s)
	if err := syscall.Kill(daemon, syscall.SIGTERM); err != nil {
		t.Error("the daemon was ended with the command:", err)
	}
	l.want("got 15")
	s = &process.Streams{Stdout: &sink{}, Stderr: &sink{}}
	if got := through(t, l, s, "chatter"); got != 0 {
		t.Errorf("code %d", got)
	}
	waitAll(t, s)
	if got := l.next(); got != "broken true" {
		t.Errorf("%q, want a broken pipe", got)
	}
}

// TestStreamsSlowReader: who does not read stops the child, and loses nothing.
func TestStreamsSlowReader(t *testing.T) {
	const total = 1 << 20
	l := newLines(t)
	out := &sink{gate: make(chan struct{})}
	s := &process.Streams{Stdout: out, Stderr: &sink{}}
	go func() {
		if full := l.want("full"); full[0] > 192<<10 {
			t.Errorf("%d bytes were taken that nobody had read", full[0])
		}
		close(out.gate)
	}()
	if got := through(t, l, s, "fill", strconv.Itoa(total)); got != 0 {
		t.Errorf("code %d", got)
	}
	waitAll(t, s)
	if got := len(out.String()); got != total {
		t.Errorf("%d bytes came, want %d", got, total)
	}
}

// TestStreamsNobodyReads: our broken pipe is the child's.
func TestStreamsNobodyReads(t *testing.T) {
	l := newLines(t)
	s := &process.Streams{Stdout: &sink{err: syscall.EPIPE}, Stderr: &sink{}}
	if got := through(t, l, s, "talk"); got != 0 {
		t.Errorf("code %d", got)
	}
	if got := l.next(); got != "broken true" {
		t.Errorf("%q, want a broken pipe", got)
	}
	waitAll(t, s)
}

// TestStreamsOneAfterTheOther: what the next child writes comes after all that the
// one before it wrote, however slow the reader is.
func TestStreamsOneAfterTheOther(t *testing.T) {
	out := &sink{gate: make(chan struct{})}
	s := &process.Streams{Stdout: out, Stderr: &sink{}}
	for i := range 5 {
		if got := through(t, nil, s, "say", strings.Repeat(strconv.Itoa(i), 3000)); got != 0 {
			t.Errorf("code %d", got)
		}
	}
	close(out.gate)
	waitAll(t, s)
	want := ""
	for i := range 5 {
		want += strings.Repeat(strconv.Itoa(i), 3000)
	}
	if out.String() != want {
		t.Errorf("it came out of order: %d bytes", len(out.String()))
	}
}

// TestStreamsGiveUp: where nobody reads, a signal or the caller ends the wait.
func TestStreamsGiveUp(t *testing.T) {
	for name, give := range map[string]func(signals chan os.Signal, done chan struct{}){
		"signal": func(signals chan os.Signal, _ chan struct{}) { signals <- syscall.SIGWINCH; signals <- syscall.SIGTERM },
		"done":   func(_ chan os.Signal, done chan struct{}) { close(done) },
	} {
		t.Run(name, func(t *testing.T) {
			out := &sink{gate: make(chan struct{})}
			defer close(out.gate)
			s := &process.Streams{Stdout: out, Stderr: &sink{}}
			if got := through(t, nil, s, "say", "unread"); got != 0 {
				t.Errorf("code %d", got)
			}
			signals, done := make(chan os.Signal, 2), make(chan struct{})
			give(signals, done)
			if s.Wait(signals, done) {
				t.Error("the wait came to an end that there is not")
			}
		})
	}
}

// TestFD: a pipe that somebody made non-blocking takes everything.
func TestFD(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(ends[1], true); err != nil {
		t.Fatal(err)
	}
	read := make(chan int)
	r := os.NewFile(uintptr(ends[0]), "r")
	go func() {
		n, _ := io.Copy(io.Discard, r)
		read <- int(n)
	}()
	const total = 1 << 20
	if n, err := process.FD(ends[1]).Write(make([]byte, total)); n != total || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_ = unix.Close(ends[1])
	if n := <-read; n != total {
		t.Errorf("%d bytes came", n)
	}
	_ = r.Close()
	if _, err := process.FD(ends[1]).Write([]byte("x")); err == nil {
		t.Error("a closed descriptor takes what is written")
	}
}

// TestCommandStreams: what a command says goes to the one writer for it.
func TestCommandStreams(t *testing.T) {
	out := &sink{}
	s := &process.Streams{Stderr: out}
	code, err := process.Command(t.Context(), process.Spec{
		Path: "/bin/sh", Argv: []string{"sh", "-c", "echo one; echo two >&2; exit 3"}, Env: []string{"PATH=/bin:/usr/bin"},
		Streams: s, Log: slog.New(slog.DiscardHandler),
	})
	if code != 3 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	waitAll(t, s)
	if out.String() != "one\ntwo\n" {
		t.Errorf("it said %q", out.String())
	}
}

// TestStreamsLeaveNothingOpen: neither a good run nor one that fails to start
// leaves a descriptor.
func TestStreamsLeaveNothingOpen(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	through(t, nil, &process.Streams{Stdout: &sink{}, Stderr: &sink{}}, "exit", "0") // what the runtime opens once
	before := count()
	for range 3 {
		s := &process.Streams{Stdout: &sink{}, Terminal: &sink{}, Monitor: []string{"monitor"}}
		through(t, nil, s, "exit", "0")
		waitAll(t, s)
		s = &process.Streams{Stdout: &sink{}, Stderr: &sink{}}
		_, err := process.Supervise(process.Spec{Path: "/none", Argv: []string{"x"}, Streams: s, Log: slog.New(slog.DiscardHandler)}, nil)
		if !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%v", err)
		}
		waitAll(t, s)
	}
	end := time.Now().Add(patience)
	for count() > before && time.Now().Before(end) {
		<-time.After(time.Millisecond) // a goroutine closes the last one
	}
	if now := count(); now > before {
		t.Errorf("%d descriptors are open, %d were before", now, before)
	}
}
