package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TestRetryAfterWords is the table of what a server may say (RFC 9110, 10.2.3).
func TestRetryAfterWords(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	for says, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, "007": 7 * time.Second, "3600": time.Hour, "3601": time.Hour, "2147483647": time.Hour,
		"2147483648": 0, "99999999999999999999": 0, "-1": 0, "+1": 0, "1.5": 0, "1s": 0, " 1": 0, "1e3": 0, "soon": 0, "0x10": 0, "٣": 0,
		"Sun, 22 Nov 2026 05:00:09 GMT":  9 * time.Second,
		"Sunday, 22-Nov-26 05:00:09 GMT": 9 * time.Second,
		"Sun Nov 22 05:00:09 2026":       9 * time.Second,
		"Sun, 22 Nov 2026 05:00:00 GMT":  0,
		"Sun, 22 Nov 2026 04:59:59 GMT":  0,
		"Thu, 01 Jan 1970 00:00:00 GMT":  0,
		"Sun, 22 Nov 2026 06:00:01 GMT":  time.Hour,
		"Fri, 31 Dec 9999 23:59:59 GMT":  time.Hour,
		"Sun, 22 Nov 2026 05:00:09 CET":  0,
		"2026-11-22T05:00:09Z":           0,
	} {
		if got := retryAfter(says, now); got != want {
			t.Errorf("%q: %v, want %v", says, got, want)
		}
	}
}

// FuzzRetryAfter: a wish is never negative, and never longer than is believed.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range list("", "1", "-1", "99999999999999999999", "Sun, 22 Nov 2026 05:00:09 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT") {
		f.Add(seed, int64(0))
		f.Add(seed, int64(1)<<40)
	}
	f.Fuzz(func(t *testing.T, says string, at int64) {
		if got := retryAfter(says, time.Unix(at, 0)); got < 0 || got > maxRetryAfter {
			t.Errorf("%q at %d: %v", says, at, got)
		}
	})
}

// TestRetryAfterDate: a date is waited for, by the clock of this machine.
func TestRetryAfterDate(t *testing.T) {
	for _, status := range []int{412, 429, 500, 502, 503} {
		synctest.Test(t, func(t *testing.T) {
			c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.Header().Set("Retry-After", time.Now().Add(33*time.Second).UTC().Format(http.TimeFormat))
					w.WriteHeader(status)
					return
				}
				_, _ = io.WriteString(w, kvAnswer)
			}, nil)
			start := time.Now()
			_, err := read(t.Context(), c, "secret/app")
			if took := time.Since(start); err != nil || took < 33*time.Second || took > 33*time.Second+firstWait || s.count() != 2 {
				t.Errorf("%d: waited %v, %d requests, %v", status, took, s.count(), err)
			}
		})
	}
}

// TestRetryAfterIsSpread: whom a server tells the same second, those do not come
// back in the same moment, and every time they are told so they come back over a
// longer time.
func TestRetryAfterIsSpread(t *testing.T) {
	const clients, refusals = 50, 4
	synctest.Test(t, func(t *testing.T) {
		tries := make([][]time.Duration, refusals+1) // when the clients came, by how often they had been refused
		for range clients {
			start := time.Now()
			c, _ := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				tries[n-1] = append(tries[n-1], time.Since(start))
				if n <= refusals {
					w.Header().Set("Retry-After", "1")
					refuse(w, http.StatusTooManyRequests, "")
					return
				}
				_, _ = io.WriteString(w, kvAnswer)
			}, nil)
			if _, err := read(t.Context(), c, "secret/app"); err != nil {
				t.Fatal(err)
			}
		}
		before := time.Duration(0)
		for n, came := range tries[1:] {
			spread := slices.Max(came) - slices.Min(came)
			if slices.Min(came) < time.Duration(n+1)*time.Second || spread <= before {
				t.Errorf("refused %d times: back from %v on, over %v; over %v before", n+1, slices.Min(came), spread, before)
			}
			before = spread
		}
	})
}

// TestWritesAndLists: a write may answer nothing, a list may not; a write is
// not repeated and a list is.
func TestWritesAndLists(t *testing.T) {
	noContent := func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	c, _ := inMemory(t, noContent, nil)
	got, err := c.Generation()(t.Context(), plan.Read{Path: "kv/x", Op: plan.OpWrite}, map[string]secret.Value{"a": secret.New([]byte("b"))})
	if err != nil || len(got.Data.Reveal()) != 0 {
		t.Errorf("a write: %v, %v", got, err)
	}
	_, err = c.Generation()(t.Context(), plan.Read{Path: "secret/x", Op: plan.OpList}, nil)
	problem(t, err, plan.CodeProtocol, "secret secret/metadata/x: the answer is empty")
	for op, asked := range map[plan.Op]int{plan.OpWrite: 1, plan.OpList: 2} {
		synctest.Test(t, func(t *testing.T) {
			c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.WriteHeader(500)
					return
				}
				_, _ = io.WriteString(w, `{"data":{"keys":["a"]}}`)
			}, nil)
			_, err := c.Generation()(t.Context(), plan.Read{Path: "secret/x", Op: op}, nil)
			if s.count() != asked || (err == nil) != (asked == 2) {
				t.Errorf("%v: %v after %d requests", op, err, s.count())
			}
		})
	}
}

// TestWritesJSON: what is JSON at its place is sent as it is, number by number.
func TestWritesJSON(t *testing.T) {
	sent := ""
	c, _ := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		sent = string(text)
		w.WriteHeader(http.StatusNoContent)
	}, nil)
	write := func(big string) error {
		r := plan.Read{Path: "kv/x", Op: plan.OpWrite, Body: map[string]plan.Handle{"text": {}, "list": {JSON: true}, "big": {JSON: true}}}
		_, err := c.Generation()(t.Context(), r, map[string]secret.Value{
			"text": secret.New([]byte("1")), "list": secret.New([]byte(`["a", null]`)), "big": secret.New([]byte(big)),
		})
		return err
	}
	if err := write("12345678901234567890.10"); err != nil || sent != `{"big":12345678901234567890.10,"list":["a",null],"text":"1"}` {
		t.Errorf("%v: %s", err, sent)
	}
	problem(t, write(canary), plan.CodeConfig, "big: is not JSON")
}

// TestEngineRefusals: what the engines say of a mistake, and what we make of it.
func TestEngineRefusals(t *testing.T) {
	tested := strings.Builder{}
	for _, r := range engineRefusals() {
		sentence := "x " + r.sentence + " " + canary
		tested.WriteString(sentence)
		for _, op := range []plan.Op{plan.OpRead, plan.OpWrite} {
			c, s := inMemory(t, always(400, fmt.Sprintf(`{"errors":[%q]}`, sentence)), nil)
			_, err := c.Generation()(t.Context(), plan.Read{Path: "engine/data/x", Op: op, Origin: plan.Origin{At: "here"}}, nil)
			code := plan.CodeConfig
			if r.code != 0 {
				code = r.code
			}
			problem(t, err, code, "secret engine/data/x: "+r.why+" (declared at here); "+r.fix)
			s.noCanary(t, err)
		}
	}
	for _, r := range engineRefusals() { // some engines say so with a 500
		c, s := inMemory(t, always(500, fmt.Sprintf(`{"errors":[%q]}`, "1 error occurred: "+r.sentence+" "+canary)), nil)
		_, err := c.Generation()(t.Context(), plan.Read{Path: "database/creds/x", KV: plan.KVLiteral, Origin: plan.Origin{At: "here"}}, nil)
		problem(t, err, cmp.Or(r.code, plan.CodeUnavailable), "secret database/creds/x: "+r.why+" (declared at here); "+r.fix)
		if s.noCanary(t, err); s.count() != 1 {
			t.Errorf("%s: %d requests", r.sentence, s.count())
		}
	}
	const noConnection = `{"errors":["1 error occurred:\n\t* failed to find entry for connection with name: \"` + canary + `\"\n\n"]}`
	c, _ := inMemory(t, always(500, noConnection), nil)
	_, err := c.Generation()(t.Context(), plan.Read{Path: "database/creds/x", KV: plan.KVLiteral}, nil)
	problem(t, err, plan.CodeConfig, "the engine has no such connection; check db_name of the role, and that database/config has it")
	c, _ = inMemory(t, always(400, `{"errors":["`+canary+`"]}`), nil)
	_, err = c.Generation()(t.Context(), plan.Read{Path: "engine/x", Op: plan.OpWrite}, nil)
	problem(t, err, plan.CodeConfig, "secret engine/x: Vault refused the request (status 400); check the arguments, and the role or key that they are for")
	_, err = c.Generation()(t.Context(), plan.Read{Path: "engine/data/x"}, nil)
	problem(t, err, plan.CodeConfig, "check that the path can be read, and whether it needs arguments")
}

// timeout is a net.Error.
type timeout struct{}

func (timeout) Error() string   { return canary }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// TestTransportFaults: each cause in our words, and whether the server may have
// carried the request out.
func TestTransportFaults(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("%s: %w", canary, err) }
	tests := []struct {
		err  error
		why  string
		code plan.Code
		cut  bool
	}{
		{wrap(&net.DNSError{Name: canary}), "the host name cannot be resolved", plan.CodeUnavailable, false},
		{wrap(syscall.ECONNREFUSED), "connection refused", plan.CodeUnavailable, false},
		{wrap(syscall.ENOENT), "the socket cannot be opened", plan.CodeUnavailable, false},
		{wrap(syscall.EACCES), "the socket cannot be opened", plan.CodeUnavailable, false},
		{wrap(syscall.EHOSTUNREACH), "no route to the host", plan.CodeUnavailable, false},
		{wrap(syscall.ENETUNREACH), "no route to the host", plan.CodeUnavailable, false},
		{wrap(syscall.ECONNRESET), "the connection was reset", plan.CodeUnavailable, false},
		{wrap(syscall.EPIPE), "the connection was reset", plan.CodeUnavailable, false},
		{wrap(timeout{}), "no answer in time", plan.CodeUnavailable, true},
		{wrap(context.DeadlineExceeded), "no answer in time", plan.CodeUnavailable, true},
		{errors.New(canary), "no answer", plan.CodeUnavailable, false},
		{errors.New("net/http: malformed HTTP response " + canary), "the answer is not Vault's: it is no HTTP", plan.CodeProtocol, false},
	}
	for _, tt := range tests {
		for _, sent := range []bool{true, false} {
			f := transportFault(tt.err, sent)
			passing := tt.code == plan.CodeUnavailable
			if f.why != tt.why || f.code != tt.code || f.cut != tt.cut || f.passing != passing || passing && f.ambiguous != sent {
				t.Errorf("%v: %+v", tt.err, f)
			}
			if strings.Contains(f.Error(), canary) || !errors.Is(f, tt.err) {
				t.Errorf("%v", f)
			}
		}
	}
	if f := bodyFault(wrap(context.DeadlineExceeded), 1); f.why != "no answer in time" || !f.cut || !f.ambiguous {
		t.Errorf("%+v", f)
	}
}

// TestNoHTTP: a server of another protocol is not waited for.
func TestNoHTTP(t *testing.T) {
	for name, says := range map[string]string{
		"another protocol": "SSH-2.0-" + canary + "\r\n",
		"a huge header":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", maxHeader+1) + "\r\n\r\n",
		"a bad header":     "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n",
		"two lengths":      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a bad length":     "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n",
		"an odd encoding":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n",
	} {
		c, s := overNetwork(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			conn := hijacked(t, w)
			_, _ = io.WriteString(conn, says)
			_ = conn.Close()
		})
		_, err := read(t.Context(), c, "secret/app")
		problem(t, err, plan.CodeProtocol, "the answer is not Vault's: it is no HTTP")
		s.noCanary(t, err)
		if s.count() != 1 {
			t.Errorf("%s: %d requests", name, s.count())
		}
	}
}
