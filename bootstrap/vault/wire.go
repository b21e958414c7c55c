package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Headers of Vault's own. X-Vault-Request tells an agent in between that no
// browser was tricked into the request; the index and what to do when a node
// lacks it are for clusters with performance standbys
// (https://developer.hashicorp.com/vault/docs/enterprise/consistency).
const (
	headerToken        = "X-Vault-Token"
	headerNamespace    = "X-Vault-Namespace"
	headerRequest      = "X-Vault-Request"
	headerIndex        = "X-Vault-Index"
	headerInconsistent = "X-Vault-Inconsistent"

	// Vault's audit log has it as it is
	// (https://developer.hashicorp.com/vault/api-docs/system/config-auditing).
	headerCorrelation = "X-Correlation-Id"
)

// setHeaders fetches the headers that the plan wants with every request.
func (c *Client) setHeaders(v plan.Vault, resolve func(plan.Handle) ([]byte, error)) error {
	var ps plan.Problems
	c.headers = http.Header{}
	set := func(name string, value []byte, from plan.Origin) {
		if !printable(value) {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: from, What: "header " + name, Why: "has a line break or another unprintable character in it",
				Fix: "give the value alone",
			})
			return
		}
		c.headers.Set(name, string(value))
	}
	for _, name := range slices.Sorted(maps.Keys(v.Headers)) {
		h := v.Headers[name]
		value, err := resolve(h)
		if ps.Add(err); err == nil {
			set(name, value, h.Origin)
		}
	}
	if h := v.HeaderSet; h.Kind != plan.HandleNone { // a variable wins over the file
		names, err := headerSet(h, resolve)
		ps.Add(err)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			set(name, []byte(names[name]), h.Origin)
		}
	}
	return ps.Err()
}

// headerSet reads a JSON object of headers, which is what VAULT_HEADERS holds.
func headerSet(h plan.Handle, resolve func(plan.Handle) ([]byte, error)) (map[string]string, error) {
	text, err := resolve(h)
	if err != nil {
		return nil, err
	}
	var set map[string]string
	bad := &plan.Problem{Code: plan.CodeConfig, Origin: h.Origin, What: "headers", Fix: `write {"NAME": "VALUE"}`}
	if json.Unmarshal(text, &set) != nil {
		bad.Why = "not a JSON object of texts"
		return nil, bad
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if err := plan.CheckHeader(name); err != nil {
			bad.What, bad.Why, bad.Fix = "header "+strconv.Quote(name), err.Error(), "leave it out; the token and the namespace have settings of their own"
			return nil, bad
		}
	}
	return set, nil
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

// send sends r once, and once more to each place that it is rightly redirected
// to. A response has a body that the caller closes.
func (c *Client) send(ctx context.Context, r request, body []byte) (*http.Response, error) {
	at := c.urlOf(r)
	for hop := 0; ; hop++ {
		resp, err := c.http.RoundTrip(c.httpRequest(ctx, r, at, body))
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			// Its body is the connection itself, which no context ends.
			return nil, errors.Join(errSwitched, resp.Body.Close())
		}
		next, follow := c.redirect(at, resp)
		if !follow || hop == maxRedirects {
			return resp, nil
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		c.log.Debug("redirected", slog.String("host", next.Host))
		at = next
	}
}

// errSwitched is an answer that leaves HTTP, which Vault never gives.
var errSwitched = errors.New("vault: the server switched protocols")

func (c *Client) urlOf(r request) *url.URL {
	u := c.base
	u.Path += "/v1/" + r.path
	u.RawQuery = r.params.Encode()
	if r.method == "LIST" {
		u.RawQuery = "list=true"
	}
	return &u
}

func (c *Client) httpRequest(ctx context.Context, r request, at *url.URL, body []byte) *http.Request {
	method := r.method
	if method == "LIST" { // a proxy may not know the verb
		method = http.MethodGet
	}
	req := (&http.Request{
		Method: method, URL: at, Host: at.Host, Header: c.headers.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	req.Header.Set(headerRequest, "true")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "secretboot")
	}
	if c.correlation != "" {
		req.Header.Set(headerCorrelation, c.correlation)
	}
	c.identify(req.Header, r)
	if body == nil {
		if r.once {
			// net/http sends a GET, or what has an idempotency key, again by itself
			// when a kept-alive connection breaks before the answer. It does not when
			// there is a body that it cannot get a second time; an empty one changes
			// nothing on the wire.
			req.Body = io.NopCloser(strings.NewReader(""))
		}
		return req
	}
	req.Header.Set("Content-Type", "application/json")
	req.Body, req.ContentLength = wiping(bytes.Clone(body)), int64(len(body))
	return req
}

// identify says who asks, and where.
func (c *Client) identify(h http.Header, r request) {
	namespace := c.namespace
	c.mu.Lock()
	token, index := c.session.token, c.index
	c.mu.Unlock()
	if r.as != nil {
		token = r.as.token
	}
	if r.login {
		namespace = c.loginAs
	}
	if namespace != "" && !r.rootNamespace {
		h.Set(headerNamespace, namespace)
	}
	if r.token != nil {
		token = *r.token
	}
	if token.Len() > 0 {
		h.Set(headerToken, string(token.Reveal()))
	}
	if index != "" {
		h.Set(headerIndex, index)
		h.Set(headerInconsistent, "forward-active-node")
	}
}

// wiping gives a body that is overwritten when the transport closes it, which
// it does on every path, at times after the answer has come.
func wiping(b []byte) io.ReadCloser { return &wipingBody{bytes: b, reader: bytes.NewReader(b)} }

type wipingBody struct {
	mu     sync.Mutex
	bytes  []byte
	reader *bytes.Reader
}

func (w *wipingBody) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes == nil {
		return 0, io.ErrClosedPipe
	}
	return w.reader.Read(p)
}

func (w *wipingBody) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.bytes)
	w.bytes = nil
	return nil
}

// errTooLarge is what reading an answer beyond the limit gives.
var errTooLarge = errors.New("vault: the answer is too large")

// readBody reads at most limit bytes. The buffer has its size from the start
// where the server tells it; where it does not, it grows, never beyond the limit,
// and what it was is overwritten.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, errTooLarge
	}
	size := resp.ContentLength
	if size < 0 {
		size = min(firstBody, limit)
	}
	buf := make([]byte, 0, size+1) // one more, to see the end
	for {
		n, err := resp.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return buf, errTooLarge
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return buf, err
		case len(buf) == cap(buf):
			bigger := make([]byte, len(buf), min(2*int64(cap(buf)), limit+1))
			copy(bigger, buf)
			clear(buf)
			buf = bigger
		}
	}
}

// firstBody is the size to begin with, in bytes, when the server tells none.
const firstBody = 16 << 10
