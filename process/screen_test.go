package process_test

import (
	"bytes"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// settings gives the settings of the session's terminal; both sides have the same.
func (s *session) settings() unix.Termios {
	s.t.Helper()
	got, err := unix.IoctlGetTermios(int(s.master.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return *got
}

// awaitRaw waits until the session's terminal is raw.
func (s *session) awaitRaw() {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(time.Millisecond) {
		if s.settings().Lflag&unix.ICANON == 0 {
			return
		}
	}
	s.t.Fatal("the terminal does not become raw")
}

// cooked are the settings of a new terminal.
func cooked(t *testing.T) unix.Termios {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *got
}

// TestScreenKeys: with a terminal of its own between, each key reaches the child
// once, as the signal that it stands for.
func TestScreenKeys(t *testing.T) {
	s := newSession(t, "pty")
	s.awaitRaw()
	for range 3 {
		s.press("\x03")
		s.want("got 2")
		s.press("\x1c")
		s.want("got 3")
	}
	s.finish()
	if s.settings() != cooked(t) {
		t.Error("the terminal is not as it was")
	}
}

// TestScreenStop: ctrl-Z stops the child and us and gives the shell its terminal
// as it was; fg takes it again. bg leaves it to the shell.
func TestScreenStop(t *testing.T) {
	s := newSession(t, "pty")
	for range 2 {
		s.awaitRaw()
		s.press("\x1a")
		if got := s.next(); got != "shell: stopped 19 true" {
			t.Fatalf("%q, want the job to stop", got)
		}
		s.awaitStopped(s.child)
		if s.settings() != cooked(t) {
			t.Error("the terminal is not as it was while the job is stopped")
		}
		s.tell("bg")
		s.want("got 18")
		if group, shell := s.front(); group != shell || s.settings() != cooked(t) {
			t.Error("the job took the terminal in the background")
		}
		s.tell("fg")
		s.want("got 18")
		s.awaitRaw()
		s.press("\x03")
		s.want("got 2")
	}
	s.finish()
}

// fuse is a writer that panics.
type fuse struct{ process.FD }

func (f fuse) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("PANIC")) {
		panic("PANIC")
	}
	return f.FD.Write(b)
}

// TestScreenPanic: a panic of ours leaves the terminal as it was, and nobody running.
func TestScreenPanic(t *testing.T) {
	s := sessionWith(t, "record", "pty")
	s.awaitRaw()
	s.press("PANIC") // which the child's terminal echoes
	for i, line := range s.ended() {
		if i == 0 && line != "shell: ended 2 true" && line != "got 15" && line != "got 1" && line != "got 18" {
			t.Errorf("told: %q", line)
		}
	}
	if s.settings() != cooked(t) {
		t.Error("the terminal is not as it was")
	}
}

// ended lets the shell end and gives what is told until everybody has.
func (s *session) ended() []string {
	s.t.Helper()
	_ = s.commands.Close()
	return s.end()
}

// TestScreenSize: the child's terminal is as large as ours, and follows it.
func TestScreenSize(t *testing.T) {
	s := sessionWith(t, "terminal", "pty")
	for _, size := range []unix.Winsize{{Row: 33, Col: 101}, {Row: 40, Col: 132}} {
		if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &size); err != nil {
			t.Fatal(err)
		}
		if got := s.want("changed"); !slices.Equal(got, []int{1, 1, 0, int(size.Row), int(size.Col)}) {
			t.Errorf("the child has %v, want terminals for input and output of size %v", got, size)
		}
	}
	s.tell("term")
	if got := s.next(); got != "shell: ended 0 true" {
		t.Errorf("%q", got)
	}
	_ = s.commands.Close()
	if got := code(t, s.cmd); got != 0 {
		t.Errorf("the shell ended with %d", got)
	}
}

// TestScreenDeaf: a child that ignores SIGTERM is killed with its group when its
// time is up, and the terminal is as it was.
func TestScreenDeaf(t *testing.T) {
	s := sessionWith(t, "deaf", "pty")
	s.want("ready") // its helper
	s.awaitRaw()
	s.tell("term")
	s.want("got 15")
	got := s.next()
	for got == "got 18" { // should it have been stopped
		got = s.next()
	}
	if got != "shell: ended 137 true" {
		t.Errorf("%q, want it to be killed", got)
	}
	if rest := s.ended(); len(rest) > 0 {
		t.Errorf("also told: %q", rest)
	}
	if s.settings() != cooked(t) {
		t.Error("the terminal is not as it was")
	}
}

// TestScreenKilled: when we are killed the child and its group end; our terminal
// stays raw, for nobody is there to set it.
func TestScreenKilled(t *testing.T) {
	s := sessionWith(t, "deaf", "pty")
	s.want("ready") // its helper
	s.awaitRaw()
	s.tell("kill")
	for _, line := range s.ended() { // until both are gone
		switch line {
		case "got 15", "got 1", "got 18", "shell: ended -1 true":
		default:
			t.Errorf("told: %q", line)
		}
	}
}
