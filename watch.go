package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/status"
)

func (a *app) watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [flags]",
		Short: "deliver, then keep fresh until told to end (sidecar)",
		Example: "  secretboot watch -c /etc/secretboot.yaml --dir /run/secrets --listen 127.0.0.1:9102\n" +
			"  secretboot watch --from annotations --exit-with /run/secrets/done",
		Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		RunE: a.watch,
	}
	addFlags(cmd)
	return cmd
}

// watch delivers, and keeps that true until a signal, or the end of what
// --exit-with names. Then it shreds.
func (a *app) watch(cmd *cobra.Command, _ []string) error {
	p, err := a.declared(cmd)
	if err != nil {
		return err
	}
	a.warnMistyped(p)
	var ps plan.Problems
	ps.Add(a.withoutCommand(&p, "watch"))
	ps.Add(checkActions(p))
	if err := ps.Err(); err != nil {
		return err
	}
	held, err := a.bootstrap(cmd.Context(), p, nil, false)
	if err != nil {
		return err
	}
	err = a.stay(cmd.Context(), p, held)
	a.board.Ended()
	closeErr := held.Close(cmd.Context())
	if err == nil && closeErr == nil {
		a.receipt.rewrite(receipt.Ended, 0, nil)
	}
	return errors.Join(err, closeErr)
}

// stay keeps what was delivered until we are to end. A signal that asks for that is
// no failure: ours is to be there until it comes.
func (a *app) stay(parent context.Context, p plan.Plan, held *bootstrap.Held) error {
	ctx, stop := a.untilSignal(parent)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gone, err := a.exitWith(ctx, p.ExitWith)
	if err != nil {
		return err
	}
	go func() {
		select {
		case <-gone: // never, when there is nothing to end with
			a.logger().Info("what exit_with names has come to its end, and so do we")
			cancel()
		case <-ctx.Done():
		}
	}()
	return held.Keep(ctx, a.keeping(sidecar{p.ExitWith, a.hooks(p)}))
}

// keeping says how a delivery is kept.
func (a *app) keeping(actor bootstrap.Actor) bootstrap.Keep {
	return bootstrap.Keep{Actor: actor, Observer: observer{a.board}, Chance: rand.Float64}
}

// checkActions refuses what a sidecar could not do: it has started no command.
func checkActions(p plan.Plan) error {
	var ps plan.Problems
	pid, _, _ := plan.SplitExitWith(p.ExitWith.Value)
	for _, r := range refreshes(p) {
		switch act := r.OnChange; {
		case act.Value.Kind == plan.ActionRestart:
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: act.Origin, What: "on_change: restart", Why: "watch starts no command that it could restart",
				Fix: "use on_change: { exec: [PROGRAM] }, or run",
			})
		case act.Value.Kind == plan.ActionSignal && pid == 0:
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: act.Origin, What: "on_change: signal:" + act.Value.Signal, Why: "watch starts no command, and exit_with names no process that could have it",
				Fix: "give exit_with: PID in a pod with shareProcessNamespace, use { exec: [PROGRAM] }, or run",
			})
		}
	}
	return ps.Err()
}

// refreshes lists everything that a plan says of what follows a change.
func refreshes(p plan.Plan) []plan.Refresh {
	all := []plan.Refresh{p.Refresh}
	for _, f := range p.Files {
		all = append(all, f.Refresh)
	}
	for _, s := range p.Sets {
		all = append(all, s.Refresh)
	}
	for _, e := range p.Env {
		all = append(all, e.Refresh)
	}
	for _, s := range p.EnvSets {
		all = append(all, s.Refresh)
	}
	return all
}

// sidecar acts for watch.
type sidecar struct {
	exitWith plan.Setting[string]
	hooks    bootstrap.Commands
}

// Signal goes to the process that we end with.
func (s sidecar) Signal(name string) error {
	p := &plan.Problem{Code: plan.CodeIO, Origin: s.exitWith.Origin, What: "signal " + name + " to process " + s.exitWith.Value}
	n, err := plan.ParseSignal(name)
	if err == nil {
		pid, _, _ := plan.SplitExitWith(s.exitWith.Value)
		err = syscall.Kill(pid, n)
	}
	if err == nil {
		return nil
	}
	p.Why, p.Err = plan.PathCause(err), err
	return p
}

// Restart is refused by checkActions.
func (s sidecar) Restart(context.Context, []bootstrap.Variable) error {
	return &plan.Problem{Code: plan.CodeBug, What: "restart", Why: "watch has started no command"}
}

// Exec runs a command beside us.
func (s sidecar) Exec(ctx context.Context, act plan.Action, dir string) error {
	return s.hooks.Run(ctx, act, dir)
}

// observer tells the board of what the pipeline does.
type observer struct{ board *status.Board }

func (o observer) Delivered(changed bool)           { o.board.Delivered(changed) }
func (o observer) Read(err error)                   { o.board.Read(class(err)) }
func (o observer) Renewed(what string, err error)   { o.board.Renewed(what, class(err)) }
func (o observer) Login(err error)                  { o.board.Login(class(err)) }
func (o observer) Expires(at time.Time)             { o.board.Expires(at) }
func (o observer) Acted(k plan.ActionKind, e error) { o.board.Acted(kindName(k), e == nil) }

func class(err error) string {
	if err == nil {
		return ""
	}
	return status.Class(plan.CodeOf(err))
}

func kindName(k plan.ActionKind) string {
	switch k {
	case plan.ActionSignal:
		return "signal"
	case plan.ActionRestart:
		return "restart"
	case plan.ActionExec:
		return "exec"
	case plan.ActionNone:
	}
	return "none " + strconv.Itoa(int(k))
}
