package bootstrap

import (
	"maps"
	"slices"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

// item is one declaration with its source made ready.
type item struct {
	file     *plan.File
	set      *plan.FileSet
	env      *plan.Env
	envSet   *plan.EnvSet
	optional bool
	// One of these is where its content comes from.
	program *render.Program
	ref     *plan.Ref
	pieces  []plan.Piece
	bundle  *render.Bundle
	token   bool

	origin plan.Origin
	none   *plan.File // empty, and of all items: what a variable has for a file
}

// output is one file or variable with its content.
type output struct {
	file    *plan.File // of a variable an empty one
	name    string     // of a variable; "" for a file
	content secret.Value
	origin  plan.Origin
	late    bool         // one of those that a set gives: reading tells how many
	extra   bool         // a template wrote it: the plan does not name it
	literal bool         // it is only text of the declaration
	value   bool         // it is the value of a field and nothing else
	set     *plan.EnvSet // of a variable that came of one
	alone   bool         // see Made
}

// compile makes the sources of a plan ready. All problems are reported together.
func compile(p plan.Plan) ([]item, error) {
	c := compiler{plan: &p}
	c.language.Small = len(p.Files)+len(p.Env) > manyItems
	for i := range p.Files {
		f := &p.Files[i]
		c.add(item{file: f, optional: f.Optional, origin: f.Origin}, f.Source, nil)
	}
	for i := range p.Sets {
		s := &p.Sets[i]
		c.add(item{set: s, optional: s.Ref.Read.Optional, origin: s.Origin}, plan.Source{Ref: &s.Ref}, s.Bundle)
	}
	for i := range p.Env {
		e := &p.Env[i]
		c.add(item{env: e, optional: e.Optional, origin: e.Origin}, e.Source, nil)
	}
	for i := range p.EnvSets {
		s := &p.EnvSets[i]
		c.add(item{envSet: s, optional: s.Ref.Read.Optional, origin: s.Origin}, plan.Source{Ref: &s.Ref}, s.Bundle)
	}
	return c.items, c.problems.Err()
}

type compiler struct {
	plan     *plan.Plan
	language render.Language
	none     plan.File
	items    []item
	problems plan.Problems
}

// add makes one item ready; a bundle takes the place of the source.
func (c *compiler) add(it item, src plan.Source, bundle *plan.Bundle) {
	var err error
	switch {
	case bundle != nil:
		it.bundle, err = c.language.CompileBundle(*bundle, it.origin)
	case src.Template != nil:
		if it.program, err = c.language.Compile(*src.Template, it.origin); err == nil {
			err = checkCalls(it, it.program, c.plan.TemplateRoot.IsSet)
		}
	case src.Token && c.plan.Vault.Dev.IsSet:
		err = &plan.Problem{
			Code: plan.CodeConfig, Origin: it.origin, What: "the token of the login", Why: "a dev file has none: nobody logs in",
			Fix: "leave it out, or use a real Vault",
		}
	}
	c.problems.Add(err)
	it.ref, it.pieces, it.token, it.none = src.Ref, src.Pieces, src.Token, &c.none
	if bundle != nil {
		it.ref = nil
	}
	for _, ref := range it.refs() {
		c.problems.Add(c.language.Check(*ref, it.origin))
	}
	c.items = append(c.items, it)
}

// checkCalls refuses, before any request, what a template cannot have here.
func checkCalls(it item, program *render.Program, mayRead bool) error {
	var ps plan.Problems
	if program.Calls("file") && !mayRead {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: it.origin, What: "the function file", Why: "templates may read no file: no folder is configured for it",
			Fix: "name the folder with template_root in the configuration file",
		})
	}
	if program.Calls("writeToFile") && it.env != nil {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: it.origin, What: "the function writeToFile", Why: "the template of a variable writes no file",
			Fix: "call it in the template of a file",
		})
	}
	return ps.Err()
}

// Reads lists every read that can be known without reading: those of the
// references, those with a literal path in a template, and the first list of each
// search. Each key is there once, in the order declared. It is what `secretboot
// plan` shows.
//
// computed are the templates and searches that ask for further paths when they
// run.
func Reads(p plan.Plan) (reads []plan.Read, computed []plan.Origin, err error) {
	items, err := compile(p)
	if err != nil {
		return nil, nil, err
	}
	needs := firstNeeds(items)
	for _, it := range items {
		if it.bundle != nil {
			computed = append(computed, it.bundle.Computed()...)
		}
		if it.program == nil {
			continue
		}
		for _, w := range it.program.Writes() {
			needs = append(needs, render.Need{Read: w})
		}
		if it.program.Computes() {
			computed = append(computed, it.origin)
		}
	}
	seen := map[string]bool{}
	for _, n := range needs {
		if !seen[n.Key()] {
			seen[n.Key()] = true
			reads = append(reads, n.Read)
		}
	}
	return reads, computed, nil
}

// firstNeeds is what can be read ahead.
func firstNeeds(items []item) []render.Need {
	var needs []render.Need
	for _, it := range items {
		for _, r := range it.reads() {
			needs = append(needs, render.Need{Read: r})
		}
	}
	return needs
}

// reads lists what an item reads, as far as it is known without reading.
func (it item) reads() []plan.Read {
	switch {
	case it.program != nil:
		return it.program.Reads()
	case it.bundle != nil:
		return it.bundle.Reads()
	}
	var reads []plan.Read
	for _, ref := range it.refs() {
		reads = append(reads, needOf(*ref, it.origin).Read)
	}
	return reads
}

// refs are the references that an item is made of.
func (it item) refs() []*plan.Ref { return plan.Source{Ref: it.ref, Pieces: it.pieces}.Refs() }

// needOf is the read of a reference, with the place where it was declared.
func needOf(ref plan.Ref, origin plan.Origin) render.Need {
	r := ref.Read
	if r.Origin == (plan.Origin{}) {
		r.Origin = origin
	}
	return render.Need{Read: r}
}

// checkInputs tells which input of a declared write, which password of a keystore
// and which text of a piece cannot be fetched, before anything is sent.
func (j *Job) checkInputs() error {
	var ps plan.Problems
	for _, it := range j.items {
		for _, r := range it.reads() {
			for _, name := range slices.Sorted(maps.Keys(r.Body)) {
				text, err := j.deps.Resolve(r.Body[name])
				clear(text)
				ps.Add(plan.At(err, it.origin))
			}
		}
		for _, ref := range it.refs() {
			m, err := j.means(*ref, it.origin)
			m.Password.Wipe()
			ps.Add(err)
		}
		for _, piece := range it.pieces {
			if piece.Text != nil {
				text, err := j.text(piece, it.origin)
				text.Wipe()
				ps.Add(err)
			}
		}
	}
	return ps.Err()
}
