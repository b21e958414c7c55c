package bootstrap

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

// one is the single output of a file or variable.
func (it item) one(v secret.Value) output {
	if it.env != nil {
		return output{file: it.none, name: it.env.Name, content: v, origin: it.origin, literal: it.env.Source.IsLiteral()}
	}
	return output{file: it.file, content: v, origin: it.origin}
}

// maxFields bounds what one declaration can make of a secret: whoever writes the
// secret decides how many fields it has.
const maxFields = 10_000

// many is the outputs of a set: one per field, or per key of its bundle.
func (it item) many(fields map[string]secret.Value) ([]output, error) {
	if len(fields) > maxFields {
		return nil, it.tooMany()
	}
	if it.envSet != nil && it.envSet.Take != nil {
		return it.taken(fields)
	}
	var outs []output
	for name, v := range fields {
		if it.envSet != nil {
			to, ok, err := variable(it.envSet, name)
			if err != nil {
				return nil, err
			}
			if ok {
				outs = append(outs, output{file: it.none, name: to, content: v, origin: it.origin, set: it.envSet, late: true})
			}
			continue
		}
		if path.Clean("/"+name) != "/"+name || name == "" {
			return nil, &plan.Problem{
				Code: plan.CodeConfig, Origin: it.origin, What: "file " + strconv.Quote(it.set.Dir+"/"+name),
				Why: "the field's name is no path below the folder", Fix: "deliver this field by itself, under another name",
			}
		}
		f := plan.File{
			Path: path.Join(it.set.Dir, name), Mode: it.set.Mode, Owner: it.set.Owner, Group: it.set.Group,
			Refresh: it.set.Refresh, Origin: it.origin,
		}
		outs = append(outs, output{file: &f, content: v, origin: it.origin, late: true})
	}
	slices.SortFunc(outs, func(a, b output) int {
		if a.file.Path+a.name < b.file.Path+b.name {
			return -1
		}
		return 1
	})
	return outs, nil
}

// taken is the variables that name the field which they have.
func (it item) taken(fields map[string]secret.Value) ([]output, error) {
	var outs []output
	var ps plan.Problems
	for _, name := range slices.Sorted(maps.Keys(it.envSet.Take)) {
		field := it.envSet.Take[name]
		v, ok := fields[field]
		if !ok {
			ps.Add(&plan.Problem{
				Code: plan.CodeMissing, Origin: it.origin, What: fmt.Sprintf("variable %q", name), Why: fmt.Sprintf("there is no key %q that it could have", field),
				Err: render.ErrMissing,
			})
			continue
		}
		outs = append(outs, output{file: it.none, name: name, content: v, origin: it.origin, set: it.envSet, late: true})
	}
	return outs, ps.Err()
}

func (it item) tooMany() error {
	p := &plan.Problem{
		Code: plan.CodeData, Origin: it.origin, What: "keys of several secrets",
		Why: "there are more than " + strconv.Itoa(maxFields), Fix: "name fewer secrets",
	}
	if it.ref != nil {
		p.What, p.Why = "secret "+it.ref.Read.Path, "it has more than "+strconv.Itoa(maxFields)+" fields"
		p.Fix = "deliver it as one file, with format: json"
	}
	return p
}

// allChecked reports whether the check of the plan has seen all of the outputs as
// they are: none is known only after reading, and none has an absolute path that
// could lead into a folder which was chosen since.
func (j *Job) allChecked(outputs []output) bool {
	return !slices.ContainsFunc(outputs, func(out output) bool {
		return out.extra || out.late || path.IsAbs(out.file.Path) && !j.plan.Sink.Dir.IsSet
	})
}

// checkTogether looks at all outputs at once: a set's files are known only
// after reading.
func (j *Job) checkTogether(outputs []output) error {
	if j.allChecked(outputs) {
		return nil
	}
	var p plan.Plan
	p.Run = j.plan.Run
	if j.sink != nil { // a relative and an absolute path may be one
		p.Sink.Dir = plan.Set(j.sink.Dir(), plan.Origin{})
	}
	for _, out := range outputs {
		if out.name != "" {
			p.Env = append(p.Env, plan.Env{
				Name: out.name, Source: out.anySource(), AnyName: out.set != nil && out.set.AnyName, Origin: out.origin,
			})
			continue
		}
		f := *out.file
		if out.extra {
			j.warnWide(f)
		}
		f.Source = out.anySource()
		p.Files = append(p.Files, f)
	}
	return p.Check()
}

// anySource satisfies the plan's own check for outputs whose source was used.
func (o output) anySource() plan.Source {
	if o.literal {
		return plan.Source{Pieces: []plan.Piece{{Text: &plan.Handle{Kind: plan.HandleText}}}}
	}
	return plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "-"}}}
}

// condense keeps one line of several that say the same, such as one
// unreachable server for a hundred secrets.
func condense(ps plan.Problems) plan.Problems {
	var out plan.Problems
	seen := map[string]bool{}
	for _, p := range ps {
		key := p.Error()
		if p.Code == plan.CodeUnavailable {
			key = "unavailable"
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, p)
		}
	}
	return out
}
