package vault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// request is one thing to ask of the server.
type request struct {
	method string
	path   string // below /v1/
	params url.Values

	// body makes the JSON body, anew for each try; it is wiped afterwards. Its
	// error ends the request and is given back as it is: it is a problem, or the
	// cause of the context.
	body func(context.Context) ([]byte, error)

	token *secret.Value // whose request it is; nil: the client's own; empty: nobody's
	as    *session      // whose it is when there is no token above; nil: the current one's, which do fills in
	login bool          // it is made where the login is, which may be another namespace

	rootNamespace bool // it is made in the root namespace, whatever the plan's is

	limit int64 // of the answer, in bytes; 0: the client's own

	// once: it must not be repeated after the server may have seen it.
	once bool
	// gateway: a 502 does not count as seen, whatever once says.
	gateway bool
	// linger: when we are told to end, an answer under way is waited for a little.
	linger bool
	// mayBeEmpty: an answer without a body is fine (a revocation, a write).
	mayBeEmpty bool
}

// nobody is the token of a request that needs none.
func nobody() *secret.Value { return &secret.Value{} }

// texts makes a body of strings.
func texts(members map[string]secret.Value) func(context.Context) ([]byte, error) {
	return bodyOf(members, nil)
}

// bodyOf makes a body of strings, and of JSON where the place that a member comes
// from says so.
func bodyOf(members map[string]secret.Value, places map[string]plan.Handle) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return encode(members, places) }
}

// encode writes the members as one JSON object. Text that is no UTF-8 would be
// changed on the way, so it is refused.
func encode(members map[string]secret.Value, places map[string]plan.Handle) ([]byte, error) {
	plain := make(map[string]any, len(members))
	for name, v := range members {
		bad := &plan.Problem{Code: plan.CodeConfig, What: name}
		switch text := v.Reveal(); {
		case !utf8.Valid(text):
			bad.Why, bad.Fix = "is not valid UTF-8, so JSON cannot carry it", "encode it, for example as base64"
			return nil, bad
		case !places[name].JSON:
			plain[name] = string(text)
		case !json.Valid(text):
			bad.Why = "is not JSON"
			return nil, bad
		default:
			plain[name] = json.RawMessage(text)
		}
	}
	body, err := json.Marshal(plain)
	if err != nil {
		return nil, &plan.Problem{Code: plan.CodeBug, What: "request", Why: "its body cannot be encoded"}
	}
	return body, nil
}

// loginLinger is how long a login that is under way may take after we were
// told to end: a second after that we must be gone.
const loginLinger = 700 * time.Millisecond

// Waits between tries grow from firstWait to maxWait, each taken at random from
// the upper half so that many clients do not come back together. What the server
// wishes for comes before: Vault's rate limit tells all whom it turned away the same
// second (sys/quotas/rate-limit), in which most would be turned away again.
const (
	firstWait = 100 * time.Millisecond
	maxWait   = 5 * time.Second
)

// do sends r until it is answered, fails for good, or ctx ends; once where ctx is
// one of oneTry. Its error is a *plan.Problem, or the cause of ctx.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	var last *fault
	wait, renewed := firstWait, false
	for try := 1; ; try++ {
		if r.token == nil {
			r.as = c.using()
		}
		ans, f := c.try(ctx, r)
		if f == nil {
			c.credit(ans, r.as)
			return ans, nil
		}
		if ctx.Err() != nil {
			return nil, c.ended(ctx, f, last, try)
		}
		if f.whole != nil {
			return nil, f.whole
		}
		if f.late {
			return nil, c.ended(ctx, f, last, try)
		}
		if f.code == plan.CodeDenied && r.token == nil && !renewed && c.login.renew(c, r.as) {
			renewed = true
			continue
		}
		if last = f; !f.passing || (r.once && f.ambiguous) || triesOnce(ctx) {
			c.judge(ctx, f, r.as)
			return nil, f.problem(r)
		}
		pause := f.retryAfter + wait/2 + rand.N(wait/2)
		if !fits(ctx, pause) {
			return nil, c.ended(ctx, f, last, try)
		}
		c.log.Warn("vault does not answer yet; trying again", slog.String("why", f.why),
			slog.Int("try", try), slog.String("wait", pause.Round(time.Millisecond).String()))
		if err := sleep(ctx, pause); err != nil {
			return nil, c.ended(ctx, f, last, try)
		}
		wait = min(2*wait, maxWait)
	}
}

// fits reports whether a pause ends before the deadline of ctx does.
func fits(ctx context.Context, pause time.Duration) bool {
	end, ok := ctx.Deadline()
	return !ok || time.Until(end) > pause
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ended tells that time is up, with the last real cause: a try that was cut
// off by the deadline says nothing of its own.
func (c *Client) ended(ctx context.Context, f, last *fault, tries int) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	if f.whole != nil {
		return f.whole
	}
	err := f.err
	if last != nil && f.cut {
		f = last
	}
	return &plan.Problem{
		Code: plan.CodeUnavailable, Origin: c.address, What: "vault " + c.name,
		Why: f.why + " until the deadline (" + strconv.Itoa(tries) + plural(tries, " try)", " tries)"),
		Fix: cmp.Or(f.fix, "see that Vault is up, unsealed and reachable from here, or raise --timeout"), Err: err,
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// try sends r once, as soon as it is its turn.
func (c *Client) try(ctx context.Context, r request) (*answer, *fault) {
	leave, f := c.enter(ctx)
	if f != nil {
		return nil, f
	}
	defer leave()
	var body []byte
	if r.body != nil {
		var err error
		if body, err = r.body(ctx); err != nil {
			return nil, bodyless(err)
		}
		defer clear(body)
	}
	if r.linger {
		var stop context.CancelFunc
		ctx, stop = lingering(ctx)
		defer stop()
	}
	return c.exchange(ctx, r, body)
}

// enter waits until a request may be under way; leave ends its turn.
func (c *Client) enter(ctx context.Context) (leave func(), f *fault) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, &fault{code: plan.CodeUnavailable, why: "no answer", passing: true, cut: true, err: ctx.Err()}
	}
	leave = func() { <-c.slots }
	if c.rate == nil {
		return leave, nil
	}
	if err := c.rate.Wait(ctx); err != nil { // it would not pass before the deadline
		leave()
		return nil, &fault{
			code: plan.CodeUnavailable, why: "the rate limit of our own (vault.rate_limit, VAULT_RATE_LIMIT) left no time for a request", late: true, cut: true, err: err,
			fix: "raise it, or --timeout",
		}
	}
	return leave, nil
}

// freeSpare lets as many requests be under way as one connection may have.
func (c *Client) freeSpare() {
	for range c.spare {
		<-c.slots
	}
}

// exchange sends r and reads its answer.
func (c *Client) exchange(ctx context.Context, r request, body []byte) (*answer, *fault) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	opened, err := c.door(ctx)
	if err != nil {
		return nil, &fault{code: plan.CodeUnavailable, why: "no answer", passing: true, cut: true, err: err}
	}
	defer opened()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { sent.Store(false) }, // each hop begins anew
		GotConn:      func(httptrace.GotConnInfo) { opened() },
		WroteHeaders: func() { sent.Store(true) },
	})
	resp, err := c.send(ctx, r, body)
	if err != nil {
		return nil, transportFault(err, sent.Load())
	}
	defer resp.Body.Close()
	if resp.ProtoMajor == 2 {
		c.widen.Do(c.freeSpare)
	}
	limit := min(cmp.Or(r.limit, c.limit), c.limit)
	text, err := readBody(resp, limit)
	defer clear(text)
	if err != nil {
		return nil, bodyFault(err, limit)
	}
	c.keepIndex(resp.Header.Get(headerIndex), r)
	if !r.login { // the path of a login may end in a user's name
		c.log.Debug("answered", slog.String("asked", describe(r)), slog.Int("status", resp.StatusCode))
	}
	return interpret(resp, text, r)
}

// bodyless is for a body that could not be made: a problem that is complete, or
// the end of the context.
func bodyless(err error) *fault {
	var one *plan.Problem
	var many plan.Problems
	if !errors.As(err, &one) && !errors.As(err, &many) {
		return &fault{code: plan.CodeUnavailable, why: "no proof of who we are", passing: true, cut: true, err: err}
	}
	return &fault{whole: err, err: err}
}

// door lets one request through until there is a connection, and then all: over
// TLS that connection may serve them all (HTTP/2), and those who came together
// would each have opened one. The caller calls opened, which may be called
// again, when there is one or its request has ended.
func (c *Client) door(ctx context.Context) (opened func(), err error) {
	if c.base.Scheme != "https" {
		return func() {}, nil
	}
	if c.opening.CompareAndSwap(false, true) {
		return sync.OnceFunc(func() { close(c.open) }), nil
	}
	select {
	case <-c.open:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keepIndex remembers what the server must have seen before it can serve us:
// that of the login, or a standby behind the same address may not know the
// token yet.
func (c *Client) keepIndex(index string, r request) {
	if index == "" || !r.login {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index = index
}

// lingering gives a context that ends loginLinger after ctx does: a login that
// the server has seen must come back, or nobody could revoke its token.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(loginLinger, cancel)
		context.AfterFunc(longer, func() { t.Stop() })
	})
	return longer, func() { stop(); cancel() }
}
