package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/process"
	"github.com/secretboot/secretboot/process/mask"
)

// masking hides what was read in all output: the command's, that of the commands of
// files, and our own log. Until something was read it hides nothing.
type masking struct {
	set    *mask.Set
	known  known
	report bool // what was found is kept

	mu    sync.Mutex // guards what follows
	told  map[string]bool
	leaks []*leak // in the order in which they came
}

// leak is a secret that was printed on a stream.
type leak struct {
	secret, form, stream string
	line                 int // of the first time
	count                int
}

func newMasking() *masking {
	set, _ := mask.New(mask.Options{})
	return &masking{set: set, told: map[string]bool{}}
}

// inCI reports whether we run in a job of a CI system: all of them set CI, nearly
// all to true.
func (a *app) inCI() bool {
	switch ci, _ := a.lookup("CI"); strings.ToLower(ci) {
	case "", "0", "false":
		return false
	}
	return true
}

// masking reports whether a plan's output is masked, and has masking keep what is
// found if it is to be reported.
func (a *app) masking(run plan.Run) bool {
	on := run.Masks(a.inCI())
	a.masks.report = on && run.FailOnLeak.Or(false)
	return on
}

// learnFrom has masking learn what a job reads and makes, each time before anybody
// can see it.
func (a *app) learnFrom(run plan.Run, d *bootstrap.Deps) {
	if !a.masking(run) {
		return
	}
	l := &learner{known: &a.masks.known}
	prepare, log := d.Vault, d.Log
	d.Vault = func() (bootstrap.Vault, error) {
		var err error
		l.Vault, err = prepare()
		return l, err
	}
	d.Made = func(made []bootstrap.Made) { a.masks.learn(l.Vault, made, log) }
}

// learner is a session that keeps the values of what is read through it.
type learner struct {
	bootstrap.Vault
	known *known
}

// Generation keeps every text of what is read, once for each generation.
func (l *learner) Generation() readFunc { return l.learning(l.Vault.Generation()) }

// Attempt is Generation, for what is read again.
func (l *learner) Attempt() readFunc { return l.learning(l.Vault.Attempt()) }

func (l *learner) learning(read readFunc) readFunc {
	var done seen
	return func(ctx context.Context, want plan.Read, body map[string]secret.Value) (secret.Secret, error) {
		s, err := read(ctx, want, body)
		if err == nil && want.Op != plan.OpList && done.first(want) {
			l.known.addFields(want.Path, s.Fields().Reveal())
			if s.Auth != nil {
				l.known.addText(want.Path+", the token", s.Auth.ClientToken.Reveal())
			}
			if s.Wrap != nil {
				l.known.addText(want.Path+", the wrapping token", s.Wrap.Token.Reveal())
			}
		}
		return s, err
	}
}

// learn makes what was read since the last time, what was made of it and our token
// unprintable. Why a value stays printable is told once.
func (m *masking) learn(session bootstrap.Vault, made []bootstrap.Made, log *slog.Logger) {
	for _, one := range made {
		m.known.addMade(one)
	}
	if session != nil { // there is none where nothing is read
		token := session.Token()
		m.known.addText("the token of the login", token.Reveal())
		token.Wipe()
	}
	values := m.known.take()
	defer wipeValues(values)
	for _, s := range m.set.Add(values...) {
		m.mu.Lock()
		told := m.told[s.Name]
		m.told[s.Name] = true
		m.mu.Unlock()
		if !told {
			log.Warn("this secret is not masked, or not in every form", slog.String("secret", s.Name), slog.String("why", s.Why))
		}
	}
}

// writer gives a masked way to a descriptor. The stream's name is for reports.
func (m *masking) writer(fd int, stream string) io.WriteCloser {
	if !m.report {
		return m.set.Writer(process.FD(fd), nil)
	}
	return m.set.Writer(process.FD(fd), func(h mask.Hit) { m.found(stream, h) })
}

// found counts a secret that was printed.
func (m *masking) found(stream string, h mask.Hit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.leaks {
		if l.secret == h.Name && l.stream == stream {
			l.count++
			return
		}
	}
	m.leaks = append(m.leaks, &leak{secret: h.Name, form: h.Kind, stream: stream, line: h.Line, count: 1})
}

// problems tells what was printed, a line for each secret and stream.
func (m *masking) problems() plan.Problems {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ps plan.Problems
	for _, l := range m.leaks {
		times := "once"
		if l.count > 1 {
			times = strconv.Itoa(l.count) + " times, first"
		}
		ps.Add(&plan.Problem{
			Code: plan.CodeLeak, What: "secret " + l.secret, Why: "it was printed on " + l.stream + " " + times + " in line " + strconv.Itoa(l.line) + " (" + l.form + "), masked",
			Fix: "see what prints it",
		})
	}
	return ps
}

// leaked reports what was printed, and makes it the outcome where all else went well.
func (a *app) leaked() plan.Problems {
	ps := a.masks.problems()
	for _, p := range ps {
		a.report(p)
	}
	if len(ps) > 0 {
		a.terminationMessage(ps)
		if a.childCode == 0 {
			a.childCode = int(plan.CodeLeak)
		}
	}
	return ps
}

// streams makes what the command writes to; nil is our own standard output and
// error. The error says why it cannot have the terminal that was asked for.
func (a *app) streams(run plan.Run, p process.Privileges) (*process.Streams, error) {
	masks := a.masking(run)
	if !masks && run.PTY.Or(plan.PTYAuto) != plan.PTYOn {
		return nil, nil
	}
	to := func(fd int, stream string) io.WriteCloser {
		if !masks {
			return process.FD(fd)
		}
		return a.masks.writer(fd, stream)
	}
	stdout, stderr, problem := a.ownTerminal(run.PTY, p)
	s := &process.Streams{Monitor: []string{"secretboot", monitorWord, a.logFormat}}
	switch {
	case stdout && stderr:
		s.Terminal = to(1, "the terminal")
	case stdout:
		s.Terminal, s.Stderr = to(1, "stdout"), to(2, "stderr")
	case stderr:
		s.Stdout, s.Terminal = to(1, "stdout"), to(2, "stderr")
	default:
		s.Stdout, s.Stderr = to(1, "stdout"), to(2, "stderr")
	}
	return s, problem
}

// ownTerminal tells which of the command's standard output and error go through a
// terminal of its own. The problem is that none can be made, where one was asked for.
func (a *app) ownTerminal(pty plan.Setting[plan.PTY], p process.Privileges) (stdout, stderr bool, problem error) {
	if stdout, stderr = throughTerminal(pty.Or(plan.PTYAuto)); !stdout && !stderr {
		return false, false, nil
	}
	why := p.CanTerminal()
	if why == nil {
		return stdout, stderr, nil
	}
	if pty.Or(plan.PTYAuto) == plan.PTYOn {
		return false, false, &plan.Problem{
			Code: plan.CodeConfig, Origin: pty.Origin, What: "pty: on", Why: "a terminal cannot be made: " + plan.PathCause(why), Err: why,
			Fix: "mount /dev/pts, and let the command's user execute our binary",
		}
	}
	a.logger().Warn("the command gets no terminal of its own", slog.String("why", plan.PathCause(why)))
	return false, false, nil
}

// throughTerminal tells which of the command's streams go through a terminal of
// its own: those that are one to us, and with `on` standard output in any case, and
// standard error if it is the same file.
func throughTerminal(pty plan.PTY) (stdout, stderr bool) {
	switch pty {
	case plan.PTYOff:
		return false, false
	case plan.PTYOn:
		return true, process.IsTerminal(2) || sameFile(os.Stdout, os.Stderr)
	case plan.PTYAuto:
	}
	return process.IsTerminal(1), process.IsTerminal(2)
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// masked is standard error for our own lines: each write is a whole one, and is
// masked by itself, so that nothing of it is held back.
type masked struct {
	set *mask.Set
	to  *patient
}

func (m *masked) Write(line []byte) (int, error) {
	var out bytes.Buffer
	w := m.set.Writer(&out, nil)
	_, _ = w.Write(line)
	_ = w.Close()
	text := out.Bytes()
	if m.to.isRaw() { // the command has our terminal's keys; nobody else ends lines
		text = bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
	}
	if _, err := m.to.Write(text); err != nil {
		return 0, err
	}
	return len(line), nil
}

// isRaw reports whether it is a terminal that does not make line ends of newlines.
func (p *patient) isRaw() bool {
	t, err := unix.IoctlGetTermios(int(p.to.Fd()), unix.TCGETS)
	return err == nil && t.Oflag&unix.OPOST == 0
}

// monitorWord is the argument of a process that leads the session of a command's
// terminal. It is no command of ours, and harmless: it starts what it is told with
// what it has.
const monitorWord = "__monitor"

// monitor is all that such a process does. args are its arguments after that word.
func (a *app) monitor(args []string) int {
	if len(args) < 4 {
		return int(plan.CodeUsage)
	}
	a.logFormat = args[0]
	code, err := process.Monitor(args[1:], a.environ, a.signals, a.core, a.logger())
	if err != nil {
		a.wrapping = true
		ps := problems(startProblem(args[3], err))
		a.report(ps[0])
		a.terminationMessage(ps)
		return a.exitCode(ps[0].Code)
	}
	return code
}
