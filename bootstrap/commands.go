package bootstrap

import (
	"context"
	"log/slog"
	"slices"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Commands starts what files want to be run when they were delivered; exec.go has
// it.
type Commands interface {
	// Check tells, before anything else is done, whether a command can be started.
	Check(a plan.Action) error
	// Run starts it and waits for its end; dir is the folder of relative paths.
	// It fails when the command does, and when ctx ends, which ends the command.
	Run(ctx context.Context, a plan.Action, dir string) error
}

// CheckCommands tells which of the commands of files cannot be started.
func CheckCommands(files []plan.File, c Commands) error {
	var ps plan.Problems
	for _, f := range files {
		switch a := f.Command; {
		case a.Kind == plan.ActionNone:
		case a.Kind != plan.ActionExec || len(a.Argv) == 0 || a.Argv[0] == "":
			ps.Add(&plan.Problem{Code: plan.CodeConfig, Origin: f.Origin, What: "the command of a file", Why: "no program is named", Fix: "name one, or leave the command out"})
		default:
			ps.Add(plan.At(c.Check(a), f.Origin))
		}
	}
	return condense(ps).Err()
}

// checkActions tells which of the programs that follow a change cannot be started.
func checkActions(p plan.Plan, c Commands) error {
	var ps plan.Problems
	for r := range p.Refreshes() {
		if r.OnChange.Value.Kind == plan.ActionExec {
			ps.Add(plan.At(c.Check(r.OnChange.Value), r.OnChange.Origin))
		}
	}
	return condense(ps).Err()
}

// runCommands runs the commands of the files that were delivered, each once, in
// the order declared. The first that fails is the last.
func (j *Job) runCommands(ctx context.Context, files []output, dir string) error {
	var ran [][]string
	for _, out := range files {
		a := out.file.Command
		if a.Kind != plan.ActionExec || slices.ContainsFunc(ran, func(argv []string) bool { return slices.Equal(argv, a.Argv) }) {
			continue
		}
		if err := ended(ctx); err != nil {
			return err
		}
		ran = append(ran, a.Argv)
		j.deps.Log.Info("a command is run, because its file was delivered", slog.String("command", a.Argv[0]), slog.String("declared", out.origin.String()))
		err := j.deps.Commands.Run(ctx, a, dir)
		if cause := ended(ctx); err != nil && cause != nil {
			return cause
		}
		if err != nil {
			return plan.At(err, out.origin)
		}
	}
	return nil
}
