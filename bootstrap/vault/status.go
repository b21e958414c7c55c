package vault

import (
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// interpret turns a complete response into an answer or a fault.
func interpret(resp *http.Response, body []byte, r request) (*answer, *fault) {
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		return nil, redirectFault(resp)
	case code >= 400:
		return nil, statusFault(resp, body, r)
	case len(body) == 0 && r.mayBeEmpty:
		return &answer{}, nil
	case len(body) == 0:
		return nil, &fault{
			code: plan.CodeProtocol, status: code, why: "the answer is empty" + whose(resp),
			fix: "check that the address is Vault's and the path can be read",
		}
	}
	a, err := decode(body)
	if err == nil && !isJSON(resp) {
		err = errNotJSON
	}
	if err != nil {
		return nil, &fault{
			code: plan.CodeProtocol, status: resp.StatusCode, why: "the answer is not Vault's: " + err.Error() + whose(resp), err: err,
			fix: "check that VAULT_ADDR is Vault and not a proxy's or portal's page",
		}
	}
	return a, nil
}

// redirectFault is for a redirect that was not followed.
func redirectFault(resp *http.Response) *fault {
	f := &fault{
		code: plan.CodeProtocol, status: resp.StatusCode, why: "redirected to another place, which is not followed with a token",
		fix: "set VAULT_ADDR to the address that answers by itself, or list the hosts of your standby nodes in vault.redirects",
	}
	if to, err := url.Parse(resp.Header.Get("Location")); err == nil && word(to.Host) != "" {
		f.why = "redirected to " + word(to.Host) + ", which is not followed with a token"
	}
	return f
}

// isJSON reports whether the answer says of itself that it is JSON, or nothing.
func isJSON(resp *http.Response) bool {
	kind := resp.Header.Get("Content-Type")
	if kind == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && media == "application/json"
}

// whose says whose answer it was, as far as it says so itself.
func whose(resp *http.Response) string {
	var says []string
	if server := word(resp.Header.Get("Server")); server != "" {
		says = append(says, "from "+server)
	}
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); word(kind) != "" {
		says = append(says, "of type "+word(kind))
	}
	if len(says) == 0 {
		return ""
	}
	return " (" + strings.Join(says, ", ") + ")"
}

// maxWord is the longest name of a server's that is repeated, in bytes.
const maxWord = 160

// word gives a name that a server says, if it is a plain and short one: what
// else it holds does not belong into a message.
func word(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./:_-+@[]"
	if len(s) > maxWord || strings.Trim(s, plain) != "" {
		return ""
	}
	return s
}

// statusFault classifies an error status by its code and by the sentences that
// Vault is known to send; the sentences themselves are never shown.
func statusFault(resp *http.Response, body []byte, r request) *fault {
	f := &fault{status: resp.StatusCode}
	if a, err := decode(body); err == nil {
		f.answer = a
	}
	status := "status " + strconv.Itoa(resp.StatusCode)
	if foreign(f, resp, body) {
		f.code, f.why = plan.CodeProtocol, "the answer is not Vault's ("+status+")"+whose(resp)
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
		if f.says("invalid token") || f.says("bad token") {
			f.blameToken()
		}
	case http.StatusNotFound:
		f.code, f.why = plan.CodeMissing, "there is nothing at this path"
	case http.StatusMethodNotAllowed:
		f.code, f.why = plan.CodeConfig, "the path does not support this operation"
	case http.StatusProxyAuthRequired:
		return proxyFault(&proxyRefusal{resp.StatusCode})
	case http.StatusRequestTimeout:
		f.code, f.why, f.passing, f.ambiguous = plan.CodeUnavailable, "the request took too long for the server ("+status+")", true, true
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
		if r.login && f.says("certificate has expired or is not yet valid") { // of a client; Vault calls that its own failure
			f.code, f.why, f.fix = plan.CodeDenied, "the client certificate has expired or is not valid yet", "renew it, and check the clocks"
			return f
		}
		f.code, f.why = plan.CodeUnavailable, "Vault failed ("+status+")"
		f.passing = resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented
		f.ambiguous = f.passing
	}
	if f.passing && (f.answer == nil || !isJSON(resp)) {
		// A proxy says the same when it had no server to ask and when the server
		// broke off with the request in its hands.
		if f.status != http.StatusBadGateway { // which nobody else gives
			f.why = "something in between that is not Vault answered (" + status + ")" + whose(resp)
		}
		f.ambiguous = f.ambiguous || !r.gateway
	}
	if f.passing {
		f.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	return f
}

// maxRetryAfter is the longest wish to wait that is believed.
const maxRetryAfter = time.Hour

// retryAfter reads how long a server wants us to wait: seconds or a date (RFC
// 9110, section 10.2.3). 0 is for nothing, nonsense, and what is over.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// foreign reports whether a refusal comes from something that is not Vault,
// such as a proxy's page: Vault's own have a JSON body. An absent secret must
// never be read out of such an answer.
func foreign(f *fault, resp *http.Response, body []byte) bool {
	switch f.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return f.answer == nil || !isJSON(resp) || f.answer.Errors == nil && f.answer.Data == nil && f.answer.Warnings == nil
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
