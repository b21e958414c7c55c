package vault

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// keeper is what a long run needs of a client; both of ours have it.
type keeper interface {
	Attempt() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error)
	TokenLease(ctx context.Context) (secret.Lease, error)
	RenewToken(ctx context.Context, increment time.Duration) (secret.Lease, error)
	RenewLease(ctx context.Context, id string, increment time.Duration) (secret.Lease, error)
	Relogin(ctx context.Context) error
	CurrentVersion(ctx context.Context, r plan.Read) (version int, ok bool, err error)
	Drop(leaseIDs ...string)
}

var _ keeper = (*Client)(nil)

// TestDevKeepsForever: nothing of a dev file ends, so there is nothing to renew,
// and what is asked for is read.
func TestDevKeepsForever(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dev.yaml")
	if err := os.WriteFile(file, []byte("secret/data/app: { pw: x }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := PrepareDev(plan.Set(file, plan.Origin{}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var k keeper = d
	r := plan.Read{Path: "secret/app"}
	got, err := k.Attempt()(t.Context(), r, nil)
	if err != nil || got.Fields().Reveal()["pw"] != "x" {
		t.Errorf("%v", err)
	}
	held, err := k.TokenLease(t.Context())
	more, renewErr := k.RenewToken(t.Context(), time.Hour)
	if err := errors.Join(err, renewErr, k.Relogin(t.Context())); err != nil || held != (secret.Lease{}) || more != held {
		t.Errorf("%+v %+v %v", held, more, err)
	}
	if version, ok, err := k.CurrentVersion(t.Context(), r); version != 0 || ok || err != nil {
		t.Errorf("%d %v %v", version, ok, err)
	}
	_, err = k.RenewLease(t.Context(), "a/b", time.Hour)
	problem(t, err, plan.CodeConfig, "renew the lease a/b: a dev file has no leases")
	if k.Drop("a/b"); !errors.Is(err, ErrLeaseLost) || d.HasLeases() {
		t.Error(err)
	}
}
