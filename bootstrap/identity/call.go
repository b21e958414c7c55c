package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// How long one try may take. A metadata service is one hop away; where there is
// none, its address swallows what is sent to it.
const (
	tryTimeout      = 5 * time.Second
	metadataTimeout = 2 * time.Second
)

// maxTries bounds the tries of one call: a platform that is down for longer is
// no matter of a socket that failed once.
const maxTries = 5

// Waits between tries grow from firstWait to maxWait, each taken at random from
// the upper half, so that the jobs of a matrix do not come back together. What
// the server asks for with Retry-After is honoured up to maxRetryAfter.
const (
	firstWait     = 500 * time.Millisecond
	maxWait       = 4 * time.Second
	maxRetryAfter = 30 * time.Second
)

// Bounds of an answer, in bytes.
const (
	maxBody   = 1 << 20
	maxHeader = 64 << 10
)

// call is one thing to ask of a platform.
type call struct {
	what string // what is asked for, for messages
	who  string // who is asked, for messages

	method  string
	url     string // may hold what nobody must see: never in a message
	header  map[string]string
	body    []byte
	timeout time.Duration     // of one try
	via     http.RoundTripper // nil: direct, without a proxy

	passes  []int                  // statuses that can pass for this platform, besides the usual
	genuine func(http.Header) bool // whether the platform itself answered; nil: cannot be told
	fixes   map[int]string         // what to do about a status; 0: about no connection
}

// do calls until there is an answer, a failure for good, or no try or time
// left. The caller wipes the answer. The error is a *plan.Problem, or the cause
// of ctx.
func (c call) do(ctx context.Context) ([]byte, error) {
	via := c.via
	if via == nil {
		via = direct()
	}
	var last *fault
	for try, wait := 1, firstWait; ; try, wait = try+1, min(2*wait, maxWait) {
		body, f := c.try(ctx, via)
		if f == nil {
			return body, nil
		}
		if ctx.Err() != nil {
			return nil, c.ended(ctx, f, last, try)
		}
		last = f
		if !f.passing {
			return nil, f.problem(c, "")
		}
		if try == maxTries {
			return nil, f.problem(c, tries(try))
		}
		pause := f.retryAfter + wait/2 + rand.N(wait/2) // those who were told the same second do not come back in one moment
		if err := sleep(ctx, pause); err != nil {
			return nil, c.ended(ctx, f, last, try)
		}
	}
}

// try calls once. It uses the transport itself: a client's part would be
// redirects and cookies, and we want neither.
func (c call) try(ctx context.Context, via http.RoundTripper) ([]byte, *fault) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, bytes.NewReader(c.body))
	if err != nil { // the caller has checked what it is made of
		return nil, &fault{code: plan.CodeBug, why: "the request cannot be made"}
	}
	req.Close = true // one question, one connection: nothing stays open behind our back
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		return nil, c.noAnswer(err)
	}
	defer resp.Body.Close()
	if f := c.refused(resp); f != nil {
		return nil, f
	}
	return c.read(resp)
}

// read gives the body of a good answer.
func (c call) read(resp *http.Response) ([]byte, *fault) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		clear(body)
		return nil, c.brokeOff(err)
	case len(body) > maxBody:
		clear(body)
		return nil, c.foreign("is larger than " + strconv.Itoa(maxBody>>20) + " MiB")
	case len(bytes.TrimSpace(body)) == 0:
		return nil, c.foreign("is empty")
	}
	return body, nil
}

// ended tells that time is up, with the last real cause: a try that the
// deadline cut off says nothing of its own.
func (c call) ended(ctx context.Context, f, last *fault, n int) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	if last != nil {
		f = last
	}
	f.err = context.DeadlineExceeded
	return f.problem(c, " until the deadline"+tries(n))
}

// over tells that ctx has ended while nothing was under way; nil: it has not.
func over(ctx context.Context, what string) error {
	cause := context.Cause(ctx)
	if cause == nil || !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return &plan.Problem{
		Code: plan.CodeUnavailable, What: what, Why: "there was no answer before the deadline", Err: context.DeadlineExceeded,
		Fix: "raise --timeout",
	}
}

func tries(n int) string {
	if n == 1 {
		return " (1 try)"
	}
	return " (" + strconv.Itoa(n) + " tries)"
}

// sleep waits for d; it fails with the cause of ctx when that ends, or at once
// when it would end before d is over.
func sleep(ctx context.Context, d time.Duration) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// direct is a way without a proxy and without connections that are kept. There
// is no proxy to a metadata service: its answer is meant for this machine only.
func direct() *http.Transport {
	return &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// base checks the address of a service and gives it without a slash at its
// end; an empty one is the fallback. A guarded address is one that a credential
// is sent to.
func base(what, given, fallback string, guarded bool) (string, error) {
	if given == "" {
		given = fallback
	}
	u, err := url.Parse(given)
	bad := ""
	switch {
	case err != nil:
		bad = "is not a URL"
	case u.RawQuery != "" || u.ForceQuery:
		bad = "must not have a query"
	default:
		bad = unfit(u, guarded)
	}
	if bad != "" {
		return "", &plan.Problem{Code: plan.CodeConfig, What: what, Why: bad, Fix: "give it as in " + fallback}
	}
	for u.Path != "" && u.Path[len(u.Path)-1] == '/' {
		u.Path, u.RawPath = u.Path[:len(u.Path)-1], ""
	}
	return u.String(), nil
}
