package bootstrap_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

const canary = "CANARY-s3cr3t"

// world has a fake of everything that a job works with, and notes in order what
// was asked of it.
type world struct {
	mu      sync.Mutex
	events  []string
	log     strings.Builder
	files   map[string]string // committed
	staged  map[string]secret.Value
	secrets map[string]map[string]any
	fails   map[string]error // by event, or the beginning of one up to a space
	leases  bool
	token   string

	inherited, adopts bool                                    // of the sink
	expiry            time.Time                               // as the sink was told
	during            func(ctx context.Context, event string) // called at each event
}

func newWorld() *world {
	return &world{
		files: map[string]string{}, staged: map[string]secret.Value{}, fails: map[string]error{},
		secrets: map[string]map[string]any{
			"app": {"user": "u", "pw": canary},
			"tls": {"crt": "C", "key": "K"},
		},
	}
}

// event notes what happens and gives the failure that was wished for.
func (w *world) event(ctx context.Context, format string, args ...any) error {
	e := fmt.Sprintf(format, args...)
	if w.during != nil {
		w.during(ctx, e)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	word, _, _ := strings.Cut(e, " ")
	if err := w.fails[e]; err != nil {
		return err
	}
	return w.fails[word]
}

func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(b)
}

func (w *world) deps(sink bool) bootstrap.Deps {
	d := bootstrap.Deps{
		Vault: func() (bootstrap.Vault, error) {
			return fakeVault{w}, w.event(context.Background(), "prepare")
		},
		Lookup:  func(string) (string, bool) { return "", false },
		Resolve: func(h plan.Handle) ([]byte, error) { return []byte(h.Name), w.fails["resolve"] },
		Log:     slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if sink {
		d.Sink = func() (bootstrap.Sink, error) {
			if err := w.event(context.Background(), "open"); err != nil {
				return nil, err
			}
			return fakeSink{w}, nil
		}
	}
	d.Target, d.Commands = fakeTarget{w}, fakeCommands{w}
	return d
}

// run makes and runs a job.
func (w *world) run(t *testing.T, ctx context.Context, p plan.Plan) (*bootstrap.Held, error) {
	t.Helper()
	job, err := bootstrap.New(p, w.deps(len(p.Files)+len(p.Sets) > 0))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return job.Run(ctx)
}

// want compares the events; those that may come in any order are sorted.
func (w *world) want(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := slices.Clone(w.events)
	for i := 0; i < len(got); i++ {
		j := i
		for j < len(got) && strings.HasPrefix(got[j], "read ") {
			j++
		}
		slices.Sort(got[i:j])
		i = max(i, j-1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("events\n\t%q, want\n\t%q", got, want)
	}
	if strings.Contains(w.log.String(), canary) {
		t.Errorf("the log holds the canary: %s", w.log.String())
	}
}

// since forgets the events so far.
func (w *world) forget() { w.events = nil }

type fakeVault struct{ w *world }

func (v fakeVault) Login(ctx context.Context) error { return v.w.event(ctx, "login") }
func (v fakeVault) HasLeases() bool                 { return v.w.leases }
func (v fakeVault) Token() secret.Value             { return secret.New([]byte(v.w.token)) }
func (v fakeVault) Close(ctx context.Context) error { return v.w.event(ctx, "revoke") }

func (v fakeVault) Generation() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	return func(ctx context.Context, r plan.Read, _ map[string]secret.Value) (secret.Secret, error) {
		if err := v.w.event(ctx, "read %s", r.Path); err != nil {
			return secret.Secret{}, err
		}
		v.w.mu.Lock()
		defer v.w.mu.Unlock()
		data, ok := v.w.secrets[r.Path]
		if !ok {
			return secret.Secret{}, &plan.Problem{Code: plan.CodeMissing, Origin: r.Origin, What: "secret " + r.Path, Why: "there is no such secret"}
		}
		return secret.Secret{Data: secret.NewTree(data)}, nil
	}
}

func (v fakeVault) Identify(context.Context) {}

// A fakeVault has nothing that ends; fakeServer has.
func (v fakeVault) Attempt() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	return v.Generation()
}
func (v fakeVault) TokenLease(context.Context) (secret.Lease, error) { return secret.Lease{}, nil }
func (v fakeVault) RenewToken(context.Context, time.Duration) (secret.Lease, error) {
	return secret.Lease{}, broken(plan.CodeBug, "token")
}

func (v fakeVault) RenewLease(context.Context, string, time.Duration) (secret.Lease, error) {
	return secret.Lease{}, broken(plan.CodeBug, "lease")
}
func (v fakeVault) Relogin(context.Context) error { return broken(plan.CodeBug, "login") }
func (v fakeVault) CurrentVersion(context.Context, plan.Read) (int, bool, error) {
	return 0, false, nil
}
func (v fakeVault) Drop(...string)                 {}
func (v fakeVault) RetryAfter(error) time.Duration { return 0 }

func (v fakeVault) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	return receipt.Server{Address: "https://fake"}, receipt.Login{Method: "fake"}, []receipt.Read{{Path: "app"}}
}

type fakeSink struct{ w *world }

func (s fakeSink) Dir() string                 { return "/run/secrets" }
func (s fakeSink) Folders() []string           { return []string{s.Dir()} }
func (s fakeSink) Descriptors() map[string]int { return nil }
func (s fakeSink) Check(path string) error {
	return s.w.fails["check "+path]
}
func (s fakeSink) CheckAccess(f plan.File) error { return s.w.fails["access "+f.Path] }
func (s fakeSink) Deliver() error                { return s.w.event(context.Background(), "deliver") }

func (s fakeSink) Stage(f plan.File, content secret.Value) error {
	if err := s.w.event(context.Background(), "stage %s", f.Path); err != nil {
		return err
	}
	s.w.files[f.Path] = string(content.Reveal())
	s.w.staged[f.Path] = content
	return nil
}

func (s fakeSink) Delivered() []receipt.File {
	return []receipt.File{{Path: "/run/secrets/f", Mode: "0400"}}
}

func (s fakeSink) Inherited() bool       { return s.w.inherited }
func (s fakeSink) Adopt() (bool, error)  { return s.w.adopts, s.w.event(context.Background(), "adopt") }
func (s fakeSink) Discard() error        { return s.w.event(context.Background(), "discard") }
func (s fakeSink) Prune(time.Time) error { return s.w.event(context.Background(), "prune") }
func (s fakeSink) Retract() error        { return s.w.event(context.Background(), "retract") }
func (s fakeSink) Mend() error           { return nil }

func (s fakeSink) SetExpiry(at time.Time) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.expiry = at
	return nil
}

// Commit drops the expiry, which is that of a generation.
func (s fakeSink) Commit() error {
	_ = s.SetExpiry(time.Time{})
	return s.w.event(context.Background(), "commit")
}
func (s fakeSink) Shred() error { return s.w.event(context.Background(), "shred") }

type fakeTarget struct{ w *world }

func (t fakeTarget) Check() error { return t.w.event(context.Background(), "target") }

type fakeCommands struct{ w *world }

func (c fakeCommands) Check(a plan.Action) error { return c.w.fails["check "+a.Argv[0]] }

func (c fakeCommands) Run(ctx context.Context, a plan.Action, dir string) error {
	return c.w.event(ctx, "command %s in %s", strings.Join(a.Argv, " "), dir)
}

func broken(code plan.Code, what string) *plan.Problem {
	return &plan.Problem{Code: code, What: what, Why: "broken"}
}

// The parts of plans.

func from(key string) plan.Origin { return plan.Origin{At: "test.yaml", Key: key} }

func file(path, ref string) plan.File {
	return plan.File{Path: path, Source: source(ref), Origin: from(path)}
}

func source(ref string) plan.Source {
	r, err := plan.ParseRef(ref)
	if err != nil {
		panic(err)
	}
	return plan.Source{Ref: &r}
}

func template(path, text string) plan.File {
	return plan.File{Path: path, Source: plan.Source{Template: &plan.Template{Name: path, Text: text}}, Origin: from(path)}
}

func variable(name, ref string) plan.Env {
	return plan.Env{Name: name, Source: source(ref), Origin: from(name)}
}

func setOf(dir, ref string) plan.FileSet {
	return plan.FileSet{Dir: dir, Ref: *source(ref).Ref, Origin: from("set " + dir)}
}

// problems gives err as Problems.
func problems(t *testing.T, err error) plan.Problems {
	t.Helper()
	var ps plan.Problems
	var p *plan.Problem
	if !errors.As(err, &ps) && !errors.As(err, &p) {
		t.Fatalf("%v is no problem", err)
	}
	if ps == nil {
		ps = plan.Problems{p}
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("the error holds the canary: %v", err)
	}
	return ps
}
