package kubernetes_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority makes the cluster's certificates: one for each part that speaks.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	next int64
}

// writePKI writes what the parts are started with, below dir/pki.
func writePKI(t *testing.T, dir string) {
	t.Helper()
	a := &authority{dir: filepath.Join(dir, "pki")}
	mkdir(t, a.dir)
	a.root(t)
	local := []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP(nodeIP), net.ParseIP("10.96.0.1")}
	a.issue(t, "apiserver", pkix.Name{CommonName: "kube-apiserver"}, local, "kubernetes.default.svc")
	a.issue(t, "kubelet-server", pkix.Name{CommonName: node}, local, node)
	a.issue(t, "apiserver-kubelet", pkix.Name{Organization: []string{"system:masters"}, CommonName: "apiserver-kubelet"}, nil)
	for name, subject := range map[string]pkix.Name{
		"admin":     {Organization: []string{"system:masters"}, CommonName: "admin"},
		"kcm":       {CommonName: "system:kube-controller-manager"},
		"scheduler": {CommonName: "system:kube-scheduler"},
		"kubelet":   {Organization: []string{"system:nodes"}, CommonName: "system:node:" + node},
	} {
		a.issue(t, name, subject, nil)
		write(t, a.dir+"/"+name+".kubeconfig", kubeconfig(a.dir, name))
	}
	// The key that service account tokens are signed with.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	a.keep(t, "sa.key", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	check(t, err)
	a.keep(t, "sa.pub", "PUBLIC KEY", public)
}

func (a *authority) root(t *testing.T) {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "ca of the test's cluster"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	key := a.sign(t, "ca", template, nil)
	text, err := os.ReadFile(a.dir + "/ca.crt")
	check(t, err)
	block, _ := pem.Decode(text)
	a.cert, err = x509.ParseCertificate(block.Bytes)
	check(t, err)
	a.key = key
}

// issue writes NAME.crt and NAME.key. What has addresses is a server.
func (a *authority) issue(t *testing.T, name string, subject pkix.Name, ips []net.IP, names ...string) {
	t.Helper()
	use := x509.ExtKeyUsageClientAuth
	if ips != nil {
		use = x509.ExtKeyUsageServerAuth
	}
	a.sign(t, name, &x509.Certificate{
		Subject: subject, IPAddresses: ips, DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
	}, a.cert)
}

func (a *authority) sign(t *testing.T, name string, template, parent *x509.Certificate) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	a.next++
	template.SerialNumber = big.NewInt(a.next)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	var signer crypto.Signer = key
	if parent == nil {
		parent = template
	} else {
		signer = a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(t, err)
	a.keep(t, name+".crt", "CERTIFICATE", der)
	der, err = x509.MarshalECPrivateKey(key)
	check(t, err)
	a.keep(t, name+".key", "EC PRIVATE KEY", der)
	return key
}

func (a *authority) keep(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	write(t, filepath.Join(a.dir, name), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func kubeconfig(pki, name string) string {
	return `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:6443", certificate-authority: ` + pki + `/ca.crt}}]
users: [{name: u, user: {client-certificate: ` + pki + "/" + name + ".crt, client-key: " + pki + "/" + name + `.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`
}
