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

// action reads none, restart, signal:NAME or { exec: [PROGRAM, ARGUMENT] }.
func (d *decoder) action(v value) (plan.Action, bool) {
	if v.kind == kindMap {
		return d.execAction(v)
	}
	name, isSignal := strings.CutPrefix(v.text, "signal:")
	switch {
	case v.kind == kindString && v.text == "none":
		return plan.Action{}, true
	case v.kind == kindString && v.text == "restart":
		return plan.Action{Kind: plan.ActionRestart}, true
	case v.kind == kindString && isSignal:
		_, err := plan.ParseSignal(name)
		if err != nil {
			d.fail(v, err.Error(), "write its name without SIG, as in signal:HUP")
		}
		return plan.Action{Kind: plan.ActionSignal, Signal: name}, err == nil
	}
	d.fail(v, "it must be none, restart, signal:NAME such as signal:HUP, or { exec: [PROGRAM, ARGUMENT] }", "")
	return plan.Action{}, false
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
