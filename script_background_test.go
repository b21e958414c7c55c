package main

import (
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func cmdBackground(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: sb& CODE ARG…")
	}
	startBackground(ts, secretboot(ts, args[1:]), args[0], args[1:])
}

// startBackground starts what `end` waits for.
func startBackground(ts *testscript.TestScript, cmd *exec.Cmd, want string, args []string) {
	rememberLate(ts)
	b := &background{cmd: cmd, err: ts.MkAbs("err"), want: number(ts, want), done: make(chan error, 1), args: args}
	out, err := os.Create(ts.MkAbs("out"))
	ts.Check(err)
	errOut, err := os.Create(ts.MkAbs("err"))
	ts.Check(err)
	b.cmd.Stdout, b.cmd.Stderr = out, errOut
	ts.Check(b.cmd.Start())
	ts.Setenv("HARNESS_PID", strconv.Itoa(b.cmd.Process.Pid))
	go func() { b.done <- b.cmd.Wait(); out.Close(); errOut.Close() }()
	ts.Defer(func() { _ = b.cmd.Process.Kill() })
	current(ts).bg = b
}

// rememberLate keeps for `canary` what was said after the end of the background one: by
// its janitor.
func rememberLate(ts *testscript.TestScript) {
	if b := current(ts).bg; b != nil {
		errOut, err := os.ReadFile(b.err)
		ts.Check(err)
		remember(ts, b.args, nil, errOut)
	}
}

func cmdEnd(ts *testscript.TestScript, _ bool, args []string) {
	b, limit := current(ts).bg, 30*time.Second
	if len(args) > 0 {
		d, err := time.ParseDuration(args[0])
		ts.Check(err)
		limit = d
	}
	select {
	case err := <-b.done:
		b.done <- err
		out, readErr := os.ReadFile(ts.MkAbs("out"))
		ts.Check(readErr)
		errOut, readErr := os.ReadFile(ts.MkAbs("err"))
		ts.Check(readErr)
		remember(ts, b.args, out, errOut)
		if code := exitCode(ts, err); code != b.want {
			ts.Fatalf("it ended with %d, not %d", code, b.want)
		}
	case <-time.After(limit):
		ts.Fatalf("it did not end within %v", limit)
	}
}
