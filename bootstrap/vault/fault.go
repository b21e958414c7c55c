package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// fault is one failed try, classified.
type fault struct {
	code       plan.Code
	why        string        // ours, in words: never the server's text
	fix        string        //
	passing    bool          // may succeed later
	ambiguous  bool          // the server may have carried it out
	cut        bool          // the deadline or a signal ended it, it says nothing of the server
	retryAfter time.Duration // the server's wish
	status     int
	answer     *answer // the body of an error status, when it is JSON
	err        error
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

func describe(r request) string {
	verb := map[string]string{http.MethodGet: "read ", http.MethodPut: "write ", "LIST": "list "}[r.method]
	return verb + r.path
}

// transportFault classifies a try that got no response at all.
func transportFault(err error, sent bool) *fault {
	f := &fault{code: plan.CodeUnavailable, why: "no answer", passing: true, ambiguous: sent, err: err}
	var dns *net.DNSError
	var netErr net.Error
	switch {
	case errors.Is(err, errSwitched):
		return &fault{code: plan.CodeProtocol, why: "the answer is not Vault's: it leaves HTTP", fix: "check the address", err: err}
	case isTLS(err):
		return &fault{
			code: plan.CodeProtocol, why: tlsWhy(err), err: err,
			fix: "check VAULT_ADDR, VAULT_CACERT and VAULT_TLS_SERVER_NAME",
		}
	case strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		return &fault{code: plan.CodeProtocol, why: "the server speaks http, not https", fix: "check the scheme in VAULT_ADDR", err: err}
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

func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert *net.OpError // crypto/tls wraps an alert so
	return errors.As(err, &verify) || errors.As(err, &record) ||
		(errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error"))
}

func tlsWhy(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that we do not know"
	case errors.As(err, &name):
		return "the server's certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet"
	}
	return "the TLS handshake failed"
}

// bodyFault classifies an answer that broke off or was too large.
func bodyFault(err error) *fault {
	if errors.Is(err, errTooLarge) {
		return &fault{
			code: plan.CodeProtocol, why: "the answer is larger than " + strconv.Itoa(MaxBody>>20) + " MiB", err: err,
			fix: "check what the path holds, and that the address is Vault's",
		}
	}
	f := &fault{code: plan.CodeUnavailable, why: "the answer broke off", passing: true, ambiguous: true, err: err}
	if errors.Is(err, context.DeadlineExceeded) {
		f.why, f.cut = "no answer in time", true
	}
	return f
}

// interpret turns a complete response into an answer or a fault.
func interpret(resp *api.Response, body []byte, r request) (*answer, *fault) {
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return nil, &fault{
			code: plan.CodeProtocol, status: code, why: "redirected to another address, which is not followed with a token",
			fix: "set VAULT_ADDR to the address that answers by itself",
		}
	case code >= 400:
		return nil, statusFault(resp, body, r)
	case len(body) == 0 && r.mayBeEmpty:
		return &answer{}, nil
	case len(body) == 0:
		return nil, &fault{code: plan.CodeProtocol, status: code, why: "the answer is empty", fix: "check that the address is Vault's and the path can be read"}
	}
	a, err := decode(body)
	if err != nil {
		return nil, &fault{
			code: plan.CodeProtocol, status: resp.StatusCode, why: "the answer is not Vault's: " + err.Error(), err: err,
			fix: "check that VAULT_ADDR is Vault and not a proxy's or portal's page",
		}
	}
	return a, nil
}

// statusFault classifies an error status by its code and by the sentences that
// Vault is known to send; the sentences themselves are never shown.
func statusFault(resp *api.Response, body []byte, r request) *fault {
	f := &fault{status: resp.StatusCode}
	if a, err := decode(body); err == nil {
		f.answer = a
	}
	status := "status " + strconv.Itoa(resp.StatusCode)
	if foreign(f, body) {
		f.code, f.why = plan.CodeProtocol, "the answer is not Vault's ("+status+")"
		f.fix = "check that the address is Vault's and not a proxy's or portal's"
		return f
	}
	switch resp.StatusCode {
	case http.StatusBadRequest:
		f.code, f.why = plan.CodeConfig, "Vault refused the request ("+status+")"
		if f.says("HTTP request to an HTTPS server") || strings.Contains(string(body), "HTTP request to an HTTPS server") {
			f.code, f.why, f.fix = plan.CodeProtocol, "the server speaks https, not http", "check the scheme in VAULT_ADDR"
		}
	case http.StatusUnauthorized, http.StatusForbidden:
		f.code, f.why = plan.CodeDenied, "permission denied"
		if f.says("invalid token") {
			f.why, f.fix = "the token is not valid, or has expired or been revoked", "get a new token"
		}
	case http.StatusNotFound:
		f.code, f.why = plan.CodeMissing, "there is nothing at this path"
	case http.StatusMethodNotAllowed:
		f.code, f.why = plan.CodeConfig, "the path does not support this operation"
	case http.StatusTooManyRequests:
		f.code, f.why, f.passing = plan.CodeUnavailable, "a request quota is used up", true
	case http.StatusServiceUnavailable:
		f.code, f.why, f.passing = plan.CodeUnavailable, "Vault is sealed or not ready", true
	case http.StatusPreconditionFailed, 472, 473, 474:
		f.code, f.why, f.passing = plan.CodeUnavailable, "this node cannot serve the request yet ("+status+")", true
	case http.StatusBadGateway:
		f.code, f.why, f.passing = plan.CodeUnavailable, "the proxy in front of Vault has no answer ("+status+")", true
		f.ambiguous = !r.gateway // it does not say whether Vault broke off before or after it had the request
	default:
		f.code, f.why = plan.CodeUnavailable, "Vault failed ("+status+")"
		f.passing = resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented
		f.ambiguous = f.passing
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 && f.passing {
		f.retryAfter = time.Duration(min(s, 3600)) * time.Second
	}
	return f
}

// foreign reports whether a refusal comes from something that is not Vault,
// such as a proxy's page: Vault's own have a JSON body. An absent secret must
// never be read out of such an answer.
func foreign(f *fault, body []byte) bool {
	switch f.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return f.answer == nil || f.answer.Errors == nil && f.answer.Data == nil && f.answer.Warnings == nil
	case http.StatusBadRequest:
		return f.answer == nil && !strings.Contains(string(body), "HTTP request to an HTTPS server")
	}
	return false
}

// says reports whether one of the server's error sentences holds s.
func (f *fault) says(s string) bool {
	if f.answer == nil {
		return false
	}
	for _, e := range f.answer.Errors {
		if strings.Contains(e, s) {
			return true
		}
	}
	return false
}
