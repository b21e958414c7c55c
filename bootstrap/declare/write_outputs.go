package declare

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (c *configWriter) files(p *plan.Plan) []any {
	var list []any
	for _, f := range p.Files {
		m := &mapping{}
		m.put("path", f.Path)
		what := fmt.Sprintf("file %q", f.Path)
		c.source(m, f.Source, f.Optional, what, f.Origin)
		c.owner(m, uint32(f.Mode.Perm()), f.Owner, f.Group)
		m.flag("memfd", f.Memfd)
		m.text("env", f.MemfdEnv)
		m.texts("command", f.Command.Argv)
		if f.Command.Timeout > 0 {
			m.put("command_timeout", asPeriod(f.Command.Timeout))
		}
		m.below("refresh", c.refresh(f.Refresh))
		list = append(list, commented{m, above(f.Origin)})
	}
	for _, s := range p.Sets {
		m := &mapping{}
		m.put("path", cmp.Or(s.Dir, "."))
		what := fmt.Sprintf("folder %q", s.Dir)
		if s.Bundle != nil {
			m.put("bundle", c.bundle(s.Bundle, what))
		} else {
			ref := s.Ref
			ref.Format = plan.FormatFiles
			c.whole(&ref, what, s.Origin)
			m.flag("optional", ref.Read.Optional)
			c.ref(m, &ref, ref.Read.Optional, what)
		}
		c.owner(m, uint32(s.Mode.Perm()), s.Owner, s.Group)
		m.below("refresh", c.refresh(s.Refresh))
		list = append(list, commented{m, above(s.Origin)})
	}
	return list
}

func (c *configWriter) owner(m *mapping, mode uint32, owner, group string) {
	if mode != 0 {
		m.put("mode", fmt.Sprintf("%04o", mode))
	}
	m.text("owner", owner)
	m.text("group", group)
}

// env gives the variables, as a reference alone where that says it all.
func (c *configWriter) env(p *plan.Plan) *mapping {
	all := &mapping{}
	for _, e := range p.Env {
		m := &mapping{}
		c.source(m, e.Source, e.Optional, "variable "+e.Name, e.Origin)
		m.below("refresh", c.refresh(e.Refresh))
		var value any = m
		if first := m.entries; len(first) == 1 && first[0].key == "secret" {
			if text, ok := first[0].value.(string); ok {
				value = text
			}
		}
		all.entries = append(all.entries, written{key: e.Name, value: value, comment: above(e.Origin)})
	}
	return all
}

func (c *configWriter) envFrom(p *plan.Plan) []any {
	var list []any
	for _, s := range p.EnvSets {
		m, what := &mapping{}, fmt.Sprintf("variables with prefix %q", s.Prefix)
		if s.Bundle != nil {
			m.put("bundle", c.bundle(s.Bundle, what))
		} else {
			c.whole(&s.Ref, what, s.Origin)
			c.ref(m, &s.Ref, s.Ref.Read.Optional, what)
			m.flag("optional", s.Ref.Read.Optional)
		}
		m.text("prefix", s.Prefix)
		m.flag("upcase", s.Upcase)
		m.flag("any_name", s.AnyName)
		m.texts("allow", s.Allow)
		m.below("take", textMap(s.Take))
		if s.Duplicate != plan.DuplicateError {
			m.put("duplicate", asWord(s.Duplicate))
		}
		m.below("refresh", c.refresh(s.Refresh))
		list = append(list, commented{m, above(s.Origin)})
	}
	return list
}

// whole refuses a set of one field.
func (c *configWriter) whole(r *plan.Ref, what string, from plan.Origin) {
	if r.Field != "" {
		c.fail(from, what, "it takes one field apart, and our configuration a whole secret only", "")
	}
}

// source adds the keys of a source.
func (c *configWriter) source(m *mapping, s plan.Source, optional bool, what string, from plan.Origin) {
	switch {
	case s.Template != nil:
		c.template(m, s.Template, plan.DialectConsulTemplate, what, from)
	case s.Ref != nil:
		c.ref(m, s.Ref, optional || s.Ref.Default != nil, what)
	case len(s.Pieces) > 0:
		m.list("join", c.pieces(s.Pieces, what))
	case s.Token:
		m.flag("token", true)
	}
	m.flag("optional", optional)
}

// template adds the keys of a template; usual is the dialect where none is named.
func (c *configWriter) template(m *mapping, t *plan.Template, usual plan.Dialect, what string, from plan.Origin) {
	if t.Text == "" {
		c.fail(from, what, "its template is empty, and our configuration has no way to say that", "leave it out")
	}
	m.put("template", t.Text)
	if t.Dialect != usual {
		m.put("dialect", asWord(t.Dialect))
	}
	if t.Missing != plan.MissingStrict {
		m.put("missing", asWord(t.Missing))
	}
	m.text("left_delimiter", t.Left)
	m.text("right_delimiter", t.Right)
}

// ref adds the keys of a reference; optional is what its read is when secret
// says nothing about it.
func (c *configWriter) ref(m *mapping, r *plan.Ref, optional bool, what string) {
	if r.Read.Path != "" {
		m.put("secret", secretValue(r, optional))
	}
	if r.Read.Op == plan.OpWrite {
		body := &mapping{}
		for _, name := range sortedKeys(r.Read.Body) {
			body.put(name, c.text(r.Read.Body[name], what+", "+name))
		}
		m.put("write", body)
	} else if r.Read.KV != plan.KVAuto { // a write goes to the path as it is
		m.put("kv", asRule(r.Read.KV))
	}
	m.flag("list", r.Read.Op == plan.OpList)
	m.texts("else", r.Read.Else)
	for _, w := range []struct {
		key string
		set bool
		fmt.Stringer
	}{
		{"format", r.Format != plan.FormatAuto, r.Format},
		{"decode", r.Decode != plan.DecodeNone, r.Decode},
		{"select", r.Select != plan.SelectKey, r.Select},
		{"level", r.Level != plan.LevelFields, r.Level},
	} {
		if w.set {
			m.put(w.key, w.String())
		}
	}
	m.flag("escape_html", r.EscapeHTML)
	m.flag("null_empty", r.NullEmpty)
	if r.Default != nil {
		m.put("default", c.text(*r.Default, what+", default"))
	}
	if r.KeystorePassword != nil {
		m.put("keystore_password", c.place(*r.KeystorePassword, what+", keystore_password"))
	}
}

// secretValue gives PATH#FIELD#VERSION where that is read back as the same, and
// else a map.
func secretValue(r *plan.Ref, optional bool) any {
	text := r.Read.Path
	if r.Field != "" || r.Read.Version > 0 {
		text += "#" + r.Field
	}
	if r.Read.Version > 0 {
		text += "#" + strconv.Itoa(r.Read.Version)
	}
	back, err := plan.ParseRef(text)
	same := err == nil && back.Read.Path == r.Read.Path && back.Field == r.Field && back.Read.Version == r.Read.Version
	if same && r.Read.Optional == optional {
		return text
	}
	m := &mapping{}
	m.put("path", r.Read.Path)
	m.text("field", r.Field)
	if r.Read.Version > 0 {
		m.put("version", asNumber(r.Read.Version))
	}
	if r.Read.Optional != optional {
		m.put("optional", asFlag(r.Read.Optional))
	}
	return m
}

func (c *configWriter) pieces(pieces []plan.Piece, what string) []any {
	var list []any
	for _, p := range pieces {
		m := &mapping{}
		switch {
		case p.Ref != nil:
			m.flag("optional", p.Ref.Read.Optional && p.Ref.Default == nil)
			c.ref(m, p.Ref, p.Ref.Read.Optional || p.Ref.Default != nil, what)
		case p.Text != nil:
			m = c.place(*p.Text, what)
			if p.From > 0 {
				m.put("from", asNumber(p.From))
			}
			m.put("to", asNumber(p.To))
		}
		list = append(list, m)
	}
	return list
}

func (c *configWriter) bundle(b *plan.Bundle, what string) *mapping {
	m := &mapping{}
	var parts, templates []any
	for i := range b.Parts {
		parts = append(parts, commented{c.part(&b.Parts[i], what), above(b.Parts[i].Origin)})
	}
	for _, t := range b.Templates {
		k := &mapping{}
		k.text("key", t.Key)
		c.template(k, &t.Template, plan.DialectExternalSecrets, what, t.Origin)
		if t.Decode != plan.DecodeNone {
			k.put("decode", asWord(t.Decode))
		}
		templates = append(templates, commented{k, above(t.Origin)})
	}
	m.list("parts", parts)
	m.list("templates", templates)
	m.flag("keep", b.Keep)
	return m
}

func (c *configWriter) part(t *plan.Part, what string) *mapping {
	m := &mapping{}
	m.text("key", t.Key)
	m.flag("optional", t.Ref.Read.Optional && t.Ref.Default == nil)
	c.ref(m, &t.Ref, t.Ref.Read.Optional || t.Ref.Default != nil, what)
	if f := t.Find; f != nil {
		find := &mapping{}
		find.put("list", f.List)
		find.put("read", f.Read)
		find.text("base", f.Base)
		find.flag("flat", f.Flat)
		find.text("name", f.Name)
		find.below("tags", textMap(f.Tags))
		m.put("find", find)
	}
	var steps []any
	for _, r := range t.Rename {
		steps = append(steps, renameStep(r))
	}
	m.list("rename", steps)
	if t.Convert != plan.ConvertNone {
		m.put("convert", asWord(t.Convert))
	}
	m.flag("refuse_nul", t.NUL)
	return m
}

func textMap(texts map[string]string) *mapping {
	m := &mapping{}
	for _, name := range sortedKeys(texts) {
		m.put(name, texts[name])
	}
	return m
}

func renameStep(r plan.Rename) *mapping {
	m, inner := &mapping{}, &mapping{}
	switch {
	case r.Regexp != nil:
		inner.put("match", r.Regexp.Match)
		inner.put("replace", r.Regexp.Replace)
		m.put("regexp", inner)
	case r.Merge != nil:
		inner.text("into", r.Merge.Into)
		inner.flag("ignore_conflict", r.Merge.IgnoreConflict)
		inner.texts("priority", r.Merge.Priority)
		inner.flag("ignore_missing", r.Merge.IgnoreMissing)
		m.put("merge", inner)
	default:
		m.put("transform", r.Transform)
	}
	return m
}
