package main

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// maxEnvString is the longest NAME=VALUE with its closing NUL that execve(2)
// takes: MAX_ARG_STRLEN, 32 pages.
const maxEnvString = 32 * 4096

// variables is an environment in the making.
type variables struct {
	order  []string
	values map[string]string
}

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.order = append(v.order, name)
	}
	v.values[name] = value
}

func (v *variables) drop(name string) {
	v.order = slices.DeleteFunc(v.order, func(n string) bool { return n == name })
	delete(v.values, name)
}

// list gives the variables as NAME=VALUE.
func (v *variables) list() []string {
	env := make([]string, 0, len(v.order))
	for _, name := range v.order {
		env = append(env, name+"="+v.values[name])
	}
	return env
}

// inherited is the environment of everything that we start: what we inherited
// and may pass on, less our own credentials, and where the files are.
func (t *target) inherited(dir string) *variables {
	v := &variables{values: map[string]string{}}
	for _, entry := range t.environ {
		if name, value, ok := strings.Cut(entry, "="); ok && !t.ours(name) && t.inherits(name) {
			v.set(name, value)
		}
	}
	if dir != "" {
		v.set("SECRETBOOT_DIR", dir)
	}
	return v
}

// environment is the one builder of the child's environment: what everything
// gets, with the declared variables in place of inherited ones of the same name.
func (t *target) environment(held *bootstrap.Held) ([]string, error) {
	return t.environmentOf(held.Dir(), held.Descriptors(), held.Env)
}

// environmentOf is that of a command whose files are in dir, with the descriptors of
// its memfds by their variables.
func (t *target) environmentOf(dir string, fds map[string]int, declared []bootstrap.Variable) ([]string, error) {
	vars := t.inherited(dir)
	for _, name := range slices.Sorted(maps.Keys(fds)) {
		vars.set(name, "/proc/self/fd/"+strconv.Itoa(fds[name]))
	}
	t.setUser(vars)
	var ps plan.Problems
	for _, v := range declared {
		value := string(v.Value.Reveal())
		ps.Add(checkEnv(v.Name, value))
		vars.set(v.Name, value)
	}
	env := vars.list()
	ps.Add(checkTotal(t.run.Command, env, argMax()))
	return env, ps.Err()
}

// inherits reports whether the command gets a variable that we inherited:
// with --pristine only what --env-allow names, else all or what it names, and
// never what --env-deny names.
func (t *target) inherits(name string) bool {
	matches := func(globs []string) bool {
		return slices.ContainsFunc(globs, func(g string) bool { ok, err := path.Match(g, name); return err == nil && ok })
	}
	allow := t.run.EnvAllow.Or(nil)
	if (len(allow) > 0 || t.run.Pristine.Or(false)) && !matches(allow) {
		return false
	}
	return !matches(t.run.EnvDeny.Or(nil))
}

// argMax is how many bytes the kernel takes for arguments and environment
// together: a quarter of the stack's limit, at least 128 KiB and at most 6 MiB
// (execve(2), and fs/exec.c of Linux).
func argMax() uint64 {
	const least, most = 128 << 10, 6 << 20
	var stack unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &stack); err != nil {
		return least
	}
	return min(max(stack.Cur/4, least), most)
}

// checkTotal tells what execve(2) would say without a name: that all variables
// are too long together.
func checkTotal(argv, env []string, limit uint64) error {
	total, longest, of := uint64(0), 0, ""
	for _, s := range slices.Concat(argv, env) {
		total += uint64(len(s)) + 1 + uint64(unsafe.Sizeof(uintptr(0)))
	}
	for _, s := range env {
		if name, _, _ := strings.Cut(s, "="); len(s) > longest {
			longest, of = len(s), name
		}
	}
	if total <= limit {
		return nil
	}
	return &plan.Problem{
		Code: plan.CodeData, What: "environment", Why: fmt.Sprintf("variables and arguments take %d KiB together, and the kernel takes %d; the longest is %s", total>>10, limit>>10, of),
		Fix: "deliver large secrets as files",
	}
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
// settings, Vault's credentials, whatever a login input came from, and where we tell
// the service manager that we are ready.
func (t *target) ours(name string) bool {
	if name == notifySocket { // a manager hears the one process that it started, and no other
		return !t.becomes
	}
	if t.run.KeepCredentials.Or(false) {
		return false
	}
	if strings.HasPrefix(name, "SECRETBOOT_") {
		return true
	}
	if isCredential(strings.TrimSuffix(name, "_FILE")) {
		return true
	}
	return slices.ContainsFunc(t.inputs, func(h plan.Handle) bool { return h.Kind == plan.HandleEnv && h.Name == name })
}

// isCredential reports whether a variable is one that Vault's credentials are
// given in.
func isCredential(name string) bool {
	return slices.Contains([]string{"VAULT_TOKEN", "VAULT_ROLE_ID", "VAULT_SECRET_ID"}, name)
}

// lookupIn searches a list of NAME=VALUE; the last one counts, as for execve.
func lookupIn(environ []string, name string) (value string, ok bool) {
	prefix := name + "="
	for i := len(environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(environ[i], prefix); ok {
			return v, true
		}
	}
	return "", false
}
