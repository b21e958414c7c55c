package declare

import (
	"strconv"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const (
	badUser       = "it must be USER or USER:GROUP, each a name or a number"
	badCapability = "it must be all or the name of a capability, such as NET_RAW"
)

// user takes uid[:gid] or names. A number need not be in quotes.
func (d *decoder) user(v value) {
	text := v.text
	if v.kind == kindInt { // YAML knows others than decimal ones
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			d.fail(v, badUser, "")
			return
		}
		text = strconv.FormatUint(n, 10)
	} else if v.kind != kindString {
		d.fail(v, badUser, "")
		return
	}
	if _, _, ok := plan.SplitUser(text); !ok {
		d.fail(v, badUser, "")
		return
	}
	d.plan.Run.User = plan.Set(text, d.origin(v))
}

// capDrop takes all, or a list of capabilities.
func (d *decoder) capDrop(v value) {
	var names []string
	add := func(v value) {
		name, ok := plan.ParseCapability(v.text)
		if !ok || v.kind != kindString {
			fix := ""
			if near := plan.Nearest(name, plan.CapabilityNames()); near != "" {
				fix = "did you mean " + near + "?"
			}
			d.fail(v, badCapability, fix)
			return
		}
		names = append(names, name)
	}
	if v.kind == kindString {
		add(v)
	} else {
		d.list(v, add)
	}
	if len(names) > 0 {
		d.plan.Run.CapDrop = plan.Set(names, d.origin(v))
	}
}

// ParseUserFlag reads the value of --user. The error is a *plan.Problem with
// CodeUsage.
func ParseUserFlag(arg string, from plan.Origin) (string, error) {
	if _, _, ok := plan.SplitUser(arg); !ok {
		return "", flagProblem(from, badUser)
	}
	return arg, nil
}

// ParseCapabilityFlag reads the value of --cap-drop, one name. The error is a
// *plan.Problem with CodeUsage.
func ParseCapabilityFlag(arg string, from plan.Origin) (string, error) {
	name, ok := plan.ParseCapability(arg)
	if !ok {
		return "", flagProblem(from, badCapability)
	}
	return name, nil
}
