package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestRedirectIsNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var other seen
		thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			other.note(r)
			_, _ = io.WriteString(w, kvAnswer)
		}))
		for name, to := range map[string]string{"other host": thief.URL + "/v1/secret/data/app", "loop": "/v1/secret/data/app"} {
			c, s := overNetwork(t, func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
			_, err := read(t.Context(), c, "secret/app")
			problem(t, err, plan.CodeProtocol, "redirected to another address")
			s.noCanary(t, err)
			if other.count() != 0 || s.count() != 1 {
				t.Errorf("%d %s: %d requests, %d at the other host", status, name, s.count(), other.count())
			}
		}
		thief.Close()
	}
}

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

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		_, _ = io.WriteString(w, kvAnswer)
	}))
	server.Listener = l
	server.Start()
	defer server.Close()
	if _, err := read(t.Context(), prepare(t, s, "unix://"+path, nil), "secret/app"); err != nil || s.count() != 1 {
		t.Errorf("%v, %d requests", err, s.count())
	}
}

// authority is a certificate authority of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	der, key := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key, a.file = cert, key, filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(a.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, parentKey := a.cert, a.key
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// server serves TLS with a certificate for a name and a time.
func (a *authority) server(s *seen, name string, from time.Time, change func(*tls.Config)) string {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: from.Add(time.Hour)}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, key := a.sign(template)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		_, _ = io.WriteString(w, kvAnswer)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if change != nil {
		change(server.TLS)
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return server.URL
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	now := time.Now().Add(-time.Minute)
	tests := []struct {
		name, why string
		serve     func(s *seen) string
		change    func(*plan.Vault)
	}{
		{"good", "", func(s *seen) string { return ours.server(s, "127.0.0.1", now, nil) }, nil},
		{"HTTP/2", "", func(s *seen) string {
			return ours.server(s, "127.0.0.1", now, func(c *tls.Config) { c.NextProtos = []string{"h2"} })
		}, nil},
		{"unknown authority", "signed by an authority that we do not know", func(s *seen) string { return theirs.server(s, "127.0.0.1", now, nil) }, nil},
		{"another name", "is for another name", func(s *seen) string { return ours.server(s, "vault.example", now, nil) }, nil},
		{"the name that was set", "", func(s *seen) string { return ours.server(s, "vault.example", now, nil) }, func(v *plan.Vault) {
			v.TLS.ServerName = plan.Set("vault.example", plan.Origin{})
		}},
		{"expired", "has expired or is not valid yet", func(s *seen) string { return ours.server(s, "127.0.0.1", now.Add(-48*time.Hour), nil) }, nil},
		{"not valid yet", "has expired or is not valid yet", func(s *seen) string { return ours.server(s, "127.0.0.1", now.Add(48*time.Hour), nil) }, nil},
		{"not checked", "", func(s *seen) string { return theirs.server(s, "vault.example", now, nil) }, func(v *plan.Vault) {
			v.TLS.SkipVerify = plan.Set(true, plan.Origin{})
		}},
		{"client certificate missing", "the TLS handshake failed", func(s *seen) string {
			return ours.server(s, "127.0.0.1", now, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
		}, nil},
		{"no common cipher", "the TLS handshake failed", func(s *seen) string {
			return ours.server(s, "127.0.0.1", now, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 })
		}, nil},
		{"plain server", "the server speaks http, not https", func(s *seen) string {
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { s.note(r) }))
			t.Cleanup(server.Close)
			return strings.Replace(server.URL, "http:", "https:", 1)
		}, nil},
		{"plain client", "the server speaks https, not http", func(s *seen) string {
			return strings.Replace(ours.server(s, "127.0.0.1", now, nil), "https:", "http:", 1)
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &seen{}
			address := tt.serve(s)
			c := prepare(t, s, address, func(o *Options) {
				o.Vault.TLS.CACert = plan.Set(ours.file, plan.Origin{})
				if tt.change != nil {
					tt.change(&o.Vault)
				}
			})
			_, err := read(t.Context(), c, "secret/app")
			if tt.why == "" {
				if err != nil || s.count() != 1 {
					t.Errorf("%v, %d requests", err, s.count())
				}
				return
			}
			problem(t, err, plan.CodeProtocol, tt.why)
			s.noCanary(t, err)
			if s.count() != 0 {
				t.Error("the server was asked")
			}
		})
	}
}

// TestHTTP2ReadOnce: what must be sent once also works over HTTP/2.
func TestHTTP2ReadOnce(t *testing.T) {
	ours, s := newAuthority(t), &seen{}
	address := ours.server(s, "127.0.0.1", time.Now().Add(-time.Minute), func(c *tls.Config) { c.NextProtos = []string{"h2"} })
	c := prepare(t, s, address, func(o *Options) { o.Vault.TLS.CACert = plan.Set(ours.file, plan.Origin{}) })
	c.kv.learn("database", mount{rule: plan.KV1})
	for range 3 {
		if _, err := read(t.Context(), c, "database/creds/app"); err != nil {
			t.Error(err)
		}
	}
	if s.count() != 3 {
		t.Errorf("%d requests", s.count())
	}
}
