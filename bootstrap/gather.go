package bootstrap

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

// maxPasses bounds how often templates may ask for a path that they computed
// from a secret read before.
const maxPasses = 8

// item is one declaration with its source made ready.
type item struct {
	file     *plan.File
	set      *plan.FileSet
	env      *plan.Env
	envSet   *plan.EnvSet
	program  *render.Program // nil: ref
	ref      *plan.Ref
	optional bool
	origin   plan.Origin
}

// output is one file or variable with its content.
type output struct {
	file    plan.File
	name    string // of a variable; "" for a file
	content secret.Value
	origin  plan.Origin
	extra   bool         // a template wrote it: the plan does not name it
	set     *plan.EnvSet // of a variable that came of one
}

// compile makes the sources of a plan ready. All problems are reported together.
func compile(p plan.Plan) ([]item, error) {
	mayRead := p.TemplateRoot.IsSet
	var ps plan.Problems
	var items []item
	var language render.Language
	add := func(it item, src plan.Source) {
		if src.Template != nil {
			program, err := language.Compile(*src.Template, it.origin)
			ps.Add(err)
			if err == nil {
				ps.Add(checkCalls(it, program, mayRead))
			}
			it.program = program
		}
		it.ref = src.Ref
		items = append(items, it)
	}
	for i := range p.Files {
		f := &p.Files[i]
		add(item{file: f, optional: f.Optional, origin: f.Origin}, f.Source)
	}
	for i := range p.Sets {
		s := &p.Sets[i]
		add(item{set: s, optional: s.Ref.Read.Optional, origin: s.Origin}, plan.Source{Ref: &s.Ref})
	}
	for i := range p.Env {
		e := &p.Env[i]
		add(item{env: e, optional: e.Optional, origin: e.Origin}, e.Source)
	}
	for i := range p.EnvSets {
		s := &p.EnvSets[i]
		add(item{envSet: s, optional: s.Ref.Read.Optional, origin: s.Origin}, plan.Source{Ref: &s.Ref})
	}
	return items, ps.Err()
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
// references and those with a literal path in a template. Each key is there
// once, in the order declared. It is what `secretboot plan` shows.
//
// computed are the templates that ask for further paths when they run.
func Reads(p plan.Plan) (reads []plan.Read, computed []plan.Origin, err error) {
	items, err := compile(p)
	if err != nil {
		return nil, nil, err
	}
	needs := firstNeeds(items)
	for _, it := range items {
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
		if it.ref != nil {
			needs = append(needs, render.Need{Read: readOf(it)})
			continue
		}
		for _, r := range it.program.Reads() {
			needs = append(needs, render.Need{Read: r})
		}
	}
	return needs
}

// readOf is the read of a reference, with the place where it was declared.
func readOf(it item) plan.Read {
	r := it.ref.Read
	if r.Origin == (plan.Origin{}) {
		r.Origin = it.origin
	}
	return r
}

// gather reads and renders until no template lacks anything. Each path is read
// once; all that is independent is read at the same time.
func (j *Job) gather(ctx context.Context) ([]output, error) {
	in := render.Input{Answers: render.Answers{}, Lookup: j.deps.Lookup, File: j.file, Memory: &render.Memory{}}
	read := j.vault.Generation()
	needs := firstNeeds(j.items)
	for range maxPasses {
		j.fetch(ctx, read, needs, in.Answers)
		if err := context.Cause(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		outputs, lacking, err := j.render(ctx, in)
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			return outputs, cause // a signal ended a template
		}
		if err != nil || len(lacking) == 0 {
			return outputs, err
		}
		wipe(outputs) // they are made again
		needs = lacking
	}
	return nil, &plan.Problem{
		Code: plan.CodeData, What: "template", Why: "asked " + strconv.Itoa(maxPasses) + " times for a path that it computed from what it had read before",
		Fix: "name the paths literally where you can", Origin: needs[0].Read.Origin,
	}
}

type readFunc = func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error)

// fetch reads what answers does not have yet, all at the same time; the client
// bounds how many requests are under way.
func (j *Job) fetch(ctx context.Context, read readFunc, needs []render.Need, answers render.Answers) {
	// The list comes first: answers is written to as soon as one is asked for.
	var ask []render.Need
	seen := map[string]bool{}
	for _, n := range needs {
		key := n.Key()
		if _, known := answers[key]; !known && !seen[key] {
			seen[key] = true
			ask = append(ask, n)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, n := range ask {
		wg.Go(func() {
			s, err := j.readOne(ctx, read, n)
			mu.Lock()
			defer mu.Unlock()
			answers[n.Key()] = render.Answer{Secret: s, Err: err}
		})
	}
	wg.Wait()
}

// checkInputs tells which input of a declared write, and which password of a
// keystore, cannot be fetched, before anything is sent.
func (j *Job) checkInputs() error {
	var ps plan.Problems
	for _, it := range j.items {
		if it.ref == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(it.ref.Read.Body)) {
			text, err := j.deps.Resolve(it.ref.Read.Body[name])
			clear(text)
			if err != nil {
				ps.Add(plan.At(err, it.origin))
			}
		}
		m, err := j.means(it)
		m.Password.Wipe()
		ps.Add(err)
	}
	return ps.Err()
}

// readOne carries one read out. The body of a declared write is fetched only
// now; a template has computed that of its own.
func (j *Job) readOne(ctx context.Context, read readFunc, n render.Need) (secret.Secret, error) {
	body := n.Body
	for name, h := range n.Read.Body {
		text, err := j.deps.Resolve(h)
		if err != nil {
			return secret.Secret{}, plan.At(err, n.Read.Origin)
		}
		if body == nil {
			body = map[string]secret.Value{}
		}
		body[name] = secret.New(text)
	}
	return read(ctx, n.Read, body)
}

// render makes every output. Its problems are collected; what templates lack
// is reported only when there is no problem.
func (j *Job) render(ctx context.Context, in render.Input) ([]output, []render.Need, error) {
	var outputs []output
	var lacking []render.Need
	var ps plan.Problems
	for _, it := range j.items {
		outs, lacks, err := j.renderOne(ctx, it, in)
		if err != nil && it.optional && plan.CodeOf(err) == plan.CodeMissing {
			j.deps.Log.Info("left out: it is optional and its secret is missing", slog.String("declared", it.origin.String()))
			continue
		}
		ps.Add(err)
		outputs = append(outputs, outs...)
		lacking = append(lacking, lacks...)
	}
	return outputs, lacking, condense(ps).Err()
}

func (j *Job) renderOne(ctx context.Context, it item, in render.Input) ([]output, []render.Need, error) {
	if it.program != nil {
		out, err := it.program.Execute(ctx, in)
		if err != nil || len(out.Lacking) > 0 {
			return nil, out.Lacking, err
		}
		outs := []output{it.one(out.Bytes)}
		for _, f := range out.Files {
			f.Refresh = it.file.Refresh
			outs = append(outs, output{file: f.File, content: f.Content, origin: f.Origin, extra: true})
		}
		return outs, nil, nil
	}
	ans := in.Answers[render.Need{Read: readOf(it)}.Key()]
	if ans.Err != nil {
		return j.orDefault(it, ans.Err)
	}
	if it.set != nil || it.envSet != nil {
		outs, err := it.many(ctx, ans.Secret)
		if err == nil && len(outs) == 0 {
			j.deps.Log.Warn("this secret gives nothing: it has no field that is wanted", slog.String("declared", it.origin.String()))
		}
		return outs, nil, err
	}
	means, err := j.means(it)
	if err != nil {
		return nil, nil, err
	}
	defer means.Password.Wipe()
	v, err := render.Reference(ctx, *it.ref, ans.Secret, means, it.origin)
	if err != nil {
		return j.orDefault(it, err)
	}
	return []output{it.one(v)}, nil, nil
}

// means fetches what writing a reference down takes.
func (j *Job) means(it item) (render.Means, error) {
	m := render.Means{Random: rand.Reader}
	if it.ref.KeystorePassword == nil {
		return m, nil
	}
	text, err := j.deps.Resolve(*it.ref.KeystorePassword)
	m.Password = secret.New(text)
	return m, plan.At(err, it.origin)
}

// orDefault gives the declared default for a missing secret or field.
func (j *Job) orDefault(it item, err error) ([]output, []render.Need, error) {
	many := it.set != nil || it.envSet != nil // one text cannot stand for them
	if it.ref.Default == nil || many || plan.CodeOf(err) != plan.CodeMissing {
		return nil, nil, err
	}
	text, err := j.deps.Resolve(*it.ref.Default)
	if err != nil {
		return nil, nil, plan.At(err, it.origin)
	}
	j.deps.Log.Info("the default is used: its secret is missing", slog.String("declared", it.origin.String()))
	return []output{it.one(secret.New(text))}, nil, nil
}
