package bootstrap_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// actor notes what it is told.
type actor struct {
	mu    sync.Mutex
	did   []string
	at    []time.Time
	fails error
	env   []string
	takes time.Duration
}

func (a *actor) do(what string) error {
	time.Sleep(a.takes) // of the bubble's clock
	a.mu.Lock()
	defer a.mu.Unlock()
	a.did = append(a.did, what)
	a.at = append(a.at, time.Now())
	return a.fails
}

func (a *actor) Signal(name string) error { return a.do("signal " + name) }

func (a *actor) Restart(_ context.Context, vars []bootstrap.Variable) error {
	a.env = nil
	for _, v := range vars {
		a.env = append(a.env, v.Name+"="+string(v.Value.Reveal()))
	}
	return a.do("restart")
}

func (a *actor) Exec(_ context.Context, act plan.Action, dir string) error {
	return a.do(fmt.Sprintf("exec %s in %s", strings.Join(act.Argv, " "), dir))
}

func (a *actor) list() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.did, "; ")
}

// kept is a delivery that is being kept.
type kept struct {
	*world
	*server
	*actor
	held *bootstrap.Held
	stop func() error
	done chan error
}

// keep delivers a plan from a server and keeps it.
func keep(t *testing.T, w *world, s *server, p plan.Plan) *kept {
	t.Helper()
	return keepFrom(t, w, s, p, func([]byte) {})
}

// keepFrom also shows the first variable, in place, before it is kept.
func keepFrom(t *testing.T, w *world, s *server, p plan.Plan, show func(first []byte)) *kept {
	t.Helper()
	d := w.deps(len(p.Files)+len(p.Sets) > 0)
	d.Keep = true
	d.Vault = func() (bootstrap.Vault, error) { return s, nil }
	job, err := bootstrap.New(p, d)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	held, err := job.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.forget()
	if len(held.Env) > 0 {
		show(held.Env[0].Value.Reveal())
	}
	k := &kept{world: w, server: s, actor: &actor{}, held: held, done: make(chan error, 1)}
	random := rand.New(rand.NewPCG(7, 7))
	go func() { k.done <- held.Keep(ctx, bootstrap.Keep{Actor: k.actor, Chance: random.Float64}) }()
	k.stop = sync.OnceValue(func() error {
		cancel()
		err := <-k.done
		return err
	})
	t.Cleanup(func() {
		if err := k.stop(); err != nil && !strings.Contains(err.Error(), "expired") {
			t.Error(err)
		}
	})
	return k
}
