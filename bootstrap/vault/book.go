package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// book is what we own and did, for the revocation and for the receipt.
type book struct {
	login  receipt.Login
	reads  []receipt.Read
	tokens []token // that we had made for those who asked
}

// token is one that a read made. One that is no orphan ends with ours.
type token struct {
	value  secret.Value
	orphan bool
}

// Record says who we are to the server and what was read, sorted by path. It
// holds no value.
func (c *Client) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reads := slices.Clone(c.book.reads)
	slices.SortFunc(reads, func(a, b receipt.Read) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.RequestID, b.RequestID), cmp.Compare(a.Operation, b.Operation))
	})
	return receipt.Server{Address: c.name, Namespace: c.namespace, Correlation: c.correlation}, c.book.login, reads
}

// note enters one answer to a read.
func (c *Client) note(r plan.Read, path string, ans *answer, s secret.Secret) {
	entry := receipt.Read{
		Path: path, Operation: r.Op.String(), RequestID: ans.RequestID, Version: s.Version,
		LeaseID: s.LeaseID, Renewable: s.Renewable, Expires: receipt.After(time.Now(), ans.lease()),
	}
	if s.LeaseID == "" { // KV version 1 has a duration that means nothing
		entry.Expires = receipt.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.reads = append(c.book.reads, entry)
	if s.Auth != nil && s.Auth.ClientToken.Len() > 0 {
		c.book.tokens = append(c.book.tokens, token{s.Auth.ClientToken, ans.Auth.Orphan})
	}
}

// noteFailure enters a read that gave nothing.
func (c *Client) noteFailure(r plan.Read, path string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.reads = append(c.book.reads, receipt.Read{Path: path, Operation: r.Op.String(), Code: int(plan.CodeOf(err))})
}

// HasLeases reports whether a lease, or a token that we had made, is ours: to
// revoke it, or the token that it hangs on, would take away what was delivered.
func (c *Client) HasLeases() bool { return len(c.leases()) > 0 || len(c.tokens(true)) > 0 }

// tokens gives the tokens that we had made: all, or those that outlive ours.
func (c *Client) tokens(all bool) []secret.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []secret.Value
	for _, t := range c.book.tokens {
		if all || t.orphan {
			list = append(list, t.value)
		}
	}
	return list
}

// leases gives the ids of the leases that are not revoked.
func (c *Client) leases() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for _, r := range c.book.reads {
		if r.LeaseID != "" && !r.Revoked {
			ids = append(ids, r.LeaseID)
		}
	}
	return ids
}

// Close revokes the token if we got it by logging in, and with it every lease
// of ours; else the leases alone: a token that was given to us stays. It may be
// called more than once, and after a failed or absent login. It takes at most
// three seconds, even when ctx has ended already.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	owned, done := c.owned, c.closed
	c.closed = true
	c.mu.Unlock()
	if done {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if owned {
		err := errors.Join(c.revokeTokens(ctx, false), c.revokeToken(ctx))
		if err == nil || plan.CodeOf(err) != plan.CodeDenied {
			return err
		}
		return errors.Join(err, c.revokeLeases(ctx))
	}
	return errors.Join(c.revokeTokens(ctx, true), c.revokeLeases(ctx))
}

// revokeTokens ends tokens that we had made, each by itself: that needs no
// policy of ours.
func (c *Client) revokeTokens(ctx context.Context, all bool) error {
	var errs []error
	for _, t := range c.tokens(all) {
		_, err := c.do(ctx, request{method: http.MethodPut, path: "auth/token/revoke-self", token: &t, once: true, mayBeEmpty: true})
		if err != nil {
			errs = append(errs, &plan.Problem{
				Code: plan.CodeOf(err), What: "revoke a token that was made for a template", Why: whyOf(err), Err: err, Fix: "it ends by itself when its TTL is over",
			})
		}
	}
	return errors.Join(errs...)
}

func (c *Client) revokeToken(ctx context.Context) error {
	_, err := c.do(ctx, request{method: http.MethodPut, path: "auth/token/revoke-self", login: true, token: c.own(), once: true, mayBeEmpty: true})
	if err != nil {
		c.mu.Lock()
		c.book.login.NotRevoked = whyOf(err)
		c.mu.Unlock()
		return &plan.Problem{
			Code: plan.CodeOf(err), What: "revoke our token", Why: whyOf(err), Err: err,
			Fix: "it ends by itself when its TTL is over",
		}
	}
	c.mu.Lock()
	c.book.login.Revoked = true
	for i := range c.book.reads {
		c.book.reads[i].Revoked = c.book.reads[i].LeaseID != ""
	}
	c.mu.Unlock()
	c.log.Debug("token revoked")
	return nil
}

// revokeLeases ends each lease by itself, all at the same time.
func (c *Client) revokeLeases(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var ps plan.Problems
	for _, id := range c.leases() {
		wg.Go(func() {
			err := c.revokeLease(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			ps.Add(err)
		})
	}
	wg.Wait()
	return ps.Err()
}

func (c *Client) revokeLease(ctx context.Context, id string) error {
	body := texts(map[string]secret.Value{"lease_id": secret.New([]byte(id))})
	_, err := c.do(ctx, request{method: http.MethodPut, path: "sys/leases/revoke", body: body, once: true, mayBeEmpty: true})
	if err != nil {
		return &plan.Problem{
			Code: plan.CodeOf(err), What: "revoke the lease " + id, Why: whyOf(err), Err: err,
			Fix: `it ends by itself; to let us end it: path "sys/leases/revoke" { capabilities = ["update"] }`,
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.book.reads {
		if c.book.reads[i].LeaseID == id {
			c.book.reads[i].Revoked = true
		}
	}
	return nil
}

// own gives our token for a request that is made where the login was.
func (c *Client) own() *secret.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	token := c.token // a copy: another request may take over a newer one meanwhile
	return &token
}

// whyOf gives the cause that a problem names, without the name of what failed.
func whyOf(err error) string {
	var p *plan.Problem
	if errors.As(err, &p) {
		return p.Why
	}
	return "unknown cause"
}

// Identify asks who the token is, for the record: the login does not tell the
// display name, nor anything of a token that was given to us
// (https://developer.hashicorp.com/vault/api-docs/auth/token#lookup-a-token-self).
// Where the policy forbids it the record says less. It comes after the reads:
// a token may be good for so many requests only.
func (c *Client) Identify(ctx context.Context) {
	if c.own().Len() == 0 {
		return
	}
	ans, err := c.do(ctx, request{method: http.MethodGet, path: "auth/token/lookup-self", login: true})
	if err != nil {
		c.log.Warn("the receipt does not say who we are to Vault", slog.String("why", whyOf(err)))
		return
	}
	text := func(name string) string { s, _ := ans.Data[name].(string); return s }
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.book.login
	l.DisplayName, l.Accessor, l.EntityID, l.TokenType = text("display_name"), text("accessor"), text("entity_id"), text("type")
	l.Policies = nil
	list, _ := ans.Data["policies"].([]any)
	for _, p := range list {
		if s, ok := p.(string); ok {
			l.Policies = append(l.Policies, s)
		}
	}
	n, _ := ans.Data["ttl"].(json.Number)
	if ttl, err := n.Int64(); err == nil {
		l.Expires = receipt.After(time.Now(), time.Duration(ttl)*time.Second)
	}
}
