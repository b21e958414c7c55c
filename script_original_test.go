package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdOriginal runs what a declaration was written for, in the folder and with the
// environment of the script, so that a script can compare what it delivers with
// what we do. Its output is no output of ours, and `canary` does not look at it.
func cmdOriginal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: original CODE vault|consul-template ARG…")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(ts.Getenv("HARNESS_VAULT")), args[1]), args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	log, err := os.Create(ts.MkAbs("theirs.log"))
	ts.Check(err)
	defer log.Close()
	cmd.Stderr = log
	out, runErr := cmd.Output()
	ts.Check(os.WriteFile(ts.MkAbs("theirs"), out, 0o600))
	if code := exitCode(ts, runErr); code != number(ts, args[0]) {
		ts.Fatalf("%s ended with %d, not %s:\n%s%s", args[1], code, args[0], out, ts.ReadFile("theirs.log"))
	}
}
