package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// fault is one failed try, classified.
type fault struct {
	code       plan.Code
	why        string // ours, in words: never the server's text
	fix        string
	passing    bool          // may succeed later
	retryAfter time.Duration // the server's wish
	err        error         // only what cannot hold foreign text, see known
}

// problem gives the fault as what a user sees; more goes behind its cause.
func (f *fault) problem(c call, more string) error {
	return &plan.Problem{Code: f.code, What: c.what, Why: f.why + more, Fix: f.fix, Err: f.err}
}

// known keeps of an error what a caller may ask for and what cannot hold a URL
// or a piece of an answer, as an error of net/http can.
func known(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &errno):
		return errno
	}
	return nil
}

// noAnswer classifies a try that got no response at all.
func (c call) noAnswer(err error) *fault {
	f := &fault{code: plan.CodeUnavailable, why: c.who + " cannot be reached", fix: c.fixes[0], passing: true, err: known(err)}
	var dns *net.DNSError
	var netErr net.Error
	var record tls.RecordHeaderError
	tlsWhy, isTLS := TLSCause(err)
	switch {
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return c.foreign("is plain http")
	case isTLS:
		return &fault{
			code: plan.CodeProtocol, why: tlsWhy,
			fix: "check the address, and that this image knows the authority of a proxy in between",
		}
	case strings.Contains(err.Error(), "malformed HTTP"):
		return c.foreign("is not HTTP")
	case errors.As(err, &netErr) && netErr.Timeout():
		f.why = c.who + " did not answer"
	case errors.As(err, &dns):
		f.why += ": the host name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.why += ": connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		f.why += ": no route to the host"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		f.why += ": the connection was reset"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		f.why += ": the connection was closed"
	}
	return f
}

// brokeOff classifies an answer that did not come to its end.
func (c call) brokeOff(err error) *fault {
	return &fault{code: plan.CodeUnavailable, why: c.who + "'s answer broke off", fix: c.fixes[0], passing: true, err: known(err)}
}

// foreign is for an answer that the platform does not give.
func (c call) foreign(why string) *fault {
	return &fault{code: plan.CodeProtocol, why: "the answer is not " + c.who + "'s: it " + why, fix: "check the address, and what stands in between"}
}

// refused classifies an answer by its status; nil: it is a good one.
func (c call) refused(resp *http.Response) *fault {
	code := resp.StatusCode
	status := " (status " + strconv.Itoa(code) + ")"
	switch {
	case passing(code) || slices.Contains(c.passes, code):
		return &fault{
			code: plan.CodeUnavailable, why: c.who + " cannot serve the request now" + status, fix: c.fixes[code],
			passing: true, retryAfter: retryAfter(resp.Header),
		}
	case c.genuine != nil && !c.genuine(resp.Header):
		return &fault{code: plan.CodeProtocol, why: "the answer is not " + c.who + "'s" + status, fix: c.fixes[0]}
	case code == http.StatusOK:
		return nil
	case code >= 300 && code < 400:
		return c.foreign("is a redirect, which is not followed")
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return &fault{code: plan.CodeDenied, why: c.who + " refused" + status, fix: c.fixes[code]}
	case code == http.StatusNotFound:
		return &fault{code: plan.CodeConfig, why: c.who + " does not know what was asked for" + status, fix: c.fixes[code]}
	case code >= 400 && code < 500:
		return &fault{code: plan.CodeConfig, why: c.who + " did not accept the request" + status, fix: c.fixes[code]}
	}
	return c.foreign("has status " + strconv.Itoa(code))
}

// passing reports whether a status may be another one a little later.
func passing(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented:
		return false
	}
	return status >= 500 && status < 600
}

// retryAfter gives the wait that a server asked for in seconds (RFC 9110,
// 10.2.3), 0 when it did not.
func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return min(time.Duration(min(s, 3600))*time.Second, maxRetryAfter)
}

// TLSCause tells in words why a TLS handshake failed; ok is false for an error
// that is none of a handshake's. Vault's client says it in the same words.
func TLSCause(err error) (why string, ok bool) {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert *net.OpError // crypto/tls wraps an alert so
	if !errors.As(err, &verify) && !errors.As(err, &record) &&
		(!errors.As(err, &alert) || alert.Op != "remote error" && alert.Op != "local error") {
		return "", false
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that we do not know", true
	case errors.As(err, &name):
		return "the server's certificate is for another name", true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate has expired or is not valid yet", true
	}
	return "the TLS handshake failed", true
}

// unfit tells why a URL cannot be asked, "" when it can. A credential goes to a
// guarded one only by https, or by http where it does not leave the machine.
func unfit(u *url.URL, guarded bool) string {
	switch {
	case u.User != nil:
		return "must not hold a user or password"
	case u.Fragment != "":
		return "must not have a fragment"
	case u.Hostname() == "":
		return "has no host"
	case u.Scheme == "https":
		return ""
	case u.Scheme != "http":
		return "must begin with https://"
	case guarded && !isLoopback(u.Hostname()):
		return "must begin with https://, because a credential is sent there"
	}
	return ""
}

// isLoopback takes addresses only: a name, localhost too, is whatever a
// resolver says.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
