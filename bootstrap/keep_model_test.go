package bootstrap_test

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// server is a model of Vault: what it gives ends, by the clock of the bubble that
// the test runs in.
type server struct {
	fakeVault
	mu sync.Mutex

	engines map[string]*engine // by path
	token   *modelLease
	logins  int
	tokenAs engine // what a login gives
	forever bool   // it cannot be repeated
	leases  map[string]*modelLease
	next    int
	asked   map[string][]time.Time // requests by what they were for
	down    func(what string) error
	dropped []string
	noMeta  bool                     // the policy does not allow metadata
	slow    map[string]time.Duration // how long a read takes before it is answered
}

// engine is one path.
type engine struct {
	kind      string // kv1, kv2, dynamic, static, cert, missing
	ttl, max  time.Duration
	fixed     bool                                            // leases cannot be renewed
	answers   func(asked time.Duration) (time.Duration, bool) // odd answers to renewals; nil: proper ones
	data      map[string]any
	version   int
	rotatedAt time.Time
	stuck     bool // the password of a static role is not rotated
}

type modelLease struct {
	id        string
	path      string
	born, end time.Time
	max       time.Time
	token     *modelLease
	gone      bool
}

func (l *modelLease) alive() bool {
	return l != nil && !l.gone && time.Now().Before(l.end) && (l.token == nil || l.token.alive())
}

func newServer(w *world) *server {
	return &server{
		fakeVault: fakeVault{w}, engines: map[string]*engine{}, leases: map[string]*modelLease{}, asked: map[string][]time.Time{},
		down: func(string) error { return nil },
	}
}

func (s *server) note(what string) error {
	s.asked[what] = append(s.asked[what], time.Now())
	return s.down(what)
}

// busiest is the largest number of requests for one thing within a minute.
func (s *server) busiest() (what string, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, times := range s.asked {
		for i := range times {
			n := 1
			for n+i < len(times) && times[i+n].Sub(times[i]) < time.Minute {
				n++
			}
			if n > most {
				what, most = name, n
			}
		}
	}
	return what, most
}

func (s *server) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked[what])
}

// alive reports whether a lease or token with this name works now.
func (s *server) alive(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token.id == id {
		return s.token.alive()
	}
	return s.leases[id].alive()
}

// revoke ends a lease, or the token, behind the back of whoever has it.
func (s *server) revoke(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		s.token.gone = true
		return
	}
	s.leases[id].gone = true
}

func (s *server) Login(context.Context) error { return s.Relogin(context.Background()) }

func (s *server) Relogin(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.note("login"); err != nil {
		return err
	}
	if s.forever && s.logins > 0 {
		return &plan.Problem{Code: plan.CodeDenied, What: "login", Why: "cannot be repeated", Err: secret.ErrNoRelogin}
	}
	s.logins++
	s.token = &modelLease{id: "token" + strconv.Itoa(s.logins), born: time.Now(), end: ending(s.tokenAs.ttl), max: ending(s.tokenAs.max)}
	return nil
}

func ending(d time.Duration) time.Time {
	if d <= 0 {
		d = 1000 * time.Hour
	}
	return time.Now().Add(d)
}

func (s *server) Token() secret.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	return secret.New([]byte(s.token.id))
}

func (s *server) HasLeases() bool { return len(s.leases) > 0 }

func (s *server) TokenLease(context.Context) (secret.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.note("token's lease"); err != nil {
		return secret.Lease{}, err
	}
	if s.tokenAs.ttl == 0 {
		return secret.Lease{}, nil
	}
	return secret.Lease{TTL: time.Until(s.token.end), Renewable: !s.tokenAs.fixed}, nil
}

func (s *server) RenewToken(_ context.Context, asked time.Duration) (secret.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.note("renew token"); err != nil {
		return secret.Lease{}, err
	}
	if !s.token.alive() {
		return secret.Lease{}, tokenGone()
	}
	return s.renew(s.token, &s.tokenAs, asked), nil
}

func tokenGone() error {
	return &plan.Problem{Code: plan.CodeDenied, What: "token", Why: "gone", Err: secret.ErrTokenLost}
}

// renew moves the end as Vault does: to what was asked for, and never past the max TTL.
func (s *server) renew(l *modelLease, e *engine, asked time.Duration) secret.Lease {
	if e.answers != nil {
		ttl, renewable := e.answers(asked)
		l.end = time.Now().Add(max(ttl, 0))
		return secret.Lease{ID: l.id, TTL: ttl, Renewable: renewable}
	}
	l.end = time.Now().Add(asked)
	if l.end.After(l.max) {
		l.end = l.max
	}
	return secret.Lease{ID: l.id, TTL: time.Until(l.end), Renewable: true}
}

func (s *server) RenewLease(_ context.Context, id string, asked time.Duration) (secret.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	if err := s.note("renew " + l.path); err != nil {
		return secret.Lease{}, err
	}
	if !s.token.alive() {
		return secret.Lease{}, tokenGone()
	}
	if !l.alive() {
		return secret.Lease{}, &plan.Problem{Code: plan.CodeConfig, What: "lease", Why: "gone", Err: secret.ErrLeaseLost}
	}
	return s.renew(l, s.engines[l.path], asked), nil
}

func (s *server) CurrentVersion(_ context.Context, r plan.Read) (int, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noMeta {
		return 0, false, nil
	}
	if err := s.note("version " + r.Path); err != nil {
		return 0, false, err
	}
	e := s.engines[r.Path]
	return e.version, true, nil
}

func (s *server) Drop(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = append(s.dropped, ids...)
}

func (s *server) Attempt() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	return s.Generation()
}

func (s *server) Generation() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	return func(ctx context.Context, r plan.Read, _ map[string]secret.Value) (secret.Secret, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.note("read " + r.Path); err != nil {
			return secret.Secret{}, err
		}
		if !s.token.alive() {
			return secret.Secret{}, tokenGone()
		}
		ans, err := s.answer(r)
		if d := s.slow[r.Path]; d > 0 {
			s.mu.Unlock()
			defer s.mu.Lock()
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return secret.Secret{}, broken(plan.CodeUnavailable, "no answer")
			}
		}
		return ans, err
	}
}

func (s *server) answer(r plan.Read) (secret.Secret, error) {
	e := s.engines[r.Path]
	if e == nil || e.kind == "missing" {
		return secret.Secret{}, &plan.Problem{Code: plan.CodeMissing, Origin: r.Origin, What: "secret " + r.Path, Why: "there is no such secret"}
	}
	s.next++
	unique := strconv.Itoa(s.next)
	switch e.kind {
	case "dynamic":
		id := "lease" + unique
		s.leases[id] = &modelLease{id: id, path: r.Path, born: time.Now(), end: ending(e.ttl), max: ending(e.max), token: s.token}
		return secret.Secret{Data: secret.NewTree(map[string]any{"id": id}), LeaseID: id, Lease: e.ttl, Renewable: !e.fixed}, nil
	case "static":
		left := e.ttl - time.Since(e.rotatedAt)%e.ttl
		round := int(time.Since(e.rotatedAt) / e.ttl)
		if e.stuck {
			left, round = 0, 0
		}
		return secret.Secret{MountType: "database", Data: secret.NewTree(map[string]any{
			"password": "pw" + strconv.Itoa(round), "ttl": json.Number(strconv.Itoa(int(left.Seconds()))), "last_vault_rotation": "x",
		})}, nil
	case "cert":
		return secret.Secret{MountType: "pki", Data: secret.NewTree(map[string]any{
			"certificate": "cert" + unique, "private_key": "cert" + unique, "expiration": json.Number(strconv.FormatInt(time.Now().Add(e.ttl).Unix(), 10)),
		})}, nil
	case "kv2":
		return secret.Secret{KV2: true, Version: e.version, MountType: "kv", Data: secret.NewTree(map[string]any{
			"data": clone(e.data), "metadata": map[string]any{"version": json.Number(strconv.Itoa(e.version))},
		})}, nil
	}
	return secret.Secret{MountType: "kv", Data: secret.NewTree(clone(e.data))}, nil
}

func clone(m map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func (s *server) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	return receipt.Server{}, receipt.Login{}, nil
}

// set changes a KV secret.
func (s *server) set(path string, data map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.engines[path]
	e.data, e.version = data, e.version+1
}

func (w *world) count(event string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.events {
		if e == event {
			n++
		}
	}
	return n
}

func (w *world) read(path string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.files[path]
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}
