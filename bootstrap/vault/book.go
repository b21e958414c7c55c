package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// book is what we own and did, for the revocation and for the receipt. It stays
// as small as what is delivered, however often that is refreshed.
type book struct {
	login  receipt.Login
	reads  map[string]*entry // by what was asked, and where: the last answer, and the last failure
	count  uint64            // of entries that were ever made
	leases map[string]*held  // by id: those that are neither over, nor revoked, nor forgotten
	tokens []token           // that we had made for those who asked
}

func newBook() book { return book{reads: map[string]*entry{}, leases: map[string]*held{}} }

// entry is a line of the receipt.
type entry struct {
	receipt.Read
	nr uint64 // the oldest has the lowest
}

// held is a lease of ours.
type held struct {
	under *session
	ends  time.Time // zero: it has no end
}

// token is one that a read made. One that is no orphan ends with ours.
type token struct {
	value  secret.Value
	orphan bool
	under  *session
	ends   time.Time // zero: it has no end
}

// maxReads bounds the lines of the receipt: a template may compute another path
// at each refresh. The oldest go.
const maxReads = 10_000

// Record says who we are to the server and what was read, sorted by path. A
// read that was refreshed is there once, as it was last. It holds no value.
func (c *Client) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	c.mu.Lock()
	defer c.mu.Unlock()
	reads := make([]receipt.Read, 0, len(c.book.reads))
	for _, e := range c.book.reads {
		reads = append(reads, e.Read)
	}
	slices.SortFunc(reads, func(a, b receipt.Read) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.RequestID, b.RequestID), cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Code, b.Code))
	})
	return receipt.Server{Address: c.name, Namespace: c.namespace, Correlation: c.correlation}, c.book.login, reads
}

// note enters one answer to a read.
func (c *Client) note(r plan.Read, path string, ans *answer, s secret.Secret) {
	now := time.Now()
	line := receipt.Read{
		Path: path, Operation: r.Op.String(), RequestID: ans.RequestID, Version: s.Version,
		LeaseID: s.LeaseID, Renewable: s.Renewable, Expires: receipt.After(now, ans.lease()),
	}
	if s.LeaseID == "" { // KV version 1 has a duration that means nothing
		line.Expires = receipt.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := asked(r, path)
	c.book.enter(key, line)
	delete(c.book.reads, key+failed)
	c.book.forget(now)
	if s.LeaseID != "" {
		c.book.leases[s.LeaseID] = &held{under: ans.by, ends: after(now, s.Lease)}
	}
	if s.Auth != nil && s.Auth.ClientToken.Len() > 0 {
		c.book.tokens = append(c.book.tokens, token{s.Auth.ClientToken, ans.Auth.Orphan, ans.by, after(now, s.Auth.Lease)})
	}
}

// noteFailure enters a read that gave nothing, beside what it gave before.
func (c *Client) noteFailure(r plan.Read, path string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.enter(asked(r, path)+failed, receipt.Read{Path: path, Operation: r.Op.String(), Code: int(plan.CodeOf(err))})
}

// failed is what the key of a failure ends in.
const failed = "\x00failed"

// asked is the key of a read at the path that was really asked for.
func asked(r plan.Read, path string) string { return path + "\x00" + r.Key() }

// enter keeps a line in the place of the one that has its key.
func (b *book) enter(key string, line receipt.Read) {
	b.count++
	b.reads[key] = &entry{line, b.count}
	if len(b.reads) <= maxReads {
		return
	}
	oldest := key
	for k, e := range b.reads {
		if e.nr < b.reads[oldest].nr {
			oldest = k
		}
	}
	delete(b.reads, oldest)
}

// forget drops the leases and tokens that are over by now.
func (b *book) forget(now time.Time) {
	maps.DeleteFunc(b.leases, func(_ string, h *held) bool { return h.over(now) })
	b.tokens = slices.DeleteFunc(b.tokens, func(t token) bool { return t.over(now) })
}

func (h *held) over(now time.Time) bool { return passed(h.ends, now) || h.under.over(now) }

func (t token) over(now time.Time) bool {
	return passed(t.ends, now) || !t.orphan && t.under.over(now)
}

// after gives the end of what lives for d from now on; zero when it has none.
func after(now time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return now.Add(d)
}

func passed(end, now time.Time) bool { return !end.IsZero() && !now.Before(end) }

// line gives the receipt's line of a lease; nil when it is not there.
func (b *book) line(lease string) *entry {
	for _, e := range b.reads {
		if e.LeaseID == lease {
			return e
		}
	}
	return nil
}

// Drop forgets leases that have ended, or that were superseded and end by
// themselves: Close does not revoke them by name. One that hangs on a token that
// Close revokes ends with it all the same.
func (c *Client) Drop(leaseIDs ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range leaseIDs {
		delete(c.book.leases, id)
	}
}

// HasLeases reports whether a lease, or a token that we had made, is ours and
// not over: to revoke it, or the token that it hangs on, would take away what
// was delivered.
func (c *Client) HasLeases() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.book.forget(time.Now())
	return len(c.book.leases) > 0 || len(c.book.tokens) > 0
}

// own gives our token for a request that is made where the login was.
func (c *Client) own() *secret.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	token := c.session.token
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
		l.Expires = receipt.After(time.Now(), seconds(ttl))
	}
}
