package render

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// issuer is a chain of a root and an intermediate for the tests.
type issuer struct {
	root, intermediate string // PEM
	cert               *x509.Certificate
	key                crypto.Signer
}

func signCertificate(t testing.TB, name string, public any, parent *x509.Certificate, by crypto.Signer) (string, *x509.Certificate) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name}, IsCA: parent == nil || name == "intermediate", BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name + ".example"}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), c
}

func newIssuer(t testing.TB) issuer {
	t.Helper()
	_, rootKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is := issuer{key: key}
	root, rootCert := signCertificate(t, "root", rootKey.Public(), nil, rootKey)
	is.root = root
	is.intermediate, is.cert = signCertificate(t, "intermediate", key.Public(), rootCert, rootKey)
	return is
}

// issue gives a certificate for key.
func (is issuer) issue(t testing.TB, key crypto.Signer) string {
	t.Helper()
	text, _ := signCertificate(t, "leaf", key.Public(), is.cert, is.key)
	return text
}

// keys are private keys in every form that Vault or openssl gives them.
func keys(t testing.TB) map[string]struct {
	signer crypto.Signer
	pem    string
} {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	parameters := text("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	return map[string]struct {
		signer crypto.Signer
		pem    string
	}{
		"rsa pkcs1":    {rsaKey, text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"rsa pkcs8":    {rsaKey, text("PRIVATE KEY", pkcs8(rsaKey))},
		"ec sec1":      {ecKey, text("EC PRIVATE KEY", sec1)},
		"ec with head": {ecKey, parameters + text("EC PRIVATE KEY", sec1)},
		"ec pkcs8":     {ecKey, text("PRIVATE KEY", pkcs8(ecKey))},
		"ed25519":      {edKey, text("PRIVATE KEY", pkcs8(edKey))},
	}
}

const keystorePassword = "pass \"word 1!"

func testMeans() Means {
	return Means{Random: rand.Reader, Password: secret.New([]byte(keystorePassword))}
}

// TestKeyPairs writes each kind of key in both formats, and reads it back.
func TestKeyPairs(t *testing.T) {
	is := newIssuer(t)
	for name, k := range keys(t) {
		t.Run(name, func(t *testing.T) {
			leaf := is.issue(t, k.signer)
			for shape, fields := range map[string]map[string]any{
				"pki":        {"certificate": leaf, "private_key": k.pem, "ca_chain": []any{is.intermediate, is.root}, "issuing_ca": is.intermediate, "serial_number": "1"},
				"kubernetes": {"tls.crt": leaf + is.intermediate, "tls.key": k.pem, "ca.crt": is.intermediate + is.root},
				"short":      {"cert": leaf, "key": strings.TrimSpace(k.pem), "issuing_ca": is.intermediate + is.root, "ca_chain": []any{}, "certificate": ""},
			} {
				checkBundle(t, shape, fields, leaf+is.intermediate+is.root)
				checkKeystore(t, shape, fields, k.signer, leaf+is.intermediate+is.root)
			}
		})
	}
}

func checkBundle(t *testing.T, shape string, fields map[string]any, chain string) {
	t.Helper()
	b, bad := testMeans().write(plan.Ref{Format: plan.FormatPEMBundle}, fields)
	if len(bad) > 0 {
		t.Errorf("%s: %v", shape, bad)
		return
	}
	if !strings.HasPrefix(string(b), chain+"-----BEGIN ") || strings.Count(string(b), "PRIVATE KEY-----\n") != 2 {
		t.Errorf("%s: got %s", shape, b)
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil || len(pair.Certificate) != 3 {
		t.Errorf("%s: %v, %d certificates", shape, err, len(pair.Certificate))
	}
}

func checkKeystore(t *testing.T, shape string, fields map[string]any, key crypto.Signer, chain string) {
	t.Helper()
	b, bad := testMeans().write(plan.Ref{Format: plan.FormatPKCS12}, fields)
	if len(bad) > 0 {
		t.Errorf("%s: %v", shape, bad)
		return
	}
	got, leaf, rest, err := pkcs12.DecodeChain(b, keystorePassword)
	if err != nil || !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got.(crypto.Signer).Public()) {
		t.Errorf("%s: %v", shape, err)
		return
	}
	var text bytes.Buffer
	for _, c := range append([]*x509.Certificate{leaf}, rest...) {
		_ = pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	if text.String() != chain {
		t.Errorf("%s: another chain", shape)
	}
	if _, _, _, err := pkcs12.DecodeChain(b, "wrong"); err == nil {
		t.Errorf("%s: any password opens it", shape)
	}
}

// keystoreFile writes a keystore for a program to read.
func keystoreFile(t *testing.T) (file, leaf string) {
	t.Helper()
	is, k := newIssuer(t), keys(t)["ec sec1"]
	leaf = is.issue(t, k.signer)
	b, bad := testMeans().write(plan.Ref{Format: plan.FormatPKCS12}, map[string]any{"certificate": leaf, "private_key": k.pem, "issuing_ca": is.intermediate})
	if len(bad) > 0 {
		t.Fatal(bad)
	}
	file = filepath.Join(t.TempDir(), "store.p12")
	if err := os.WriteFile(file, b, 0o400); err != nil {
		t.Fatal(err)
	}
	return file, leaf
}

// TestOpenSSLReadsKeystore: it wants the right password, and AES is what it sees.
func TestOpenSSLReadsKeystore(t *testing.T) {
	openssl := program(t, "openssl", true)
	file, leaf := keystoreFile(t)
	cmd := exec.Command(openssl, "pkcs12", "-in", file, "-nodes", "-info", "-passin", "env:PASSWORD")
	cmd.Env = []string{"PASSWORD=" + keystorePassword, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil || strings.Count(text, "BEGIN CERTIFICATE") != 2 || strings.Count(text, "PRIVATE KEY") != 2 || !strings.Contains(text, leaf) {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(text, "AES-256-CBC") || strings.Contains(text, "RC2") || strings.Contains(text, "3DES") || strings.Contains(strings.ToLower(text), "mac: sha1") {
		t.Errorf("weak encryption: %s", out)
	}
	cmd = exec.Command(openssl, "pkcs12", "-in", file, "-nodes", "-passin", "env:PASSWORD")
	cmd.Env = []string{"PASSWORD=wrong"}
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("the wrong password opens it: %s", out)
	}
}

// TestKeytoolReadsKeystore: Java sees one private key with its chain.
func TestKeytoolReadsKeystore(t *testing.T) {
	keytool := program(t, "keytool", false)
	file, leaf := keystoreFile(t)
	cmd := exec.Command(keytool, "-J-Xshare:auto", "-list", "-rfc", "-keystore", file, "-storepass:env", "PASSWORD")
	cmd.Env = []string{"PASSWORD=" + keystorePassword, "LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	text := strings.ReplaceAll(string(out), "\r", "")
	if err != nil || strings.Count(text, "PrivateKeyEntry") != 1 || !strings.Contains(text, "Certificate chain length: 2") || !strings.Contains(text, strings.TrimSpace(leaf)) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestKeyPairRefused: with the field's name and never its text.
func TestKeyPairRefused(t *testing.T) {
	is, all := newIssuer(t), keys(t)
	key := all["ec sec1"].pem
	leaf := is.issue(t, all["ec sec1"].signer)
	broken := strings.Replace(leaf, "M", "!", 1)
	encrypted := strings.ReplaceAll(key, "EC PRIVATE", "ENCRYPTED PRIVATE")
	for _, tc := range []struct {
		fields map[string]any
		want   string
	}{
		{map[string]any{"certificate": leaf}, "FORMAT wants a private key, and there is none of the fields private_key, key, tls.key; name the field so, or use a template\n"},
		{map[string]any{"private_key": key, "cert": nil}, "FORMAT wants a certificate, and there is none of the fields certificate, cert, tls.crt; name the field so, or use a template\n"},
		{map[string]any{"certificate": leaf, "cert": leaf, "key": key}, "FORMAT wants one certificate, and there are the fields certificate, cert; keep one of them, or use a template\n"},
		{map[string]any{"cert": leaf, "key": all["ed25519"].pem}, "FORMAT cannot carry the value of key: it does not belong to the certificate; \n"},
		{map[string]any{"cert": is.intermediate + leaf, "key": key}, "FORMAT cannot carry the value of key: it does not belong to the certificate; \n"},
		{map[string]any{"cert": leaf + key, "key": key}, "FORMAT cannot carry the value of cert: it has something else than certificates in it; \n"},
		{map[string]any{"cert": "CANARY", "key": "CANARY"}, "FORMAT cannot carry the value of cert: it is not PEM, or not whole; \nFORMAT cannot carry the value of key: it is not PEM, or not whole; \n"},
		{map[string]any{"cert": leaf + broken, "key": key}, "FORMAT cannot carry the value of cert: it is not PEM, or not whole; \n"},
		{map[string]any{"cert": leaf, "key": key + key}, "FORMAT cannot carry the value of key: it is not exactly one private key; \n"},
		{map[string]any{"cert": leaf, "key": leaf}, "FORMAT cannot carry the value of key: it is no private key of a kind that is known here; \n"},
		{map[string]any{"cert": leaf, "key": key, "ca_chain": []any{is.root, true}}, "FORMAT cannot carry the value of ca_chain: it is not text in PEM; \n"},
		{map[string]any{"cert": map[string]any{}, "key": key}, "FORMAT cannot carry the value of cert: it is not text in PEM; \n"},
	} {
		for _, format := range []plan.Format{plan.FormatPEMBundle, plan.FormatPKCS12} {
			whys := ""
			_, bad := testMeans().write(plan.Ref{Format: format}, tc.fields)
			for _, f := range bad {
				whys += f.why + "; " + f.fix + "\n"
			}
			if want := strings.ReplaceAll(tc.want, "FORMAT", format.String()); whys != want {
				t.Errorf("got:\n%s\nwant:\n%s", whys, want)
			}
		}
	}
	fields := map[string]any{"cert": leaf, "key": encrypted}
	if b, bad := testMeans().write(plan.Ref{Format: plan.FormatPEMBundle}, fields); len(bad) > 0 || !strings.HasSuffix(string(b), encrypted) {
		t.Errorf("an encrypted key in a bundle: %v", bad)
	}
	if _, bad := testMeans().write(plan.Ref{Format: plan.FormatPKCS12}, fields); len(bad) != 1 || bad[0].why != "pkcs12 cannot carry the value of key: it is encrypted" {
		t.Errorf("an encrypted key in a keystore: %v", bad)
	}
}

// TestKeystorePasswords: what a keystore cannot have as its password is refused.
func TestKeystorePasswords(t *testing.T) {
	is, k := newIssuer(t), keys(t)["ed25519"]
	fields := map[string]any{"cert": is.issue(t, k.signer), "key": k.pem}
	const notASCII = "this one has a character that is not printable ASCII, which Java does not take"
	for password, why := range map[string]string{
		"": "there is none", "CANARYé": notASCII, "CANARY😀": notASCII, "CANARY\xff": notASCII, "CANARY\x00": notASCII, "CANARY\n": notASCII,
	} {
		m := Means{Random: rand.Reader, Password: secret.New([]byte(password))}
		_, bad := m.write(plan.Ref{Format: plan.FormatPKCS12}, fields)
		if len(bad) != 1 || bad[0].code != plan.CodeConfig || bad[0].why != "pkcs12 wants a password, and "+why {
			t.Errorf("%q: %v", password, bad)
		}
	}
}

// FuzzKeyPair: whatever the three fields hold, nothing of them is in a reason,
// and what is accepted is a certificate with its key to crypto/tls.
func FuzzKeyPair(f *testing.F) {
	is, k := newIssuer(f), keys(f)["ec sec1"]
	leaf := is.issue(f, k.signer)
	f.Add(leaf, k.pem, is.intermediate)
	f.Add(leaf+is.intermediate, "text before\n"+k.pem, "")
	f.Add(k.pem, leaf, leaf)
	f.Add(strings.Replace(leaf, "CERTIFICATE", "X509 CRL", 2), strings.ReplaceAll(k.pem, "EC PRIVATE", "PRIVATE"), "-----BEGIN CERTIFICATE-----")
	f.Add(leaf, "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", "\x00")
	f.Fuzz(func(t *testing.T, cert, key, chain string) {
		fields := map[string]any{"certificate": cert, "private_key": key, "ca_chain": []any{chain}}
		if chain == "" {
			delete(fields, "ca_chain")
		}
		b, bad := testMeans().write(plan.Ref{Format: plan.FormatPEMBundle}, fields)
		for _, problem := range bad {
			for _, text := range []string{cert, key, chain} {
				if len(text) > 30 && strings.Contains(problem.why+problem.fix, text) {
					t.Errorf("the reason holds a value: %s", problem.why)
				}
			}
		}
		if len(bad) > 0 || strings.Contains(key, "ENCRYPTED") || strings.Contains(key, "DEK-Info") {
			return
		}
		if _, err := tls.X509KeyPair(b, b); err != nil {
			t.Errorf("%v:\n%s", err, b)
		}
	})
}
