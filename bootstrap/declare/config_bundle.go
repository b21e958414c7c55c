package declare

import (
	"regexp"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// bundleOf reads a map that is made of several secrets.
func (s *source) bundleOf(v value) {
	d := s.d
	s.kind = fromBundle
	d.object(v, fields{
		"parts": func(v value) { d.list(v, func(item value) { s.bundle.Parts = append(s.bundle.Parts, d.part(item)) }) },
		"templates": func(v value) {
			d.list(v, func(item value) { s.bundle.Templates = append(s.bundle.Templates, d.keyTemplate(item)) })
		},
		"keep": func(v value) { s.bundle.Keep, _ = d.flag(v) },
	})
}

// part reads one entry of parts: a reference with what becomes of its keys, or a
// search.
func (d *decoder) part(v value) plan.Part {
	p := plan.Part{Origin: d.origin(v)}
	src := &source{d: d}
	keys := src.refFields()
	keys["optional"] = func(v value) { src.optional, _ = d.flag(v) }
	keys["key"] = d.into(&p.Key)
	keys["find"] = func(v value) { p.Find = d.find(v) }
	keys["rename"] = func(v value) { d.list(v, func(item value) { p.Rename = append(p.Rename, d.rename(item)) }) }
	keys["convert"] = word(d, &p.Convert, plan.ConvertNames(), plan.ParseConvert)
	keys["refuse_nul"] = func(v value) { p.NUL, _ = d.flag(v) }
	before := len(d.problems)
	d.object(v, keys)
	switch {
	case len(d.problems) > before:
	case p.Find == nil && len(src.found) == 0:
		d.fail(v, "it says no source", "add secret or find")
	case p.Find == nil:
		if ref := src.finish(v).Ref; ref != nil {
			p.Ref = *ref
		}
	case len(src.found) > 0:
		d.fail(src.found[0], "it goes with a part that is no search", "keep one of secret and find")
	default:
		p.Ref = *src.finishRef() // how each that is found is written
	}
	return p
}

func (d *decoder) find(v value) *plan.Find {
	var f plan.Find
	path := func(to *string) func(value) {
		return func(v value) { *to, _ = d.secretPath(v) }
	}
	before := len(d.problems)
	d.object(v, fields{
		"list": path(&f.List), "read": path(&f.Read), "base": d.into(&f.Base),
		"flat": func(v value) { f.Flat, _ = d.flag(v) },
		"name": func(v value) { f.Name = d.regexp(v) },
		"tags": func(v value) { f.Tags = d.texts(v) },
	})
	if len(d.problems) == before && (f.List == "" || f.Read == "") {
		d.fail(v, "it does not say where to look", "add list: and read:, the paths as they are sent, such as secret/metadata/app and secret/data/app")
	}
	return &f
}

// regexp reads a regular expression in Go's syntax.
func (d *decoder) regexp(v value) string {
	s, ok := d.str(v)
	if !ok {
		return ""
	}
	if _, err := regexp.Compile(s); err != nil {
		d.fail(v, "it is no regular expression in Go's syntax (RE2)", "")
	}
	return s
}

// texts reads a map of texts.
func (d *decoder) texts(v value) map[string]string {
	if !d.expect(v, kindMap, "a map of texts") {
		return nil
	}
	m := map[string]string{}
	for _, p := range v.pairs {
		child := v.childAt(p)
		if child.kind != kindString {
			d.fail(child, "it must be text", "put it in quotes")
			continue
		}
		m[p.key] = child.text
	}
	return m
}

// rename reads one step, which has exactly one key.
func (d *decoder) rename(v value) plan.Rename {
	var r plan.Rename
	kinds, before := 0, len(d.problems)
	one := func(read func(value)) func(value) {
		return func(v value) { kinds++; read(v) }
	}
	d.object(v, fields{
		"regexp": one(func(v value) {
			r.Regexp = &plan.RenameRegexp{}
			d.object(v, fields{"match": func(v value) { r.Regexp.Match = d.regexp(v) }, "replace": d.anyText(&r.Regexp.Replace)})
		}),
		"transform": one(d.into(&r.Transform)),
		"merge":     one(func(v value) { r.Merge = d.merge(v) }),
	})
	if len(d.problems) == before && kinds != 1 {
		d.fail(v, "it must have one of regexp, transform and merge", "write each as an entry of its own")
	}
	return r
}

// anyText fills in a text that may be empty.
func (d *decoder) anyText(to *string) func(value) {
	return func(v value) {
		if v.kind != kindString {
			d.fail(v, "it must be text", "put it in quotes")
			return
		}
		*to = v.text
	}
}

func (d *decoder) merge(v value) *plan.RenameMerge {
	var m plan.RenameMerge
	d.object(v, fields{
		"into":            d.into(&m.Into),
		"ignore_conflict": func(v value) { m.IgnoreConflict, _ = d.flag(v) },
		"ignore_missing":  func(v value) { m.IgnoreMissing, _ = d.flag(v) },
		"priority": func(v value) {
			d.list(v, func(item value) {
				if s, ok := d.str(item); ok {
					m.Priority = append(m.Priority, s)
				}
			})
		},
	})
	return &m
}

// keyTemplate reads one entry of templates.
func (d *decoder) keyTemplate(v value) plan.KeyTemplate {
	t := plan.KeyTemplate{Origin: d.origin(v)}
	src := &source{d: d}
	of, keys := src.fields(), fields{}
	for _, name := range []string{"template", "template_file", "left_delimiter", "right_delimiter", "dialect", "missing"} {
		keys[name] = of[name]
	}
	src.template.Dialect = plan.DialectExternalSecrets // the one that has the keys as its data
	keys["key"] = d.into(&t.Key)
	keys["decode"] = word(d, &t.Decode, plan.DecodeNames(), plan.ParseDecode)
	before := len(d.problems)
	d.object(v, keys)
	switch {
	case len(d.problems) > before:
	case len(src.found) == 0:
		d.fail(v, "it has no template", "add template or template_file")
	default:
		if found := src.finish(v); found.Template != nil {
			t.Template = *found.Template
		}
	}
	return t
}
