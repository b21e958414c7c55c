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
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Vault is one server seen as one identity; package vault has two.
type Vault interface {
	// Login gets a token.
	Login(ctx context.Context) error
	// Token is a copy of the token, after Login; empty when there is none.
	Token() secret.Value
	// Generation gives a function that carries out reads, each path once; body
	// is for a write. It may be called from several goroutines at once.
	Generation() func(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error)
	// HasLeases reports whether what was read ends with the token.
	HasLeases() bool
	// Close revokes what we own. It may be called twice.
	Close(ctx context.Context) error
	// Identify asks who we are to the server, for the record.
	Identify(ctx context.Context)
	// Record says who we are to the server and what was read.
	Record() (receipt.Server, receipt.Login, []receipt.Read)
}

// Sink is where files go; package volume has the real one.
type Sink interface {
	// Dir is the absolute path of the folder of relative paths; "" when there is none.
	Dir() string
	// Folders are the absolute paths of all folders that have files in them.
	Folders() []string
	// Descriptors are those of the memfds, by the variable for their path.
	Descriptors() map[string]int
	// Check tells whether a file of this path could be delivered.
	Check(path string) error
	// CheckAccess tells whether the mode, owner and group of a file can be given.
	CheckAccess(f plan.File) error
	// Stage writes a file where nobody looks for it yet.
	Stage(f plan.File, content secret.Value) error
	// Commit makes all staged files visible at once.
	Commit() error
	// Delivered lists the files of the last Commit.
	Delivered() []receipt.File
	// Deliver leaves the files to whoever comes after us.
	Deliver() error
	// Shred destroys what was staged or committed. It may be called twice.
	Shred() error
}

// Target is the process that the secrets are for; exec.go has it.
type Target interface {
	// Check tells, before anything else is done, whether it can be started.
	Check() error
}

// Deps are the parts of the world that a job works with. A factory is called
// once, by New.
type Deps struct {
	Vault    func() (Vault, error)
	Sink     func() (Sink, error)              // nil when the plan has no file
	Target   Target                            // nil when there is none
	Commands Commands                          // for files that want one run; nil when none does
	Receipt  func() error                      // tells whether the receipt can be written; nil when none is wanted
	Lookup   func(string) (string, bool)       // the environment, for templates
	Files    func() (FileFunc, error)          // nil when the plan has no TemplateRoot
	Resolve  func(plan.Handle) ([]byte, error) // for defaults
	Log      *slog.Logger

	// Made is told of the outputs that are one value of a secret, before anybody
	// can see one; nil when nobody wants to know. It must not keep the contents.
	Made func([]Made)
}

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

// nothing is the Vault of a plan that reads nothing: no login is needed.
type nothing struct{}

func (nothing) Login(context.Context) error { return nil }
func (nothing) Token() secret.Value         { return secret.Value{} }
func (nothing) Generation() readFunc        { return nil }
func (nothing) HasLeases() bool             { return false }
func (nothing) Close(context.Context) error { return nil }
func (nothing) Identify(context.Context)    {}
func (nothing) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	return receipt.Server{}, receipt.Login{Method: "none"}, nil
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
	held := &Held{vault: j.vault, sink: j.sink, log: j.deps.Log}
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
	outputs, err := j.gather(ctx)
	outputs = j.settle(outputs)
	j.tellMade(outputs)
	if j.deps.Receipt != nil {
		j.vault.Identify(ctx)
	}
	var files []output
	for _, out := range outputs {
		if out.name == "" {
			files = append(files, out)
			continue
		}
		held.Env = append(held.Env, Variable{Name: out.name, Value: out.content})
		j.variables = append(j.variables, out.name)
	}
	defer wipe(files) // the variables are wiped by Held.Close
	if err != nil {
		return err
	}
	if err := j.checkTogether(outputs); err != nil {
		return err
	}
	if j.sink == nil {
		return ended(ctx)
	}
	for _, out := range files {
		if err := ended(ctx); err != nil {
			return err
		}
		if err := j.sink.Stage(out.file, out.content); err != nil {
			return plan.At(err, out.file.Origin)
		}
	}
	if err := ended(ctx); err != nil {
		return err
	}
	if err := j.sink.Commit(); err != nil {
		return err
	}
	return j.runCommands(ctx, files, j.sink.Dir())
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

// wipe overwrites contents that are not needed any more.
func wipe(outputs []output) {
	for _, out := range outputs {
		out.content.Wipe()
	}
}
