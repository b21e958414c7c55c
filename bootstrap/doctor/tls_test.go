package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/vault"
)

// issue makes a certificate for 127.0.0.1 that signs itself.
func issue(t *testing.T, from, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vault"}, NotBefore: from, NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// serving gives the way to a TLS server that shows cert and trusts it.
func serving(t *testing.T, cert tls.Certificate) vault.Way {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = conn.Read(make([]byte, 1)); _ = conn.Close() }()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	addr := l.Addr().String()
	return vault.Way{Network: "tcp", Address: addr, Server: addr, TLS: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}}
}

func TestCertificate(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	for _, c := range []struct {
		name        string
		from, until time.Duration
		status      Status
		detail      string
	}{
		{"of a year", -100 * day, 265*day + hour, OK, `^TLS 1\.3, for 127\.0\.0\.1, signed by vault, until \S+Z: 265 days left$`},
		{"of a year that ends", -352 * day, 13*day + hour, Warn, `: 13 days left$`},
		{"of an hour, in its middle", -hour / 2, hour / 2, OK, `: (30m0s|29m59s) left$`},
		{"of an hour that ends", -55 * time.Minute, 5 * time.Minute, Warn, `: (5m0s|4m59s) left$`},
		{"over", -2 * day, -day, Fail, `^the server's certificate expired 24h0m\d+s ago; for `},
		{"not yet", hour, 2 * day, Fail, `^the server's certificate is not valid before \S+Z; for `},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Now()
			way := serving(t, issue(t, now.Add(c.from), now.Add(c.until)))
			r := Examine(t.Context(), offline(), worldOf(fakeServer{way: way, health: well()}))
			expect(t, r, stepTLS, c.status, c.detail)
		})
	}
}

// TestCertificateStrict: what a request would refuse is refused here too, with
// more to say, and the connection of the test itself proves nothing.
func TestCertificateStrict(t *testing.T) {
	now := time.Now()
	way := serving(t, issue(t, now.Add(-time.Hour), now.Add(time.Hour)))
	other := way
	other.TLS = way.TLS.Clone()
	other.TLS.ServerName = "vault.example"
	expect(t, Examine(t.Context(), offline(), worldOf(fakeServer{way: other, health: well()})), stepTLS, Fail, "for another name than vault.example")
	other.TLS = way.TLS.Clone()
	other.TLS.RootCAs = x509.NewCertPool()
	expect(t, Examine(t.Context(), offline(), worldOf(fakeServer{way: other, health: well()})), stepTLS, Fail, "an authority that we do not know")
	plain := listeningText(t, "HTTP/1.1 400 Bad Request\r\n\r\n")
	plain.TLS = way.TLS
	expect(t, Examine(t.Context(), offline(), worldOf(fakeServer{way: plain, health: well()})), stepTLS, Fail, "handshake failed")
	proxied := way
	proxied.Proxied = true
	expect(t, Examine(t.Context(), offline(), worldOf(fakeServer{way: proxied, health: well()})), stepTLS, Skipped, "through a proxy")
}

// listeningText gives the way to somebody who says text to everybody.
func listeningText(t *testing.T, text string) vault.Way {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = conn.Write([]byte(text)); _, _ = conn.Read(make([]byte, 1<<10)); _ = conn.Close() }()
		}
	}()
	return vault.Way{Network: "tcp", Address: l.Addr().String(), Server: l.Addr().String()}
}
