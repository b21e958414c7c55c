package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

func applyUser(b *builder, s string, o plan.Origin) error {
	user, err := declare.ParseUserFlag(s, o)
	if err == nil {
		b.plan.Run.User = plan.Set(user, o)
	}
	return err
}

func applyCapDrop(b *builder, s string, o plan.Origin) error {
	name, err := declare.ParseCapabilityFlag(s, o)
	if err == nil {
		b.plan.Run.CapDrop = plan.Set(append(b.plan.Run.CapDrop.Value, name), o)
	}
	return err
}

// privileges makes of the settings what the command has less of than we. A user
// that cannot be found is left out, and the error says so.
func privileges(run plan.Run) (process.Privileges, error) {
	p := process.Privileges{
		NoNewPrivs: run.NoNewPrivs.Or(false),
		Drop:       process.Capabilities(plan.CapabilityBits(run.CapDrop.Or(nil))),
	}
	if !run.User.IsSet {
		return p, nil
	}
	name, group, _ := plan.SplitUser(run.User.Value)
	u, err := process.SystemAccounts().Find(name, group)
	if err != nil {
		return p, userProblem(run, err)
	}
	p.User = &u
	return p, nil
}

// userProblem says why the command cannot be somebody.
func userProblem(run plan.Run, err error) *plan.Problem {
	p := &plan.Problem{
		Code: plan.CodeConfig, Origin: run.User.Origin, What: "user " + strconv.Quote(run.User.Value), Why: plan.PathCause(err), Err: err,
		Fix: "see /etc/passwd and /etc/group",
	}
	switch {
	case errors.Is(err, process.ErrUnknownUser):
		p.Why, p.Fix = "/etc/passwd has no such user", "give its number"
	case errors.Is(err, process.ErrUnknownGroup):
		p.Why, p.Fix = "/etc/group has no such group", "give its number"
	case errors.Is(err, process.ErrSetID):
		p.Why, p.Fix = process.ErrSetID.Error(), "take those off our file, and start us as root"
	case errors.Is(err, process.ErrMayNotBecome):
		p.Why, p.Fix = process.ErrMayNotBecome.Error(), "start us so, or start us as that user and leave the setting out"
	case errors.Is(err, process.ErrUnmapped):
		p.Why, p.Fix = process.ErrUnmapped.Error(), "give a number that /proc/self/uid_map and gid_map have"
	case errors.Is(err, process.ErrMayNotSignal):
		p.Why, p.Fix = process.ErrMayNotSignal.Error(), "give us the capability, or use --exec"
	}
	return p
}

// checkPrivileges tells what stands in the way of the command's privileges.
func (t *target) checkPrivileges() error {
	var ps plan.Problems
	ps.Add(t.unknown)
	err := t.privileges.Check(t.run.Mode.Or(plan.RunAuto) == plan.RunReplace)
	for _, why := range []error{process.ErrSetID, process.ErrMayNotBecome, process.ErrUnmapped, process.ErrMayNotSignal} {
		if errors.Is(err, why) {
			ps.Add(userProblem(t.run, why))
		}
	}
	if errors.Is(err, process.ErrMayNotDrop) {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: t.run.CapDrop.Origin, What: "cap_drop", Why: process.ErrMayNotDrop.Error(),
			Fix: "leave it out: the command has none that we do not have; no_new_privs keeps it from getting any",
		})
	}
	if err != nil && len(ps) == 0 {
		ps.Add(&plan.Problem{Code: plan.CodeIO, What: "the privileges of the command", Why: plan.PathCause(err), Err: err})
	}
	return ps.Err()
}

// other reports whether the command is another user than we.
func (t *target) other() bool { u := t.privileges.User; return u != nil && !u.Is() }

// owned gives the plan with files that name no owner for the command's user.
func (t *target) owned(p plan.Plan) plan.Plan {
	if t.other() {
		u := t.privileges.User
		p.Give(strconv.FormatUint(uint64(u.UID), 10), strconv.FormatUint(uint64(u.GID), 10))
	}
	return p
}

// setUser puts the variables that name the user in place of ours. Nobody knows
// them of a number that has no name: the home is / then, as docker has it.
func (t *target) setUser(v *variables) {
	u := t.privileges.User
	switch {
	case u == nil:
	case u.Name == "":
		v.set("HOME", "/")
		v.drop("USER")
		v.drop("LOGNAME")
	default:
		v.set("HOME", u.Home)
		v.set("USER", u.Name)
		v.set("LOGNAME", u.Name)
	}
}

// reachable tells, before the command starts, that its user can get to the folders
// of the files. Below a private mount only the command itself could tell.
func (t *target) reachable(held *bootstrap.Held) error {
	if !t.other() {
		return nil
	}
	var ps plan.Problems
	for _, dir := range held.Folders() {
		asked := dir
		if t.here {
			asked = filepath.Dir(dir)
		}
		err := t.privileges.As(func() error { return process.MayEnter(asked) })
		if err == nil {
			continue
		}
		p := &plan.Problem{
			Code: plan.CodeSink, Origin: t.run.User.Origin, What: "folder " + strconv.Quote(dir), Err: err,
			Why: "the user that the command runs as cannot reach it: " + plan.PathCause(err),
			Fix: "open it and those above it to that user (chmod a+x), or give another folder with --dir",
		}
		if !errors.Is(err, fs.ErrPermission) {
			p.Fix = ""
		}
		ps.Add(p)
	}
	return ps.Err()
}

// lookupForSink hides our own runtime folder from the choice of a folder: no
// other user can pass it.
func (t *target) lookupForSink(lookup func(string) (string, bool)) func(string) (string, bool) {
	if t == nil || !t.other() {
		return lookup
	}
	return func(name string) (string, bool) {
		if name == "XDG_RUNTIME_DIR" {
			return "", false
		}
		return lookup(name)
	}
}

// group is that of the command's user, when that is another than we; 0 is none.
func (t *target) group() int {
	if t == nil || !t.other() {
		return 0
	}
	return int(t.privileges.User.GID)
}

// forget takes our credentials out of our own environment as /proc shows it. We
// go on with copies, in memory that nobody else may read.
func (a *app) forget(p plan.Plan) {
	inputs := credentials(p)
	found := process.EraseEnviron(func(name string) bool {
		return isCredential(name) || slices.ContainsFunc(inputs, func(h plan.Handle) bool { return h.Kind == plan.HandleEnv && h.Name == name })
	})
	if !found {
		a.logger().Debug("our environment could not be found in memory", slog.String("stays", "/proc/self/environ"))
	}
}
