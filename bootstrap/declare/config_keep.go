package declare

import "github.com/secretboot/secretboot/bootstrap/plan"

// listen takes where probes are answered.
func (d *decoder) listen(v value) {
	s, ok := d.str(v)
	if !ok {
		return
	}
	if _, _, err := plan.SplitListen(s); err != nil {
		d.fail(v, err.Error(), "")
		return
	}
	d.plan.Listen = plan.Set(s, d.origin(v))
}

// exitWith takes a path, or the number of a process with or without quotes.
func (d *decoder) exitWith(v value) {
	s, ok := v.text, v.kind == kindInt
	if !ok {
		if s, ok = d.str(v); !ok {
			return
		}
	}
	if _, _, err := plan.SplitExitWith(s); err != nil {
		d.fail(v, err.Error(), "")
		return
	}
	d.plan.ExitWith = plan.Set(s, d.origin(v))
}
