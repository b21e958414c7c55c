package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// signalStates are where a signal finds `run`.
var signalStates = []string{"before login", "during read", "between render and exec", "running", "during shutdown"}

const (
	stateLogin = iota
	stateRead
	stateHook
	stateRunning
	stateShutdown
)

// scoredSignals are the 31 of the standard and five real-time ones; 34 is one that no
// Go program can catch.
func scoredSignals() (all []syscall.Signal) {
	for n := syscall.Signal(1); n <= 31; n++ {
		all = append(all, n)
	}
	return append(all, 34, 35, 42, 50, 64)
}

func signalName(n syscall.Signal) string {
	if name := unix.SignalName(n); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(n))
}

// signalCase is one signal in one state.
type signalCase struct {
	n     syscall.Signal
	state int
}

func (s signalCase) String() string { return signalName(s.n) + " " + signalStates[s.state] }

func signalCases() (all []signalCase) {
	for _, n := range scoredSignals() {
		for state := range signalStates {
			all = append(all, signalCase{n, state})
		}
	}
	return all
}

func signalNames() (names []string) {
	for _, s := range signalCases() {
		names = append(names, s.String())
	}
	return names
}

// What a signal does to us.
const (
	endsUs   = "ends"              // with 128 and its number
	killsUs  = "kills"             // the kernel does it, and nobody can help that
	goesOn   = "goes on"           // as if it had not come
	stopsUs  = "stops"             // until SIGCONT
	passedOn = "stops the command" // until SIGCONT; without a terminal we go on
)

// want is what the documents say. Before the command is there, what is used to ask
// a program to end, or to end and leave a core, ends us; what else comes is the
// command's business, which is not there. Later all is passed on but what is about
// ourselves, and the command does with it what a program does that handles nothing.
func (s signalCase) want() (what string, code int) {
	switch s.n {
	case syscall.SIGKILL, 34:
		return killsUs, -int(s.n)
	case syscall.SIGTSTP:
		if s.state >= stateRunning {
			return passedOn, 0
		}
		return stopsUs, 0
	case syscall.SIGSTOP:
		return stopsUs, 0
	case syscall.SIGTTIN, syscall.SIGTTOU:
		if s.state < stateRunning { // nobody has asked for it, so it has its way
			return stopsUs, 0
		}
		return goesOn, 0
	case syscall.SIGCHLD, syscall.SIGURG, syscall.SIGPIPE, syscall.SIGCONT, syscall.SIGWINCH, syscall.SIGPROF:
		return goesOn, 0
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT:
		return endsUs, 128 + int(s.n)
	case syscall.SIGTERM:
		if s.state == stateShutdown { // the second one
			return endsUs, 128 + int(syscall.SIGKILL)
		}
		return endsUs, 128 + int(s.n)
	}
	if s.state >= stateRunning || endsWithCore(s.n) {
		return endsUs, 128 + int(s.n)
	}
	return goesOn, 0
}

// endsWithCore are those that a program sends itself by a mistake, and that a service
// manager sends one that hangs.
func endsWithCore(n syscall.Signal) bool {
	return slices.Contains([]syscall.Signal{
		syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGSTKFLT, syscall.SIGSYS,
	}, n)
}

func (c *chaos) signals(t *testing.T) []score {
	return each(t, 6, signalCases(), signalCase.String, func(t *testing.T, s signalCase) score {
		w := newSignalWorld(t, c, s)
		return w.send()
	})
}

// signalWorld is a run that has come to a state.
type signalWorld struct {
	t *testing.T
	signalCase
	cmd        *exec.Cmd
	sink, work string
	out        lockedBuffer
	done       chan struct{}
}

const hookConfig = `
files:
  - path: a
    secret: secret/data/x#y
    command: [sh, -c, "touch WORK/there; exec sleep 60"]
`

func newSignalWorld(t *testing.T, c *chaos, sc signalCase) *signalWorld {
	t.Helper()
	w := &signalWorld{t: t, signalCase: sc, sink: faultSink(t), work: t.TempDir(), done: make(chan struct{})}
	about := map[int]string{stateLogin: "auth/approle/login", stateRead: "secret/"}[sc.state]
	s := &faultServer{about: regexp.MustCompile("^(?:" + about + ")")}
	if about == "" {
		s.about = regexp.MustCompile("^$")
	} else {
		s.does = silent
	}
	args := []string{"run", "--dir", w.sink, "--timeout", "100s"}
	command := []string{"sleep", "60"}
	switch sc.state {
	case stateHook:
		file := filepath.Join(w.work, "c.yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(hookConfig, "WORK", w.work)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-c", file)
	case stateShutdown:
		command = []string{"sh", "-c", "exec 2>/dev/null; trap 'touch " + w.work + "/there' TERM; touch " + w.work + "/begun; while :; do sleep 60 & wait $!; done"}
		args = append(args, "-f", "a=secret/data/x#y")
	case stateRunning:
		command = []string{"sh", "-c", "touch " + w.work + "/there; exec sleep 60"}
		fallthrough
	default:
		args = append(args, "-f", "a=secret/data/x#y")
	}
	w.cmd = exec.Command(filepath.Join(c.bin, "secretboot"), append(append(args, "--"), command...)...)
	w.cmd.Dir, w.cmd.Stdout, w.cmd.Stderr, w.cmd.WaitDelay = w.work, &w.out, &w.out, 10*time.Second
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	w.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.work, "TMPDIR=" + w.work, "VAULT_ADDR=" + plain(t, s).address,
		"VAULT_ROLE_ID=CANARY-role", "VAULT_SECRET_ID=CANARY-secret-id",
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); s.release() })
	go func() { _ = w.cmd.Wait(); close(w.done) }()
	w.reach(s)
	return w
}

// reach waits until the state has come.
func (w *signalWorld) reach(s *faultServer) {
	w.t.Helper()
	there := func(name string) func() bool {
		return func() bool { _, err := os.Stat(filepath.Join(w.work, name)); return err == nil }
	}
	switch w.state {
	case stateLogin, stateRead:
		w.until(signalStates[w.state], func() bool { return s.tally().about > 0 })
	case stateShutdown:
		w.until("the command", there("begun"))
		// The trap may be set a moment before the shell waits: it is there either way.
		w.kill(syscall.SIGTERM)
		asked := time.Now()
		w.until("the command's own end", there("there"))
		// A SIGTERM so soon is taken for the same one: see sameTerm of package process.
		w.until("the next SIGTERM to count", func() bool { return time.Since(asked) > 600*time.Millisecond })
	default:
		w.until(signalStates[w.state], there("there"))
		if w.state == stateRunning { // sh has become sleep, whose handlers are the default ones
			w.until("the command", func() bool { return w.commandIs("sleep") })
		}
	}
}

func (w *signalWorld) commandIs(name string) bool {
	for _, pid := range childrenOf(w.t, w.cmd.Process.Pid) {
		if text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err == nil && strings.TrimSpace(string(text)) == name {
			return true
		}
	}
	return false
}

func (w *signalWorld) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("waited a minute in vain for %s; it said:\n%s", what, w.out.String())
}

func (w *signalWorld) kill(n syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(n); err != nil {
		w.t.Errorf("%v: %v", n, err)
	}
}

// stopped tells whether it, or one of its children, is.
func (w *signalWorld) stopped(children bool) bool {
	all := processes(w.t)
	if !children {
		return all[w.cmd.Process.Pid].state == "T"
	}
	for _, p := range all {
		if p.parent == w.cmd.Process.Pid && p.state == "T" {
			return true
		}
	}
	return false
}

// send sends the signal, and looks at what comes of it.
func (w *signalWorld) send() score {
	t := w.t
	what, code := w.want()
	began := time.Now()
	w.kill(w.n)
	result := what
	switch what {
	case stopsUs:
		code = w.continued(false)
	case passedOn:
		code = w.continued(true)
	case goesOn:
		code = w.ended()
	default:
		result = fmt.Sprint(code)
	}
	select {
	case <-w.done:
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end; it said:\n%s", w.out.String())
	}
	took := time.Since(began)
	if got := w.code(); got != code {
		t.Errorf("%s: it ended with %d, want %d (%s); it said:\n%s", w, got, code, what, w.out.String())
	}
	w.checkSaid(code)
	w.checkGone(what)
	return score{result: result, over: max(0, took-3*time.Second)}
}

// continued waits until it, or the command, is stopped, and ends that.
func (w *signalWorld) continued(command bool) int {
	w.until("it to stop", func() bool { return w.stopped(command) })
	w.kill(syscall.SIGCONT)
	w.until("it to go on", func() bool { return !w.stopped(command) })
	return w.ended()
}

// ended asks it to end, and gives the code that it is to have then.
func (w *signalWorld) ended() int {
	w.kill(syscall.SIGTERM)
	if w.state == stateShutdown {
		return 128 + int(syscall.SIGKILL)
	}
	return 128 + int(syscall.SIGTERM)
}

// code is the exit code, or the number of the signal with a minus.
func (w *signalWorld) code() int {
	if ws, ok := w.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -int(ws.Signal())
	}
	return w.cmd.ProcessState.ExitCode()
}

// checkSaid: before the command there is one line that names the signal, after it none.
func (w *signalWorld) checkSaid(code int) {
	var problems []string
	text := w.out.String()
	for line := range strings.Lines(text) {
		if p, ok := strings.CutPrefix(line, "secretboot: "); ok {
			problems = append(problems, strings.TrimSpace(p))
		} else if !strings.HasPrefix(line, "time=") {
			w.t.Errorf("this is no log: %q", line)
		}
	}
	var want []string
	if w.state < stateRunning && code > 128 {
		want = []string{"interrupted: signal " + syscall.Signal(code-128).String()}
	}
	if !slices.Equal(problems, want) {
		w.t.Errorf("it says %q, want %q", problems, want)
	}
	if form := leakIn([]byte(text), faultCanaries()); form != "" {
		w.t.Errorf("a secret is in the output (%s)", form)
	}
}

// checkGone: no file, no command; after a death that nobody can help the janitor sees to that.
func (w *signalWorld) checkGone(what string) {
	left := func() (string, bool) {
		files, err := os.ReadDir(w.sink)
		alive := w.alive()
		return fmt.Sprint(files, err, ", processes ", alive), err == nil && len(files) == 0 && len(alive) == 0
	}
	if what == killsUs {
		w.until("the janitor", func() bool { _, ok := left(); return ok })
	} else if text, ok := left(); !ok {
		w.t.Errorf("left: %s", text)
	}
	files, err := os.ReadDir(w.work)
	for _, f := range files {
		if !slices.Contains([]string{"there", "begun", "c.yaml"}, f.Name()) {
			w.t.Errorf("left: %s", f.Name())
			text, _ := os.ReadFile(filepath.Join(w.work, f.Name()))
			if bytes.Contains(text, []byte("CANARY")) {
				w.t.Errorf("a secret is in %s", f.Name())
			}
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Error(err)
	}
}

// alive are the processes that were started in the case's folder and have not left it.
func (w *signalWorld) alive() (pids []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == w.work {
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}
