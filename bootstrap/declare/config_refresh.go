package declare

import (
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// refresh reads how often something is read again and what follows a change.
func (d *decoder) refresh(to *plan.Refresh) func(value) {
	return func(v value) {
		d.object(v, fields{
			"every":        d.duration(&to.Every),
			"splay":        d.duration(&to.Splay),
			"debounce":     d.duration(&to.Debounce),
			"min_interval": d.duration(&to.MinInterval),
			"on_change": func(v value) {
				if a, ok := d.action(v); ok {
					to.OnChange = plan.Set(a, d.origin(v))
				}
			},
		})
	}
}

// belowRefresh says where a key of refresh belongs that stands where it is unknown:
// many look for it beside the file, or in run.
func belowRefresh(wrong string, known fields) string {
	_, here := known["refresh"]
	switch {
	case wrong != "on_change" && wrong != "min_interval" && wrong != "debounce":
		return ""
	case here:
		return "write it as refresh: { " + wrong + ": … }"
	}
	return "write it as refresh: { " + wrong + ": … } at the top, or of a file or variable"
}

// action reads none, restart, signal:NAME or { exec: [PROGRAM, ARGUMENT] }.
func (d *decoder) action(v value) (plan.Action, bool) {
	if v.kind == kindMap {
		return d.execAction(v)
	}
	if v.kind == kindString {
		a, known, err := wordAction(v.text)
		if err != nil {
			d.fail(v, err.Error(), "write its name without SIG, as in signal:HUP")
		}
		if known {
			return a, err == nil
		}
	}
	d.fail(v, "it must be none, restart, signal:NAME such as signal:HUP, or { exec: [PROGRAM, ARGUMENT] }", "")
	return plan.Action{}, false
}

// wordAction reads an action that is one word; known is false for any other text,
// and the error is about the signal.
func wordAction(text string) (a plan.Action, known bool, err error) {
	name, isSignal := strings.CutPrefix(text, "signal:")
	switch {
	case text == "none":
		return plan.Action{}, true, nil
	case text == "restart":
		return plan.Action{Kind: plan.ActionRestart}, true, nil
	case isSignal:
		_, err := plan.ParseSignal(name)
		return plan.Action{Kind: plan.ActionSignal, Signal: name}, true, err
	}
	return plan.Action{}, false, nil
}

// ParseActionFlag reads the value of --on-change: none, restart, signal:NAME or
// exec:PROGRAM, a program without arguments. The error is a *plan.Problem with
// CodeUsage.
func ParseActionFlag(arg string, from plan.Origin) (plan.Action, error) {
	a, known, err := wordAction(arg)
	program, isExec := strings.CutPrefix(arg, "exec:")
	switch {
	case err != nil:
		return a, flagProblem(from, err.Error()+"; write its name without SIG, as in signal:HUP")
	case known:
		return a, nil
	case isExec && program != "":
		return plan.Action{Kind: plan.ActionExec, Argv: []string{program}}, nil
	}
	return a, flagProblem(from, "it must be none, restart, signal:NAME such as signal:HUP, or exec:PROGRAM")
}

func (d *decoder) execAction(v value) (plan.Action, bool) {
	a, before := plan.Action{Kind: plan.ActionExec}, len(d.problems)
	var timeout plan.Setting[time.Duration]
	d.object(v, fields{"exec": func(v value) { a.Argv = d.argv(v) }, "timeout": d.duration(&timeout)})
	if len(d.problems) == before && len(a.Argv) == 0 {
		d.fail(v, "it names no program", "write { exec: [PROGRAM, ARGUMENT] }")
	}
	a.Timeout = timeout.Value
	return a, len(d.problems) == before
}
