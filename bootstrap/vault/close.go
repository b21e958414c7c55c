package vault

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Close revokes the tokens that we got by logging in, all at once and the one in
// use last, and with them every lease of ours; else the leases alone: a token
// that was given to us stays. A token that is gone already is no error. It may
// be called more than once, and after a failed or absent login. It takes at most
// three seconds, even when ctx has ended already. Nothing should be read any
// more: what is read while Close runs may be left to its TTL.
func (c *Client) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	now, former, first := c.sweep(ctx)
	if !first {
		return nil
	}
	var ps plan.Problems
	ps.Add(c.revokeTokens(ctx))
	ps.Add(together(former, func(s *session) error { return c.end(ctx, s) }))
	ps.Add(c.revokeLeases(ctx, func(s *session) bool { return !s.owned }))
	if now.owned {
		ps.Add(c.end(ctx, now))
	}
	return ps.Err()
}

// Rest closes the connections that nothing is asked over, and so lets go of their
// buffers, which have what was asked and answered. It may be called at any time.
func (c *Client) Rest() {
	if t, ok := c.http.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// sweep takes what there is to revoke, once, after a login that is being
// repeated has come to its end. One that does not in time ends its own token.
func (c *Client) sweep(ctx context.Context) (now *session, former []*session, first bool) {
	c.mu.Lock()
	done, f := c.closed, c.repeated
	c.closed = true
	c.mu.Unlock()
	if done {
		return nil, nil, false
	}
	if f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.swept = true
	at := time.Now()
	c.book.forget(at)
	return c.session, alive(c.former, at), true
}

// end revokes the token of s; where that is denied, its leases.
func (c *Client) end(ctx context.Context, s *session) error {
	err := c.revokeToken(ctx, s)
	if err == nil || plan.CodeOf(err) != plan.CodeDenied {
		return err
	}
	return errors.Join(err, c.revokeLeases(ctx, func(under *session) bool { return under == s }))
}

// together does one thing for each of list at the same time, and gives what
// failed in the order of list.
func together[T any](list []T, do func(T) error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(list))
	for i, one := range list {
		wg.Go(func() { errs[i] = do(one) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// revokeTokens ends the tokens that we had made and that no other revocation
// ends, each by itself: that needs no policy of ours.
func (c *Client) revokeTokens(ctx context.Context) error {
	c.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(c.book.tokens), func(t token) bool { return !t.orphan && t.under.owned })
	c.mu.Unlock()
	var errs []error
	for _, t := range list {
		_, err := c.do(ctx, request{method: http.MethodPut, path: "auth/token/revoke-self", token: &t.value, once: true, mayBeEmpty: true})
		if err != nil && !tokenRefused(err) {
			errs = append(errs, &plan.Problem{
				Code: plan.CodeOf(err), What: "revoke a token that was made for a template", Why: whyOf(err), Err: err, Fix: "it ends by itself when its TTL is over",
			})
		}
	}
	return errors.Join(errs...)
}

// revokeToken ends the token of s, and with it all leases that hang on it.
func (c *Client) revokeToken(ctx context.Context, s *session) error {
	_, err := c.do(ctx, request{method: http.MethodPut, path: "auth/token/revoke-self", login: true, token: &s.token, once: true, mayBeEmpty: true})
	c.mu.Lock()
	defer c.mu.Unlock()
	inUse := s == c.session
	if err != nil {
		if inUse {
			c.book.login.NotRevoked = whyOf(err)
		}
		if tokenRefused(err) {
			s.lost = true
			c.log.Info("a token of ours was gone before it was revoked")
			return nil
		}
		return &plan.Problem{
			Code: plan.CodeOf(err), What: "revoke our token", Why: whyOf(err), Err: err,
			Fix: "it ends by itself when its TTL is over",
		}
	}
	if inUse {
		c.book.login.Revoked = true
	}
	for id, h := range c.book.leases {
		if h.under == s {
			c.book.revoked(id)
		}
	}
	c.log.Debug("token revoked", slog.Bool("in_use", inUse))
	return nil
}

// revoked takes a lease out of the book that ended by our own doing.
func (b *book) revoked(id string) {
	delete(b.leases, id)
	if e := b.line(id); e != nil {
		e.Revoked = true
	}
}

// revokeLeases ends each lease under the sessions that are meant by itself, all
// at the same time.
func (c *Client) revokeLeases(ctx context.Context, meant func(*session) bool) error {
	c.mu.Lock()
	var ids []string
	for id, h := range c.book.leases {
		if meant(h.under) {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	slices.Sort(ids)
	return together(ids, func(id string) error { return c.revokeLease(ctx, id) })
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
	c.book.revoked(id)
	return nil
}
