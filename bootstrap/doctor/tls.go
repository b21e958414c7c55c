package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/identity"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/vault"
)

// tls looks at the certificate of the server. The handshake itself accepts any,
// so that there is something to look at; nothing is sent over that connection.
func (e *exam) tls(ctx context.Context, way vault.Way, addrs []string) {
	switch {
	case way.Network == "unix":
		e.skip(stepTLS, "", "the address is a socket")
		return
	case way.TLS == nil:
		e.plainHTTP(way)
		return
	case way.Proxied:
		e.skip(stepTLS, "", "it goes through a proxy: the request to Vault shows it")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	state, err := handshake(ctx, way, addrs)
	if err != nil {
		why, known := identity.TLSCause(err)
		if !known {
			why = "the handshake failed: " + whyDial(err)
		}
		e.add(Finding{Step: stepTLS, Status: Fail, Detail: why, Fix: "check the scheme and port in VAULT_ADDR", Code: plan.CodeProtocol})
		return
	}
	e.certificate(way.TLS, state)
}

// plainHTTP warns of secrets that anybody on the way can read.
func (e *exam) plainHTTP(way vault.Way) {
	host, _, err := net.SplitHostPort(way.Server)
	ip := net.ParseIP(host)
	if err == nil && (ip != nil && ip.IsLoopback() || host == "localhost") {
		e.skip(stepTLS, "", "the address is http, and does not leave this machine")
		return
	}
	e.warn(stepTLS, "", "the address is http: whoever is in between can read every secret", "use https")
}

// handshake gives the state of a TLS connection to the first address that has one.
func handshake(ctx context.Context, way vault.Way, addrs []string) (state tls.ConnectionState, err error) {
	conf := way.TLS.Clone()
	conf.InsecureSkipVerify = true //nolint:gosec // it is verified by hand, to say all that is wrong
	for _, addr := range addrs {
		var conn net.Conn
		conn, err = (&tls.Dialer{Config: conf}).DialContext(ctx, way.Network, addr)
		if err != nil {
			continue
		}
		if secure, ok := conn.(*tls.Conn); ok {
			state = secure.ConnectionState()
		}
		return state, conn.Close()
	}
	return state, err
}

// certificate judges what the server showed as a request would.
func (e *exam) certificate(conf *tls.Config, state tls.ConnectionState) {
	if len(state.PeerCertificates) == 0 {
		e.add(Finding{Step: stepTLS, Status: Fail, Detail: "the server shows no certificate", Fix: "check VAULT_ADDR", Code: plan.CodeProtocol})
		return
	}
	leaf := state.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{DNSName: conf.ServerName, Roots: conf.RootCAs, Intermediates: between})
	said := describe(leaf)
	switch {
	case err != nil && conf.InsecureSkipVerify:
		e.warn(stepTLS, "", "the certificate is not checked (VAULT_SKIP_VERIFY), and it would not pass: "+whyCertificate(leaf, conf.ServerName, err)+"; "+said, fixCertificate(err))
	case conf.InsecureSkipVerify:
		e.warn(stepTLS, "", "the certificate is not checked (VAULT_SKIP_VERIFY): whoever is in between can read every secret; "+said, "it is good: leave VAULT_SKIP_VERIFY out")
	case err != nil:
		e.add(Finding{Step: stepTLS, Status: Fail, Detail: whyCertificate(leaf, conf.ServerName, err) + "; " + said, Fix: fixCertificate(err), Code: plan.CodeProtocol})
	default:
		e.expiry(chains[0], tls.VersionName(state.Version)+", "+said)
	}
}

// describe names a certificate.
func describe(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	const most = 6
	if len(names) > most {
		names = append(names[:most], "…")
	}
	issuer := c.Issuer.CommonName
	if issuer == "" {
		issuer = c.Issuer.String()
	}
	return "for " + strings.Join(names, ", ") + ", signed by " + issuer + ", until " + c.NotAfter.UTC().Format(time.RFC3339)
}

// The time that is left of a certificate is worth a warning when it is both
// short and a small part of the whole: one that lives for an hour is renewed in
// minutes.
const (
	soonLeft = 14 * 24 * time.Hour
	soonPart = 5
)

// expiry looks at the certificate of the chain that ends first.
func (e *exam) expiry(chain []*x509.Certificate, said string) {
	first := chain[0]
	for _, c := range chain {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	left := time.Until(first.NotAfter)
	whose := ""
	if first != chain[0] {
		whose = " of its authority " + first.Subject.CommonName
	}
	if left < soonLeft && left < first.NotAfter.Sub(first.NotBefore)/soonPart {
		e.warn(stepTLS, "", said+": "+span(left)+" left"+whose, "renew it")
		return
	}
	e.ok(stepTLS, "", said+": "+span(left)+" left"+whose)
}

func whyCertificate(leaf *x509.Certificate, name string, err error) string {
	why, ok := identity.TLSCause(&tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{leaf}, Err: err})
	now := time.Now()
	switch {
	case now.After(leaf.NotAfter):
		return "the server's certificate expired " + span(now.Sub(leaf.NotAfter)) + " ago"
	case now.Before(leaf.NotBefore):
		return "the server's certificate is not valid before " + leaf.NotBefore.UTC().Format(time.RFC3339)
	case ok && leaf.VerifyHostname(name) != nil:
		return why + " than " + name
	case ok:
		return why
	}
	return "the server's certificate is not good"
}

func fixCertificate(err error) string {
	why, _ := identity.TLSCause(&tls.CertificateVerificationError{Err: err})
	switch {
	case strings.Contains(why, "authority"):
		return "name the authority in VAULT_CACERT (or VAULT_CACERT_BYTES, VAULT_CAPATH)"
	case strings.Contains(why, "another name"):
		return "give the address by a name of the certificate, or say the name with VAULT_TLS_SERVER_NAME"
	case strings.Contains(why, "expired"):
		return "renew the certificate, and check our clock"
	}
	return "check the certificate and VAULT_CACERT"
}
