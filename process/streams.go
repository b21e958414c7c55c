package process

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Streams are where children write in place of our own standard output and error.
// They may be used for one child after the other: what a later one writes comes
// after all that an earlier one wrote to the same writer. Each writer is used by
// one goroutine at a time, and a writer that is slow, or never returns, slows the
// child down. When one fails, the child's stream is a broken pipe to it.
type Streams struct {
	// Stdout and Stderr take what goes through pipes; nil is for a stream that
	// goes to Terminal.
	Stdout, Stderr io.WriteCloser

	// Terminal, which may be nil, takes what a child writes to a terminal of its
	// own, which is its controlling terminal and stands between it and ours.
	Terminal io.WriteCloser

	// Monitor are the first arguments, beginning with the name, that make our own
	// program call [Monitor]. It leads the session of that terminal.
	Monitor []string

	last  [3]<-chan struct{} // of each writer: closed when the latest copy to it has ended
	until time.Time          // when the time to end is up; zero: it was not asked for
}

// The writers of Streams, as places in last.
const (
	toStdout = iota
	toStderr
	toTerminal
)

// Wait waits until all that children wrote was passed on, and closes the
// writers. It gives up where somebody does not read: at a signal that asks us to
// end, when the time is up that a child was given with its SIGTERM, and soon after
// done is closed, which may be nil. It reports whether it came to the end; if not,
// writers may still be in use.
func (s *Streams) Wait(signals <-chan os.Signal, done <-chan struct{}) bool {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for i, w := range []io.WriteCloser{s.Stdout, s.Stderr, s.Terminal} {
			if s.last[i] != nil {
				<-s.last[i]
			}
			if w != nil {
				_ = w.Close() // whoever reads us is gone
			}
		}
	}()
	var late <-chan time.Time
	if !s.until.IsZero() {
		late = time.After(max(time.Until(s.until), groupGrace))
	}
	for {
		select {
		case <-closed:
			return true
		case <-late:
			return false
		case <-done:
			late, done = time.After(groupGrace), nil
		case sig := <-signals:
			if slices.Contains(Ending(), sig) {
				return false
			}
		}
	}
}

// wiring is what one child is connected with. The zero value is our own streams.
type wiring struct {
	files   []uintptr // the child's standard descriptors
	theirs  []int     // those of it that we close once the child has them
	sources []*source
	screen  *screen // nil: the child has no terminal of its own
}

// wire connects the child. After an error nothing is left open.
func (s Spec) wire() (*wiring, error) {
	w := &wiring{files: []uintptr{0, 1, 2}}
	if s.Streams == nil {
		return w, nil
	}
	err := s.wireTerminal(w)
	if to := s.Streams.Stdout; err == nil && to != nil {
		err = s.pipe(w, to, toStdout, 1)
	}
	if to := s.Streams.Stderr; err == nil && to != nil {
		err = s.pipe(w, to, toStderr, 2)
	}
	if err != nil {
		w.abandon()
		return nil, err
	}
	return w, nil
}

// pipe makes a pipe to a writer out of some of the child's descriptors.
func (s Spec) pipe(w *wiring, to io.Writer, which int, fds ...int) error {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	w.theirs = append(w.theirs, ends[1])
	for _, fd := range fds {
		w.files[fd] = uintptr(ends[1])
	}
	// Only our end: the child expects one that blocks.
	if err := unix.SetNonblock(ends[0], true); err != nil {
		return errors.Join(fmt.Errorf("pipe: %w", err), unix.Close(ends[0]))
	}
	w.add(s, &source{f: os.NewFile(uintptr(ends[0]), "pipe"), to: to}, which)
	return nil
}

// add puts a source in line behind those of earlier children.
func (w *wiring) add(s Spec, src *source, which int) {
	src.log, src.done = s.Log, make(chan struct{})
	src.before, s.Streams.last[which] = s.Streams.last[which], src.done
	w.sources = append(w.sources, src)
}

// start begins to pass on, once the child has its ends.
func (w *wiring) start() {
	w.drop()
	for _, src := range w.sources {
		src.screen = w.screen
		go src.copy()
	}
	if w.screen != nil {
		w.screen.enter()
	}
}

// end tells that the child and its group have ended: what is in the pipes is
// passed on, and nothing that comes later. It does not wait for that, but for a
// terminal a little: what the child left in it is meant for one that is raw.
func (w *wiring) end() {
	if w == nil {
		return
	}
	for _, src := range w.sources {
		src.end()
	}
	if w.screen == nil {
		return
	}
	w.screen.rest()
	limit := time.After(groupGrace)
	for _, src := range w.sources {
		if src.f == w.screen.master {
			select {
			case <-src.done:
			case <-limit:
			}
		}
	}
	w.screen.close()
}

// abandon closes everything: there is no child.
func (w *wiring) abandon() {
	w.drop()
	if w.screen != nil {
		w.screen.close()
	}
	for _, src := range w.sources {
		_ = src.f.Close()
		close(src.done)
	}
}

func (w *wiring) drop() {
	for _, fd := range w.theirs {
		_ = unix.Close(fd)
	}
	w.theirs = nil
}

// source is our end of something that a child writes to.
type source struct {
	f      *os.File
	to     io.Writer
	log    *slog.Logger
	screen *screen // of the child; nil: it has none
	before <-chan struct{}
	done   chan struct{}
}

// sourceBuffer is as much as a pipe holds by default (pipe(7)).
const sourceBuffer = 64 << 10

// hangupWait is how long a terminal may take to tell that nobody has it any
// more, once the leader of its session has ended. It tells at once.
const hangupWait = 250 * time.Millisecond

// copy passes on until there is nothing more to come. Closing f is what tells the
// child that nobody reads: SIGPIPE, or EPIPE.
func (s *source) copy() {
	defer close(s.done)
	defer func() { _ = s.f.Close() }()
	defer s.screen.restoreOnPanic()
	if s.before != nil {
		<-s.before
	}
	buf := make([]byte, sourceBuffer)
	defer clear(buf)
	for {
		n, err := s.f.Read(buf)
		if n > 0 && !s.pass(buf[:n]) {
			return
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.rest(buf)
			return
		case err != nil: // the end; EIO is that of a terminal
			return
		}
	}
}

// pass reports whether what was read could be passed on.
func (s *source) pass(b []byte) bool {
	_, err := s.to.Write(b)
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		s.log.Warn("what the command prints cannot be passed on any more", slog.String("why", err.Error()))
	}
	return err == nil
}

// end makes the copy end with what is there now.
func (s *source) end() {
	limit := time.Now()
	if s.ofTerminal() {
		limit = limit.Add(hangupWait)
	}
	_ = s.f.SetReadDeadline(limit)
}

// ofTerminal reports whether it is the other side of the child's terminal.
func (s *source) ofTerminal() bool { return s.screen != nil && s.f == s.screen.master }

// rest passes on what the child left. Whoever still has the other end may go on
// writing for ever, so that of a pipe it is as much as was there at first.
func (s *source) rest(buf []byte) {
	raw, err := s.f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		left := 1 << 20 // more than a terminal holds, of which the kernel does not tell all
		if !s.ofTerminal() {
			left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		}
		for left > 0 {
			n, err := unix.Read(int(fd), buf[:min(left, len(buf))])
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil || n <= 0 || !s.pass(buf[:n]) {
				return
			}
			left -= n
		}
	})
}

// FD is a descriptor of ours to write to. A write waits until all is written, also
// where somebody who shares the open file has made it non-blocking.
type FD int

// Write writes all of b, also to a terminal that stops those who write in the
// background (tostop in stty(1)): it is the child that has the foreground. The error is an errno.
func (fd FD) Write(b []byte) (done int, err error) {
	err = withoutTTOU(func() error {
		for done < len(b) {
			n, err := unix.Write(int(fd), b[done:])
			done += max(n, 0)
			switch {
			case err == nil || errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
			default:
				return err
			}
		}
		return nil
	})
	return done, err
}

// Close closes nothing: the descriptor is ours.
func (fd FD) Close() error { return nil }

// IsTerminal reports whether a descriptor is one (isatty(3)).
func IsTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}
