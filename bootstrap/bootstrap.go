// Package bootstrap is the pipeline: it carries out a plan.
//
//	New:  everything that needs no network is checked, all problems together
//	Run:  log in, read in parallel, render, stage, switch once, run what files ask for
//	Held: what a good run leaves behind, with one owner that cleans it up
//
// It is all or nothing: when any part fails, nothing becomes visible, what was
// staged is shredded, and the token that we got is revoked.
//
// Vault, the sink and the target process are seen through interfaces, so the
// order of events can be tested without any of them.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
)

// Deps are the parts of the world that a job works with. A factory is called
// once, by New.
type Deps struct {
	Vault    func() (Vault, error)
	Sink     func() (Sink, error)              // nil when the plan has no file
	Target   Target                            // nil when there is none
	Commands Commands                          // for files that want one run; nil when none does
	Announce Announce                          // nil when nobody has to know before
	Receipt  func() error                      // tells whether the receipt can be written; nil when none is wanted
	Lookup   func(string) (string, bool)       // the environment, for templates
	Files    func() (FileFunc, error)          // nil when the plan has no TemplateRoot
	Resolve  func(plan.Handle) ([]byte, error) // for defaults
	Keep     bool                              // Held.Keep will be called
	Log      *slog.Logger

	// Made is told of the outputs that are one value of a secret, before anybody
	// can see one; nil when nobody wants to know. It must not keep the contents.
	Made func([]Made)
}

// Announce is shown everything that is about to be delivered, before any of it is
// anywhere; it keeps none of it. What it gives back is delivered too: files with a
// relative path. After an error nothing is delivered.
type Announce = func([]Made) ([]Made, error)

// FileFunc gives the text of a file below the plan's TemplateRoot, for templates.
// Its error is a *plan.Problem.
type FileFunc = func(path string) ([]byte, error)

// Job is a plan that has passed every check that needs no network.
type Job struct {
	plan  plan.Plan
	deps  Deps
	vault Vault
	sink  Sink
	file  FileFunc
	items []item

	variables []string // the names of those that were made
}

// New checks p and prepares the job. The problems of the plan, its templates,
// the login, the sink, the target and the receipt are reported together, in that order, as
// plan.Problems. After an error nothing is left to clean up.
func New(p plan.Plan, d Deps) (*Job, error) {
	j := &Job{plan: p, deps: d}
	var ps plan.Problems
	ps.Add(p.Check())
	items, err := compile(p)
	j.items = items
	ps.Add(err)
	ps.Add(j.checkInputs())
	if j.vault = Vault(nothing{}); len(items) > 0 {
		j.vault, err = d.Vault()
		ps.Add(err)
	}
	if d.Files != nil {
		j.file, err = d.Files()
		ps.Add(err)
	}
	if d.Sink != nil {
		ps.Add(j.openSink(ps))
	}
	if d.Target != nil {
		ps.Add(d.Target.Check())
	}
	if d.Commands != nil {
		ps.Add(CheckCommands(p.Files, d.Commands))
		if d.Keep {
			ps.Add(checkActions(p, d.Commands))
		}
	}
	if d.Receipt != nil {
		ps.Add(d.Receipt())
	}
	if err := ps.Err(); err != nil {
		if j.sink != nil {
			ps.Add(j.sink.Shred())
		}
		return nil, ps
	}
	return j, nil
}

// Abandon is for a job that will not be run: it takes away what [New] has prepared
// in the sink. The error is the sink's.
func (j *Job) Abandon() error {
	if j.sink == nil {
		return nil
	}
	return j.sink.Shred()
}

// Receipt says what was done so far. It may be asked at any time, also after an
// error or Close; the times, the outcome and the problems are for the caller to
// fill in.
func (j *Job) Receipt() receipt.Receipt {
	var r receipt.Receipt
	r.Server, r.Login, r.Reads = j.vault.Record()
	if j.sink != nil {
		r.Files = j.sink.Delivered()
	}
	r.Variables = j.variables
	return r
}

// openSink opens the sink and asks it about every file and folder known so far.
// The plan's own check may have told already what is wrong with a path.
func (j *Job) openSink(told plan.Problems) error {
	var ps plan.Problems
	sink, err := j.deps.Sink()
	if err != nil {
		ps.Add(err)
		return slices.DeleteFunc(ps, func(p *plan.Problem) bool { return isTold(told, p) }).Err()
	}
	j.sink = sink
	for _, f := range j.plan.Files {
		if err := checkPlace(sink, f); err != nil && !isTold(told, plan.At(err, f.Origin)) {
			ps.Add(plan.At(err, f.Origin))
		}
		ps.Add(sink.CheckAccess(f))
		j.warnWide(f)
	}
	for _, s := range j.plan.Sets {
		f := plan.File{Path: s.Dir, Mode: s.Mode, Owner: s.Owner, Group: s.Group, Origin: s.Origin}
		ps.Add(sink.CheckAccess(f))
		j.warnWide(f)
	}
	return ps.Err()
}

// checkPlace asks the sink about a file's path; a memfd has only a name.
func checkPlace(s Sink, f plan.File) error {
	if f.Memfd {
		return nil
	}
	return s.Check(f.Path)
}

// warnWide tells of a mode that was asked for and lets more than the owner and
// their group in.
func (j *Job) warnWide(f plan.File) {
	if plan.IsWide(f.Mode) {
		j.deps.Log.Warn("a wide mode was asked for", slog.String("file", f.Path),
			slog.String("mode", fmt.Sprintf("%04o", f.Mode.Perm())), slog.String("declared", f.Origin.String()))
	}
}

// isTold reports whether there is a problem already with what err is about.
func isTold(told plan.Problems, err error) bool {
	var p *plan.Problem
	return errors.As(err, &p) && slices.ContainsFunc(told, func(t *plan.Problem) bool {
		return t.Code == p.Code && t.What == p.What && t.Origin == p.Origin
	})
}

// Run carries the job out. The error is a *plan.Problem, plan.Problems, or the
// cause of ctx; after an error nothing is left behind.
func (j *Job) Run(ctx context.Context) (*Held, error) {
	held := &Held{job: j, vault: j.vault, sink: j.sink, log: j.deps.Log}
	held.token = slices.ContainsFunc(j.items, func(it item) bool { return it.token })
	if err := j.deliver(ctx, held); err != nil {
		if closeErr := held.Close(ctx); closeErr != nil {
			j.deps.Log.Warn("clean-up", slog.String("problem", closeErr.Error()))
		}
		return nil, err
	}
	return held, nil
}

// deliver is the straight way from login to the switch, and what follows it.
func (j *Job) deliver(ctx context.Context, held *Held) error {
	if err := j.vault.Login(ctx); err != nil {
		return err
	}
	g := newGeneration(len(j.items))
	held.generation = g
	err := j.fill(ctx, j.vault.Generation(), g)
	if j.deps.Receipt != nil {
		j.vault.Identify(ctx)
	}
	outputs := j.settle(g.outputs())
	j.tellMade(outputs)
	var files []output
	held.Env, files = split(outputs)
	for _, v := range held.Env {
		j.variables = append(j.variables, v.Name)
	}
	if !j.deps.Keep { // the variables are wiped by Held.Close
		defer wipe(files)
		g.answers, g.needs = nil, nil
	}
	if err != nil {
		return err
	}
	if err := j.checkTogether(outputs); err != nil {
		return err
	}
	more, err := j.announce(outputs)
	defer wipe(more)
	if err != nil {
		return err
	}
	files = append(files, more...)
	if j.sink == nil {
		return ended(ctx)
	}
	inherited := j.sink.Inherited()
	if err := j.stage(ctx, files); err != nil {
		return err
	}
	if held.takenOver, err = j.commit(inherited); err != nil {
		return err
	}
	return j.runCommands(ctx, files, j.sink.Dir())
}

// split tells variables and files apart.
func split(outputs []output) (vars []Variable, files []output) {
	for _, out := range outputs {
		if out.name == "" {
			files = append(files, out)
		} else {
			vars = append(vars, Variable{Name: out.name, Value: out.content})
		}
	}
	return vars, files
}

// stage writes all files where nobody looks for them yet.
func (j *Job) stage(ctx context.Context, files []output) error {
	for _, out := range files {
		if err := ended(ctx); err != nil {
			return err
		}
		if err := j.sink.Stage(*out.file, out.content); err != nil {
			return plan.At(err, out.file.Origin)
		}
	}
	return ended(ctx)
}

// commit makes them visible, unless the same are there. replaced reports whether
// others were there before, from somebody who is gone.
func (j *Job) commit(inherited bool) (replaced bool, err error) {
	if inherited && j.deps.Keep {
		if same, err := j.sink.Adopt(); same || err != nil {
			return false, err
		}
	}
	return inherited, j.sink.Commit()
}

// ended tells why ctx has ended, if it has: a deadline is a problem, a signal
// its own cause.
func ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return &plan.Problem{
		Code: plan.CodeUnavailable, What: "deadline", Why: "it passed before everything was delivered",
		Fix: "raise --timeout", Err: cause,
	}
}

// announce shows the outputs to those who must know them before they are
// delivered, and gives the files that these add.
func (j *Job) announce(outputs []output) ([]output, error) {
	if j.deps.Announce == nil {
		return nil, nil
	}
	made := make([]Made, len(outputs))
	for i, out := range outputs {
		made[i] = Made{Path: out.file.Path, Name: out.name, Content: out.content, Alone: out.alone}
	}
	added, err := j.deps.Announce(made)
	more := make([]output, len(added))
	for i, m := range added {
		more[i] = output{file: &plan.File{Path: m.Path}, content: m.Content, extra: true}
	}
	return more, err
}

// wipe overwrites contents that are not needed any more.
func wipe(outputs []output) {
	for _, out := range outputs {
		out.content.Wipe()
	}
}
