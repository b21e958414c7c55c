package bootstrap

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// defaultDebounce is how long further changes are waited for before one is acted
// on, when the plan does not say.
const defaultDebounce = time.Second

// maxDebounces bounds the waiting, in debounces since the first change: what
// changes all the time is acted on all the same.
const maxDebounces = 10

// agenda is what is to be done because something changed.
type agenda struct {
	actions     []plan.Action // each once
	first, last time.Time     // changes
	debounce    time.Duration
	minInterval time.Duration
	acted       time.Time // when it was done last
}

// add puts down what follows the changes: of files, and of variables by what
// their declarations say.
func (a *agenda) add(now time.Time, all plan.Refresh, files []output, vars []plan.Refresh) {
	before := len(a.actions)
	for _, out := range files {
		if out.file.Command.Kind == plan.ActionExec {
			a.put(out.file.Command, all)
		}
		a.one(out.file.Refresh, all)
	}
	for _, own := range vars {
		a.one(own, all)
	}
	if len(a.actions) == 0 {
		return
	}
	if before == 0 {
		a.first = now
	}
	a.last = now
}

func (a *agenda) one(own, all plan.Refresh) {
	action := own.OnChange
	if !action.IsSet {
		action = all.OnChange
	}
	if action.Value.Kind != plan.ActionNone {
		a.put(action.Value, merged(own, all))
	}
}

// merged is what counts for one declaration.
func merged(own, all plan.Refresh) plan.Refresh {
	if own.Debounce.IsSet {
		all.Debounce = own.Debounce
	}
	if own.MinInterval.IsSet {
		all.MinInterval = own.MinInterval
	}
	return all
}

// put adds an action that is not there yet. The longest waits count for all.
func (a *agenda) put(action plan.Action, r plan.Refresh) {
	if !slices.ContainsFunc(a.actions, func(have plan.Action) bool { return reflect.DeepEqual(have, action) }) {
		a.actions = append(a.actions, action)
	}
	a.debounce = max(a.debounce, r.Debounce.Or(defaultDebounce))
	a.minInterval = max(a.minInterval, r.MinInterval.Or(0))
}

// due is when it is to be done; zero: there is nothing.
func (a *agenda) due() time.Time {
	if len(a.actions) == 0 {
		return time.Time{}
	}
	at := a.last.Add(a.debounce)
	if limit := a.first.Add(maxDebounces * a.debounce); at.After(limit) {
		at = limit
	}
	if next := a.acted.Add(a.minInterval); !a.acted.IsZero() && next.After(at) {
		at = next
	}
	return at
}

// take gives what is to be done, in order: commands first, whose files are in
// place; then a restart, or the signals, which a new process would not need.
func (a *agenda) take(now time.Time) []plan.Action {
	var commands, signals, restart []plan.Action
	for _, action := range a.actions {
		switch action.Kind {
		case plan.ActionExec:
			commands = append(commands, action)
		case plan.ActionSignal:
			signals = append(signals, action)
		case plan.ActionRestart:
			restart = []plan.Action{action}
		case plan.ActionNone:
		}
	}
	*a = agenda{acted: now}
	if restart != nil {
		signals = nil
	}
	return slices.Concat(commands, restart, signals)
}

// items gives what the declarations of variables say about their change.
func (k *keeper) items(names map[string]bool) []plan.Refresh {
	var all []plan.Refresh
	for i, it := range k.job.items {
		if slices.ContainsFunc(k.held.generation.parts[i].outputs, func(out output) bool {
			return out.name != "" && names[out.name] || out.file.Memfd && names[out.file.Variable()]
		}) {
			all = append(all, it.refresh())
		}
	}
	return all
}

// tellStale says once that a process has older variables than there are, unless it
// is going to be restarted.
func (k *keeper) tellStale(names map[string]bool) {
	restart := slices.ContainsFunc(k.agenda.actions, func(a plan.Action) bool { return a.Kind == plan.ActionRestart })
	if len(names) == 0 || restart || k.stale {
		return
	}
	k.stale = true
	k.log.Warn("secrets have changed that the command has as variables: its environment is stale until it is started again",
		slog.Int("variables", len(names)), slog.String("fix", "on_change: restart restarts it"))
}

// act does what follows the changes, beside the loop and one thing after the other.
func (k *keeper) act(ctx context.Context, now time.Time) {
	actions := k.agenda.take(now)
	vars := clones(k.held.Env)
	dir := k.held.Dir()
	k.acting = true
	k.do(ctx, func(ctx context.Context) func() {
		defer wipeVariables(vars)
		errs := make([]error, len(actions))
		for i, a := range actions {
			if errs[i] = k.actOne(ctx, a, vars, dir); ctx.Err() != nil {
				break
			}
		}
		return func() { k.acted(actions, errs) }
	})
}

func (k *keeper) actOne(ctx context.Context, a plan.Action, vars []Variable, dir string) error {
	switch {
	case k.Actor == nil:
		return &plan.Problem{Code: plan.CodeBug, What: "on_change", Why: "there is nobody who could act"}
	case a.Kind == plan.ActionSignal:
		k.log.Info("a signal follows a change", slog.String("signal", a.Signal))
		return k.Actor.Signal(a.Signal)
	case a.Kind == plan.ActionRestart:
		k.log.Info("the command is restarted, because a secret has changed")
		return k.Actor.Restart(ctx, vars)
	}
	k.log.Info("a command follows a change", slog.String("command", a.Argv[0]))
	return k.Actor.Exec(ctx, a, dir)
}

func (k *keeper) acted(actions []plan.Action, errs []error) {
	k.acting = false
	k.agenda.acted = time.Now()
	for i, a := range actions {
		k.Observer.Acted(a.Kind, errs[i])
		if errs[i] != nil {
			k.log.Error("what follows a change failed", slog.String("problem", errs[i].Error()))
		} else if a.Kind == plan.ActionRestart {
			k.stale = false
		}
	}
}

func wipeVariables(vars []Variable) {
	for _, v := range vars {
		v.Value.Wipe()
	}
}

// clones gives copies of variables, for somebody who keeps them for a while.
func clones(vars []Variable) []Variable {
	out := make([]Variable, 0, len(vars))
	for _, v := range vars {
		out = append(out, Variable{v.Name, secret.New(slices.Clone(v.Value.Reveal()))})
	}
	return out
}
