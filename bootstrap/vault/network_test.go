package vault

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// hijacked takes the connection away from a handler.
func hijacked(t *testing.T, w http.ResponseWriter) *net.TCPConn {
	t.Helper()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// reset breaks the connection after the request has come.
func reset(t *testing.T, w http.ResponseWriter) {
	conn := hijacked(t, w)
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// half sends a part of an answer and breaks off.
func half(t *testing.T, w http.ResponseWriter) {
	conn := hijacked(t, w)
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+kvAnswer)
	_ = conn.Close()
}

// TestBrokenAfterTheRequest: only what is known to be a KV read is repeated,
// also by net/http, which repeats a GET by itself on a connection used before.
func TestBrokenAfterTheRequest(t *testing.T) {
	tests := []struct {
		path  string
		again bool
	}{
		{"secret/app", true},
		{"other/data/app", true},
		{"database/creds/app", false},
	}
	for name, breakOff := range map[string]func(*testing.T, http.ResponseWriter){"reset": reset, "half": half} {
		for _, tt := range tests {
			for _, used := range []bool{false, true} {
				var asked atomic.Int32
				c, s := overNetwork(t, func(_ int, w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "warm") {
						_, _ = io.WriteString(w, kvAnswer)
						return
					}
					if asked.Add(1) == 1 {
						breakOff(t, w)
						return
					}
					_, _ = io.WriteString(w, kvAnswer)
				})
				c.kv.learn("database", mount{rule: plan.KV1})
				if used {
					if _, err := read(t.Context(), c, "secret/warm"); err != nil {
						t.Fatal(err)
					}
				}
				_, err := read(t.Context(), c, tt.path)
				if (err == nil) != tt.again || (asked.Load() > 1) != tt.again {
					t.Errorf("%s %s, used %v: asked %d times, %v", name, tt.path, used, asked.Load(), err)
				}
				if !tt.again {
					problem(t, err, plan.CodeUnavailable, "not repeated, because the server may have carried it out")
				}
				s.noCanary(t, err)
			}
		}
	}
}

func TestBrokenLoginIsNotRepeated(t *testing.T) {
	for name, breakOff := range map[string]func(*testing.T, http.ResponseWriter){"reset": reset, "half": half} {
		s := &seen{}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.note(r)
			breakOff(t, w)
		}))
		c := prepare(t, s, server.URL, appRoleOptions)
		err := c.Login(t.Context())
		problem(t, err, plan.CodeUnavailable, "not repeated, because the server may have carried it out")
		s.noCanary(t, err)
		if s.count() != 1 {
			t.Errorf("%s: %d logins", name, s.count())
		}
		server.Close()
	}
}

// TestNotReached: what was never sent is tried until the deadline, logins too.
func TestNotReached(t *testing.T) {
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := free.Addr().String()
	_ = free.Close()
	for address, why := range map[string]string{
		"http://" + closed:                 "connection refused",
		"http://no-such-host.invalid:8200": "the host name cannot be resolved",
		"unix://" + dir + "/none.sock":     "the socket cannot be opened",
		"https://" + closed:                "connection refused",
	} {
		s := &seen{}
		c := prepare(t, s, address, appRoleOptions)
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		err := c.Login(ctx)
		cancel()
		problem(t, err, plan.CodeUnavailable, why+" until the deadline")
		if strings.Contains(err.Error(), "(1 try)") {
			t.Errorf("%s: not tried again", address)
		}
		s.noCanary(t, err)
	}
}

// TestProxyInBetween: a proxy that wants a login of its own will want it again,
// so that is told at once; one that cannot be reached is waited for.
func TestProxyInBetween(t *testing.T) {
	s := &seen{}
	proxy := serve(t, s, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "vault.invalid:8200" {
			t.Errorf("%s %s", r.Method, r.Host)
		}
		w.Header().Set("Proxy-Authenticate", `Basic realm="`+canary+`"`)
		refuse(w, http.StatusProxyAuthRequired, canary)
	})
	through := func(proxy string) func(*Options) {
		return func(o *Options) {
			appRoleOptions(o)
			o.Vault.Proxy = plan.Set(proxy, plan.Origin{})
		}
	}
	c := prepare(t, &seen{}, "https://vault.invalid:8200", through(proxy))
	const wants = "vault https://vault.invalid:8200: the proxy in between asks for a login of its own (declared at here); give it in the proxy's address (VAULT_PROXY_ADDR, HTTPS_PROXY), or go around the proxy (NO_PROXY)"
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := read(ctx, c, "secret/app")
	problem(t, err, plan.CodeProtocol, wants)
	s.noCanary(t, err)
	err = c.Login(ctx)
	problem(t, err, plan.CodeProtocol, wants)
	s.noCanary(t, err)
	if s.count() != 2 || plan.CodeProtocol != 76 {
		t.Errorf("requests %q", s.all())
	}

	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 250*time.Millisecond)
	defer cancel()
	err = prepare(t, s, "https://vault.invalid:8200", through("http://"+free.Addr().String())).Login(ctx)
	problem(t, err, plan.CodeUnavailable, "the proxy in between: connection refused until the deadline")
}

// TestUnixSocket: no proxy is between us and a socket.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{}
	server := httptest.NewUnstartedServer(asVault(s, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != "/v1/secret/data/app" || r.Host != "localhost" {
			t.Errorf("asked for %s of %s", r.RequestURI, r.Host)
		}
		_, _ = io.WriteString(w, kvAnswer)
	}))
	server.Listener = l
	server.Start()
	defer server.Close()
	c := prepare(t, s, "unix://"+path, func(o *Options) { o.Vault.Proxy = plan.Set("http://127.0.0.1:1", plan.Origin{}) })
	if _, err := read(t.Context(), c, "secret/app"); err != nil || s.count() != 1 {
		t.Errorf("%v, %d requests", err, s.count())
	}
}
