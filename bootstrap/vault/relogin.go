package vault

import (
	"context"
	"errors"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// flight is a login that is being repeated, for all who want it.
type flight struct {
	done chan struct{} // closed when it has ended
	err  error         // read after that
}

// Relogin logs in again, with one try, and reads the inputs again that are in
// files. The token so far keeps its leases and is revoked by Close, if we own it.
// After an error it stays in use. Several at the same time are one, and share its
// outcome.
//
// The error is a *plan.Problem. It is ErrNoRelogin where the login cannot be
// repeated: its input is used up, or a token that does not change. After Close
// has begun there is no other login: CodeUnavailable.
func (c *Client) Relogin(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.closing()
	}
	f, mine := c.repeated, false
	if f == nil {
		f, mine = &flight{done: make(chan struct{})}, true
		c.repeated = f
	}
	c.mu.Unlock()
	if mine {
		c.repeat(ctx, f)
		return f.err
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// repeat carries f out. A token that came too late for Close is revoked here.
func (c *Client) repeat(ctx context.Context, f *flight) {
	before := c.using()
	f.err = c.login.again(c)
	if f.err == nil {
		f.err = c.login.run(oneTry(ctx), c)
	}
	c.mu.Lock()
	s, late := c.session, c.swept
	c.repeated = nil
	c.mu.Unlock()
	if late && s != before && s.owned {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		f.err = errors.Join(c.closing(), c.revokeToken(ctx, s))
	}
	close(f.done)
}

func (c *Client) closing() error {
	return &plan.Problem{Code: plan.CodeUnavailable, What: "login", Why: "what we own is being revoked, so there is no other login"}
}

// noRelogin says why a login cannot be repeated.
func noRelogin(from, why, fix string) error {
	return &plan.Problem{
		Code: plan.CodeDenied, Origin: plan.Origin{Front: "login", At: from}, What: "another login", Why: why, Fix: fix, Err: ErrNoRelogin,
	}
}

// again reports nothing: a login by request can be made again, unless run finds
// its secret id used up.
func (*postLogin) again(*Client) error { return nil }

func (noLogin) again(*Client) error {
	return noRelogin("", "we send no token: who is at the address logs in by itself", "see to that agent or proxy")
}

// again looks whether the file of the token holds another one by now.
func (t *tokenLogin) again(c *Client) error {
	if t.wrapped != nil {
		return noRelogin(t.from, "the token came in a wrapped answer, which can be unwrapped once", "start again with a new one, or let us log in by ourselves")
	}
	if t.token.handle.Kind != plan.HandleFile {
		return noRelogin(t.from, "the token was given by what does not change while we run", "give it in a file that is kept fresh, or let us log in by ourselves")
	}
	given, err := t.token.resolve(t.token.handle)
	if err != nil {
		return err
	}
	defer clear(given)
	if string(given) == string(c.using().token.Reveal()) {
		return &plan.Problem{
			Code: plan.CodeDenied, Origin: plan.Origin{Front: "login", At: t.from}, What: "another login", Why: "the file still holds the token that we have",
			Fix: "see that whoever keeps it fresh still does",
		}
	}
	return nil
}
