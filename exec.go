package main

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

// defaultKillTimeout leaves time to shred and revoke within the ten seconds
// that `docker stop` gives.
const defaultKillTimeout = 6 * time.Second

// maxEnvString is the longest NAME=VALUE with its closing NUL that execve(2)
// takes: MAX_ARG_STRLEN, 32 pages.
const maxEnvString = 32 * 4096

// target is the process that the secrets are for.
type target struct {
	run     plan.Run
	inputs  []plan.Handle // of the login: what they came from is not the command's
	environ []string      // as we inherited it
	log     *slog.Logger
	path    string // of the executable, found by Check
}

// Check finds the executable. It tells "not found" (127) from "found but
// cannot be executed" (126), as chroot(1) and docker do.
func (t *target) Check() error {
	name := t.run.Command[0]
	path, err := process.Find(name, lookupIn(t.environ)("PATH"))
	if err != nil {
		return startProblem(name, err)
	}
	t.path = path
	return nil
}

// startProblem says why a command cannot be started.
func startProblem(name string, err error) error {
	p := &plan.Problem{Code: plan.CodeNotExecutable, What: "command " + name, Err: err}
	switch {
	case errors.Is(err, syscall.ENOENT):
		p.Code, p.Why, p.Fix = plan.CodeNotFound, "not found", "check its name and PATH, and that its interpreter is in the image"
	case errors.Is(err, syscall.EISDIR):
		p.Why, p.Fix = "is a directory", "name a program"
	case errors.Is(err, syscall.EACCES):
		p.Why, p.Fix = "permission denied", "make it executable (chmod +x) for the user that we run as"
	case errors.Is(err, syscall.ENOEXEC):
		p.Why, p.Fix = "not a program that the kernel can execute", "give a script a first line such as #!/bin/sh"
	case errors.Is(err, syscall.E2BIG):
		p.Why, p.Fix = "its arguments and environment are too long together", "deliver large secrets as files"
	default:
		p.Why = plan.PathCause(err)
	}
	return p
}

// replaces reports whether we turn into the command rather than wait for it.
func (t *target) replaces(held *bootstrap.Held) bool {
	switch t.run.Mode.Or(plan.RunAuto) {
	case plan.RunReplace:
		return true
	case plan.RunSupervise:
		return false
	case plan.RunAuto:
	}
	return !held.NeedsCare()
}

// supervise starts the command and waits for its end.
func (t *target) supervise(env []string, signals <-chan os.Signal) (int, error) {
	code, err := process.Supervise(t.spec(env), signals)
	if err != nil {
		return 0, startProblem(t.run.Command[0], err)
	}
	return code, nil
}

// replace turns us into the command; it returns only on failure.
func (t *target) replace(env []string) error {
	return startProblem(t.run.Command[0], process.Replace(t.spec(env)))
}

func (t *target) spec(env []string) process.Spec {
	return process.Spec{
		Path: t.path, Argv: t.run.Command, Env: env,
		KillTimeout: t.run.KillTimeout.Or(defaultKillTimeout), Log: t.log,
	}
}

// environment is the one builder of the child's environment: what we
// inherited, less our own credentials, with the declared variables in place of
// inherited ones of the same name.
func (t *target) environment(held *bootstrap.Held) ([]string, error) {
	values := map[string]string{}
	var order []string
	set := func(name, value string) {
		if _, ok := values[name]; !ok {
			order = append(order, name)
		}
		values[name] = value
	}
	if !t.run.Pristine.Or(false) {
		for _, entry := range t.environ {
			if name, value, ok := strings.Cut(entry, "="); ok && !t.ours(name) {
				set(name, value)
			}
		}
	}
	if dir := held.Dir(); dir != "" {
		set("SECRETBOOT_DIR", dir)
	}
	var ps plan.Problems
	for _, v := range held.Env {
		value := string(v.Value.Reveal())
		ps.Add(checkEnv(v.Name, value))
		set(v.Name, value)
	}
	env := make([]string, 0, len(order))
	for _, name := range order {
		env = append(env, name+"="+values[name])
	}
	return env, ps.Err()
}

// checkEnv refuses what execve(2) would refuse or cut.
func checkEnv(name, value string) error {
	p := &plan.Problem{Code: plan.CodeData, What: "variable " + name}
	switch {
	case strings.ContainsRune(value, 0):
		p.Why, p.Fix = "its value has a NUL byte, which no environment can carry", "deliver it as a file"
	case len(name)+1+len(value)+1 > maxEnvString:
		p.Why, p.Fix = "its value is longer than the 128 KiB that the kernel takes for one variable", "deliver it as a file"
	default:
		return nil
	}
	return p
}

// ours reports whether a variable is about us and must not reach the child: our
// settings, Vault's credentials, and whatever a login input came from.
func (t *target) ours(name string) bool {
	if t.run.KeepCredentials.Or(false) {
		return false
	}
	if strings.HasPrefix(name, "SECRETBOOT_") {
		return true
	}
	switch strings.TrimSuffix(name, "_FILE") {
	case "VAULT_TOKEN", "VAULT_ROLE_ID", "VAULT_SECRET_ID":
		return true
	}
	return slices.ContainsFunc(t.inputs, func(h plan.Handle) bool { return h.Kind == plan.HandleEnv && h.Name == name })
}

// lookupIn searches a list of NAME=VALUE; the last one counts, as for execve.
func lookupIn(environ []string) func(string) string {
	return func(name string) string {
		for i := len(environ) - 1; i >= 0; i-- {
			if v, ok := strings.CutPrefix(environ[i], name+"="); ok {
				return v
			}
		}
		return ""
	}
}
