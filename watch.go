package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/process"
)

func (a *app) watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [flags]",
		Short: "deliver, then keep fresh until told to end (sidecar)",
		Long:  "Deliver, then keep fresh until told to end, as a sidecar does.\n\n" + aboutReferences,
		Example: "  secretboot watch -c /etc/secretboot.yaml --dir /run/secrets --listen 127.0.0.1:9102\n" +
			"  secretboot watch --from annotations --exit-with /run/secrets/done",
		Args: noArgument, DisableFlagsInUseLine: true,
		RunE: a.watch,
	}
	a.addFlags(cmd)
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
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	gone, signal, err := a.exitWith(ctx, p.ExitWith)
	var ps plan.Problems
	ps.Add(err)
	ps.Add(a.withoutCommand(&p, "watch"))
	ps.Add(checkActions(p))
	if err := ps.Err(); err != nil {
		return err
	}
	a.keeps = true
	held, err := a.bootstrap(cmd.Context(), p, nil, false)
	if err != nil {
		return err
	}
	err = a.stay(ctx, p, held, gone, signal)
	a.board.Ended()
	closeErr := held.Close(cmd.Context())
	if err == nil && closeErr == nil {
		a.receipt.rewrite(receipt.Ended, 0, nil)
	}
	return errors.Join(err, closeErr)
}

// stay keeps what was delivered until we are to end. A signal that asks for that is
// no failure: ours is to be there until it comes. SIGABRT and its like are one.
func (a *app) stay(parent context.Context, p plan.Plan, held *bootstrap.Held, gone <-chan struct{}, signal func(syscall.Signal) error) error {
	ctx, stop := a.untilSignal(parent)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-gone: // never, when there is nothing to end with
			a.logger().Info("what exit_with names has come to its end, and so do we")
			cancel()
		case <-ctx.Done():
		}
	}()
	a.notify(notifyReady)
	defer a.notify(notifyStopping)
	later := hooks{target: a.target(p), later: true, masks: a.masking(p.Run)}
	err := held.Keep(ctx, a.keeping(held, sidecar{p.ExitWith, signal, later}))
	var sig *interrupted
	if err == nil && errors.As(context.Cause(ctx), &sig) && !slices.Contains(process.Ending(), os.Signal(sig.signal)) {
		return sig // that is how a program is ended that hangs
	}
	return err
}

// checkActions refuses what a sidecar could not do: it has started no command.
func checkActions(p plan.Plan) error {
	var ps plan.Problems
	pid, _, _ := plan.SplitExitWith(p.ExitWith.Value)
	for r := range p.Refreshes() {
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

// sidecar acts for watch.
type sidecar struct {
	exitWith plan.Setting[string]
	signal   func(syscall.Signal) error // to the process that exitWith names
	hooks    bootstrap.Commands
}

// Signal goes to the process that we end with.
func (s sidecar) Signal(name string) error {
	p := &plan.Problem{Code: plan.CodeIO, Origin: s.exitWith.Origin, What: "signal " + name + " to process " + s.exitWith.Value}
	n, err := plan.ParseSignal(name)
	if err == nil {
		err = s.signal(n)
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
