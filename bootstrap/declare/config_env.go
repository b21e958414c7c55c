package declare

import (
	"path"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// env reads the variables of the command: a reference, or a map with the keys
// of a source.
func (d *decoder) env(v value) {
	if !d.expect(v, kindMap, "a map of variables") {
		return
	}
	for _, p := range v.pairs {
		child := v.childAt(p)
		e := plan.Env{Name: p.key, Origin: d.origin(child)}
		src := &source{d: d}
		before := len(d.problems)
		switch child.kind {
		case kindString:
			src.found = append(src.found, child)
			src.reference(child)
		case kindMap:
			keys := src.fields()
			keys["refresh"] = d.refresh(&e.Refresh)
			d.object(child, keys)
		default:
			d.fail(child, "it must be a reference such as secret/app#password, or a map", "")
			continue
		}
		e.Source, e.Optional = src.finish(child), src.optional
		if ref := e.Source.Ref; ref != nil && (ref.Format == plan.FormatFiles || ref.Format == plan.FormatPKCS12) {
			d.fail(child, "format: "+ref.Format.String()+" gives what no variable can hold", "use it below files")
		}
		if len(d.problems) == before {
			d.plan.Env = append(d.plan.Env, e)
		}
	}
}

// envFrom reads one entry of env_from: a whole secret, one variable per field.
func (d *decoder) envFrom(v value) {
	s := plan.EnvSet{Origin: d.origin(v)}
	src := &source{d: d}
	keys, of := fields{}, src.fields()
	for _, name := range []string{"secret", "optional", "kv", "version", "write", "else", "decode", "level", "escape_html", "null_empty"} {
		keys[name] = of[name]
	}
	keys["bundle"] = src.main(src.bundleOf)
	keys["prefix"] = d.into(&s.Prefix)
	keys["upcase"] = func(v value) { s.Upcase, _ = d.flag(v) }
	keys["any_name"] = func(v value) { s.AnyName, _ = d.flag(v) }
	keys["allow"] = func(v value) { s.Allow = d.globs(v) }
	keys["take"] = func(v value) { s.Take = d.texts(v) }
	keys["refresh"] = d.refresh(&s.Refresh)
	keys["duplicate"] = func(v value) { s.Duplicate, _ = oneOf(d, v, plan.DuplicateNames(), plan.ParseDuplicate) }
	before := len(d.problems)
	d.object(v, keys)
	if v.kind != kindMap {
		return
	}
	if len(src.found) == 0 {
		d.fail(v, "it names no secret", "add secret: PATH")
		return
	}
	ref := src.finish(v).Ref
	if src.kind == fromBundle && src.optional {
		d.fail(src.found[0], "a bundle is not optional as a whole", "say optional in its parts")
	}
	if ref != nil && ref.Field != "" {
		d.fail(src.found[0], "it names one field, and env_from takes the whole secret", "leave #FIELD out, or declare it in env")
	}
	if len(d.problems) == before {
		if src.kind == fromBundle {
			s.Bundle = &src.bundle
		} else {
			s.Ref = *ref
		}
		d.plan.EnvSets = append(d.plan.EnvSets, s)
	}
}

// globs reads a list of shell patterns.
func (d *decoder) globs(v value) []string {
	var list []string
	d.list(v, func(item value) {
		text, ok := d.str(item)
		if !ok {
			return
		}
		if why := badGlob(text); why != "" {
			d.fail(item, why, "")
			return
		}
		list = append(list, text)
	})
	return list
}

func (d *decoder) patterns(to *plan.Setting[[]string]) func(value) {
	return func(v value) {
		if list := d.globs(v); len(list) > 0 {
			*to = plan.Set(list, d.origin(v))
		}
	}
}

// badGlob says what is wrong with a shell pattern (path.Match), if anything is.
func badGlob(s string) string {
	if _, err := path.Match(s, ""); err != nil || strings.TrimSpace(s) == "" {
		return "it must be a shell pattern, such as DB_* or LC_?"
	}
	return ""
}

// ParseGlobFlag reads the value of --env-allow and --env-deny: one shell
// pattern. The error is a *plan.Problem with CodeUsage.
func ParseGlobFlag(arg string, from plan.Origin) (string, error) {
	if why := badGlob(arg); why != "" {
		return "", flagProblem(from, why)
	}
	return arg, nil
}

// ParseEnvFromFlag reads the value of --env-from and --env-from-upcase, [PREFIX=]REF: one variable per
// field of a whole secret. The error is a *plan.Problem with CodeUsage.
func ParseEnvFromFlag(arg string, from plan.Origin) (plan.EnvSet, error) {
	prefix, text, ok := strings.Cut(arg, "=")
	if !ok {
		prefix, text = "", arg
	}
	ref, err := plan.ParseRef(text)
	if err != nil {
		return plan.EnvSet{}, flagProblem(from, "the reference is wrong: "+err.Error())
	}
	if ref.Field != "" {
		return plan.EnvSet{}, flagProblem(from, "it names one field, and this takes a whole secret; use --env for one field")
	}
	ref.Read.Origin = from
	return plan.EnvSet{Prefix: prefix, Ref: ref, Origin: from}, nil
}
