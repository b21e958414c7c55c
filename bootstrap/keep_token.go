package bootstrap

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/secretboot/secretboot/bootstrap/lease"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// hopelessWait is how long it takes until another login is tried after one that
// cannot be repeated: somebody may have put a new input into its file.
const hopelessWait = 5 * time.Minute

// tokenKnown begins to keep the token.
func (k *keeper) tokenKnown(l secret.Lease, err error) {
	now := time.Now()
	k.token.step, k.token.due, k.token.expired = lease.Nothing, time.Time{}, false // what was due is done
	switch {
	case errors.Is(err, secret.ErrTokenLost):
		k.tokenLost(err)
	case err != nil && plan.CodeOf(err) == plan.CodeUnavailable:
		k.failed(now, err, &k.token)
	case err != nil:
		k.log.Warn("it is not known when the token ends", slog.String("problem", err.Error()))
	default:
		k.token.life, k.token.expired = lease.New(now, l.TTL, l.Renewable), false
		if l.TTL <= 0 && !l.Renewable {
			k.token.life = lease.Life{}
		}
		k.schedule(&k.token, now)
	}
}

// seeToToken does what is due.
func (k *keeper) seeToToken(ctx context.Context) {
	k.token.busy = true
	asked, patience := k.token.life.Asked, lease.Patience(k.token.left(time.Now()))
	switch k.token.step {
	case lease.Renew:
		k.do(ctx, func(ctx context.Context) func() {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			l, err := k.job.vault.RenewToken(ctx, asked)
			return func() { k.token.busy = false; k.tokenRenewed(l, err) }
		})
	case lease.Replace:
		k.do(ctx, func(ctx context.Context) func() {
			err := k.job.vault.Relogin(ctx)
			var l secret.Lease
			var unknown error
			if err == nil {
				l, unknown = k.job.vault.TokenLease(ctx)
			}
			return func() { k.token.busy = false; k.loggedIn(l, err, unknown) }
		})
	case lease.Nothing:
		k.do(ctx, func(ctx context.Context) func() {
			l, err := k.job.vault.TokenLease(ctx)
			return func() { k.token.busy = false; k.tokenKnown(l, err) }
		})
	}
}

func (k *keeper) tokenRenewed(l secret.Lease, err error) {
	now := time.Now()
	k.Observer.Renewed("token", err)
	switch {
	case err == nil:
		k.worked = true
		k.token.life = k.token.life.Renewed(now, l.TTL, l.Renewable)
		k.schedule(&k.token, now)
	case errors.Is(err, secret.ErrTokenLost):
		k.tokenLost(err)
	case plan.CodeOf(err) == plan.CodeUnavailable:
		k.failed(now, err, &k.token)
	default:
		k.log.Warn("the token cannot be renewed; we log in again before it ends", slog.String("problem", err.Error()))
		k.token.life = k.token.life.Fixed()
		k.schedule(&k.token, now)
	}
}

// betweenLogins is the least time between two of them, so that a server that gives
// tokens for too few requests is not asked in a circle.
const betweenLogins = 8 * time.Second

// tokenLost logs in again at once, unless that is what has just failed, or has
// brought a token that was good for nothing either.
func (k *keeper) tokenLost(err error) {
	if k.token.step == lease.Replace && !k.token.due.IsZero() && k.token.expired {
		return // it is known
	}
	now := time.Now()
	k.log.Warn("the token has ended before its time; we log in again", slog.String("problem", err.Error()))
	k.token.life = lease.New(now, -1, false)
	k.token.step, k.token.expired, k.token.due = lease.Replace, true, now
	if k.useless++; k.worked {
		k.useless = 0
	}
	if n := max(k.token.failures, k.useless); n > 0 {
		k.token.due = now.Add(lease.Wait(n, 0, 0, k.Chance()))
	}
	if at := k.lastLogin.Add(betweenLogins); !k.lastLogin.IsZero() && at.After(k.token.due) {
		k.token.due = at
	}
	for _, t := range k.things { // their leases have ended with it
		if t.leaseID != "" {
			t.step, t.due = lease.Replace, time.Time{}
		}
	}
}

// loggedIn goes on with a new token. Leases hang on the token that they were read
// with, so what has one is read again; the old ones end by themselves.
func (k *keeper) loggedIn(l secret.Lease, err, unknown error) {
	now := time.Now()
	k.Observer.Login(err)
	switch {
	case errors.Is(err, secret.ErrNoRelogin):
		k.token.due, k.token.step = now.Add(hopelessWait), lease.Replace
		k.failWithToken()
		if k.hopeless {
			return
		}
		k.hopeless = true
		attrs := []any{slog.String("problem", err.Error())}
		if left := k.token.left(now); left > 1 {
			attrs = append(attrs, slog.String("token_ends_in", left.Round(time.Second).String()))
		}
		k.log.Error("nobody can log in again: from the end of the token on, nothing is kept fresh", attrs...)
		return
	case err != nil:
		k.failWithToken()
		k.failed(now, err, &k.token)
		return
	}
	k.token.failures, k.hopeless, k.lastLogin, k.worked = 0, false, now, false
	k.logins++
	clear(k.stash)      // those leases hang on the token before
	k.job.tellMade(nil) // the token is a secret too
	k.tokenKnown(l, unknown)
	for _, t := range k.things {
		if t.leaseID != "" || t.failures > 0 {
			k.again(t, now)
		}
	}
	for _, p := range k.held.generation.parts {
		if slices.Contains(p.used, tokenKey) { // the token itself was delivered
			k.newToken = now
		}
	}
}

// failWithToken is for leases that wait for another login: they cannot be seen to
// either, so that their end is one that is told of.
func (k *keeper) failWithToken() {
	for _, t := range k.things {
		if t.leaseID != "" && t.due.IsZero() {
			t.failures++
		}
	}
}
