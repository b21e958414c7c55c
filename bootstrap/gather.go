package bootstrap

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

// maxPasses bounds how often templates may ask for a path that they computed
// from a secret read before.
const maxPasses = 8

// gather reads and renders everything. The caller wipes the outputs, also after an
// error.
func (j *Job) gather(ctx context.Context) ([]output, error) {
	g := newGeneration(len(j.items))
	err := j.fill(ctx, j.vault.Generation(), g)
	return g.outputs(), err
}

// fill reads and renders until nothing lacks in g: parts that are done stay as
// they are, and what has an answer is not read. Each path is read once; all that
// is independent is read at the same time.
func (j *Job) fill(ctx context.Context, read readFunc, g *generation) error {
	in := render.Input{Answers: g.answers, Lookup: j.deps.Lookup, File: j.file, Memory: &render.Memory{}}
	var needs []render.Need
	var err error
	if j.inBatches() {
		if needs, err = j.fillBatches(ctx, in, g); err != nil || len(needs) == 0 {
			return err
		}
	} else if err = j.search(ctx, read, g); err != nil {
		return err
	}
	var last plan.Origin
	for range maxPasses {
		j.fetch(ctx, read, needs, g)
		if err := signalled(ctx); err != nil {
			return err
		}
		lacking, err := j.render(ctx, in, g, 0, len(j.items))
		if cause := signalled(ctx); err != nil && cause != nil {
			return cause // a signal ended a template
		}
		if err != nil || len(lacking) == 0 {
			return err
		}
		needs, last = lacking, lacking[0].Read.Origin
	}
	return &plan.Problem{
		Code: plan.CodeData, What: "template", Why: "asked " + strconv.Itoa(maxPasses) + " times for a path that it computed from what it had read before",
		Fix: "name the paths literally where you can", Origin: last,
	}
}

// signalled tells why ctx has ended, unless that is its deadline: then there may
// be a better reason.
func signalled(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// search reads what is known without reading, and then what the searches of bundles
// lead to, folder by folder. They bound themselves, and no template is executed
// before they have come to their end.
func (j *Job) search(ctx context.Context, read readFunc, g *generation) error {
	needs := make([]render.Need, 0, len(j.items))
	for i, it := range j.items {
		// A template is read ahead for the first time only: it may leave some of its
		// paths unread, and each of them could make a new lease.
		if g.parts[i].done || it.program != nil && g.later {
			continue
		}
		for _, r := range it.reads() {
			need := render.Need{Read: r}
			needs = append(needs, need)
			if it.program == nil {
				g.parts[i].use(need.Key())
			}
		}
	}
	for len(needs) > 0 {
		j.fetch(ctx, read, needs, g)
		if err := signalled(ctx); err != nil {
			return err
		}
		needs = nil
		for i, it := range j.items {
			if it.bundle == nil || g.parts[i].done {
				continue
			}
			for _, n := range it.bundle.Lacking(g.answers) {
				g.parts[i].use(n.Key())
				needs = append(needs, n)
			}
		}
	}
	return nil
}

func (p *part) use(key string) { p.used = append(p.used, key) }

type readFunc = func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error)

// fetch reads what answers does not have yet, as much at the same time as the
// client may have under way. Not more: a goroutine for each of ten thousand secrets takes
// more memory than all of them. So it makes its list in the place of needs.
func (j *Job) fetch(ctx context.Context, read readFunc, needs []render.Need, g *generation) {
	// The list comes first: answers is written to as soon as one is asked for.
	seen := make(map[string]bool, len(needs))
	ask := slices.DeleteFunc(needs, func(n render.Need) bool {
		key := n.Key()
		_, known := g.answers[key]
		again := seen[key]
		seen[key] = true
		return known || again
	})
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range min(len(ask), j.plan.Vault.Connections.Or(plan.DefaultStreams)) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(len(ask)); i = next.Add(1) {
				n, asked := ask[i-1], time.Now()
				s, err := j.readOne(ctx, read, n)
				mu.Lock()
				g.enter(n, render.Answer{Secret: s, Err: err}, asked, j.deps.Keep)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
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

// render makes the parts from one to before another that are not done. Their problems
// are collected; what templates lack is reported only when there is no problem.
func (j *Job) render(ctx context.Context, in render.Input, g *generation, from, to int) ([]render.Need, error) {
	var lacking []render.Need
	var ps plan.Problems
	late := false
	for i := from; i < to; i++ {
		it, p := j.items[i], &g.parts[i]
		if p.done {
			continue
		}
		outs, lacks, err := j.renderOne(ctx, it, in, p)
		if err != nil && (it.optional || it.absent(in.Answers)) && plan.CodeOf(err) == plan.CodeMissing {
			j.deps.Log.Info("left out: it is optional and its secret is missing", slog.String("declared", it.origin.String()))
			p.done = true
			continue
		}
		if errors.Is(err, errLate) { // whoever waits in vain says what for
			late = true
			continue
		}
		ps.Add(err)
		for i := range outs {
			outs[i].value = it.isValue()
			outs[i].alone = (it.isValue() || it.token || outs[i].name != "") && !outs[i].literal
		}
		lacking = append(lacking, lacks...)
		p.outputs, p.done = outs, err == nil && len(lacks) == 0
		if p.done && !j.deps.Keep {
			j.items[i].program = nil // nobody executes it again
		}
	}
	if late && len(ps) == 0 {
		ps.Add(&plan.Problem{
			Code: plan.CodeUnavailable, What: "templates", Why: "the time was up before they could be executed", Fix: "raise --timeout", Err: context.Cause(ctx),
		})
	}
	return lacking, condense(ps).Err()
}

// absent reports whether an item reads a secret that may be missing, and is; that
// a field of it is missing is another matter, see plan.File.Optional.
func (it item) absent(answers render.Answers) bool {
	for _, ref := range it.refs() {
		if ref.Read.Optional && plan.CodeOf(answers[needOf(*ref, it.origin).Key()].Err) == plan.CodeMissing {
			return true
		}
	}
	return false
}

// renderOne makes one part, and notes there which answers a template looked at.
func (j *Job) renderOne(ctx context.Context, it item, in render.Input, p *part) ([]output, []render.Need, error) {
	var v secret.Value
	var err error
	switch {
	case it.program != nil:
		return it.execute(ctx, in, p)
	case it.set != nil || it.envSet != nil:
		outs, err := j.renderMany(ctx, it, in.Answers)
		return outs, nil, err
	case it.token:
		p.use(tokenKey)
		v, err = j.token(it)
	case it.ref != nil:
		v, err = j.value(ctx, *it.ref, in.Answers, it.origin)
	default:
		v, err = j.join(ctx, it, in.Answers)
	}
	if err != nil {
		return nil, nil, err
	}
	return []output{it.one(v)}, nil, nil
}

// errLate is for a template that nothing is wrong with, but that the time is up.
var errLate = errors.New("bootstrap: no time is left to execute it")

// unanswered gives the error of the first read that a template waited for in vain.
func (it item) unanswered(answers render.Answers) error {
	for _, r := range it.program.Reads() {
		if err := answers[render.Need{Read: r}.Key()].Err; err != nil && plan.CodeOf(err) != plan.CodeMissing {
			return err
		}
	}
	return nil
}

// execute executes the template of an item.
func (it item) execute(ctx context.Context, in render.Input, p *part) ([]output, []render.Need, error) {
	if ctx.Err() != nil {
		return nil, nil, cmp.Or(it.unanswered(in.Answers), errLate)
	}
	out, err := it.program.Execute(ctx, in)
	for _, key := range out.Used {
		p.use(key)
	}
	if err != nil || len(out.Lacking) > 0 {
		return nil, out.Lacking, err
	}
	outs := []output{it.one(out.Bytes)}
	for _, f := range out.Files {
		f.Refresh = it.file.Refresh
		outs = append(outs, output{file: &f.File, content: f.Content, origin: f.Origin, extra: true})
	}
	return outs, nil, nil
}

// renderMany makes the outputs of a set: one per field, or per key of its bundle.
func (j *Job) renderMany(ctx context.Context, it item, answers render.Answers) ([]output, error) {
	var fields map[string]secret.Value
	var err error
	if it.bundle != nil {
		fields, err = j.bundle(ctx, it, answers)
	} else {
		ans := answers[needOf(*it.ref, it.origin).Key()]
		if err = ans.Err; err == nil {
			fields, err = render.Fields(ctx, *it.ref, ans.Secret, it.origin)
		}
	}
	if err != nil {
		return nil, err
	}
	outs, err := it.many(fields)
	if err == nil && len(outs) == 0 {
		j.deps.Log.Warn("this secret gives nothing: it has no field that is wanted", slog.String("declared", it.origin.String()))
	}
	return outs, err
}

// bundle makes the keys of a bundle.
func (j *Job) bundle(ctx context.Context, it item, answers render.Answers) (map[string]secret.Value, error) {
	got, err := it.bundle.Execute(ctx, answers, render.Means{Random: rand.Reader})
	for _, origin := range got.LeftOut {
		j.deps.Log.Info("left out: it is optional and its secret is missing", slog.String("declared", origin.String()))
	}
	return got.Keys, err
}
