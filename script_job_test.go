package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"
)

// play is a job of a CI system under way: the runner's part in it, and what it does
// to a step when the job is cancelled.
type play struct {
	ts          *testscript.TestScript
	runner      *ciRunner
	out, errOut strings.Builder
	code        int               // of the first step that failed
	env         map[string]string // of all steps

	at     string                  // what a step has printed when the job is cancelled; "": it is not
	cancel func(*exec.Cmd) []timed // how
	came   atomic.Bool
}

// timed is what follows if the step is still there.
type timed struct {
	after  time.Duration
	signal func()
}

// job plays the only job of a file. What all steps printed is in out and err, and
// nothing may be left. VAULT_ADDR is the script's own. With kill the cancelled step
// is killed at once, as when its time is over.
func (r *runners) job(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 4 {
		ts.Fatalf("usage: job CODE github|gitlab|buildkite|jenkins FILE [cancel=TEXT|kill=TEXT]")
	}
	text, err := os.ReadFile(args[2])
	ts.Check(err)
	p := &play{ts: ts, runner: r.get(ts), env: map[string]string{}}
	systems := map[string]struct {
		play   func(dir string, text []byte)
		cancel func(*exec.Cmd) []timed
	}{
		"github": {p.github, cancelProcess}, "gitlab": {p.gitlab, cancelGroup},
		"buildkite": {p.buildkite, cancelGroup}, "jenkins": {p.jenkins, cancelByCookie},
	}
	s, ok := systems[args[1]]
	if !ok {
		ts.Fatalf("job: unknown system %s", args[1])
	}
	p.cancel = s.cancel
	if len(args) == 4 {
		how, at, _ := strings.Cut(args[3], "=")
		if p.at = at; how == "kill" {
			p.cancel = killProcess
		}
	}
	s.play(filepath.Dir(args[2]), text)
	if p.came.Load() != (p.at != "") {
		ts.Fatalf("no step printed %q", p.at)
	}
	if p.code != number(ts, args[0]) {
		ts.Fatalf("the job ended with %d, not %s", p.code, args[0])
	}
	p.leftNothing()
}

// step runs a text with a shell as the runner does: from a file.
func (p *play) step(text string, env map[string]string, shell ...string) {
	ts := p.ts
	p.runner.prepare(ts)
	file := filepath.Join(ts.Getenv("WORK"), "runner", fmt.Sprint(p.runner.steps), "script")
	ts.Check(os.WriteFile(file, []byte(text), 0o600))
	cmd := exec.Command(shell[0], append(shell[1:], file)...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	for _, more := range []map[string]string{p.env, env} {
		for name, value := range more {
			if name != "VAULT_ADDR" {
				cmd.Env = append(cmd.Env, name+"="+value)
			}
		}
	}
	cmd.WaitDelay = 15 * time.Second // when its shell has ended first, what it started has its time
	p.runner.launch(ts, cmd)
	ended := make(chan struct{})
	if p.at != "" {
		go p.cancelAt(cmd, p.runner.out, ended)
	}
	code := p.runner.finish(ts)
	close(ended)
	if p.code == 0 {
		p.code = code
	}
	p.out.WriteString(ts.ReadFile("out"))
	p.errOut.WriteString(ts.ReadFile("err"))
}

// cancelAt cancels the job when the step has printed what it waits for.
func (p *play) cancelAt(cmd *exec.Cmd, out *shared, ended <-chan struct{}) {
	for !strings.Contains(out.String(), p.at) {
		select {
		case <-ended:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	if p.came.Swap(true) {
		return
	}
	for _, t := range p.cancel(cmd) {
		select {
		case <-ended:
			return
		case <-time.After(t.after):
			t.signal() // the runner has not waited for the process yet, so its number is still its own
		}
	}
}

// cancelProcess is GitHub's way: it signals the first process of a step, and kills all
// of them at last (actions/runner, ProcessInvoker.cs).
func cancelProcess(cmd *exec.Cmd) []timed {
	send := func(pid int, n syscall.Signal) func() { return func() { _ = syscall.Kill(pid, n) } }
	pid := cmd.Process.Pid
	return []timed{{0, send(pid, syscall.SIGINT)}, {7500 * time.Millisecond, send(pid, syscall.SIGTERM)}, {2500 * time.Millisecond, send(-pid, syscall.SIGKILL)}}
}

// cancelGroup is that of GitLab's shell executor (gitlab-runner, helpers/process) and
// of Buildkite (buildkite.com/docs/agent/lifecycle).
func cancelGroup(cmd *exec.Cmd) []timed {
	send := func(n syscall.Signal) func() { return func() { _ = syscall.Kill(-cmd.Process.Pid, n) } }
	return []timed{{0, send(syscall.SIGTERM)}, {10 * time.Second, send(syscall.SIGKILL)}}
}

// killProcess is what any system does at last. GitHub's then kills whatever has the
// mark of the job in its environment (actions/runner, JobExtension.cs).
func killProcess(cmd *exec.Cmd) []timed {
	return []timed{{0, func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		signalMarked(cmd, runnerMark, syscall.SIGKILL, func(string) bool { return true })
	}}}
}

const (
	runnerMark    = "RUNNER_TRACKING_ID"
	jenkinsCookie = "JENKINS_SERVER_COOKIE"
)

// cancelByCookie is Jenkins's: every process gets SIGTERM whose environment has the
// cookie (jenkins, hudson.util.ProcessTree). An agent that is not root cannot read
// that of secretboot, which nobody of the same user can.
func cancelByCookie(cmd *exec.Cmd) []timed {
	return []timed{{0, func() {
		signalMarked(cmd, jenkinsCookie, syscall.SIGTERM, func(program string) bool { return program != "secretboot" })
	}}}
}

// signalMarked signals the processes that have a variable with the value that cmd got,
// if their program can be looked at.
func signalMarked(cmd *exec.Cmd, variable string, n syscall.Signal, readable func(program string) bool) {
	mark := ""
	for _, entry := range cmd.Env {
		if strings.HasPrefix(entry, variable+"=") {
			mark = entry
		}
	}
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		var pid int
		_, _ = fmt.Sscanf(path, "/proc/%d/", &pid)
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		text, err := os.ReadFile(path)
		if err == nil && mark != "" && readable(filepath.Base(exe)) && strings.Contains("\x00"+string(text), "\x00"+mark+"\x00") {
			_ = syscall.Kill(pid, n)
		}
	}
}

// mark is a text that is this script's alone.
func (p *play) mark() string { return fmt.Sprint(os.Getpid(), filepath.Base(p.ts.Getenv("WORK"))) }

// leftNothing ends a job: every folder that it had is gone, or is about to go.
func (p *play) leftNothing() {
	ts := p.ts
	dirs := regexp.MustCompile(`/dev/shm/secretboot-\w+`).FindAllString(p.out.String(), -1)
	if dir := ts.Getenv("SECRETBOOT_DIR"); dir != "" {
		dirs = append(dirs, dir)
	}
	if len(dirs) == 0 {
		ts.Fatalf("the job had no folder")
	}
	for _, dir := range dirs {
		waitFor(ts, "the end of "+dir, func() bool { _, err := os.Lstat(dir); return os.IsNotExist(err) })
	}
	ts.Setenv("SECRETBOOT_DIR", "")
	for _, name := range p.runner.given {
		ts.Setenv(name, "")
	}
	p.runner.given, p.runner.masks = nil, nil
	ts.Check(os.WriteFile(ts.MkAbs("out"), []byte(p.out.String()), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), []byte(p.errOut.String()), 0o600))
}

// gitlabJob has what is played of a job, or of what it extends.
type gitlabJob struct {
	Extends     string
	Variables   map[string]string
	Script      []string
	AfterScript []string `json:"after_script"`
}

func (p *play) gitlab(dir string, text []byte) {
	ts := p.ts
	var file struct{ Include []struct{ Local string } }
	ts.Check(yaml.Unmarshal(text, &file))
	jobs := map[string]gitlabJob{}
	read := func(text []byte) {
		var all map[string]any
		ts.Check(yaml.Unmarshal(text, &all))
		delete(all, "include")
		again, err := yaml.Marshal(all)
		ts.Check(err)
		ts.Check(yaml.Unmarshal(again, &jobs))
	}
	read(text)
	for _, i := range file.Include {
		more, err := os.ReadFile(filepath.Join(dir, i.Local))
		ts.Check(err)
		read(more)
	}
	p.env["CI"], p.env["GITLAB_CI"], p.env["GITHUB_ACTIONS"] = "true", "true", ""
	for name, job := range jobs {
		if strings.HasPrefix(name, ".") {
			continue
		}
		if job.Extends != "" {
			maps.Copy(p.env, jobs[job.Extends].Variables)
		}
		maps.Copy(p.env, job.Variables)
		if dir := p.env["SECRETBOOT_DIR"]; dir != "" {
			p.env["SECRETBOOT_DIR"] = os.Expand(dir, func(string) string { return fmt.Sprint(os.Getpid()) })
			ts.Setenv("SECRETBOOT_DIR", p.env["SECRETBOOT_DIR"])
		}
		for _, script := range [][]string{job.Script, job.AfterScript} {
			if len(script) > 0 {
				p.step(strings.Join(script, "\n"), nil, "bash", "-eo", "pipefail")
			}
		}
	}
}

// buildkite plays the only step; its file is in the work folder as in a checkout.
func (p *play) buildkite(_ string, text []byte) {
	var file struct {
		Env   map[string]string
		Steps []struct{ Command string }
	}
	p.ts.Check(yaml.Unmarshal(text, &file))
	p.env["CI"], p.env["BUILDKITE"], p.env["GITHUB_ACTIONS"] = "true", "true", ""
	maps.Copy(p.env, file.Env)
	p.step(file.Steps[0].Command, nil, "bash", "-e")
}

// jenkins plays the only sh step, with the credential that is in the file token.
func (p *play) jenkins(_ string, text []byte) {
	ts := p.ts
	credential := regexp.MustCompile(`string\(credentialsId: '[^']+', variable: '(\w+)'\)`).FindSubmatch(text)
	script := regexp.MustCompile(`(?s)sh '''(.*?)'''`).FindSubmatch(text)
	if credential == nil || script == nil {
		ts.Fatalf("no sh step with a credential")
	}
	p.env["GITHUB_ACTIONS"] = ""
	p.env[jenkinsCookie] = "durable-" + p.mark()
	p.env[string(credential[1])] = ts.ReadFile("token")
	p.step(string(script[1]), nil, "sh", "-xe")
}
