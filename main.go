// Secretboot brings secrets from HashiCorp Vault or OpenBao to a process and
// takes them away again: it logs in, reads, renders into 0400 files on tmpfs or
// into the environment, starts the process, and shreds what it wrote when that
// process ends.
//
// The way of a secret through the program: package declare turns what a user
// wrote into a plan that holds no secret; package bootstrap carries it out with
// vault (log in, read), render (templates, formats) and volume (stage, switch,
// shred); exec.go starts the command. Package main alone reads the process
// environment, makes a root context and exits.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/status"
	"github.com/secretboot/secretboot/process"
)

// signalBuffer holds a burst of signals while we are busy: a full channel would
// lose them, because the runtime does not wait.
const signalBuffer = 512

// terminationLog is where Kubernetes looks for the reason of a container's end
// (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
const terminationLog = "/dev/termination-log"

func main() {
	// First of all: as process 1, SIGTERM would otherwise end us with code 2.
	// SIGPIPE is caught, not ignored, so that a closed log never ends us and
	// the command does not inherit "ignored".
	signals := make(chan os.Signal, signalBuffer)
	process.Notify(signals, slices.Concat(process.Ending(), process.Crashing(), []os.Signal{syscall.SIGPIPE})...)
	core := process.Guard() // of what we have in memory; the command is free of that
	// net/http prints there what a server sends without being asked, and nobody would
	// mask it. Our own log is another one.
	stdlog.SetOutput(io.Discard) //nolint:forbidigo // so that nobody writes there
	if isJanitor(os.Args) {
		attend(context.Background())
		os.Exit(0)
	}
	if isExpiry(os.Args) {
		expire(signals)
		os.Exit(0)
	}
	masks := newMasking()
	a := &app{
		core: core, masks: masks,
		signals: signals, stdout: &output{to: os.Stdout}, stderr: &masked{set: masks.set, to: &patient{to: os.Stderr}}, environ: os.Environ(),
		level: new(slog.LevelVar), logFormat: "text", board: status.New(time.Now), unpublish: func() {},
	}
	if len(os.Args) > 1 && os.Args[1] == monitorWord {
		os.Exit(a.monitor(os.Args[2:]))
	}
	os.Exit(a.main(os.Args[1:]))
}

// main runs one command line and gives the exit code.
func (a *app) main(args []string) int {
	if format, _ := a.lookup("SECRETBOOT_LOG_FORMAT"); format == "json" {
		a.logFormat = format // already for what is wrong with the command line
	}
	a.early = a.endAtSignal()
	defer a.early()
	defer a.dismissJanitor()
	defer func() { a.unpublish() }()
	if len(args) > 0 && slices.Contains([]string{"run", "init", "watch"}, args[0]) {
		a.only = args[0]
	}
	root := a.commands()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if a.stdout.err != nil { // cobra does not look, or takes it for a mistake in the command line
		err = written(a.stdout.err)
	}
	if err == nil {
		return a.childCode
	}
	var sig *interrupted
	if errors.As(err, &sig) {
		code := a.interrupted(sig)
		a.receipt.rewrite(receipt.Failed, code, nil)
		return code
	}
	ps := append(problems(err), a.masks.problems()...) // what the command of a file printed before it failed
	for _, p := range ps {
		a.report(p)
	}
	if !a.probing {
		a.terminationMessage(ps)
	}
	code := a.exitCode(ps[0].Code)
	a.receipt.rewrite(receipt.Failed, code, ps)
	return code
}

// output is standard output; it remembers that something could not be written.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// patient is standard error. A pipe that nobody reads may hold us for a moment
// and not for ever: what is said on the way out must not keep secrets where they
// are.
type patient struct {
	mu   sync.Mutex
	to   *os.File
	full bool
}

// patience is how long one line waits for room in a pipe.
const patience = time.Second

func (p *patient) Write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// A pipe with room takes so much without waiting (pipe(7), PIPE_BUF).
	for part := range slices.Chunk(b, 4096) {
		if !p.room() {
			return n, os.ErrDeadlineExceeded
		}
		wrote, err := p.to.Write(part)
		if n += wrote; err != nil {
			return n, err
		}
	}
	return n, nil
}

// room waits until something can be written; once that took too long, only
// until somebody has read.
func (p *patient) room() bool {
	wait := int(patience.Milliseconds())
	if p.full {
		wait = 0
	}
	fds := []unix.PollFd{{Fd: int32(p.to.Fd()), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, wait)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll(fds, wait)
	}
	p.full = err == nil && n == 0
	return !p.full
}

// problems gives err as at least one problem. What cobra says of a command
// line has no code of its own.
func problems(err error) plan.Problems {
	var one *plan.Problem
	var many plan.Problems
	if !errors.As(err, &one) && !errors.As(err, &many) {
		err = &plan.Problem{Code: plan.CodeUsage, What: err.Error(), Fix: "see secretboot --help"}
	}
	var ps plan.Problems
	ps.Add(err)
	return ps
}

// exitCode gives the code for a failure before the command started: under
// `run` every code but 126 and 127 could be mistaken for the command's own.
func (a *app) exitCode(code plan.Code) int {
	wrapper := a.wrapping && code != plan.CodeNotExecutable && code != plan.CodeNotFound
	if wrapper {
		code = plan.CodeOwn
	}
	return int(code)
}

// report prints one problem as one line.
func (a *app) report(p *plan.Problem) {
	if a.logFormat == "json" {
		a.logger().Error("failed", slog.String("problem", p.Error()), slog.Int("code", int(p.Code)))
		return
	}
	_, _ = fmt.Fprintln(a.stderr, "secretboot: "+p.Error())
}

// terminationMessage leaves the reason where Kubernetes shows it, if the file
// is there already; it is never created.
func (a *app) terminationMessage(ps plan.Problems) {
	// Without O_NONBLOCK, a FIFO there would hold us for ever.
	f, err := os.OpenFile(terminationLog, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || f.Truncate(0) != nil {
		return
	}
	line := fmt.Sprintf("%s (code %d)", ps[0].Error(), int(ps[0].Code))
	if len(ps) > 1 {
		line += fmt.Sprintf(" and %d more", len(ps)-1)
	}
	_, _ = f.WriteString(strings.ToValidUTF8(line, "?") + "\n")
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i *interrupted) Error() string { return "signal " + i.signal.String() }

// endAtSignal ends the program at the first signal that asks for it, while
// there is nothing to clean up. stop, which may be called twice, ends the watch.
func (a *app) endAtSignal() (stop func()) {
	ctx, stop := a.untilSignal(context.Background())
	context.AfterFunc(ctx, func() {
		var sig *interrupted
		if errors.As(context.Cause(ctx), &sig) {
			os.Exit(a.interrupted(sig))
		}
	})
	return stop
}

// interrupted tells that a signal ended us and gives the exit code.
func (a *app) interrupted(sig *interrupted) int {
	a.report(&plan.Problem{What: "interrupted", Why: sig.Error()})
	return 128 + int(sig.signal)
}

// impatience is how long after the first signal another one is taken for the same
// request: timeout(1) signals its command and then its whole group, which is the
// command once more, and what is to be cleaned up must not be left for that.
const impatience = time.Second

// untilSignal gives a context that ends at the first signal that asks us to end;
// a later one, but not at once, ends the program as it is, for when something
// hangs. After stop, which may be called twice, signals are left in the channel
// for whoever reads it next.
func (a *app) untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var first time.Time
		for {
			select {
			case s := <-a.signals:
				n, ok := s.(syscall.Signal)
				switch {
				case !ok || n == syscall.SIGPIPE:
				case first.IsZero():
					first = time.Now()
					cancel(&interrupted{n})
				case time.Since(first) >= impatience:
					os.Exit(128 + int(n))
				}
			case <-quit:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() { close(quit); <-done })
}
