package vault

import (
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// session is one token that we read with. What is read with it hangs on it:
// its leases end when it does. All but the token is guarded by Client.mu.
type session struct {
	token   secret.Value // empty: none is sent
	owned   bool         // our own login made it, and it can be revoked
	limited bool         // it is good for so many requests only

	told  bool         // the login said how long it lives
	lease secret.Lease // as it was at since
	since time.Time

	lost   bool // the server does not know it any more
	renews bool // it has renewed a lease: the policy allows that
}

// left gives what is left of the lease; ok is false when it is over.
func (s *session) left(now time.Time) (l secret.Lease, ok bool) {
	l = s.lease
	if l.TTL == 0 {
		return secret.Lease{}, true
	}
	l.TTL -= now.Sub(s.since)
	return l, l.TTL > 0
}

// over reports whether the token has ended, and with it what hangs on it.
func (s *session) over(now time.Time) bool {
	_, alive := s.left(now)
	return s.lost || s.told && !alive
}

// using gives the session that the next request is made in.
func (c *Client) using() *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// adopt makes s the session that we read in. The one before it stays in use when
// its token cannot be sent, and else is kept for Close while it lives.
func (c *Client) adopt(s *session, as receipt.Login) error {
	if !sendable(s.token.Reveal()) {
		return &plan.Problem{
			Code: plan.CodeConfig, What: "the Vault token", Why: "has a space, a line break or another unprintable character in it",
			Fix: "give the token alone",
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replace(s)
	c.book.login = as
	return nil
}

// replace is the part of adopt that is done under the lock. A token that was
// given to us is not ours to revoke, so it need not be kept. What the policy
// forbade the old token may be allowed to the new one.
func (c *Client) replace(s *session) {
	c.former, c.session = alive(append(c.former, c.session), time.Now()), s
	clear(c.blind)
}

// alive gives those of list that have to be revoked.
func alive(list []*session, now time.Time) (live []*session) {
	for _, s := range list {
		if s.owned && !s.over(now) {
			live = append(live, s)
		}
	}
	return live
}

// begin enters the first login into the record, so that it names one that
// fails. A later one that fails leaves it as it is: its token stays in use.
func (c *Client) begin(l receipt.Login) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session.token.Len() == 0 {
		c.book.login = l
	}
}

// lose notes that the server does not know the token any more: its leases have
// ended with it.
func (c *Client) lose(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.lost = true
}
