package vault

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// maxPEM bounds a file of certificates, in bytes.
const maxPEM = 8 << 20

// tlsConfig makes the settings of the vault command into a configuration. Of
// the ways to name authorities, a file wins over a text and a text over a
// folder, as in Vault's own client. Problems have plan.CodeConfig, one per
// setting.
func tlsConfig(t plan.TLS, own *keyPair) (*tls.Config, error) {
	var ps plan.Problems
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName.Or(""),
		InsecureSkipVerify: t.SkipVerify.Or(false), //nolint:gosec // asked for, and warned about
	}
	roots, err := authorities(t)
	ps.Add(err)
	conf.RootCAs = roots
	cert, err := clientCertificate(t)
	ps.Add(err)
	if own != nil {
		cert = &own.cert
	}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	return conf, ps.Err()
}

// authorities gives nil, which stands for the system's, when none are named.
// Each setting is checked, also one that another wins over.
func authorities(t plan.TLS) (*x509.CertPool, error) {
	var ps plan.Problems
	var pools []*x509.CertPool
	add := func(s plan.Setting[string], fill func(*x509.CertPool, plan.Setting[string]) error) {
		if s.IsSet {
			pool := x509.NewCertPool()
			ps.Add(fill(pool, s))
			pools = append(pools, pool)
		}
	}
	add(t.CACert, func(pool *x509.CertPool, s plan.Setting[string]) error {
		return addFile(pool, s.Value, "CA certificate", s.Origin)
	})
	add(t.CACertPEM, func(pool *x509.CertPool, s plan.Setting[string]) error {
		if !pool.AppendCertsFromPEM([]byte(s.Value)) {
			return noPEM("CA certificate", s.Origin)
		}
		return nil
	})
	add(t.CAPath, addFolder)
	if len(pools) == 0 {
		return nil, nil
	}
	return pools[0], ps.Err()
}

// addFolder takes every file of a folder. A Kubernetes volume keeps its own
// links beside the files, with names that begin with two dots.
func addFolder(pool *x509.CertPool, s plan.Setting[string]) error {
	entries, err := os.ReadDir(s.Value)
	if err != nil {
		return unreadable("CA folder "+s.Value, s.Origin, err)
	}
	var ps plan.Problems
	files := 0
	for _, e := range entries {
		path := filepath.Join(s.Value, e.Name())
		info, err := os.Stat(path)
		if err != nil || info.IsDir() || strings.HasPrefix(e.Name(), "..") {
			continue
		}
		files++
		ps.Add(addFile(pool, path, "CA certificate", s.Origin))
	}
	if files == 0 {
		ps.Add(noPEM("CA folder "+s.Value, s.Origin))
	}
	return ps.Err()
}

func addFile(pool *x509.CertPool, path, what string, from plan.Origin) error {
	text, err := readFile(path)
	if err != nil {
		return unreadable(what+" "+path, from, err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return noPEM(what+" "+path, from)
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPEM))
}

// clientCertificate reads certificate and key; nil when neither is named.
func clientCertificate(t plan.TLS) (*tls.Certificate, error) {
	cert, key := t.ClientCert, t.ClientKey
	switch {
	case !cert.IsSet && !key.IsSet:
		return nil, nil
	case !cert.IsSet:
		return nil, halfPair(key.Origin, "client key", "certificate", "vault.tls.client_cert (VAULT_CLIENT_CERT)")
	case !key.IsSet:
		return nil, halfPair(cert.Origin, "client certificate", "key", "vault.tls.client_key (VAULT_CLIENT_KEY)")
	}
	var ps plan.Problems
	certPEM, err := readFile(cert.Value)
	if err != nil {
		ps.Add(unreadable("client certificate "+cert.Value, cert.Origin, err))
	}
	keyPEM, err := readFile(key.Value)
	defer clear(keyPEM)
	if err != nil {
		ps.Add(unreadable("client key "+key.Value, key.Origin, err))
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	return pairOf(certPEM, keyPEM, cert.Origin)
}

func pairOf(certPEM, keyPEM []byte, from plan.Origin) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil { // its text may quote the PEM
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: from, What: "client certificate", Why: "it and its key are not PEM, or do not belong together",
			Fix: "check both files",
		}
	}
	return &pair, nil
}

func halfPair(from plan.Origin, there, absent, name string) error {
	return &plan.Problem{Code: plan.CodeConfig, Origin: from, What: there, Why: "given without its " + absent, Fix: "set " + name + " too"}
}

func unreadable(what string, from plan.Origin, err error) error {
	return &plan.Problem{Code: plan.CodeConfig, Origin: from, What: what, Why: plan.PathCause(err), Fix: "check the path", Err: err}
}

func noPEM(what string, from plan.Origin) error {
	return &plan.Problem{Code: plan.CodeConfig, Origin: from, What: what, Why: "holds no certificate in PEM", Fix: "give one or more in PEM"}
}
