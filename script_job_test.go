package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"
)

// githubWorkflow and gitlabPipeline have what is played of a job.
type githubWorkflow struct {
	Jobs map[string]struct {
		Steps []struct {
			If, Run string
		}
	}
}

type gitlabPipeline map[string]struct {
	Variables   map[string]string
	Script      []string
	AfterScript []string `json:"after_script"`
}

// job plays the only job of a file, without its login, which is the script's own. The
// output of all steps is in out and err, and nothing is left in SECRETBOOT_DIR.
func (r *runners) job(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: job github|gitlab FILE")
	}
	text, err := os.ReadFile(args[1])
	ts.Check(err)
	if args[0] == "github" {
		r.jobOfGitHub(ts, text)
	} else {
		r.jobOfGitLab(ts, text)
	}
}

// shellStep is a step that is a text for a shell.
func shellStep(ts *testscript.TestScript, text string) *exec.Cmd {
	cmd := exec.Command("sh", "-e", "-c", text)
	cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	return cmd
}

func (r *runners) jobOfGitHub(ts *testscript.TestScript, text []byte) {
	var w githubWorkflow
	ts.Check(yaml.Unmarshal(text, &w))
	run := r.get(ts)
	var out, errOut strings.Builder
	failed, steps := false, 0
	for _, job := range w.Jobs {
		for _, step := range job.Steps {
			if failed && step.If != "always()" {
				continue
			}
			steps++
			run.prepare(ts)
			run.launch(ts, shellStep(ts, step.Run))
			failed = run.finish(ts) != 0 || failed
			out.WriteString(ts.ReadFile("out"))
			errOut.WriteString(ts.ReadFile("err"))
		}
	}
	if steps < 3 || failed != (ts.Getenv("FAIL") != "") {
		ts.Fatalf("%d steps; failed: %v", steps, failed)
	}
	r.leftNothing(ts, out.String(), errOut.String())
}

func (r *runners) jobOfGitLab(ts *testscript.TestScript, text []byte) {
	var p gitlabPipeline
	ts.Check(yaml.Unmarshal(text, &p))
	ts.Setenv("GITHUB_ACTIONS", "")
	ts.Setenv("GITLAB_CI", "true")
	var out, errOut strings.Builder
	for _, job := range p {
		dir := os.Expand(job.Variables["SECRETBOOT_DIR"], func(string) string { return strconv.Itoa(os.Getpid()) })
		ts.Setenv("SECRETBOOT_DIR", dir)
		ts.Defer(func() { _ = os.RemoveAll(dir) })
		for _, script := range [][]string{job.Script, job.AfterScript} {
			cmd := shellStep(ts, strings.Join(script, "\n"))
			cmd.Stdout, cmd.Stderr = &out, &errOut
			ts.Check(cmd.Run())
		}
	}
	r.leftNothing(ts, out.String(), errOut.String())
	ts.Setenv("GITLAB_CI", "")
}

// leftNothing ends a job.
func (r *runners) leftNothing(ts *testscript.TestScript, out, errOut string) {
	dir := ts.Getenv("SECRETBOOT_DIR")
	if _, err := os.Lstat(dir); filepath.Dir(dir) != "/dev/shm" || !os.IsNotExist(err) {
		ts.Fatalf("the job leaves %q: %v", dir, err)
	}
	ts.Setenv("SECRETBOOT_DIR", "")
	ts.Check(os.WriteFile(ts.MkAbs("out"), []byte(out), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), []byte(errOut), 0o600))
}
