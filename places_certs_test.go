package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdCerts serves `certs`: it writes PEM files to the folder $WORK/certs, each
// NAME.pem with its key in NAME.key:
//
//	ca         the authority of all below but other
//	other-ca   an authority that signed nothing here
//	server     for 127.0.0.1, ::1 and localhost
//	wrongname  the same for other.example only
//	expired    the same as server, but its time ended an hour ago
//	client     for the client app.example
//	client-expired
//
// It sets CERTS to that folder. `vaultserver own tls` makes them too.
func cmdCerts(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: certs")
	}
	certificates(ts)
}

// certificates gives the folder of `certs` and fills it the first time.
func certificates(ts *testscript.TestScript) string {
	dir := filepath.Join(ts.Getenv("WORK"), "certs")
	ts.Setenv("CERTS", dir)
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return dir
	}
	ca := issue(ts, dir, certificate{name: "ca", authority: true}, nil)
	issue(ts, dir, certificate{name: "other-ca", authority: true}, nil)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	for _, c := range []certificate{
		{name: "server", hosts: []string{"localhost"}, ips: loopback},
		{name: "wrongname", hosts: []string{"other.example"}},
		{name: "expired", hosts: []string{"localhost"}, ips: loopback, expired: true},
		{name: "client", hosts: []string{"app.example"}, client: true},
		{name: "client-expired", hosts: []string{"app.example"}, client: true, expired: true},
	} {
		issue(ts, dir, c, ca)
	}
	return dir
}

// certificate says what to put into one.
type certificate struct {
	name      string
	hosts     []string
	ips       []net.IP
	authority bool
	client    bool
	expired   bool
}

// authority is who signs.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue writes a certificate and its key; by is nil where it signs itself.
func issue(ts *testscript.TestScript, dir string, c certificate, by *authority) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	ts.Check(err)
	end := time.Now().Add(time.Hour)
	if c.expired {
		end = time.Now().Add(-time.Hour)
	}
	common := c.name
	if len(c.hosts) > 0 {
		common = c.hosts[0]
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: common}, DNSNames: c.hosts, IPAddresses: c.ips,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end, BasicConstraintsValid: true, IsCA: c.authority,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	switch {
	case c.authority:
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign, nil
	case c.client:
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if by == nil {
		by = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	writePEM(ts, filepath.Join(dir, c.name+".pem"), "CERTIFICATE", der)
	writePEM(ts, filepath.Join(dir, c.name+".key"), "PRIVATE KEY", secret)
	cert, err := x509.ParseCertificate(der)
	ts.Check(err)
	return &authority{cert, key}
}

func writePEM(ts *testscript.TestScript, path, kind string, der []byte) {
	ts.Check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// cmdKeyPair serves `keypair CERT KEY CA`: three PEM files where the key is that
// of the certificate, which the authorities in CA vouch for now.
func cmdKeyPair(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: keypair CERT KEY CA")
	}
	pair, err := tls.LoadX509KeyPair(ts.MkAbs(args[0]), ts.MkAbs(args[1]))
	ts.Check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ts.ReadFile(args[2]))) {
		ts.Fatalf("%s holds no certificate", args[2])
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	ts.Check(err)
}
