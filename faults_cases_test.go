package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// faultGroup is the cases below one heading of docs/faults.md.
type faultGroup struct {
	title string
	cases []faultCase
}

// faultGroups gives every case.
func faultGroups() []faultGroup {
	return []faultGroup{
		{"Error statuses of a read", statusFaults()},
		{"Quotas", quotaFaults()},
		{"Redirects", redirectFaults()},
		{"Answers that do not come, or not whole", slowFaults()},
		{"Answers that are not Vault's", foreignFaults()},
		{"JSON that is not an answer", jsonFaults()},
		{"Connections and names", connectionFaults()},
		{"TLS", tlsFaults()},
		{"Logins", loginFaults()},
		{"What must not be done twice", onceFaults()},
		{"Other requests", otherFaults()},
		{"Commands", commandFaults()},
	}
}

// statusFaults has each status for ever and, where it can pass, once.
func statusFaults() []faultCase {
	var cases []faultCase
	for _, tt := range []struct {
		status, code int
		why          string
		passes       bool
	}{
		{400, 78, `Vault refused the request \(status 400\)`, false},
		{401, 77, "permission denied .*the policy may lack", false},
		{403, 77, "permission denied .*the policy may lack", false},
		{404, 66, "there is no such secret", false},
		{405, 78, "the path does not support this operation", false},
		{408, 69, "status 408", true},
		{409, 69, `Vault failed \(status 409\)`, false},
		{412, 69, `this node cannot serve the request yet \(status 412\)`, true},
		{429, 69, "a request quota is used up", true},
		{472, 69, `this node cannot serve the request yet \(status 472\)`, true},
		{473, 69, `this node cannot serve the request yet \(status 473\)`, true},
		{474, 69, `this node cannot serve the request yet \(status 474\)`, true},
		{500, 69, `Vault failed \(status 500\)`, true},
		{501, 69, `Vault failed \(status 501\)`, false},
		{502, 69, `the proxy in front of Vault has no answer \(status 502\)`, true},
		{503, 69, "Vault is sealed or not ready", true},
		{504, 69, `Vault failed \(status 504\)`, true},
		{530, 69, `Vault failed \(status 530\)`, true},
	} {
		c := faultCase{name: fmt.Sprintf("status %d", tt.status), does: refuses(tt.status), code: tt.code, why: tt.why}
		if !tt.passes {
			cases = append(cases, c)
			continue
		}
		one := faultCase{name: c.name + " once", does: once(c.does), hits: 2, logs: "trying again.*" + tt.why}
		c.why, c.hits = tt.why+".* until the deadline", many
		cases = append(cases, c, one)
	}
	return append(cases,
		faultCase{name: "status 503 three times", does: by(refuses(503), refuses(503), refuses(503), asVault), hits: 4, timeout: "5s"},
		faultCase{name: "status 403 for an unknown token", does: says(403, "application/json", `{"errors":["permission denied","invalid token"]}`), code: 77, why: "the token is not valid, or has expired"},
	)
}

func quotaFaults() []faultCase {
	const header = "Retry-After"
	used := "a request quota is used up until the deadline"
	return []faultCase{
		{name: "status 429 once, Retry-After in a second", does: once(refuses(429, header, "1")), hits: 2, wait: time.Second},
		{name: "status 503 once, Retry-After in a second", does: once(refuses(503, header, "1")), hits: 2, wait: time.Second},
		{name: "status 429 once, Retry-After at a date", does: once(retryAt), hits: 2, wait: time.Second, timeout: "4s"},
		{name: "status 429, Retry-After in an hour", does: refuses(429, header, "3600"), hits: 1, code: 69, why: used, fast: true},
		{name: "status 429, Retry-After in 99999999999999999999 s", does: refuses(429, header, "99999999999999999999"), hits: many, code: 69, why: used},
		{name: "status 429 once, Retry-After is nonsense", does: once(refuses(429, header, "soon")), hits: 2},
	}
}

func redirectFaults() []faultCase {
	const refused = "redirected to .* not followed with a token"
	var cases []faultCase
	for _, code := range []int{301, 302, 303, 307, 308} {
		cases = append(cases, faultCase{name: fmt.Sprintf("status %d to another host", code), does: redirects(code, "http://FOREIGNPATH"), code: 76, why: refused})
		same := faultCase{name: fmt.Sprintf("status %d once, to the same host", code), does: once(redirects(code, "http://HOSTPATH")), hits: 2}
		if code == 303 { // it would make another request of a login
			same.hits, same.code, same.why = 1, 76, refused
		}
		cases = append(cases, same)
	}
	return append(cases,
		faultCase{name: "three redirects to the same host", does: by(redirects(307, "PATH"), redirects(307, "PATH"), redirects(307, "PATH"), asVault), hits: 4},
		faultCase{name: "redirects to the same host for ever", does: redirects(307, "PATH"), hits: 4, code: 76, why: refused},
		faultCase{name: "status 307 to a listed host", front: standby, hits: 1},
		faultCase{name: "status 307 to a listed host and on to another one", front: standby, does: redirects(307, "http://FOREIGNPATH"), code: 76, why: refused},
		faultCase{name: "a redirect from the same host to another one", does: by(redirects(307, "http://HOSTPATH"), redirects(307, "http://FOREIGNPATH")), hits: 2, code: 76, why: refused},
		faultCase{name: "a redirect to the same host and another path", does: redirects(307, "/v1/secret/data/other"), code: 76, why: refused},
		faultCase{name: "a redirect to another host without a scheme", does: redirects(307, "//FOREIGNPATH"), code: 76, why: refused},
		faultCase{name: "a redirect with a user in it", does: redirects(307, "http://CANARY:CANARY@HOSTPATH"), code: 76, why: refused},
		faultCase{name: "a redirect that leaves HTTP", does: redirects(307, "file:///etc/passwd"), code: 76, why: refused},
		faultCase{name: "a redirect without Location", does: nothing(307), code: 76, why: refused},
		faultCase{name: "a redirect to %zz", does: redirects(307, "http://%zz"), code: 76, why: refused},
		faultCase{name: "a redirect from https to http", front: overTLS(nil), does: redirects(307, "http://HOSTPATH"), code: 76, why: refused},
		faultCase{name: "a login, status 307 to another host", about: "auth/", appRole: true, does: redirects(307, "http://FOREIGNPATH"), code: 76, why: "login approle .*" + refused},
		faultCase{name: "a login, status 307 once, to the same host", about: "auth/approle/", appRole: true, does: once(redirects(307, "PATH")), hits: 2},
	)
}

// okHead is the head of a good answer whose end is that of the connection.
const okHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"

func slowFaults() []faultCase {
	const late, broke = "no answer in time until the deadline", "the answer broke off until the deadline"
	announced := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(faultKV))
	half := announced + faultKV[:len(faultKV)/2]
	return []faultCase{
		{name: "no answer", does: silent, hits: 1, code: 69, why: late},
		{name: "a header of one byte a second", does: drips("HTTP/1.1 200", " OK\r\nContent-Type: application/json\r\n\r\n"), hits: 1, code: 69, why: late},
		{name: "a body of one byte a second", does: drips(okHead, faultKV), hits: 1, code: 69, why: late},
		{name: "a header and no body", does: hangsAfter(announced), hits: 1, code: 69, why: late},
		{name: "half a body, and no more", does: hangsAfter(half), hits: 1, code: 69, why: late},
		{name: "half a body, then closed", does: writes(half), hits: many, code: 69, why: broke},
		{name: "half a body, then closed, once", does: once(writes(half)), hits: 2},
		{name: "a header and no body, then closed", does: writes(announced), hits: many, code: 69, why: broke},
		{name: "half a header, then closed", does: writes("HTTP/1.1 200 OK\r\nContent-Type: appl"), hits: many, code: 69, why: "no answer until the deadline"},
		{name: "half a body in chunks, then closed", does: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + faultKV[:16] + "\r\n"), hits: many, code: 69, why: broke},
		{name: "reset after the request", does: resets, hits: many, code: 69, why: "the connection was reset until the deadline"},
		{name: "reset after the request, once", does: once(resets), hits: 2},
		{name: "closed after the request, once", does: once(aborts), hits: 2},
	}
}

func foreignFaults() []faultCase {
	const foreign, noHTTP, large = "the answer is not Vault's", "the answer is not Vault's: it is no HTTP", "the answer is larger than"
	mib := strings.Repeat("a", 1<<20)
	page := func(code int) behaviour { return says(code, "text/html", faultPage) }
	return []faultCase{
		{name: "a page with status 200", does: page(200), code: 76, why: foreign},
		{name: "a page with status 400", does: page(400), code: 76, why: foreign},
		{name: "a page with status 401", does: page(401), code: 76, why: foreign},
		{name: "a page with status 403", does: page(403), code: 76, why: foreign},
		{name: "a page with status 404", does: page(404), code: 76, why: foreign},
		{name: "a page with status 502, once", does: once(page(502)), hits: 2},
		{name: "JSON of another program with status 404", does: says(404, "application/json", `{"message":"CANARY"}`), code: 76, why: foreign},
		{name: "an answer of Vault's as text/plain", does: says(200, "text/plain", faultKV), code: 76, why: foreign},
		{name: "an answer of Vault's as text/html", does: says(200, "text/html; charset=utf-8", faultKV), code: 76, why: foreign},
		{name: "an answer of Vault's with a charset", does: says(200, "application/json; charset=utf-8", faultKV)},
		{name: "an answer of Vault's without a type", does: writes("HTTP/1.1 200 OK\r\n\r\n" + faultKV)},
		{name: "status 200 and no body", does: nothing(200), code: 76, why: "the answer is empty"},
		{name: "status 204", does: nothing(204), code: 76, why: "the answer is empty"},
		{name: "a body of 256 MiB", does: streams(okHead+`{"data":{"y":"`, mib, 256), timeout: "15s", more: 10 * time.Second, code: 76, why: large},
		{name: "a body of 256 MiB, announced", does: streams("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n", mib, 256), timeout: "15s", more: 10 * time.Second, code: 76, why: large},
		{name: "an error of 256 MiB", does: streams("HTTP/1.1 500 no\r\n\r\n", mib, 256), timeout: "15s", more: 10 * time.Second, code: 76, why: large},
		{name: "512 MiB in a gzip body of 512 KiB", does: bombs(), timeout: "15s", more: 10 * time.Second, code: 76, why: "the answer"},
		{name: "status 101", does: hangsAfter("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: canary\r\n\r\n"), code: 76, why: foreign},
		{name: "status 103 without end", does: streams("", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000), 10_000), code: 76, why: noHTTP},
		{name: "a header without end", does: streams("HTTP/1.1 200 OK\r\n", "X-Canary: "+mib[:8000]+"\r\n", 10_000), code: 76, why: noHTTP},
		{name: "a line without end", does: streams("HTTP/1.1 200 ", mib, 64), code: 76, why: noHTTP},
		{name: "HTTP/0.9", does: writes(faultPage), code: 76, why: noHTTP},
		{name: "bytes of another protocol", does: writes("\x00\x00\x12\x04\x00\x00\x00\x00\x00CANARY\r\n\r\n"), code: 76, why: noHTTP},
		{name: "two lengths", does: writes("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc"), code: 76, why: noHTTP},
		{name: "an unknown encoding", does: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: canary\r\n\r\nabc"), code: 76, why: noHTTP},
		{name: "chunks that are none", does: writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nCANARY\r\n"), hits: many, code: 69, why: "the answer broke off until the deadline"},
	}
}

func jsonFaults() []faultCase {
	const foreign, noData = "the answer is not Vault's", "the answer holds no data"
	replaced := func(old, with string) behaviour { return answers(strings.Replace(faultKV, old, with, 1)) }
	return []faultCase{
		{name: "an array", does: answers("[" + faultKV + "]"), code: 76, why: foreign},
		{name: "null", does: answers("null"), code: 76, why: foreign},
		{name: "a string", does: answers(`"CANARY"`), code: 76, why: foreign},
		{name: "{}", does: answers("{}"), code: 76, why: noData},
		{name: "data that is null", does: answers(`{"data":null}`), code: 76, why: noData},
		{name: "data that is a string", does: answers(`{"data":"CANARY"}`), code: 76, why: foreign},
		{name: "errors with status 200", does: answers(faultErrors), code: 76, why: noData},
		{name: "another value after it", does: answers(faultKV + "{}"), code: 76, why: foreign + ": something follows"},
		{name: "a page after it", does: answers(faultKV + faultPage), code: 76, why: foreign + ": something follows"},
		{name: "white space after it", does: answers(faultKV + "\r\n \t\n")},
		{name: "half of it", does: answers(faultKV[:len(faultKV)/2]), code: 76, why: foreign + ": it is not JSON"},
		{name: "a byte order mark before it", does: answers("\ufeff" + faultKV), code: 76, why: foreign},
		{name: "a byte that is not UTF-8 in the secret", does: replaced("-value", "-\xff"), code: 76, why: foreign + ": it is not valid UTF-8"},
		{name: "half a surrogate pair in the secret", does: replaced("-value", `-\ud800`), code: 76, why: foreign + ": it is not valid UTF-8"},
		{name: "a key that is there twice", does: replaced(`"y":`, `"y":"CANARY-lost","y":`)},
		{name: "arrays 100 000 deep", does: replaced(`"y":`, `"z":`+strings.Repeat("[", 100_000)), code: 76, why: foreign},
	}
}

func connectionFaults() []faultCase {
	reset := func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }
	const noAnswer = "no answer in time until the deadline"
	return []faultCase{
		{name: "connection refused", front: refused, code: 69, why: "connection refused until the deadline"},
		{name: "connection refused at first", front: late, timeout: "5s", logs: "trying again.*connection refused"},
		{name: "accepted and never answered", front: accepting("http", nil), code: 69, why: noAnswer},
		{name: "accepted and closed", front: accepting("http", func(c *net.TCPConn) { _ = c.CloseWrite() }), code: 69, why: "until the deadline"},
		{name: "accepted and reset", front: accepting("http", reset), code: 69, why: "the connection was reset until the deadline"},
		{name: "a host name that nobody knows", front: nameless, code: 69, why: "the host name cannot be resolved until the deadline"},
		{name: "a host name that nobody knows at first", front: nameLater, timeout: "15s", logs: "trying again.*the host name cannot be resolved"},
	}
}

func tlsFaults() []faultCase {
	day := 24 * time.Hour
	return []faultCase{
		{name: "a good certificate", front: overTLS(nil)},
		{name: "a good certificate, HTTP/2", front: overTLS(http2)},
		{name: "HTTP/2, stream broken off, once", front: overTLS(http2), does: once(aborts), hits: 2},
		{name: "HTTP/2, stream broken off", front: overTLS(http2), does: aborts, hits: many, code: 69, why: "until the deadline"},
		{name: "certificate expired", front: overTLS(func(leaf *x509.Certificate, _ *tls.Config) { leaf.NotAfter = time.Now().Add(-day / 48) }), code: 76, why: "certificate has expired"},
		{name: "certificate not valid yet", front: overTLS(func(leaf *x509.Certificate, _ *tls.Config) { leaf.NotBefore = time.Now().Add(day / 48) }), code: 76, why: "not valid yet"},
		{name: "certificate for another name", front: overTLS(func(leaf *x509.Certificate, _ *tls.Config) {
			leaf.IPAddresses, leaf.DNSNames = nil, []string{"vault.example"}
		}), code: 76, why: "certificate is for another name"},
		{name: "certificate of an unknown authority", front: unknownCA, code: 76, why: "signed by an authority that we do not know"},
		{name: "client certificate wanted and not given", front: overTLS(func(_ *x509.Certificate, c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), code: 76, why: "the TLS handshake failed"},
		{name: "TLS 1.1 only", front: overTLS(func(_ *x509.Certificate, c *tls.Config) {
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		}), code: 76, why: "the TLS handshake failed"},
		{name: "http where https is asked for", front: otherScheme(plain, "http", "https"), code: 76, why: "the server speaks http, not https"},
		{name: "https where http is asked for", front: otherScheme(overTLS(nil), "https", "http"), code: 76, why: "the server speaks https, not http"},
		{name: "bytes that are neither", front: accepting("https", func(c *net.TCPConn) { _, _ = c.Write([]byte("220 CANARY ESMTP\r\n")) }), code: 76, why: "the TLS handshake failed"},
		{name: "no handshake", front: accepting("https", nil), code: 69, why: "no answer in time until the deadline"},
	}
}

func http2(_ *x509.Certificate, c *tls.Config) { c.NextProtos = []string{"h2"} }

func loginFaults() []faultCase {
	const seen, noToken = "not repeated, because the server may have carried it out", "the answer holds no token"
	sealed := "auth/approle/|auth/token/|secret/"
	cases := []faultCase{
		{name: "no auth member", does: answers(`{"data":{"y":"CANARY"}}`), code: 76, why: noToken},
		{name: "an empty token", does: answers(`{"auth":{"client_token":""}}`), code: 76, why: noToken},
		{name: "a token with a line break", does: answers(strings.Replace(faultLogin, faultToken, faultToken+`\nX: y`, 1)), code: 76, why: "token"},
		{name: "a login answered with 204", does: nothing(204), code: 76, why: "the answer is empty"},
		{name: "a login answered with a page", does: says(200, "text/html", faultPage), code: 76, why: "the answer is not Vault's"},
		{name: "a wrong secret id", does: says(400, "application/json", `{"errors":["invalid role or secret ID"]}`), code: 77, why: "the role id or the secret id is not valid"},
		{name: "no such mount", does: says(404, "application/json", `{"errors":["no handler for route \"auth/approle/login\". route entry not found."]}`), code: 77, why: "there is no such login there"},
		{name: "a login refused", does: refuses(403), code: 77, why: "permission denied"},
		{name: "a login, status 500", does: refuses(500), code: 69, why: seen},
		{name: "a login, status 504", does: refuses(504), code: 69, why: seen},
		{name: "a login, status 502 once", does: once(refuses(502)), hits: 2},
		{name: "a login, status 503 once", does: once(refuses(503)), hits: 2},
		{name: "a login, status 503", does: refuses(503), hits: many, code: 69, why: "Vault is sealed or not ready until the deadline"},
		{name: "a login, status 429 once", does: once(refuses(429)), hits: 2},
		{name: "a login reset after the request", does: resets, code: 69, why: seen},
		{name: "a login answered by half", does: writes(okHead[:len(okHead)-2] + "Content-Length: 999\r\n\r\n{"), code: 69, why: seen},
		{name: "sealed after the login", about: sealed, does: by(asVault, refuses(503)), hits: many, code: 69, why: "Vault is sealed or not ready until the deadline", more: 3 * time.Second},
	}
	for i := range cases {
		cases[i].appRole = true
		if cases[i].about == "" {
			cases[i].about = "auth/approle/"
		}
	}
	return cases
}

// onceFaults: a read that makes a credential is sent once, also by net/http,
// which repeats a GET by itself where a connection was used before.
func onceFaults() []faultCase {
	const seen = "not repeated, because the server may have carried it out"
	half := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
	cases := []faultCase{
		{name: "a good answer"},
		{name: "reset after the request", does: resets, code: 69, why: seen},
		{name: "closed after the request", does: aborts, code: 69, why: seen},
		{name: "closed after the request, HTTP/2", front: overTLS(http2), does: aborts, code: 69, why: seen},
		{name: "half a body, then closed", does: writes(half), code: 69, why: seen},
		{name: "status 500", does: refuses(500), code: 69, why: seen},
		{name: "status 502", does: refuses(502), code: 69, why: seen},
		{name: "status 504", does: refuses(504), code: 69, why: seen},
		{name: "status 503 once", does: once(refuses(503)), hits: 2},
		{name: "status 429 once", does: once(refuses(429)), hits: 2},
		{name: "no answer", does: silent, hits: 1, code: 69, why: "no answer in time until the deadline"},
	}
	for i := range cases {
		cases[i].name = "credentials: " + cases[i].name
		cases[i].about, cases[i].args = "database/", "init -f a=database/creds/x#y"
	}
	return cases
}

func otherFaults() []faultCase {
	const kv, two = "init -f a=secret/x#y", "init -f a=secret/data/x#y -f b=secret/data/z#y"
	page := says(http.StatusOK, "text/html", faultPage)
	kept := "the token was not revoked"
	return []faultCase{
		{name: "the second of two reads, status 403", about: "secret/data/z", args: two, appRole: true, does: refuses(403), code: 77, why: "secret secret/data/z: permission denied"},
		{name: "the second of two reads, status 503", about: "secret/data/z", args: two, appRole: true, does: refuses(503), hits: many, code: 69, why: "sealed or not ready until the deadline .*declared at VAULT_ADDR"},
		{name: "look-up of the mount, status 503 once", about: "sys/", args: kv, does: once(refuses(503)), hits: 2},
		{name: "look-up of the mount, status 403", about: "sys/", args: kv, does: refuses(403), hits: 1},
		{name: "look-up of the mount, status 500", about: "sys/", args: kv, does: refuses(500), hits: many, code: 69, why: `Vault failed \(status 500\) until the deadline`},
		{name: "look-up of the mount, a page", about: "sys/", args: kv, does: page, code: 76, why: "the answer is not Vault's"},
		{name: "look-up of the mount, another mount", about: "sys/", args: kv, does: answers(`{"data":{"path":"CANARY/","type":"kv"}}`), code: 76, why: "the server names a mount that the path is not in"},
		{name: "revocation, status 204", about: "auth/token/", appRole: true, does: nothing(204), hits: 1},
		{name: "revocation, status 403", about: "auth/token/", appRole: true, does: refuses(403), hits: 1, logs: kept},
		{name: "revocation, status 500", about: "auth/token/", appRole: true, does: refuses(500), hits: 1, logs: kept},
		{name: "revocation, a page", about: "auth/token/", appRole: true, does: page, hits: 1, logs: kept},
		{name: "revocation, no answer", about: "auth/token/", appRole: true, does: silent, hits: 1, logs: kept, more: 3 * time.Second},
	}
}

// commandFaults: a command is not started, and the code is not one of its own.
func commandFaults() []faultCase {
	cases := []faultCase{
		{name: "status 403", does: refuses(403), why: "permission denied"},
		{name: "status 404", does: refuses(404), why: "there is no such secret"},
		{name: "status 503", does: refuses(503), hits: many, why: "sealed or not ready until the deadline"},
		{name: "a page", does: says(http.StatusOK, "text/html", faultPage), why: "the answer is not Vault's"},
		{name: "status 307 to another host", does: redirects(307, "http://FOREIGNPATH"), why: "redirected to"},
		{name: "connection refused", front: refused, why: "connection refused until the deadline"},
	}
	for i := range cases {
		cases[i].name = "run: " + cases[i].name
		cases[i].code, cases[i].args = 125, "run -f a=secret/data/x#y -e B=secret/data/x#y -- touch started"
	}
	return cases
}

// checkFaultDocs holds docs/faults.md to the rows that ran.
func checkFaultDocs(t *testing.T, rows []*faultRow) {
	const file = "docs/faults.md"
	have, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString(faultIntro)
	group, all := "", true
	for _, r := range rows {
		if r.group != group {
			group = r.group
			fmt.Fprintf(&want, "\n## %s\n\n| what goes wrong | code | what is said |\n|---|---|---|\n", group)
		}
		line := r.markdown()
		want.WriteString(line)
		all = all && r.ran
		if r.ran && !*update && !strings.Contains(string(have), line) {
			t.Errorf("%s has another row than\n%s", file, line)
		}
	}
	if !all || t.Failed() || string(have) == want.String() {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; run go test -run TestFaults -update .", file)
	}
	if err := os.WriteFile(file, []byte(want.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

const faultIntro = `# Faults

What secretboot does when something is wrong between it and Vault. Each row is a case of ` + "`TestFaults`" + `, which writes
this file with ` + "`-update`" + `: the shipped binary against a server that misbehaves, with a deadline of two seconds unless the
case needs longer. In every case:

- a failure is one line on stderr, with no secret and no text of the server in it, nor are they in the log;
- what waiting cannot help ends at once, the rest within the deadline and a second (three seconds more where the token
  cannot be revoked), and 64 MiB of memory are enough;
- nothing is left in the folder unless it was delivered whole, and a token that we got is revoked;
- no other host gets as much as a connection.
`

// markdown gives the row of docs/faults.md, without what differs from run to run.
func (r *faultRow) markdown() string {
	return fmt.Sprintf("| %s | %d | %s |\n", r.name, r.exit, strings.ReplaceAll(r.said(), "|", `\|`))
}

// said is what is told of it: the line on stderr, without what differs from run to run.
func (r *faultRow) said() string {
	if len(r.problems) == 0 {
		return "delivered"
	}
	said := regexp.MustCompile(`127\.0\.0\.\d:\d+`).ReplaceAllString(r.problems[0], "HOST:PORT")
	return regexp.MustCompile(`\(\d+ (try|tries)\)`).ReplaceAllString(said, "(N tries)")
}
