package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/doctor"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/process/mask"
)

func (a *app) scanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scan [flags] PATH…",
		Short: "is a secret of this plan in what is about to be published?",
		Example: "  secretboot scan -c secretboot.yaml dist\n" +
			"  docker save app | secretboot scan -c secretboot.yaml -",
		Args: somethingToScan, DisableFlagsInUseLine: true,
	}
	a.addFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print what was found as JSON")
	exclude := cmd.Flags().StringArray("exclude", nil, "leave out what a `GLOB` names below a PATH: by its name, or with a slash by its path below it")
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		s, err := newSearch(*exclude)
		if err != nil {
			return err
		}
		return a.scan(cmd, s, *asJSON, paths)
	}
	return cmd
}

// somethingToScan wants at least one path.
func somethingToScan(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return &plan.Problem{
		Code: plan.CodeUsage, What: "scan", Why: "no argument names what to look through",
		Fix: "name files and folders, or - for standard input; see secretboot scan --help",
	}
}

// scan reads the plan's secrets, ends the login and only then looks for them.
func (a *app) scan(cmd *cobra.Command, s *search, asJSON bool, paths []string) error {
	p, err := a.declared(cmd)
	if err != nil {
		return err
	}
	if len(p.Files)+len(p.Sets)+len(p.Env)+len(p.EnvSets) == 0 {
		return &plan.Problem{Code: plan.CodeConfig, What: "scan", Why: "no secret is declared, so there is nothing to look for", Fix: "give the declaration, as with -c FILE or --from KIND"}
	}
	a.quieter(cmd)
	a.forget(p)
	a.early()
	ctx, stop := a.untilSignal(cmd.Context())
	defer stop()
	values, err := a.values(ctx, p)
	defer wipeValues(values)
	if err != nil {
		return err
	}
	s.know(values)
	defer s.set.Wipe()
	for _, left := range s.report.Skipped {
		a.logger().Warn("this secret is not looked for, or not in every form", slog.String("secret", left.Secret), slog.String("why", left.Why))
	}
	for _, path := range paths {
		if err := s.path(ctx, path); err != nil {
			return err
		}
	}
	return a.tell(s, asJSON)
}

// tell prints the report. That a secret was found outweighs what could not be read.
func (a *app) tell(s *search, asJSON bool) error {
	var err error
	if asJSON {
		err = s.report.json(a.stdout)
	} else {
		err = s.report.text(a.stdout)
	}
	if err != nil {
		return written(err)
	}
	if s.report.Found == 0 {
		return s.unread()
	}
	a.childCode = int(plan.CodeLeak)
	if err := s.unread(); err != nil {
		for _, p := range problems(err) {
			a.report(p)
		}
	}
	return nil
}

// values logs in, reads all that the plan needs and can be read without making
// anything, and ends the login.
func (a *app) values(ctx context.Context, p plan.Plan) ([]mask.Secret, error) {
	if d := p.Timeout.Or(defaultTimeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	r := &reader{log: a.logger()}
	d := a.deps(p, nil, false)
	d.Sink, d.Receipt, d.Commands = nil, nil, nil
	d.Vault = func() (bootstrap.Vault, error) {
		var err error
		r.Vault, err = a.session(p)
		return r, err
	}
	job, err := bootstrap.New(p, d)
	if err != nil {
		return nil, err
	}
	made, err := r.survey(ctx, job)
	for _, m := range made {
		r.addMade(m)
		m.Content.Wipe()
	}
	return r.take(), err
}

// reader is a session that keeps the values of what was read through it.
type reader struct {
	bootstrap.Vault
	known
	log      *slog.Logger
	examiner doctor.Examiner // nil: a local file stands in for Vault
	read     readFunc
	seen     seen
}

// seen remembers reads.
type seen struct {
	mu   sync.Mutex // guards keys
	keys map[string]bool
}

type readFunc = func(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error)

// errUnread: it was not read because that would make a credential, which cannot
// be in any file yet.
var errUnread = errors.New("scan: not read")

// survey reads. Whatever happens, the login is ended.
func (r *reader) survey(ctx context.Context, job *bootstrap.Job) (made []bootstrap.Made, err error) {
	defer func() { err = errors.Join(err, r.Close(ctx)) }()
	if err := r.Login(ctx); err != nil {
		return nil, err
	}
	r.examiner, _ = r.Vault.(doctor.Examiner)
	r.read = r.Vault.Generation()
	made, err = job.Survey(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return made, cause
	}
	var ps plan.Problems
	ps.Add(err)
	return made, slices.DeleteFunc(ps, func(p *plan.Problem) bool { return errors.Is(p, errUnread) }).Err()
}

// Generation reads with care, each path once however often it is called.
func (r *reader) Generation() readFunc {
	return func(ctx context.Context, want plan.Read, body map[string]secret.Value) (secret.Secret, error) {
		if why := doctor.Unsafe(ctx, r.examiner, want); why != "" {
			if r.seen.first(want) {
				r.log.Warn("not looked for: it is not read", slog.String("secret", want.Path), slog.String("why", why))
			}
			return secret.Secret{}, &plan.Problem{Code: plan.CodeConfig, Origin: want.Origin, What: "secret " + want.Path, Why: why, Err: errUnread}
		}
		s, err := r.read(ctx, want, body)
		if err == nil && want.Op == plan.OpRead && r.seen.first(want) {
			r.addFields(want.Path, s.Fields().Reveal())
		}
		return s, err
	}
}

// first reports whether a read is here for the first time.
func (s *seen) first(want plan.Read) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[want.Key()] {
		return false
	}
	if s.keys == nil {
		s.keys = map[string]bool{}
	}
	s.keys[want.Key()] = true
	return true
}
