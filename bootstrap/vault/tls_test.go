package vault

import (
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
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

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

// pair gives a certificate and its key in PEM.
func (a *authority) pair(name string) (certificate, key []byte) {
	a.t.Helper()
	der, private := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// server gives KV answers by TLS, with a certificate for a name and a time.
func (a *authority) server(s *seen, name string, from time.Time, change func(*tls.Config)) string {
	a.t.Helper()
	return a.serve(name, from, change, asVault(s, always(200, kvAnswer)))
}

// serverTemplate is a server's certificate for a name and an hour.
func serverTemplate(name string, from time.Time) *x509.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: from.Add(time.Hour)}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	return template
}

// serve serves h by TLS.
func (a *authority) serve(name string, from time.Time, change func(*tls.Config), h http.Handler) string {
	a.t.Helper()
	der, key := a.sign(serverTemplate(name, from))
	server := httptest.NewUnstartedServer(h)
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
