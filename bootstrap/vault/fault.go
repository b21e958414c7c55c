package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap/identity"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// fault is one failed try, classified.
type fault struct {
	code       plan.Code
	why        string        // ours, in words: never the server's text
	fix        string        //
	passing    bool          // may succeed later
	ambiguous  bool          // the server may have carried it out
	late       bool          // nothing was sent: there is no time left for it
	cut        bool          // the deadline or a signal ended it, it says nothing of the server
	retryAfter time.Duration // the server's wish
	status     int
	answer     *answer // the body of an error status, when it is JSON
	err        error
	token      bool  // it is the token that was refused, whatever was asked
	kind       error // ErrTokenLost, ErrLeaseLost or nil
	server     bool  // it is about the server or the way to it, whatever was asked
	whole      error // a problem that is complete already and ends the request
}

// problem gives the fault as what a user sees.
func (f *fault) problem(r request) error {
	p := &plan.Problem{Code: f.code, What: "vault: " + describe(r), Why: f.why, Fix: f.fix, Err: f}
	if f.passing && r.once && f.ambiguous {
		p.Why += "; not repeated, because the server may have carried it out"
	}
	return p
}

// Error names the cause; a fault is the Err of the problem made from it.
func (f *fault) Error() string { return f.why }

func (f *fault) Unwrap() error { return f.err }

// Is reports whether the fault is of a kind that callers tell apart.
func (f *fault) Is(target error) bool { return f.kind != nil && target == f.kind }

func describe(r request) string {
	verb := map[string]string{http.MethodGet: "read ", http.MethodPut: "write ", "LIST": "list "}[r.method]
	return verb + r.path
}

// transportFault classifies a try that got no response at all.
func transportFault(err error, sent bool) *fault {
	f := classify(err, sent)
	f.server = true
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		f.why = "the proxy in between: " + f.why
		f.fix = "check VAULT_PROXY_ADDR, HTTPS_PROXY and NO_PROXY"
	}
	return f
}

// proxyRefusal is a proxy's no to a tunnel.
type proxyRefusal struct{ status int }

func (p *proxyRefusal) Error() string {
	return "vault: the proxy refused, status " + strconv.Itoa(p.status)
}

// proxyFault tells a no that stays one from a proxy that may recover.
func proxyFault(p *proxyRefusal) *fault {
	f := &fault{
		code: plan.CodeProtocol, status: p.status, err: p, server: true, why: "the proxy in between refuses to connect us (status " + strconv.Itoa(p.status) + ")",
		fix: "check VAULT_PROXY_ADDR and HTTPS_PROXY, or go around the proxy (NO_PROXY)",
	}
	switch {
	case p.status == http.StatusProxyAuthRequired:
		f.why = "the proxy in between asks for a login of its own"
		f.fix = "give it in the proxy's address (VAULT_PROXY_ADDR, HTTPS_PROXY), or go around the proxy (NO_PROXY)"
	case p.status >= 500 || p.status == http.StatusTooManyRequests:
		f.code, f.passing = plan.CodeUnavailable, true
	}
	return f
}

func classify(err error, sent bool) *fault {
	var refusal *proxyRefusal
	f := &fault{code: plan.CodeUnavailable, why: "no answer", passing: true, ambiguous: sent, err: err}
	var dns *net.DNSError
	var netErr net.Error
	var record tls.RecordHeaderError
	tlsWhy, isTLS := identity.TLSCause(err)
	switch {
	case errors.Is(err, errSwitched):
		return &fault{code: plan.CodeProtocol, why: "the answer is not Vault's: it leaves HTTP", fix: "check the address", err: err}
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return &fault{code: plan.CodeProtocol, why: "the server speaks http, not https", fix: "check the scheme in VAULT_ADDR", err: err}
	case errors.As(err, &refusal):
		return proxyFault(refusal)
	case notHTTP(err):
		return &fault{code: plan.CodeProtocol, why: "the answer is not Vault's: it is no HTTP", fix: "check the address and its port", err: err}
	case isTLS:
		return &fault{
			code: plan.CodeProtocol, why: tlsWhy, err: err,
			fix: "check VAULT_ADDR, VAULT_CACERT and VAULT_TLS_SERVER_NAME",
		}
	case errors.As(err, &dns):
		f.why = "the host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.why = "connection refused"
	case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EACCES):
		f.why = "the socket cannot be opened"
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		f.why = "no route to the host"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		f.why = "the connection was reset"
	case errors.As(err, &netErr) && netErr.Timeout():
		f.why, f.cut = "no answer in time", true
	}
	return f
}

// notHTTP reports whether the server answered with something that net/http
// cannot read; its errors have no types of their own.
func notHTTP(err error) bool {
	text := err.Error()
	for _, says := range []string{"malformed HTTP", "malformed MIME", "response headers exceeded", "too many 1xx", "bad Content-Length", "multiple Content-Length", "unsupported transfer encoding"} {
		if strings.Contains(text, says) {
			return true
		}
	}
	return false
}

// bodyFault classifies an answer that broke off or was too large.
func bodyFault(err error, limit int64) *fault {
	if errors.Is(err, errTooLarge) {
		return &fault{
			code: plan.CodeProtocol, why: "the answer is larger than " + strconv.FormatInt(limit>>10, 10) + " KiB", err: err,
			fix: "check what the path holds, that the address is Vault's, or raise vault.body_limit",
		}
	}
	f := &fault{code: plan.CodeUnavailable, why: "the answer broke off", passing: true, ambiguous: true, err: err}
	if errors.Is(err, context.DeadlineExceeded) {
		f.why, f.cut = "no answer in time", true
	}
	return f
}
