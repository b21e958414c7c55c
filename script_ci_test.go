package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func ciCommands() map[string]func(*testscript.TestScript, bool, []string) {
	runners := &runners{of: map[string]*ciRunner{}}
	return map[string]func(*testscript.TestScript, bool, []string){
		"step":   runners.step,
		"step&":  runners.start,
		"cancel": runners.cancel,
		"masked": runners.masked,
		"vanish": cmdVanish,
		"job":    runners.job,
	}
}

// runners has the runner of each script, by its work folder.
type runners struct {
	mu sync.Mutex
	of map[string]*ciRunner
}

func (r *runners) get(ts *testscript.TestScript) *ciRunner {
	r.mu.Lock()
	defer r.mu.Unlock()
	work := ts.Getenv("WORK")
	if r.of[work] == nil {
		r.of[work] = &ciRunner{}
	}
	return r.of[work]
}

// ciRunner plays the part of GitHub's runner for the steps of one job: it makes their
// files, reads what they print through pipes until nobody holds them any more, takes
// the commands out, hides what it was told to in all the rest, and gives later steps
// the variables (actions/runner: FileCommandManager.cs, ActionCommand.cs,
// ActionCommandManager.cs, ProcessInvoker.cs).
type ciRunner struct {
	steps       int
	masks       []string
	given       []string // variables that later steps have
	cmd         *exec.Cmd
	want        string
	out, errOut *shared
}

// shared is a buffer that can be looked at while a program writes to it.
type shared struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *shared) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// begin starts secretboot as a step.
func (r *ciRunner) begin(ts *testscript.TestScript, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: step CODE ARG…")
	}
	r.prepare(ts)
	r.want = args[0]
	r.launch(ts, secretboot(ts, args[1:]))
}

// prepare makes the files of the next step.
func (r *ciRunner) prepare(ts *testscript.TestScript) {
	r.steps++
	dir := ts.MkAbs(filepath.Join(ts.Getenv("WORK"), "runner", fmt.Sprint(r.steps)))
	ts.Check(os.MkdirAll(dir, 0o700))
	ts.Setenv("GITHUB_ACTIONS", "true")
	for variable, name := range map[string]string{"GITHUB_ENV": "set_env", "GITHUB_OUTPUT": "set_output"} {
		path := filepath.Join(dir, name)
		ts.Check(os.WriteFile(path, nil, 0o600))
		ts.Setenv(variable, path)
	}
}

// launch starts the program of a step.
func (r *ciRunner) launch(ts *testscript.TestScript, cmd *exec.Cmd) {
	r.cmd = cmd
	r.out, r.errOut = &shared{}, &shared{}
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.errOut
	// The pipes are read to their end, which comes when nobody has them open.
	r.cmd.WaitDelay = max(r.cmd.WaitDelay, 5*time.Second)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	ts.Check(r.cmd.Start())
}

// finish takes what the step has left, and gives its code.
func (r *ciRunner) finish(ts *testscript.TestScript) (code int) {
	late := time.AfterFunc(time.Minute, func() { _ = r.cmd.Process.Kill() })
	err := r.cmd.Wait()
	late.Stop()
	if errors.Is(err, exec.ErrWaitDelay) {
		ts.Fatalf("somebody holds the pipes of the step after its end")
	}
	// The runner ends what is left of the step.
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	log := r.log(r.out.String())
	record(ts, r.cmd.Args[1:], []byte(log), []byte(r.hide(r.errOut.String())))
	code = exitCode(ts, err)
	for name, value := range r.parse(ts, "GITHUB_ENV") {
		ts.Setenv(name, value)
		r.given = append(r.given, name)
	}
	outputs := ts.MkAbs("outputs")
	ts.Check(os.MkdirAll(outputs, 0o700))
	for name, value := range r.parse(ts, "GITHUB_OUTPUT") {
		ts.Check(os.WriteFile(filepath.Join(outputs, name), []byte(value), 0o600))
	}
	return code
}

// end finishes a step that must have ended with the wanted code.
func (r *ciRunner) end(ts *testscript.TestScript) {
	if code := r.finish(ts); code != number(ts, r.want) {
		ts.Fatalf("%s ended with %d, not %s", strings.Join(r.cmd.Args[1:], " "), code, r.want)
	}
}

// log carries out the commands in what was printed and gives the rest.
func (r *ciRunner) log(text string) string {
	var rest strings.Builder
	for line := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == '\n' || c == '\r' }) {
		data, ok := strings.CutPrefix(strings.TrimLeft(line, " \t"), "::add-mask::")
		if !ok {
			rest.WriteString(r.hide(line) + "\n")
			continue
		}
		for _, escape := range [][2]string{{"%0D", "\r"}, {"%0A", "\n"}, {"%25", "%"}} {
			data = strings.ReplaceAll(data, escape[0], escape[1])
		}
		r.masks = append(r.masks, data)
	}
	return rest.String()
}

func (r *ciRunner) hide(line string) string {
	for _, m := range r.masks {
		line = strings.ReplaceAll(line, m, "***")
	}
	return line
}

// parse reads a file of a step as the runner does: in each line the first of = and <<
// decides, and a delimiter ends a value where it is a whole line.
func (r *ciRunner) parse(ts *testscript.TestScript, variable string) map[string]string {
	text, err := os.ReadFile(ts.Getenv(variable))
	ts.Check(err)
	values := map[string]string{}
	lines := strings.SplitAfter(string(text), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSuffix(lines[i], "\n")
		equals, here := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case line == "":
		case equals >= 0 && (here < 0 || equals < here):
			values[line[:equals]] = line[equals+1:]
		case here > 0 && line[here+2:] != "":
			from := i + 1
			for i++; i < len(lines) && strings.TrimSuffix(lines[i], "\n") != line[here+2:]; i++ {
			}
			if i == len(lines) {
				ts.Fatalf("%s: the value of %s has no end", variable, line[:here])
			}
			values[line[:here]] = strings.TrimSuffix(strings.Join(lines[from:i], ""), "\n")
		default:
			ts.Fatalf("%s has a line that the runner refuses", variable)
		}
	}
	for name := range values {
		if strings.HasPrefix(name, "GITHUB_") || strings.HasPrefix(name, "RUNNER_") || name == "NODE_OPTIONS" {
			ts.Fatalf("%s sets %s", variable, name)
		}
	}
	return values
}

func (r *runners) step(ts *testscript.TestScript, _ bool, args []string) {
	r.get(ts).begin(ts, args)
	r.get(ts).end(ts)
}

func (r *runners) start(ts *testscript.TestScript, _ bool, args []string) {
	r.get(ts).begin(ts, args)
	ts.Defer(func() { _ = r.get(ts).cmd.Process.Kill() })
}

// cancel waits until the step is on its way and ends it as the runner ends that of a job that is cancelled: SIGINT, and
// 7.5 s later SIGTERM, and 2.5 s later SIGKILL. With a word it is SIGTERM at once too.
func (r *runners) cancel(ts *testscript.TestScript, _ bool, args []string) {
	run := r.get(ts)
	waitFor(ts, "the login of the step", func() bool { return strings.Contains(run.errOut.String(), "using a token") })
	ts.Check(run.cmd.Process.Signal(syscall.SIGINT))
	second := 7500 * time.Millisecond
	if len(args) > 0 {
		second = 0
	}
	term := time.AfterFunc(second, func() { _ = run.cmd.Process.Signal(syscall.SIGTERM) })
	kill := time.AfterFunc(10*time.Second, func() { _ = run.cmd.Process.Kill() })
	defer term.Stop()
	defer kill.Stop()
	run.end(ts)
}

// masked compares what the runner was told to mask, in any order, with the lines of a file.
func (r *runners) masked(ts *testscript.TestScript, _ bool, args []string) {
	want := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	got := slices.Clone(r.get(ts).masks)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		ts.Fatalf("masks:\n%q\nand not\n%q", got, want)
	}
}

// cmdVanish waits until nothing is there.
func cmdVanish(ts *testscript.TestScript, _ bool, args []string) {
	for _, path := range args {
		waitFor(ts, "the end of "+path, func() bool {
			_, err := os.Lstat(ts.MkAbs(path))
			return errors.Is(err, fs.ErrNotExist)
		})
	}
}
