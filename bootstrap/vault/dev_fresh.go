package vault

import (
	"context"
	"log/slog"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Attempt is Generation, of the file as it is now: whoever edits it sees what a
// change does.
func (d *Dev) Attempt() func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
	now, err := PrepareDev(plan.Set(d.at, plan.Origin{}), slog.New(slog.DiscardHandler))
	if err != nil {
		return func(context.Context, plan.Read, map[string]secret.Value) (secret.Secret, error) {
			return secret.Secret{}, err
		}
	}
	return now.read
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

// RetryAfter is never said by a file.
func (*Dev) RetryAfter(error) time.Duration { return 0 }

// Rest has no connection to close.
func (*Dev) Rest() {}
