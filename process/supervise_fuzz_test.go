package process_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// FuzzSupervise plays any signals in any order, and restarts among them, to the
// supervisor of a program that does nothing about signals, and holds what becomes of it
// against a model of what the kernel does (signal(7)): running, stopped with what waits
// for it to go on, or ended with a code. The supervisor waits in the kernel for all it
// does, so this is the real one and no fake: each letter of steps is one step.
func FuzzSupervise(f *testing.F) {
	for _, steps := range []string{"", "h", "wcup", "zhc", "zqihc", "rzrt", "ztrc", "zzcci", "rrrx", "zuUc", "sck", "zihrk", "0z0c"} {
		f.Add(steps)
	}
	leaveTerminal(f)
	ignored := ignoredNow(f)
	f.Fuzz(func(t *testing.T, steps string) {
		if len(steps) > 12 {
			t.Skip("long enough")
		}
		w := &watched{t: t, want: -1, ignored: ignored, Control: process.NewControl(), signals: make(chan os.Signal), ended: make(chan struct{})}
		go w.supervise()
		select {
		case <-w.Started():
		case <-w.ended:
			t.Fatal(w.err)
		}
		for _, step := range steps {
			w.step(step)
		}
		if w.want < 0 {
			w.tell(syscall.SIGKILL)
		}
	})
}

// long bounds a wait in case of a hang, on a machine that has no time for its processes.
const long = 12 * patience

// watched is a supervisor with the model of its child.
type watched struct {
	*process.Control
	t       *testing.T
	ignored []syscall.Signal
	signals chan os.Signal // not buffered: who has sent knows that it was seen to
	ended   chan struct{}
	code    int
	err     error

	pending  []syscall.Signal // while it is stopped
	stopped  bool
	asked    bool // it had a SIGTERM, so there are no more restarts
	restarts int
	want     int // its code once it has ended
}

func (w *watched) supervise() {
	defer close(w.ended)
	w.code, w.err = process.Supervise(process.Spec{
		Path: "/bin/sleep", Argv: []string{"sleep", "600"}, Control: w.Control, Log: slog.New(slog.DiscardHandler),
	}, w.signals)
}

func (w *watched) step(step rune) {
	passed := map[rune]syscall.Signal{
		'h': syscall.SIGHUP, 'i': syscall.SIGINT, 'q': syscall.SIGQUIT, 't': syscall.SIGTERM, 'u': syscall.SIGUSR1, 'U': syscall.SIGUSR2,
		'w': syscall.SIGWINCH, 'c': syscall.SIGCONT, 'z': syscall.SIGTSTP, 'p': syscall.SIGPIPE, 'g': syscall.SIGURG, 'd': syscall.SIGCHLD, '0': 34,
	}
	n, known := passed[step]
	switch {
	case step == 'r':
		w.again()
	case step == 's':
		w.tell(syscall.SIGSTOP)
	case step == 'k':
		w.tell(syscall.SIGKILL)
	case known && !slices.Contains(w.ignored, n) && !(n == syscall.SIGTERM && w.asked): // a late second one kills
		w.send(n)
	}
}

// send is a signal that reaches us. Once the child has ended nobody takes it.
func (w *watched) send(n syscall.Signal) {
	select {
	case w.signals <- n:
	case <-w.ended:
	}
	if w.want < 0 && process.Forwarded(n) {
		w.asked = w.asked || n == syscall.SIGTERM
		w.happens(n)
	}
}

// tell signals the child itself.
func (w *watched) tell(n syscall.Signal) {
	err := w.Signal(n)
	if w.want >= 0 && !errors.Is(err, syscall.ESRCH) || w.want < 0 && err != nil {
		w.t.Fatalf("signal %d: %v", n, err)
	}
	if w.want < 0 {
		w.happens(n)
	}
}

// again restarts the child.
func (w *watched) again() {
	ctx, cancel := context.WithTimeout(w.t.Context(), long)
	defer cancel()
	err := w.Restart(ctx, nil)
	switch {
	case w.want >= 0:
		if !errors.Is(err, process.ErrEnded) {
			w.t.Fatalf("restarted after the end: %v", err)
		}
	case w.asked:
		if !errors.Is(err, process.ErrEnding) {
			w.t.Fatalf("restarted although asked to end: %v", err)
		}
	case err != nil:
		w.t.Fatal(err)
	default:
		w.restarts++
		w.stopped, w.pending = false, nil
	}
	if w.Restarts() != w.restarts {
		w.t.Fatalf("%d restarts, want %d", w.Restarts(), w.restarts)
	}
}

// happens is what a signal does to the child, by signal(7): what waits while it is
// stopped comes in the order of the numbers.
func (w *watched) happens(n syscall.Signal) {
	switch n {
	case syscall.SIGWINCH, syscall.SIGURG, syscall.SIGCHLD:
	case syscall.SIGTSTP, syscall.SIGSTOP:
		w.stopped = true
		w.awaitStop()
	case syscall.SIGCONT:
		w.stopped = false
		if len(w.pending) > 0 {
			w.ends(slices.Min(w.pending))
		}
	case syscall.SIGKILL:
		w.ends(n)
	default:
		if w.pending = append(w.pending, n); !w.stopped {
			w.ends(n)
		}
	}
}

func (w *watched) ends(n syscall.Signal) {
	w.want = 128 + int(n)
	select {
	case <-w.ended:
	case <-time.After(long):
		w.t.Fatalf("signal %d: it does not end", n)
	}
	if w.code != w.want || w.err != nil {
		w.t.Fatalf("signal %d: code %d, %v", n, w.code, w.err)
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		w.t.Fatalf("there still is a child of ours: %v", err)
	}
}

// awaitStop waits until the kernel has stopped it: a signal that comes before would
// still be acted on.
func (w *watched) awaitStop() {
	for end := time.Now().Add(long); ; <-time.After(time.Millisecond) {
		for _, pid := range childrenNow(w.t) {
			stat, _ := os.ReadFile("/proc/" + pid + "/stat")
			if _, state, ok := strings.Cut(string(stat), ") "); ok && state[0] == 'T' {
				return
			}
		}
		if time.Now().After(end) {
			w.t.Fatal("it does not stop")
		}
	}
}

// childrenNow lists the children of this process (proc_pid_task_children(5)).
func childrenNow(t *testing.T) (pids []string) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatalf("children are not told: %v", err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) { // a thread that has ended
			t.Fatal(err)
		}
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

// leaveTerminal gives up the terminal that the tests are run from: whoever stops its
// child there is to stop, too.
func leaveTerminal(f *testing.F) {
	f.Helper()
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer tty.Close()
	if sid, err := unix.Getsid(0); err != nil || sid == os.Getpid() {
		f.Skip("the tests lead the session of a terminal, and would hang it up")
	}
	if err := unix.IoctlSetInt(int(tty.Fd()), unix.TIOCNOTTY, 0); err != nil {
		f.Fatal(err)
	}
}

// ignoredNow lists the signals that whatever we start will ignore.
func ignoredNow(f *testing.F) (all []syscall.Signal) {
	f.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		f.Fatal(err)
	}
	_, mask, _ := strings.Cut(string(status), "SigIgn:")
	bits, err := strconv.ParseUint(strings.Fields(mask)[0], 16, 64)
	if err != nil {
		f.Fatal(err)
	}
	for n := syscall.Signal(1); n <= 64; n++ {
		if bits>>(n-1)&1 == 1 {
			all = append(all, n)
		}
	}
	return all
}
