package main

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// declared builds the plan from all that was declared: flags before variables
// before files.
func (a *app) declared(cmd *cobra.Command) (plan.Plan, error) {
	in := a.input()
	flags, env := &builder{in: in, logLevel: a.level.Level()}, &builder{in: in, logLevel: a.level.Level()}
	var ps plan.Problems
	unknown, err := a.fromEnvironment(env)
	ps.Add(err)
	flags.logLevel = env.logLevel
	ps.Add(a.fromFlags(cmd, flags))
	a.level.Set(flags.logLevel)
	for _, format := range []string{env.logFormat, flags.logFormat} {
		if format != "" {
			a.logFormat = format
		}
	}
	for _, v := range unknown {
		a.logger().Warn("unknown variable", slog.String("name", v.name), slog.String("did_you_mean", v.meant))
	}
	client, _, clientErr := declare.Environment{}.Declare(in)
	asked, high := fronts(flags, env), plan.Overlay(client, plan.Overlay(env.plan, flags.plan))
	low, err := a.fromFiles(in, asked, high)
	ps.Add(err)
	ps.Add(clientErr) // problems come in the order of the declarations, files first
	references, err := a.references(in, asked, low, env.plan, flags.plan)
	ps.Add(err)
	p := plan.Overlay(plan.Overlay(low, plan.Overlay(plan.Overlay(client, references), env.plan)), flags.plan)
	switch at := p.Vault.Address.Origin; {
	case !p.Vault.Dev.IsSet || !p.Vault.Address.IsSet:
	case low.Vault.Address.Origin == at && !low.Vault.Dev.IsSet:
		// The declaration has the address of where it is for; it is tried here.
		p.Vault.Address = plan.Setting[string]{}
		a.logger().Info("a local file stands in for the Vault of the declaration", slog.String("dev", p.Vault.Dev.Value))
	default:
		fix := "take one of the two away"
		if strings.HasPrefix(at.At, "VAULT_") { // mostly from a shell's profile
			fix += ", as in env -u " + at.At + " secretboot …"
		}
		ps.Add(&plan.Problem{Code: plan.CodeConfig, Origin: p.Vault.Dev.Origin, What: "--dev", Why: "a Vault address is set too, at " + at.String(), Fix: fix})
	}
	return p, ps.Err()
}

// input is the outside world for the fronts.
func (a *app) input() declare.Input {
	home, _ := a.lookup("HOME")
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "/"
	}
	return declare.Input{
		Open:   openInput,
		Lookup: a.lookup, Environ: a.environ, Home: home, Cwd: cwd,
	}
}

// pipePatience is how long a pipe may take to give its text.
const pipePatience = 10 * time.Second

// openInput opens a file that a user named. It may be a pipe, as in
// -c <(generate), but one that nobody writes to must not hold us.
func openInput(path string) (io.ReadCloser, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := awaitWriter(f); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: path, Err: err}, f.Close())
	}
	if info, err := f.Stat(); err == nil {
		paceInput(info.Size())
	}
	_ = f.SetReadDeadline(time.Now().Add(pipePatience)) // no regular file has one
	return f, nil
}

// writerPatience is how long a named pipe may have nobody who writes to it: a
// writer that was started together with us may be a little late.
const writerPatience = time.Second

var errNoWriter = errors.New("nobody writes to the pipe")

// awaitWriter waits for who writes to a named pipe: without one it would read as
// an empty file.
func awaitWriter(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return err
	}
	raw, err := f.SyscallConn() // Fd would take the deadline away
	if err != nil {
		return err
	}
	end, ready := time.Now().Add(writerPatience), 0
	err = raw.Control(func(fd uintptr) {
		for ready <= 0 && time.Now().Before(end) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small
			ready, _ = unix.Poll(fds, int(time.Until(end).Milliseconds())+1)
		}
	})
	if err == nil && ready <= 0 {
		err = errNoWriter
	}
	return err
}

func (a *app) lookup(name string) (string, bool) { return lookupIn(a.environ, name) }

// fromFiles reads what --config and --from name. What a flag or a variable says is
// in high: there the declarations have no say, and cannot be in conflict.
func (a *app) fromFiles(in declare.Input, asked []declare.Front, high plan.Plan) (plan.Plan, error) {
	var ps plan.Problems
	var parts []plan.Plan
	for _, f := range asked {
		p, found, err := f.Declare(in)
		ps.Add(err)
		if !found && err == nil {
			a.logger().Warn("nothing is declared there", slog.String("kind", f.Name()))
		}
		parts = append(parts, plan.Yield(p, high))
	}
	p, err := plan.Merge(parts...)
	ps.Add(err)
	return p, ps.Err()
}

// fronts are those of flags, or else of variables: what flags name stands for what
// variables name.
func fronts(flags, env *builder) []declare.Front {
	if len(flags.fronts) > 0 {
		return flags.fronts
	}
	return env.fronts
}

// references reads the references in inherited variables, where no front was asked
// for that reads them in another way. A variable that somebody declares is left
// alone, whatever its value is: what is declared wins over what happens to be there.
func (a *app) references(in declare.Input, asked []declare.Front, declared ...plan.Plan) (plan.Plan, error) {
	if slices.ContainsFunc(asked, func(f declare.Front) bool { return f.Name() == "env" }) {
		return plan.Plan{}, nil
	}
	in.Environ = slices.DeleteFunc(slices.Clone(in.Environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.ContainsFunc(declared, func(p plan.Plan) bool { return p.Declares(name) })
	})
	p, _, err := declare.References{}.Declare(in)
	return p, err
}
