package declare

import (
	"fmt"
	"path"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// exec is the command that is started when the templates are there.
func (c *consulTemplate) exec(v hclValue) {
	enabled, before := true, c.plan
	var command, reload *hclValue
	c.block(v, hclFields{
		"command":       func(v hclValue) { command = &v },
		"enabled":       func(v hclValue) { enabled, _ = c.flag(v) },
		"env":           c.env,
		"reload_signal": func(v hclValue) { reload = &v },
		"kill_timeout":  c.every(&c.plan.Run.KillTimeout, unitNone),
		"splay":         c.every(&c.plan.Refresh.Splay, unitNone),
		"kill_signal":   c.killSignal,
		"timeout":       c.ignored("the command may run for as long as it likes"),
	})
	switch {
	case v.kind != kindMap:
		return
	case !enabled:
		c.plan = before
		c.ignore(v, "enabled is false")
		return
	case command == nil:
		c.fail(v, "it names no command", `add command = ["program", "argument"]`)
		return
	}
	c.plan.Run.Command, _ = c.command(*command)
	c.plan.Run.CommandOrigin = c.origin(*command)
	c.plan.Refresh.OnChange = plan.Set(plan.Action{Kind: plan.ActionRestart}, c.origin(v)) // the default
	if reload == nil || reload.text == "" {
		return
	}
	if name, ok := c.signal(*reload); ok {
		c.plan.Refresh.OnChange = plan.Set(plan.Action{Kind: plan.ActionSignal, Signal: name}, c.origin(*reload))
	}
}

func (c *consulTemplate) killSignal(v hclValue) {
	if name, ok := c.signal(v); ok && name != "TERM" {
		c.ignore(v, fmt.Sprintf("a command is stopped with SIGTERM, not SIG%s: see that it ends at that", name))
	}
}

// env says what the command inherits, and what is added to it.
func (c *consulTemplate) env(v hclValue) {
	r := &c.plan.Run
	var allow *hclValue
	list := func(v hclValue) { allow = &v; c.patterns(v, &r.EnvAllow) }
	deny := func(v hclValue) { c.patterns(v, &r.EnvDeny) }
	c.block(v, hclFields{
		"pristine":  c.boolean(&r.Pristine),
		"allowlist": list, "whitelist": list,
		"denylist": deny, "blacklist": deny,
		"custom": c.custom,
	})
	// With pristine the original inherits nothing at all, whatever is allowed.
	if r.Pristine.Value && allow != nil {
		c.ignore(*allow, "pristine is true, so that nothing is inherited")
		r.EnvAllow = plan.Setting[[]string]{}
	}
}

// patterns reads a list of shell patterns. An empty one is none.
func (c *consulTemplate) patterns(v hclValue, to *plan.Setting[[]string]) {
	if to.IsSet {
		c.fail(v, "the list is there under its former name as well", "keep one of the two")
		return
	}
	all := c.texts(v)
	for _, pattern := range all {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			c.fail(v, "one of the patterns is wrong", "write names, with * and ? as in a shell")
			return
		}
	}
	if len(all) > 0 {
		*to = plan.Set(all, c.origin(v))
	}
}

// custom reads NAME=VALUE pairs. A value may well be a secret, so that it stays in
// the file: the plan has its place, which only a text without escapes has.
func (c *consulTemplate) custom(v hclValue) {
	if v.kind != kindList {
		c.fail(v, "it must be a list of NAME=VALUE texts", `write it as ["NAME=value"]`)
		return
	}
	for i, item := range v.items {
		one := hclValue{hclNode: item, key: fmt.Sprintf("%s[%d]", v.key, i)}
		name, _, ok := strings.Cut(item.text, "=")
		switch {
		case item.kind != kindString || !ok || plan.NotVariable(name) != "":
			c.fail(one, "it must be NAME=VALUE, in quotes", "")
		case item.to == 0:
			c.fail(one, "the value is written with escapes, or the file has lines that end in CR LF: its place cannot be named", "write the value as it is, in quotes and in a file with LF, or set the variable for secretboot itself")
		default:
			place := plan.Handle{Kind: plan.HandleFile, Name: c.in.absolute(c.file), Of: c.length, Origin: c.origin(one)}
			piece := plan.Piece{Text: &place, From: item.from + len(name) + 1, To: item.to}
			c.plan.Env = append(c.plan.Env, plan.Env{Name: name, Source: plan.Source{Pieces: []plan.Piece{piece}}, Origin: c.origin(one)})
		}
	}
}
