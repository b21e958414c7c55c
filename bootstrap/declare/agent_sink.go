package declare

import (
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// sinks reads a place that the token itself is delivered to.
func (a *agent) sinks(v hclValue) {
	kind := ""
	at := v
	file := plan.File{Source: plan.Source{Token: true}}
	var config *hclValue
	encrypted := func(v hclValue) {
		if v.text != "" && v.text != "false" {
			a.fail(v, "an encrypted token is not delivered", "leave dh_type, dh_path, derive_key and aad out: the file is for its reader only")
		}
	}
	f := hclFields{
		"type":        func(v hclValue) { kind, _ = a.str(v); at = v },
		"config":      func(v hclValue) { config = &v },
		"wrap_ttl":    a.wrapped,
		"dh_type":     encrypted,
		"dh_path":     encrypted,
		"derive_key":  encrypted,
		"aad":         encrypted,
		"aad_env_var": encrypted,
	}
	for _, v := range labelled(v, f) {
		kind, config, at = "", nil, v
		if len(v.labels) == 1 {
			kind, v.labels = strings.ToLower(v.labels[0].text), nil
		}
		before := len(a.problems)
		a.block(v, f)
		switch {
		case len(a.problems) > before:
		case kind != "file":
			a.fail(at, "the only kind of sink is file", `write sink "file" { … }`)
		case config == nil:
			a.fail(v, "it has no config with a path", "")
		default:
			file.Origin = a.origin(v)
			a.sinkFile(*config, file)
		}
	}
}

func (a *agent) sinkFile(v hclValue, file plan.File) {
	before := len(a.problems)
	a.block(v, hclFields{
		"path": func(v hclValue) { file.Path = a.place(v) },
		"mode": func(v hclValue) {
			file.Mode = a.mode(v, "write it in octal, such as 0400; JSON has decimal numbers only: 256")
		},
		"owner": a.account(&file.Owner),
		"group": a.account(&file.Group),
	})
	if file.Path == "" && len(a.problems) == before {
		a.fail(v, "it has no path", "add path: the file that the token goes to")
	}
	if len(a.problems) == before {
		a.plan.Files = append(a.plan.Files, file)
	}
}
