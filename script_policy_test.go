package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdProven proves a policy: `proven FILE ARG…` runs secretboot with ARG… and a
// token that has the policy of FILE and no other. It must end with 0; and must
// not, with any one line taken away that the file does not call optional.
func cmdProven(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: proven FILE ARG…")
	}
	text := ts.ReadFile(args[0])
	if code := runUnder(ts, text, args[1:]); code != 0 {
		ts.Fatalf("with the whole policy it ends with %d", code)
	}
	needed, optional := 0, 0
	for line := range strings.Lines(text) {
		switch {
		case !strings.HasPrefix(line, "path "):
			continue
		case strings.Contains(line, "# optional: "):
			optional++
			continue
		}
		needed++
		if code := runUnder(ts, strings.Replace(text, line, "\n", 1), args[1:]); code == 0 {
			ts.Fatalf("it runs without the line %s", line)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs("proof"), fmt.Appendf(nil, "%d needed, %d optional\n", needed, optional), 0o600))
}

// runUnder gives the exit code of secretboot with a token of one policy.
func runUnder(ts *testscript.TestScript, policy string, args []string) int {
	s, binary, name := current(ts).server, ts.Getenv("HARNESS_VAULT"), "proven"
	file := ts.MkAbs(".policy.hcl")
	ts.Check(os.WriteFile(file, []byte(policy), 0o600))
	_, err := s.vault(binary, "policy", "write", name, file)
	ts.Check(err)
	token, err := s.vault(binary, "token", "create", "-no-default-policy", "-policy="+name, "-field=token")
	ts.Check(err)
	cmd := secretboot(ts, args)
	cmd.Env = append(cmd.Env, "VAULT_TOKEN="+strings.TrimSpace(string(token)))
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	runErr := cmd.Run()
	record(ts, args, out.Bytes(), errOut.Bytes())
	return exitCode(ts, runErr)
}
