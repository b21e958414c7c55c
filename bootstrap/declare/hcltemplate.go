package declare

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// hclTemplates reads the template blocks of Vault Agent and of consul-template,
// which are the same.
type hclTemplates struct {
	*hclDecoder
	left, right string                 // of a template that names none
	roots       []plan.Setting[string] // every sandbox_path
}

// commandTimeout is how long the originals wait for a template's command that
// says nothing else.
const commandTimeout = 30 * time.Second

// hclTemplate is one template block as far as it is read.
type hclTemplate struct {
	source, contents *hclValue
	template         plan.Template
	file             plan.File
	command          *hclValue // which gave file.Command
	timeout          time.Duration
}

// file reads a template that is rendered into a file.
func (t *hclTemplates) file(v hclValue) {
	tpl := hclTemplate{timeout: commandTimeout, file: plan.File{Origin: t.origin(v)}}
	f := t.common(&tpl)
	var destination *hclValue
	f["destination"] = func(v hclValue) {
		destination = &v
		tpl.file.Path = t.place(v)
	}
	f["perms"] = func(v hclValue) { tpl.file.Mode = t.mode(v, `write it as text in octal, such as "0400"`) }
	f["user"], f["uid"] = t.account(&tpl.file.Owner), t.account(&tpl.file.Owner)
	f["group"], f["gid"] = t.account(&tpl.file.Group), t.account(&tpl.file.Group)
	f["command"] = func(v hclValue) { t.run(v, &tpl) }
	f["command_timeout"] = func(v hclValue) { tpl.timeout, _ = t.duration(v, unitNone) }
	f["exec"] = func(v hclValue) { t.exec(v, &tpl) }
	f["wait"] = func(v hclValue) { t.wait(v, &tpl.file.Refresh) }
	f["sandbox_path"] = func(v hclValue) {
		var root plan.Setting[string]
		if t.path(&root)(v); root.IsSet {
			t.roots = append(t.roots, root)
		}
	}
	f["backup"] = t.when(true, "the former file is not kept: it would be one more place with an old secret")
	f["create_dest_dirs"] = t.when(false, "a folder that is missing is made")
	before := len(t.problems)
	t.block(v, f)
	if v.kind != kindMap {
		return
	}
	if destination == nil {
		t.fail(v, "it has no destination", "add destination: the path of the file")
	}
	tpl.file.Source = t.finish(v, &tpl)
	if tpl.command != nil {
		tpl.file.Command.Timeout = tpl.timeout
	}
	if len(t.problems) == before {
		t.plan.Files = append(t.plan.Files, tpl.file)
	}
}

// variable reads a template that is rendered into a variable, which is the label.
func (t *hclTemplates) variable(v hclValue) {
	for _, v := range labelled(v, t.common(&hclTemplate{})) {
		if v.kind == kindMap && len(v.labels) != 1 {
			t.fail(v, "it wants the name of one variable", `write env_template "NAME" { … }`)
			continue
		}
		var tpl hclTemplate
		before := len(t.problems)
		name := ""
		if v.kind == kindMap {
			name = v.labels[0].text
			v.key = fmt.Sprintf("env_template %s", name)
			v.labels = nil
		}
		t.block(v, t.common(&tpl))
		if v.kind != kindMap {
			continue
		}
		source := t.finish(v, &tpl)
		if len(t.problems) == before {
			t.plan.Env = append(t.plan.Env, plan.Env{Name: name, Source: source, Origin: t.origin(v)})
		}
	}
}

// common gives the keys that both kinds have.
func (t *hclTemplates) common(tpl *hclTemplate) hclFields {
	denied := t.ignored("templates have no function that a list could take away: they read Vault, and files below sandbox_path only")
	return hclFields{
		"source":   func(v hclValue) { tpl.source = &v },
		"contents": func(v hclValue) { tpl.contents = &v },
		"left_delimiter": func(v hclValue) {
			tpl.template.Left, _ = t.str(v)
		},
		"right_delimiter": func(v hclValue) {
			tpl.template.Right, _ = t.str(v)
		},
		"error_on_missing_key": func(v hclValue) {
			if set, _ := t.flag(v); set {
				tpl.template.Missing = plan.MissingError
			}
		},
		"error_fatal":        t.when(false, "a template that fails ends the run: the command would start without its secret"),
		"function_denylist":  denied,
		"function_blacklist": denied,
	}
}

// when notes a truth value that has no meaning here, unless it asks for what we
// do anyway.
func (d *hclDecoder) when(noted bool, why string) func(hclValue) {
	return func(v hclValue) {
		if set, ok := d.flag(v); ok && set == noted {
			d.ignore(v, why)
		}
	}
}

// finish gives the template of a block.
func (t *hclTemplates) finish(v hclValue, tpl *hclTemplate) plan.Source {
	switch {
	case tpl.source == nil && tpl.contents == nil:
		t.fail(v, "it has neither source nor contents", "add one of the two")
		return plan.Source{}
	case tpl.source != nil && tpl.contents != nil:
		t.fail(*tpl.contents, "there is a source as well", "keep one of the two")
		return plan.Source{}
	case tpl.source != nil:
		t.fromFile(*tpl.source, &tpl.template)
	default:
		tpl.template.Name = t.origin(*tpl.contents).At
		tpl.template.Text, _ = t.need(*tpl.contents)
	}
	if tpl.template.Left == "" {
		tpl.template.Left = t.left
	}
	if tpl.template.Right == "" {
		tpl.template.Right = t.right
	}
	return plan.Source{Template: &tpl.template}
}

// fromFile reads a template now, so that the plan is whole; it is no secret.
func (t *hclTemplates) fromFile(v hclValue, to *plan.Template) {
	name, ok := t.need(v)
	if !ok {
		return
	}
	to.Name = t.in.absolute(name)
	text, err := t.in.read(to.Name)
	if err != nil {
		t.fail(v, fmt.Sprintf("cannot read %q: %s", to.Name, reason(err)), "")
		return
	}
	to.Text = string(text)
}

// account reads a user or a group: a name, or a number; -1 is our own to the
// originals.
func (d *hclDecoder) account(to *string) func(hclValue) {
	return func(v hclValue) {
		n, err := strconv.ParseInt(v.text, 10, 64)
		if v.kind == kindInt && (err != nil || n < -1) {
			d.fail(v, "it must be a name or a number from 0", "")
			return
		}
		s, ok := d.str(v)
		if !ok || s == "" || s == "-1" {
			return
		}
		if *to != "" && *to != s {
			d.fail(v, "the same is said twice, once by name and once by number", "keep one of the two")
			return
		}
		*to = s
	}
}

// run reads a command that follows each delivery. An empty one is none.
func (t *hclTemplates) run(v hclValue, tpl *hclTemplate) {
	if v.kind == kindString && v.text == "" || v.kind == kindList && len(v.items) == 0 {
		return
	}
	if tpl.command != nil {
		t.fail(v, "there is another command for this template", "keep one of command and exec")
		return
	}
	if argv, ok := t.command(v); ok {
		tpl.command = &v
		tpl.file.Command = plan.Action{Kind: plan.ActionExec, Argv: argv}
	}
}

// exec is the longer way to write a command; its environment and its signals are
// those of a long-running child, which a template's command is not.
func (t *hclTemplates) exec(v hclValue, tpl *hclTemplate) {
	const child = "the command of a template ends before the run goes on; nothing is signalled"
	enabled := true
	var command *hclValue
	t.block(v, hclFields{
		"command":       func(v hclValue) { command = &v },
		"timeout":       func(v hclValue) { tpl.timeout, _ = t.duration(v, unitNone) },
		"enabled":       func(v hclValue) { enabled, _ = t.flag(v) },
		"kill_signal":   t.ignored(child),
		"kill_timeout":  t.ignored(child),
		"reload_signal": t.ignored(child),
		"splay":         t.ignored(child),
		"env": func(v hclValue) {
			t.fail(v, "a template's command has no environment of its own here", "write the variables into the command, as in [\"env\", \"NAME=value\", …]")
		},
	})
	switch {
	case command != nil && enabled:
		t.run(*command, tpl)
	case command != nil:
		t.ignore(*command, "exec.enabled is false")
	}
}

// wait reads how long a change may settle, { min, max } or "MIN[:MAX]".
func (d *hclDecoder) wait(v hclValue, to *plan.Refresh) {
	const bound = "a change is delivered once it settled, or when the run ends; there is no upper bound"
	if v.kind == kindMap {
		d.block(v, hclFields{
			"min":     d.every(&to.Debounce, unitNone),
			"max":     d.ignored(bound),
			"enabled": d.when(false, "leave min out for no delay"),
		})
		return
	}
	least, most, both := strings.Cut(v.text, ":")
	n, err := parseDuration(least, unitNone)
	m, maxErr := n, error(nil)
	if both {
		m, maxErr = parseDuration(most, unitNone)
	}
	if v.kind != kindString || err != nil || maxErr != nil || n < 0 || m < n {
		d.fail(v, "it must be MIN or MIN:MAX, such as 5s:30s", "")
		return
	}
	to.Debounce = plan.Set(n, d.origin(v))
	if both {
		d.ignore(v, "of MIN:MAX only MIN counts: "+bound)
	}
}

// sandbox makes one folder of every sandbox_path: a plan has one for all
// templates.
func (t *hclTemplates) sandbox() {
	for _, root := range t.roots {
		first := t.roots[0]
		if root.Value != first.Value {
			t.problems = append(t.problems, &plan.Problem{
				Code: plan.CodeConfig, Origin: root.Origin, What: fmt.Sprintf("%q", root.Origin.Key),
				Why: "another template has another folder, at " + first.Origin.At, Fix: "give all templates one folder",
			})
			continue
		}
		t.plan.TemplateRoot = first
	}
}
