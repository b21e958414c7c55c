package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/vault"
	"github.com/secretboot/secretboot/process"
	"github.com/secretboot/secretboot/volume"
)

// warnMistyped tells what a declaration says in vain and was surely meant: what is
// delivered is something else then, and nobody looks at plan for it.
func (a *app) warnMistyped(p plan.Plan) {
	for _, i := range p.Ignored {
		if i.Mistyped {
			a.logger().Warn("this field has no effect, and looks mistyped", slog.String("field", i.What), slog.String("why", i.Why), slog.String("declared", i.Origin.String()))
		}
	}
}

// warnNothing says that the command gets no secret. A file of ours that is here and was
// not named is the usual reason: none is read unasked, since whoever may write to a
// folder would then say what is run in it.
func (a *app) warnNothing() {
	const usual = "secretboot.yaml"
	var hint []any
	if _, err := os.Stat(usual); err == nil {
		hint = append(hint, slog.String("hint", usual+" is here, and is read with -c "+usual))
	}
	a.logger().Warn("no secret is declared: the command starts without any", hint...)
}

// run delivers, starts the command and cleans up.
func (a *app) run(cmd *cobra.Command, args []string) error {
	a.wrapping = true
	p, err := a.declared(cmd)
	if err != nil {
		return err
	}
	a.keeps = p.Run.Mode.Or(plan.RunAuto) != plan.RunReplace
	a.warnMistyped(p)
	if len(args) > 0 {
		p.Run.Command = args
	}
	if len(p.Run.Command) == 0 {
		return &plan.Problem{Code: plan.CodeUsage, What: "run", Why: "no command was given", Fix: "put it after --, as in: secretboot run -- ./app"}
	}
	if len(p.Files)+len(p.Sets)+len(p.Env)+len(p.EnvSets) == 0 {
		a.warnNothing()
	}
	if p.Expires.Or(0) > 0 && (len(p.Env)+len(p.EnvSets) > 0 || slices.ContainsFunc(p.Files, func(f plan.File) bool { return f.Memfd })) {
		a.logger().Warn("expires is for files: the command keeps its variables and memfds")
	}
	if p.Run.Mode.Or(plan.RunAuto) == plan.RunReplace && p.Run.Mask.Or(plan.MaskAuto) == plan.MaskAuto && a.inCI() {
		a.logger().Warn("what the command prints is not masked, because we turn into it", slog.String("declared", p.Run.Mode.Origin.String()))
	}
	t := a.target(p)
	t.streams, t.noTerminal = a.streams(p.Run, t.privileges)
	held, err := a.bootstrap(cmd.Context(), t.owned(p), t, true)
	if err != nil {
		return err
	}
	return a.start(cmd.Context(), t, held)
}

// target makes the command of a plan, which may be none.
func (a *app) target(p plan.Plan) *target {
	run := p.Run
	if p.Listen.IsSet && run.Mode.Or(plan.RunAuto) == plan.RunAuto { // somebody has to answer there
		run.Mode = plan.Set(plan.RunSupervise, p.Listen.Origin)
	}
	t := &target{
		run: run, inputs: credentials(p), environ: a.environ, log: a.logger(), core: a.core, masks: a.masks,
		expires: p.Expires,
		here:    p.Sink.Mount.Or(plan.MountShared) == plan.MountPrivate, control: process.NewControl(),
	}
	t.keeps = wantsCare(p)
	t.privileges, t.unknown = privileges(run)
	return t
}

// hooks makes what starts the commands of files.
func (a *app) hooks(p plan.Plan) bootstrap.Commands {
	return hooks{target: a.target(p), masks: a.masking(p.Run)}
}

// credentials lists the places of what is for us alone: the inputs of the login
// that is meant, and what is sent as a header.
func credentials(p plan.Plan) []plan.Handle {
	choice, err := vault.Choose(p.Vault, p.Login)
	if err != nil {
		return nil // it is reported with all the rest, and no command starts
	}
	places := slices.AppendSeq(append(choice.Inputs, p.Vault.HeaderSet), maps.Values(p.Vault.Headers))
	if choice.Method == "cert" {
		for _, s := range []plan.Setting[string]{p.Vault.TLS.ClientCert, p.Vault.TLS.ClientKey} {
			if s.Origin.Front == "environment" {
				places = append(places, plan.Handle{Kind: plan.HandleEnv, Name: s.Origin.At})
			}
		}
	}
	return places
}

// start hands over to the command. Whatever happens, held is closed or released.
func (a *app) start(ctx context.Context, t *target, held *bootstrap.Held) error {
	t.becomes = t.replaces(held)
	env, err := t.environment(held)
	if err = errors.Join(err, t.reachable(held)); err != nil {
		return errors.Join(err, held.Close(ctx))
	}
	t.inherit = slices.Sorted(maps.Values(held.Descriptors()))
	if t.becomes {
		return a.replace(ctx, t, env, held)
	}
	process.Notify(a.signals)
	t.janitor = a.janitor
	stopKeeping := a.keepDuring(ctx, t, held)
	ended := a.expireDuring(t.expires.Or(0), held, stopKeeping)
	stopping := a.notifyDuring(t.control.Started())
	code, err := t.supervise(env, a.signals)
	stopping()
	ended()
	stopped := stopKeeping()
	a.childCode = code
	a.board.Ended()
	closeErr := held.Close(ctx)
	if err != nil {
		return errors.Join(err, closeErr)
	}
	// Last, for it waits for whoever reads our output.
	if t.streams != nil && !t.streams.Wait(a.signals, nil) {
		a.logger().Warn("not all that the command printed was passed on: nobody reads it")
	}
	var left plan.Problems
	left.Add(stopped)
	left.Add(closeErr)
	for _, p := range left {
		a.report(p)
	}
	if len(left) > 0 && code == 0 { // something may be left or was cut short: that must not look like success
		a.childCode = int(plan.CodeOwn)
	}
	left = append(left, a.leaked()...)
	a.receipt.rewrite(receipt.Ended, a.childCode, left)
	return nil
}

// replace turns us into the command; it returns only on failure, and then
// nothing is left.
func (a *app) replace(ctx context.Context, t *target, env []string, held *bootstrap.Held) error {
	if sig := a.pending(); sig != nil {
		return errors.Join(sig, held.Close(ctx))
	}
	a.dismissJanitor() // it would take what we leave to the command
	err := held.Release(ctx)
	if err != nil {
		return err
	}
	a.receipt.rewrite(receipt.Delivered, 0, nil)
	if sig := a.pending(); sig != nil { // to revoke takes a while
		err = sig
	} else {
		err = t.replace(env)
	}
	for _, dir := range held.Folders() {
		err = errors.Join(err, volume.ShredPath(dir, false))
	}
	return errors.Join(err, held.Close(ctx)) // a token or lease that was kept for the command
}

// pending gives a signal that asks us to end and that nobody has heard of yet:
// the command that replaces us never would.
func (a *app) pending() error {
	for len(a.signals) > 0 {
		if n, ok := (<-a.signals).(syscall.Signal); ok && n != syscall.SIGPIPE {
			return &interrupted{n}
		}
	}
	return nil
}

// bootstrap carries out the plan within its deadline.
func (a *app) bootstrap(parent context.Context, p plan.Plan, t *target, private bool) (*bootstrap.Held, error) {
	defer paceCollector(p)()
	a.warnReplaced(p)
	a.forget(p)
	a.early()
	ctx, stop := a.untilSignal(parent)
	defer stop()
	if d := p.Timeout.Or(defaultTimeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	a.receipt = receipts{path: p.Receipt, started: time.Now(), log: a.logger(), folders: foldersOf(p)}
	job, err := a.check(parent, p, t, private)
	if err != nil {
		return nil, err
	}
	a.receipt.job = job
	held, err := job.Run(ctx)
	if err != nil {
		return nil, err
	}
	stop()
	// Without its record nothing may be used: it is written before the files
	// are handed over.
	if err := a.receipt.write(receipt.Delivered, 0, nil); err != nil {
		return nil, errors.Join(err, held.Close(parent))
	}
	var sig *interrupted
	if errors.As(context.Cause(ctx), &sig) { // it came after the last look
		return nil, errors.Join(sig, held.Close(parent))
	}
	return held, nil
}

// check prepares a job and, for a command, the listener of probes. All problems are
// told together.
func (a *app) check(ctx context.Context, p plan.Plan, t *target, private bool) (*bootstrap.Job, error) {
	var ps plan.Problems
	deps := a.deps(p, t, private)
	a.learnFrom(p.Run, &deps)
	job, err := bootstrap.New(p, deps)
	ps.Add(err)
	if a.keeps {
		ps.Add(a.publish(ctx, p.Listen, len(ps) == 0))
	}
	if len(ps) > 0 && job != nil {
		ps.Add(job.Abandon())
	}
	return job, ps.Err()
}

// foldersOf lists the folders that a plan names for secrets.
func foldersOf(p plan.Plan) []string {
	var dirs []string
	if p.Sink.Dir.IsSet {
		dirs = append(dirs, filepath.Clean(p.Sink.Dir.Value))
	}
	for _, f := range p.Files {
		if filepath.IsAbs(f.Path) {
			dirs = append(dirs, filepath.Dir(filepath.Clean(f.Path)))
		}
	}
	return dirs
}

// deps connects the pipeline to the real Vault, sink and process.
func (a *app) deps(p plan.Plan, t *target, private bool) bootstrap.Deps {
	log, in := a.logger(), a.input()
	resolve := func(h plan.Handle) ([]byte, error) { return declare.Resolve(in, h) }
	d := bootstrap.Deps{Keep: a.keeps, Lookup: a.lookup, Resolve: resolve, Commands: a.hooks(p), Log: log}
	if t != nil {
		d.Target = t
	}
	if p.Receipt.IsSet {
		d.Receipt = a.receipt.check
	}
	if p.TemplateRoot.IsSet {
		d.Files = func() (bootstrap.FileFunc, error) { return templateFiles(p.TemplateRoot) }
	}
	d.Vault = func() (bootstrap.Vault, error) {
		if p.Vault.Dev.IsSet {
			return vault.PrepareDev(p.Vault.Dev, log)
		}
		return vault.Prepare(vault.Options{
			Vault: p.Vault, Login: p.Login, Resolve: resolve, Remove: func(h plan.Handle) error { return removeFile(h.Name) },
			Proxy: http.ProxyFromEnvironment, Log: log,
		})
	}
	a.ci.listen(&d)
	if t == nil && !a.keeps { // init
		a.expiring(p, &d)
	}
	if p = a.ci.places(p); len(p.Files)+len(p.Sets) > 0 {
		d.Sink = func() (bootstrap.Sink, error) {
			s, err := a.openSink(p, private, t, log)
			if err != nil {
				return nil, err
			}
			if err := a.ci.check(s); err != nil {
				return nil, errors.Join(err, s.Shred())
			}
			if a.claims = s.Claims(); t != nil {
				return a.startJanitor(p, s), nil
			}
			return s, nil
		}
	}
	return d
}

// removeFile removes a file under the name that was given, and, where that is a
// link, what it leads to.
func removeFile(name string) error {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	err = os.Remove(target)
	if target != filepath.Clean(name) {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// openSink opens the folder that was asked for, or chooses one, and those that
// absolute paths need.
func (a *app) openSink(p plan.Plan, private bool, t *target, log *slog.Logger) (*volume.Roots, error) {
	s := p.Sink
	o := volume.Options{Dir: s.Dir.Value, Origin: s.Dir.Origin, Log: log}
	own := s.Mount.Or(plan.MountShared) == plan.MountPrivate
	if !s.Dir.IsSet && (own || volume.NeedsDir(p.Files, p.Sets)) {
		var err error
		if own {
			o, err = volume.ChoosePrivate(t.lookupForSink(a.lookup))
		} else {
			o, err = volume.Choose(t.lookupForSink(a.lookup), private, log)
		}
		if err != nil {
			return nil, err
		}
	}
	o.KeepPrevious, o.Survive = a.keeps, a.keeps && t == nil
	o.AllowDisk, o.Group, o.Log = s.AllowDisk.Or(false), t.group(), log
	if own {
		o.MountSize = s.MountSize.Or(plan.DefaultMountSize)
	}
	r, err := volume.OpenRoots(o, p.Files, p.Sets)
	var problem *plan.Problem
	if errors.As(err, &problem) && problem.Origin.At == "SECRETBOOT_DIR" {
		problem.Fix += "; SECRETBOOT_DIR may be that of a secretboot around this one: give --dir"
	}
	return r, err
}
