package vault

import (
	"context"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Attempt is Generation: a file needs one try.
func (d *Dev) Attempt() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	return d.read
}

// TokenLease is one without an end.
func (d *Dev) TokenLease(context.Context) (secret.Lease, error) { return secret.Lease{}, nil }

// RenewToken does nothing.
func (d *Dev) RenewToken(context.Context, time.Duration) (secret.Lease, error) {
	return secret.Lease{}, nil
}

// RenewLease has nothing to renew: ErrLeaseLost.
func (d *Dev) RenewLease(_ context.Context, id string, _ time.Duration) (secret.Lease, error) {
	return secret.Lease{}, &plan.Problem{Code: plan.CodeConfig, What: "renew the lease " + id, Why: "a dev file has no leases", Err: ErrLeaseLost}
}

// Relogin does nothing.
func (d *Dev) Relogin(context.Context) error { return nil }

// CurrentVersion does not know: the secret is read instead.
func (d *Dev) CurrentVersion(context.Context, plan.Read) (version int, ok bool, err error) {
	return 0, false, nil
}

// Drop does nothing.
func (d *Dev) Drop(...string) {}
