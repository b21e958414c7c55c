package render

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// pki is a chain of three certificates in PEM, and the key of the first.
type pki struct {
	key                      *ecdsa.PrivateKey
	keyPEM, pkcs8            string
	leaf, intermediate, root string
}

func newPKI(t testing.TB) pki {
	t.Helper()
	var p pki
	sign := func(name string, ca bool, by *x509.Certificate, byKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IsCA: ca, BasicConstraintsValid: true,
		}
		if !ca {
			c.DNSNames, c.EmailAddresses = []string{"a.example", "b.example"}, []string{"x@a.example"}
			c.IPAddresses, c.URIs = []net.IP{net.IPv4(10, 0, 0, 1)}, []*url.URL{{Scheme: "spiffe", Host: "a", Path: "/b"}}
		}
		if by == nil {
			by, byKey = c, key
		}
		der := must(x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey))(t)
		return must(x509.ParseCertificate(der))(t), key
	}
	root, rootKey := sign("root", true, nil, nil)
	intermediate, intermediateKey := sign("intermediate", true, root, rootKey)
	leaf, key := sign("leaf", false, intermediate, intermediateKey)
	p.leaf, p.intermediate, p.root = encodePEM("CERTIFICATE", leaf.Raw), encodePEM("CERTIFICATE", intermediate.Raw), encodePEM("CERTIFICATE", root.Raw)
	p.key = key
	p.keyPEM = encodePEM("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(key))(t))
	p.pkcs8 = encodePEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key))(t))
	return p
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// external executes a template of the External Secrets Operator over texts.
func external(t *testing.T, data map[string]any, text, want string) {
	t.Helper()
	b := must(json.Marshal(data))(t)
	checkOver(t, plan.Template{Text: text, Dialect: plan.DialectExternalSecrets}, string(b), want)
}

func TestCertificateFunctions(t *testing.T) {
	p := newPKI(t)
	data := map[string]any{
		"key": p.keyPEM, "cert": p.leaf, "all": "junk\n" + p.keyPEM + p.leaf + p.intermediate, "mixed": p.root + p.leaf + p.intermediate,
		"two": p.leaf + newPKI(t).leaf, "root": p.root, "broken": p.leaf + "-----BEGIN CERTIFICATE-----\n" + canary, "other": newPKI(t).keyPEM, "text": canary,
	}
	for text, want := range map[string]string{
		`{{ .all | filterPEM "certificate" }}`:                                                   p.leaf + p.intermediate,
		`{{ .all | filterPEM "EC PRIVATE KEY" }}`:                                                p.keyPEM,
		`{{ .cert | filterPEM "PRIVATE KEY" }}`:                                                  "",
		`{{ filterPEM "CERTIFICATE" "" }}`:                                                       "",
		`{{ .text | filterPEM "CERTIFICATE" }}`:                                                  "error 65: the value is not PEM, or not whole",
		`{{ .broken | filterPEM "CERTIFICATE" }}`:                                                "error 65: the value is not PEM, or not whole",
		`{{ .mixed | filterCertChain "leaf" }}`:                                                  p.leaf,
		`{{ .mixed | filterCertChain "intermediate" }}`:                                          p.intermediate,
		`{{ .mixed | filterCertChain "root" }}`:                                                  p.root,
		`{{ .root | filterCertChain "leaf" }}`:                                                   "",
		`{{ .root | filterCertChain "root" }}`:                                                   p.root,
		`{{ .cert | filterCertChain "root" }}`:                                                   "",
		`{{ .two | filterCertChain "leaf" }}`:                                                    "error 65: the certificates are not one chain",
		`{{ .all | filterCertChain "leaf" }}`:                                                    `error 65: something else than certificates in it, or one that cannot be read (declared at secretboot.yaml:3:5); filterPEM`,
		`{{ .cert | filterCertChain .text }}`:                                                    "error 65: argument 1 must be one of leaf, intermediate, root",
		`{{ .cert | certSANs | join "," }}`:                                                      "a.example,b.example,10.0.0.1,x@a.example,spiffe://a/b",
		`{{ .root | certSANs | len }}`:                                                           "0",
		`{{ .text | certSANs }}`:                                                                 "error 65: not PEM",
		`{{ pemToPkcs12 .cert .key | b64dec | pkcs12key }}`:                                      p.pkcs8,
		`{{ pemToPkcs12Pass .mixed .key "pw" }}`:                                                 "error 65: the key does not belong to the first certificate",
		`{{ pemToPkcs12Pass .cert .key "pw" | b64dec | pkcs12certPass "pw" }}`:                   p.leaf,
		`{{ fullPemToPkcs12 (print .cert .root) .key | b64dec | pkcs12cert }}`:                   p.leaf + p.root,
		`{{ fullPemToPkcs12Pass (print .cert .mixed) .key "pw" | b64dec | pkcs12keyPass "pw" }}`: p.pkcs8,
		`{{ pemToPkcs12Pass .cert .key "pw" | b64dec | pkcs12keyPass .text }}`:                   "error 65: no PKCS #12 keystore with a key and its certificate, or the password is not the one of it (declared at secretboot.yaml:3:5); a keystore",
		`{{ .text | pkcs12cert }}`:                                                               "error 65: no PKCS #12 keystore",
		`{{ pemToPkcs12 .cert .other }}`:                                                         "error 65: the key does not belong",
		`{{ pemToPkcs12 .cert .text }}`:                                                          "error 65: not PEM",
		`{{ pemToPkcs12 .cert .cert }}`:                                                          "error 65: no private key of a kind",
		`{{ pemTruststoreToPKCS12 .text }}`:                                                      "error 65: not PEM",
	} {
		external(t, data, text, want)
	}
	// A chain is put in order.
	external(t, data, `{{ fullPemToPkcs12 (print .cert .root (.mixed | filterCertChain "intermediate")) .key | b64dec | pkcs12cert }}`, p.leaf+p.intermediate+p.root)
	store, err := over(t, plan.Template{Text: `{{ pemTruststoreToPKCS12Pass .mixed "changeit" }}`, Dialect: plan.DialectExternalSecrets}, string(must(json.Marshal(data))(t)))
	if err != nil {
		t.Fatal(err)
	}
	certs, err := pkcs12.DecodeTrustStore(must(base64.StdEncoding.DecodeString(store))(t), "changeit")
	if err != nil || encodeCertificates(certs) != data["mixed"] {
		t.Errorf("%d certificates, %v", len(certs), err)
	}
}

func TestJWK(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	ecKey := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	xKey := must(ecdh.X25519().GenerateKey(rand.Reader))(t)
	point := must(ecKey.PublicKey.Bytes())(t)
	kinds := []struct {
		public crypto.PublicKey
		key    crypto.PrivateKey
		jwk    map[string]string
		secret map[string]string
	}{
		{&ecKey.PublicKey, ecKey, map[string]string{"kty": "EC", "crv": "P-384", "x": b64(point[1:49]), "y": b64(point[49:])}, map[string]string{"d": b64(must(ecKey.Bytes())(t))}},
		{
			&rsaKey.PublicKey, rsaKey,
			map[string]string{"kty": "RSA", "n": b64(rsaKey.N.Bytes()), "e": "AQAB", "kid": "k"},
			map[string]string{"d": b64(rsaKey.D.Bytes()), "p": b64(rsaKey.Primes[0].Bytes()), "q": b64(rsaKey.Primes[1].Bytes())},
		},
		{edKey.Public(), edKey, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(edKey.Public().(ed25519.PublicKey))}, map[string]string{"d": b64(edKey.Seed())}},
		{xKey.PublicKey(), xKey, map[string]string{"kty": "OKP", "crv": "X25519", "x": b64(xKey.PublicKey().Bytes())}, map[string]string{"d": b64(xKey.Bytes())}},
	}
	text := func(m map[string]string) string { return string(must(json.Marshal(m))(t)) }
	for _, k := range kinds {
		data := map[string]any{"public": text(k.jwk)}
		for name, member := range k.secret {
			k.jwk[name] = member
		}
		data["private"] = text(k.jwk)
		external(t, data, `{{ jwkPublicKeyPem .public }}`, encodePEM("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(k.public))(t)))
		external(t, data, `{{ jwkPrivateKeyPem .private }}`, encodePEM("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(k.key))(t)))
		external(t, data, `{{ jwkPublicKeyPem .private }}`, "error 65: the JSON Web Key is private")
		external(t, data, `{{ jwkPrivateKeyPem .public }}`, "error 65: the JSON Web Key is not private")
		k.jwk["d"] = b64([]byte("another key, of thirty-two bytes"))
		external(t, map[string]any{"j": text(k.jwk)}, `{{ jwkPrivateKeyPem .j }}`, "error 65: the JSON Web Key is not whole, or its parts do not belong together")
	}
	for jwk, want := range map[string]string{
		canary:                               "error 65: the value is not a JSON Web Key",
		`{"kty":"oct","k":"` + canary + `"}`: "error 65: a JSON Web Key of this kind has no PEM form",
		`{"kty":"RSA","n":"` + canary + `"}`: "error 65: not whole",
		`{"kty":"RSA","n":"` + strings.Repeat("A", 4000) + `","e":"AQAB"}`: "error 65: not whole",
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`:                     "error 65: not whole",
		`{"kty":"OKP","crv":"Ed25519","x":"AA"}`:                           "error 65: not whole",
		`{"kty":"OKP","crv":"X25519","x":"AA"}`:                            "error 65: not whole",
	} {
		external(t, map[string]any{"j": jwk}, `{{ jwkPublicKeyPem .j }}`, want)
	}
	external(t, map[string]any{"j": `{"kty":"RSA","n":"` + b64(rsaKey.N.Bytes()) + `","e":"AQAB","d":"AQ"}`}, `{{ jwkPrivateKeyPem .j }}`, "error 65: no p and q")
}

func TestRSADecrypt(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	sealed := must(rsa.EncryptOAEP(sha1.New(), rand.Reader, &key.PublicKey, []byte("plain"), nil))(t)
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	data := map[string]any{"key": string(pem.EncodeToMemory(block)), "in": base64.StdEncoding.EncodeToString(sealed), "ec": newPKI(t).keyPEM, "text": canary}
	for text, want := range map[string]string{
		`{{ rsaDecrypt "RSA-OAEP" "SHA1" (.in | b64dec) .key }}`:   "plain",
		`{{ rsaDecrypt "None" "None" .text .key }}`:                canary,
		`{{ rsaDecrypt "RSA-OAEP" "SHA256" (.in | b64dec) .key }}`: "error 65: cannot be decrypted with this key",
		`{{ rsaDecrypt "RSA-OAEP" "SHA512" .text .key }}`:          "error 65: cannot be decrypted with this key",
		`{{ rsaDecrypt "RSA-OAEP" "MD5" .text .key }}`:             "error 65: argument 2 must be one of SHA1",
		`{{ rsaDecrypt .text "SHA1" .text .key }}`:                 "error 65: argument 1 must be one of RSA-OAEP",
		`{{ rsaDecrypt "RSA-OAEP" "None" .text .ec }}`:             "error 65: argument 4 is no RSA key",
		`{{ rsaDecrypt "RSA-OAEP" "None" .text .text }}`:           "error 65: not PEM",
	} {
		external(t, data, text, want)
	}
}

func TestExternalEncodings(t *testing.T) {
	data := map[string]any{"text": canary, "bad": "\xff", "y": "a: 1.5\nbig: 12345678901234567890\ny: yes\nl: [x]\n", "json": `{"n":12345678901234567890,"f":1.50,"huge":123456789012345678901234}`}
	for text, want := range map[string]string{
		`{{ dict "a" 1 "b" (list 1 2) | toYaml }}`:                                                "a: 1\nb:\n- 1\n- 2",
		`{{ fromJson "{\"y\":\"yes\",\"n\":\"1e3\",\"m\":\"a\\nb\\n\",\"nul\":null}" | toYaml }}`: "m: |\n  a\n  b\n\"n\": \"1e3\"\nnul: null\n\"y\": \"yes\"",
		`{{ .text | toYaml }}`:                       canary,
		`{{ (.json | fromJson).n | toYaml }}`:        "12345678901234567890",
		`{{ (.json | fromJson).f | toYaml }}`:        "1.5",
		`{{ .json | fromJson | toYaml }}`:            "error 65: toYaml cannot carry a number of so many digits (declared at secretboot.yaml:3:5)",
		`{{ (fromYaml .y).a }}`:                      "1.5",
		`{{ (fromYaml .y).big }}`:                    "12345678901234567890",
		`{{ (fromYaml .y).true }}`:                   "true",
		`{{ index (fromYaml .y).l 0 }}`:              "x",
		`{{ fromYaml "" | len }}`:                    "0",
		`{{ fromYaml .text }}`:                       "error 65: the value is not a map in YAML",
		`{{ fromYaml "a: 1\na: 2" }}`:                "error 65: the value is not a map in YAML",
		`{{ repeat 300 "[" | fromYaml }}`:            "error 65: nested more than 200",
		`{{ repeat 2000000 "#" | fromYaml }}`:        "error 65: larger than 1 MiB",
		`{{ "68656c6c6f" | hexdec }}`:                "hello",
		`{{ .text | hexdec }}`:                       "error 65: not hexadecimal",
		`{{ htpasswd "u" "secret" "sha" }}`:          "u:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
		`{{ htpasswd "u" "pw" | trunc 6 }}`:          "u:$2a$",
		`{{ htpasswd "u" "pw" "bcrypt" | trunc 6 }}`: "u:$2a$",
		`{{ htpasswd "u" "pw" .text }}`:              "error 65: argument 3 must be one of bcrypt, sha",
		`{{ htpasswd "u:v" "pw" "sha" }}`:            "error 65: the name of a user has no colon",
	} {
		external(t, data, text, want)
	}
}
