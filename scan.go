package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
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
		Args: cobra.MinimumNArgs(1), DisableFlagsInUseLine: true,
	}
	addFlags(cmd)
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
		a.logger().Warn("not every form of this secret is looked for", slog.String("secret", left.Secret), slog.String("why", left.Why))
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
	r := &reader{log: a.logger(), seen: map[string]bool{}}
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
	return r.values, err
}

// reader is a session that keeps the values of what was read through it.
type reader struct {
	bootstrap.Vault
	log      *slog.Logger
	examiner doctor.Examiner // nil: a local file stands in for Vault
	read     readFunc

	mu     sync.Mutex // guards what follows
	seen   map[string]bool
	values []mask.Secret
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
			if r.first(want) {
				r.log.Warn("not looked for: it is not read", slog.String("secret", want.Path), slog.String("why", why))
			}
			return secret.Secret{}, &plan.Problem{Code: plan.CodeConfig, Origin: want.Origin, What: "secret " + want.Path, Why: why, Err: errUnread}
		}
		s, err := r.read(ctx, want, body)
		if err == nil && want.Op == plan.OpRead && r.first(want) {
			r.addFields(want.Path, s.Fields().Reveal())
		}
		return s, err
	}
}

// first reports whether a read is here for the first time.
func (r *reader) first(want plan.Read) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.seen[want.Key()]
	r.seen[want.Key()] = true
	return !known
}

// addFields keeps every text in a secret, those inside of maps and lists too.
func (r *reader) addFields(path string, fields map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		r.add(path+"#"+name, fields[name])
	}
}

func (r *reader) add(name string, value any) {
	switch v := value.(type) {
	case string:
		if v != "" {
			r.values = append(r.values, mask.Secret{Name: name, Value: []byte(v)})
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			r.add(name+"."+key, v[key])
		}
	case []any:
		for i, one := range v {
			r.add(name+"."+strconv.Itoa(i), one)
		}
	case json.Number, bool, nil: // a number is looked for where it is declared
	}
}

// addMade keeps the value of a declaration where it is not that of a field as it
// is: one that was decoded, a number, a default.
func (r *reader) addMade(m bootstrap.Made) {
	value := bytes.Clone(m.Content.Reveal())
	same := func(have mask.Secret) bool { return bytes.Equal(bytes.TrimSpace(have.Value), bytes.TrimSpace(value)) }
	if len(value) == 0 || slices.ContainsFunc(r.values, same) {
		clear(value)
		return
	}
	name := "variable " + m.Name
	if m.Name == "" {
		name = "file " + strconv.Quote(m.Path)
	}
	r.values = append(r.values, mask.Secret{Name: name, Value: value})
}

func wipeValues(values []mask.Secret) {
	for _, v := range values {
		clear(v.Value)
	}
}
