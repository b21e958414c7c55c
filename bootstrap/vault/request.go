package vault

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// request is one thing to ask of the server.
type request struct {
	method string
	path   string // below /v1/
	params url.Values
	body   []byte // JSON; wiped when the request is done

	// once: it must not be repeated after the server may have seen it.
	once bool
	// gateway: a 502 does not count as seen, whatever once says.
	gateway bool
	// mayBeEmpty: an answer without a body is fine (a revocation).
	mayBeEmpty bool
}

// loginLinger is how long a login that is under way may take after we were
// told to end.
const loginLinger = 2 * time.Second

// Waits between tries grow from firstWait to maxWait, each taken at random from
// the upper half so that many clients do not come back together.
const (
	firstWait = 100 * time.Millisecond
	maxWait   = 5 * time.Second
)

// do sends r until it is answered, fails for good, or ctx ends. Its error is a
// *plan.Problem.
func (c *Client) do(ctx context.Context, r request) (*answer, error) {
	defer clear(r.body)
	var last *fault
	wait := firstWait
	for try := 1; ; try++ {
		ans, f := c.try(ctx, r)
		if f == nil {
			return ans, nil
		}
		if ctx.Err() != nil {
			return nil, c.ended(ctx, f, last, try)
		}
		if last = f; !f.passing || (r.once && f.ambiguous) {
			return nil, f.problem(r)
		}
		pause := max(f.retryAfter, wait/2+rand.N(wait/2))
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
	why := f.why
	if last != nil && f.cut {
		why = last.why
	}
	return &plan.Problem{
		Code: plan.CodeUnavailable, What: "vault " + c.name,
		Why: why + " until the deadline (" + strconv.Itoa(tries) + plural(tries, " try)", " tries)"),
		Fix: "see that Vault is up, unsealed and reachable from here, or raise --timeout", Err: f.err,
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// try sends r once.
func (c *Client) try(ctx context.Context, r request) (*answer, *fault) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, &fault{why: "no answer", passing: true, cut: true, err: ctx.Err()}
	}
	if r.gateway {
		var stop context.CancelFunc
		ctx, stop = lingering(ctx)
		defer stop()
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	ctx = context.WithValue(ctx, onceKey{}, r.once)
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})
	resp, err := c.send(ctx, r)
	if resp == nil {
		return nil, transportFault(err, sent.Load())
	}
	defer resp.Body.Close()
	body, readErr := io.ReadAll(resp.Body)
	defer clear(body)
	if readErr != nil {
		return nil, bodyFault(readErr)
	}
	return interpret(resp, body, r)
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

// send hands r to the API module. An error status comes back as a response and
// an error; only the response is of use here.
func (c *Client) send(ctx context.Context, r request) (*api.Response, error) {
	if r.method == http.MethodPut {
		// The module keeps and may re-send the slice, so it gets its own.
		body := append([]byte(nil), r.body...)
		defer clear(body)
		return c.api.Logical().WriteRawWithContext(ctx, r.path, body)
	}
	params := r.params
	if r.method == "LIST" {
		params = url.Values{"list": {"true"}}
	}
	return c.api.Logical().ReadRawWithDataWithContext(ctx, r.path, params)
}
