package vault

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TokenLease tells how long the token lives that we read with: what is left of
// the time that our own login was given, without a request, or for a token that
// was given to us what the server says of it, in one try
// (https://developer.hashicorp.com/vault/api-docs/auth/token#lookup-a-token-self).
// The zero Lease is that of a token without an end, and of none, because an
// agent in between adds its own. A batch token cannot be renewed, whatever is
// said. The error is a *plan.Problem; one that is over is ErrTokenLost.
func (c *Client) TokenLease(ctx context.Context) (secret.Lease, error) {
	c.mu.Lock()
	s := c.session
	told, over := s.told, s.over(time.Now())
	l, _ := s.left(time.Now())
	c.mu.Unlock()
	switch {
	case s.token.Len() == 0:
		return secret.Lease{}, nil
	case !told:
		return c.lookUp(ctx)
	case over:
		return secret.Lease{}, tokenOver("its time is over, or it was revoked")
	}
	return l, nil
}

// lookUp asks the server about the token.
func (c *Client) lookUp(ctx context.Context) (secret.Lease, error) {
	began := time.Now()
	ans, err := c.do(oneTry(ctx), request{method: http.MethodGet, path: "auth/token/lookup-self", login: true})
	if err != nil {
		return secret.Lease{}, renewal{
			what: "look our token up", policy: "auth/token/lookup-self", capability: "read", lost: ErrTokenLost,
		}.problem(err)
	}
	number, _ := ans.Data["ttl"].(json.Number)
	ttl, err := number.Int64()
	if err != nil {
		return secret.Lease{}, badRenewal("look our token up", "the answer does not say how long it lives")
	}
	kind, _ := ans.Data["type"].(string)
	renewable, _ := ans.Data["renewable"].(bool)
	uses, _ := ans.Data["num_uses"].(json.Number)
	c.mu.Lock()
	ans.by.limited = uses != "" && uses != "0"
	c.mu.Unlock()
	if ttl == 0 && ans.Data["expire_time"] == nil {
		return secret.Lease{}, nil
	}
	l := secret.Lease{TTL: seconds(ttl) - time.Since(began), Renewable: renewable && kind != "batch"}
	if l.TTL <= 0 {
		return secret.Lease{}, tokenOver("its time is over")
	}
	return l, nil
}

func tokenOver(why string) error {
	return &plan.Problem{Code: plan.CodeDenied, What: "our token", Why: why, Fix: "log in again", Err: ErrTokenLost}
}

// renewal is one request for more time, for messages.
type renewal struct {
	what       string
	policy     string // the path that the policy has to allow
	capability string
	lost       error // what it is when there is nothing to renew any more
}

// badRenewal is for an answer that cannot be used.
func badRenewal(what, why string) error {
	return &plan.Problem{Code: plan.CodeProtocol, What: what, Why: why, Fix: "check that VAULT_ADDR is Vault"}
}

// over is for what got no more time: it ends now.
func (r renewal) over() error {
	return &plan.Problem{Code: plan.CodeDenied, What: r.what, Why: "the server gave it no more time: it has come to its end", Err: r.lost}
}

// problem says what a failed renewal means. Vault has one status for what is
// gone and what cannot be renewed.
func (r renewal) problem(err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	p := &plan.Problem{Code: f.code, What: r.what, Why: f.why, Fix: f.fix, Err: err}
	switch {
	case f.kind == nil && f.code == plan.CodeConfig && f.saysGone():
		f.kind = r.lost
		p.Why = "it has expired or was revoked"
	case f.kind == nil && f.says("past the max TTL"):
		f.kind = r.lost
		p.Why, p.Fix = "it has come to its end: no more time is allowed", ""
	case f.says("not renewable") || f.says("cannot be renewed"):
		p.Why, p.Fix = "it cannot be renewed", ""
	case f.code == plan.CodeDenied && f.kind == nil:
		p.Fix = `the policy may lack: path "` + r.policy + `" { capabilities = ["` + r.capability + `"] }`
	}
	return p
}

// saysGone reports whether the server has nothing under the name that it was
// asked to renew.
func (f *fault) saysGone() bool {
	for _, s := range []string{"lease not found", "lease expired", "lease has expired", "lease is expired", "invalid lease", "token not found"} {
		if f.says(s) {
			return true
		}
	}
	return false
}

// more makes the body that asks for a time from now on: whole seconds, rounded
// up; 0 leaves it to the server.
func more(increment time.Duration, lease string) func(context.Context) ([]byte, error) {
	members := map[string]secret.Value{}
	if lease != "" {
		members["lease_id"] = secret.New([]byte(lease))
	}
	if increment > 0 {
		n := int64((increment-1)/time.Second) + 1
		members["increment"] = secret.New([]byte(strconv.FormatInt(n, 10) + "s"))
	}
	return texts(members)
}

// RenewToken asks for more time for the token that we read with, in one try
// (https://developer.hashicorp.com/vault/api-docs/auth/token#renew-a-token-self).
// The server may give less than increment, and 0 leaves it to the server. No
// time at all, and an answer that came when it had passed, are ErrTokenLost, as
// is a token that is gone. The error is a *plan.Problem. Where we send no token
// the Lease is zero and nothing is asked.
func (c *Client) RenewToken(ctx context.Context, increment time.Duration) (secret.Lease, error) {
	if c.using().token.Len() == 0 {
		return secret.Lease{}, nil
	}
	r := renewal{"renew our token", "auth/token/renew-self", "update", ErrTokenLost}
	began := time.Now()
	ans, err := c.do(oneTry(ctx), request{method: http.MethodPut, path: "auth/token/renew-self", body: more(increment, ""), login: true})
	if err != nil {
		return secret.Lease{}, r.problem(err)
	}
	if ans.Auth == nil {
		return secret.Lease{}, badRenewal(r.what, "the answer does not say how long it lives")
	}
	now := time.Now()
	l := secret.Lease{TTL: seconds(ans.Auth.LeaseDuration) - now.Sub(began), Renewable: ans.Auth.Renewable && ans.Auth.TokenType != "batch"}
	if l.TTL <= 0 {
		return secret.Lease{}, r.over()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := ans.by
	s.lease, s.since = l, now
	if s == c.session {
		c.book.login.Expires = receipt.After(now, l.TTL)
	}
	return l, nil
}

// RenewLease asks for more time for a lease, in one try
// (https://developer.hashicorp.com/vault/api-docs/system/leases#renew-lease). The
// server may give less than increment, and 0 leaves it to the server. No time
// at all, and an answer that came when it had passed, are ErrLeaseLost, as is a
// lease that is gone; a token that is gone is ErrTokenLost. The error is a
// *plan.Problem.
func (c *Client) RenewLease(ctx context.Context, id string, increment time.Duration) (secret.Lease, error) {
	r := renewal{"renew the lease " + id, "sys/leases/renew", "update", ErrLeaseLost}
	began := time.Now()
	ans, err := c.do(oneTry(ctx), request{method: http.MethodPut, path: "sys/leases/renew", body: more(increment, id)})
	if err != nil {
		c.refusedLease(err)
		err = r.problem(err)
		if f := (*fault)(nil); errors.As(err, &f) && errors.Is(f.kind, ErrLeaseLost) && !f.says("past the max TTL") {
			c.Drop(id)
		}
		return secret.Lease{}, err
	}
	if ans.LeaseID != id {
		return secret.Lease{}, badRenewal(r.what, "the answer is about another lease, or none")
	}
	now := time.Now()
	l := secret.Lease{ID: id, TTL: ans.lease() - now.Sub(began), Renewable: ans.Renewable}
	if l.TTL <= 0 {
		return secret.Lease{}, r.over()
	}
	c.noteRenewal(ans.by, l, now)
	return l, nil
}

// refusedLease makes a bare refusal one of the lease, which is how some servers
// say that it is gone, where an earlier renewal shows that the policy allows them.
func (c *Client) refusedLease(err error) {
	var f *fault
	c.mu.Lock()
	defer c.mu.Unlock()
	if errors.As(err, &f) && f.code == plan.CodeDenied && f.kind == nil && c.session.renews {
		f.kind, f.why, f.fix = ErrLeaseLost, "it has expired or was revoked", ""
	}
}

// noteRenewal enters how long a lease lives now.
func (c *Client) noteRenewal(s *session, l secret.Lease, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.renews = true
	if h := c.book.leases[l.ID]; h != nil {
		h.ends = now.Add(l.TTL)
	}
	if e := c.book.line(l.ID); e != nil {
		e.Expires, e.Renewable = receipt.After(now, l.TTL), l.Renewable
	}
}
