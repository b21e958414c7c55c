package vault

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// What has ended before its time, see package secret. The errors of a Client are
// these, where it is so, beside what they are otherwise (errors.Is).
var (
	ErrTokenLost = secret.ErrTokenLost
	ErrLeaseLost = secret.ErrLeaseLost
	ErrNoRelogin = secret.ErrNoRelogin
)

// RetryAfter is the function, for those who have the client alone; 0 when the
// server did not say.
func (c *Client) RetryAfter(err error) time.Duration {
	wait, _ := RetryAfter(err)
	return wait
}

// RetryAfter gives how long the server wants us to wait, as far as it said so
// with an answer that may be better later, such as 429 and 503 (RFC 9110, section
// 10.2.3): at most an hour.
func RetryAfter(err error) (time.Duration, bool) {
	var f *fault
	if !errors.As(err, &f) || f.retryAfter <= 0 {
		return 0, false
	}
	return f.retryAfter, true
}

// oneTryKey is the key of the wish to try once. How long to keep trying belongs
// to the caller, as the deadline does, so it goes the same way.
type oneTryKey struct{}

// oneTry gives a context in which no request is repeated because it may
// succeed later.
func oneTry(ctx context.Context) context.Context {
	return context.WithValue(ctx, oneTryKey{}, true)
}

func triesOnce(ctx context.Context) bool { return ctx.Value(oneTryKey{}) != nil }

// blameToken makes the fault one of the token, whatever was asked.
func (f *fault) blameToken() {
	f.token, f.why, f.fix = true, "the token is not valid, or has expired or been revoked", "get a new token"
}

// judge decides, for a request in a session of ours that was denied, whether
// the token is to blame. Newer servers say so by themselves; of an older one it is
// asked, but only by those who can log in again, which is who tries once.
func (c *Client) judge(ctx context.Context, f *fault, s *session) {
	if f.code != plan.CodeDenied || s == nil || s.token.Len() == 0 {
		return
	}
	if !f.token && triesOnce(ctx) && c.isGone(ctx, s) {
		f.blameToken()
	}
	if f.token {
		c.doubts.outspoken.Store(c.doubts.outspoken.Load() || f.says("invalid token"))
		f.kind = ErrTokenLost
		c.lose(s)
	}
}

// credit notes whose request was answered, and what that shows: the token is
// good, whatever a node that did not know it yet has said.
func (c *Client) credit(ans *answer, s *session) {
	if ans.MountType != "" {
		c.doubts.outspoken.Store(true)
	}
	if s == nil {
		return
	}
	ans.by = s
	c.mu.Lock()
	defer c.mu.Unlock()
	s.lost = false
}

// doubts is what lookup-self told last.
type doubts struct {
	// outspoken: the server is one of those that say which it is that they refuse:
	// it has done so, or names mount types, which it learned later.
	outspoken atomic.Bool

	mu     sync.Mutex // one question at a time
	about  *session   // which was good
	at     time.Time  // at this time
	able   bool       // it has answered once: the policy allows it
	blamed bool       // its refusal was taken for a lost token once
}

// trusted is how long a token that was good is not asked about again: many
// reads may be refused at once.
const trusted = 10 * time.Second

// isGone asks whether the token of s is still good. A bare refusal of that
// question means that it is not, unless nothing shows that the policy allows
// to ask: then it is believed once, because a login is cheap, and not again. A
// token that is good for so many requests only is not spent on it.
func (c *Client) isGone(ctx context.Context, s *session) bool {
	d := &c.doubts
	d.mu.Lock()
	defer d.mu.Unlock()
	c.mu.Lock()
	lost, limited := s.lost, s.limited
	c.mu.Unlock()
	switch {
	case lost:
		return true
	case limited || d.outspoken.Load() || d.about == s && time.Since(d.at) < trusted:
		return false
	}
	_, f := c.try(ctx, request{method: http.MethodGet, path: "auth/token/lookup-self", login: true, as: s})
	switch {
	case f == nil:
		d.able = true
	case f.code != plan.CodeDenied:
		return false // nothing is known
	case f.token || d.able || !d.blamed:
		d.blamed = d.blamed || !f.token && !d.able
		return true
	}
	d.about, d.at = s, time.Now()
	return false
}
