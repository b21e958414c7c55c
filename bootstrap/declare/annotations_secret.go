package declare

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// agentCommandTimeout is how long the agent lets a template's command run.
const agentCommandTimeout = 30 * time.Second

// secretNames finds the secrets: a path, a template or a template file makes one.
func (n *injector) secretNames() []string {
	names := map[string]bool{}
	for name, value := range n.all {
		rule, secret, _ := annotationRule(name)
		switch rule.name {
		case "agent-inject-secret", "agent-inject-template", "agent-inject-template-file":
			if secret != "" && strings.TrimSpace(value) != "" {
				names[secret] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// of gives an annotation of a secret, and its name.
func (n *injector) of(secret, annotation string) (value, name string) {
	name = annotation + "-" + secret
	return n.all[name], name
}

// deliver declares the files.
func (n *injector) deliver() {
	n.defaultFormat()
	n.common = plan.Set(injectorFolder, n.origin(injectorOn))
	n.common = n.folder("secret-volume-path")
	for _, secret := range n.secrets {
		n.file(secret)
	}
	if n.flag("agent-inject-token") {
		n.plan.Sink.Dir = n.common
		n.plan.Files = append(n.plan.Files, plan.File{Path: "token", Source: plan.Source{Token: true}, Origin: n.origin("agent-inject-token")})
	}
}

// file declares the file of one secret.
func (n *injector) file(secret string) {
	before := len(n.problems)
	f := plan.File{Path: n.destination(secret), Mode: n.mode(secret), Source: plan.Source{Template: n.template(secret)}, Origin: n.secretOrigin(secret)}
	if command, _ := n.of(secret, "agent-inject-command"); command != "" {
		f.Command = plan.Action{Kind: plan.ActionExec, Argv: []string{"sh", "-c", command}, Timeout: agentCommandTimeout}
	}
	if len(n.problems) > before {
		return
	}
	if other, taken := n.files[f.Path]; taken {
		fix := "give one of them another file with agent-inject-file-" + secret
		if strings.EqualFold(other, secret) {
			fix = `names are made lower-case: set preserve-secret-case to "true", or ` + fix
		}
		n.problems.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: f.Origin, What: fmt.Sprintf("file %q", f.Path),
			Why: fmt.Sprintf("the secrets %s and %s would both be written to it", other, secret), Fix: fix,
		})
		return
	}
	n.files[f.Path] = secret
	n.plan.Files = append(n.plan.Files, f)
}

// secretOrigin is where a secret is declared: the first of the annotations that
// make it.
func (n *injector) secretOrigin(secret string) plan.Origin { return n.origin(n.maker(secret)) }

func (n *injector) maker(secret string) string {
	for _, annotation := range []string{"agent-inject-secret", "agent-inject-template", "agent-inject-template-file"} {
		if value, name := n.of(secret, annotation); strings.TrimSpace(value) != "" {
			return name
		}
	}
	return injectorOn // not reached: without one of them there is no secret
}

// folder gives the folder that an annotation names for secrets; else the common one.
func (n *injector) folder(name string) plan.Setting[string] {
	dir, there := n.all[name]
	switch {
	case !there:
		return n.common
	case !path.IsAbs(dir) || path.Clean(dir) == "/" || climbs(dir):
		n.fail(name, "it must be the absolute path of a folder, without ..", "write a path such as "+injectorFolder)
	}
	return plan.Set(path.Clean(dir), n.origin(name))
}

// destination gives the path of a secret's file: relative to the common folder,
// or absolute in a folder of its own.
func (n *injector) destination(secret string) string {
	dir := n.folder("secret-volume-path-" + secret)
	name, from := n.of(secret, "agent-inject-file")
	if name == "" {
		name, from = n.fileName(secret)
	}
	if climbs(name) {
		// The original writes wherever such a name leads to, /etc/passwd included.
		n.fail(from, "the name of the file has a .. in it and could leave the folder", "name a file below "+dir.Value+", or set secret-volume-path-"+secret)
		return ""
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/") // an absolute name is below the folder, too
	switch {
	case name == "":
		n.fail(from, "it names the folder and no file", "name a file below "+dir.Value)
		return ""
	case dir.Value != n.common.Value:
		return path.Join(dir.Value, name)
	}
	n.plan.Sink.Dir = n.common
	return name
}

// fileName makes the name of a file of the name of a secret: in lower case, unless
// the case is to be preserved.
func (n *injector) fileName(secret string) (name, from string) {
	from = n.maker(secret)
	_, flag := n.of(secret, "preserve-secret-case")
	if _, there := n.all[flag]; !there {
		flag = "preserve-secret-case"
	}
	if n.flag(flag) {
		return secret, from
	}
	return strings.ToLower(secret), from
}

// climbs reports whether a path has an element that leads upwards.
func climbs(p string) bool { return slices.Contains(strings.Split(p, "/"), "..") }

// mode reads permission bits, which are octal with and without a leading 0. None:
// ours, where the original has 0644.
func (n *injector) mode(secret string) fs.FileMode {
	text, name := n.of(secret, "agent-inject-perms")
	if text == "" {
		return 0
	}
	bits, err := strconv.ParseUint(text, 8, 32)
	switch {
	case err != nil || bits > 0o777:
		n.fail(name, `it must be octal digits from "0001" to "0777"`, `write "0400"`)
	case bits == 0:
		n.fail(name, "nobody could read the file", `write "0400"`)
	}
	return fs.FileMode(bits)
}

// template gives the text that makes a secret's file.
func (n *injector) template(secret string) *plan.Template {
	t := &plan.Template{}
	if _, name := n.of(secret, "error-on-missing-key"); n.flag(name) {
		t.Missing = plan.MissingError
	}
	t.Left, _ = n.of(secret, "agent-template-left-delim")
	t.Right, _ = n.of(secret, "agent-template-right-delim")
	t.Text, t.Name = n.of(secret, "agent-inject-template")
	file, from := n.of(secret, "agent-inject-template-file")
	switch {
	case t.Text != "" && strings.HasPrefix(secret, "file-"):
		// The original takes one annotation for both: the name of a template file
		// becomes the content of a secret.
		n.fail(t.Name, "it is the template file of the secret "+strings.TrimPrefix(secret, "file-")+" and the template of "+secret,
			"give the secret a name that does not begin with file-")
	case t.Text != "":
		if file != "" {
			n.ignore(from, "there is "+t.Name+", which wins")
		}
	case file != "":
		n.templateFile(t, file, from)
	default:
		n.defaultTemplate(t, secret)
	}
	return t
}

// templateFile reads a template now, so that the plan is whole; it is no secret.
func (n *injector) templateFile(t *plan.Template, file, from string) {
	t.Name = n.in.absolute(file)
	text, err := n.in.read(file)
	if err != nil {
		n.fail(from, fmt.Sprintf("cannot read %q: %s", t.Name, reason(err)), "mount what holds it into this container: there is no agent's container that has it")
		return
	}
	t.Text = string(text)
}

// defaultTemplate is what makes a file of a path and nothing else. It has its own
// delimiters: the original writes the template itself where others are set.
func (n *injector) defaultTemplate(t *plan.Template, secret string) {
	for _, annotation := range []string{"agent-template-left-delim", "agent-template-right-delim"} {
		if value, name := n.of(secret, annotation); value != "" {
			n.ignore(name, "the default template has its own delimiters")
		}
	}
	t.Left, t.Right = "", ""
	from, name := n.of(secret, "agent-inject-secret")
	t.Name, t.Text = name, injectorMap(from)
	if t.Missing == plan.MissingStrict { // KV version 2 has a null among its metadata
		t.Missing = plan.MissingWhole
	}
	if n.json {
		t.Text = fmt.Sprintf("{{ with secret %s }}{{ .Data | toJSON }}\n{{ end }}", strconv.Quote(from))
	}
}

// defaultFormat reads which default template is meant. The empty text is none.
func (n *injector) defaultFormat() {
	const name = "agent-inject-default-template"
	word, there := n.all[name]
	switch strings.ToLower(word) {
	case "map":
	case "json":
		n.json = true
	default:
		if there {
			n.fail(name, "it must be map or json", "")
		}
	}
}

// injectorMap is the injector's default template, with lines of KEY: VALUE.
func injectorMap(from string) string {
	return fmt.Sprintf("{{ with secret %s }}{{ range $k, $v := .Data }}{{ $k }}: {{ $v }}\n{{ end }}{{ end }}", strconv.Quote(from))
}
