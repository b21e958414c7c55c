package render

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// keystoreFunctions read and write PKCS #12 (RFC 7292). The file that decides
// how often a password is hashed comes from outside, so they take long.
func keystoreFunctions() []*function {
	list := []*function{
		{name: "pkcs12key", fn: func(file string) (string, error) { return keystoreKey("", file) }},
		{name: "pkcs12keyPass", fn: keystoreKey},
		{name: "pkcs12cert", fn: func(file string) (string, error) { return keystoreChain("", file) }},
		{name: "pkcs12certPass", fn: keystoreChain},
	}
	makers := []*function{
		{name: "pemToPkcs12", fn: func(cert, key string) (string, error) { return newKeystore(cert, key, "", false) }},
		{name: "pemToPkcs12Pass", fn: func(cert, key, pass string) (string, error) { return newKeystore(cert, key, pass, false) }},
		{name: "fullPemToPkcs12", fn: func(cert, key string) (string, error) { return newKeystore(cert, key, "", true) }},
		{name: "fullPemToPkcs12Pass", fn: func(cert, key, pass string) (string, error) { return newKeystore(cert, key, pass, true) }},
		{name: "pemTruststoreToPKCS12", fn: func(certs string) (string, error) { return newTruststore(certs, "") }},
		{name: "pemTruststoreToPKCS12Pass", fn: newTruststore},
	}
	for _, f := range makers {
		f.deep, f.varies = true, true // the salts
	}
	list = append(list, makers...)
	for _, f := range list {
		f.cost = costLong
	}
	return list
}

// keystoreKey gives the private key of a keystore in PEM.
func keystoreKey(password, file string) (string, error) {
	key, _, _, err := pkcs12.DecodeChain([]byte(file), password)
	if err != nil {
		return "", notKeystore()
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", badData("the keystore has a key of a kind that is not known here", "")
	}
	return encodePEM("PRIVATE KEY", der), nil
}

// keystoreChain gives the certificates of a keystore in PEM: from its own to the
// root if they are one chain, else as they stand there.
func keystoreChain(password, file string) (string, error) {
	_, own, more, err := pkcs12.DecodeChain([]byte(file), password)
	if err != nil {
		return "", notKeystore()
	}
	certs := append([]*x509.Certificate{own}, more...)
	if chain, err := chainOf(certs); err == nil {
		certs = chain
	}
	return encodeCertificates(certs), nil
}

func notKeystore() *failure {
	return badData("the value is no PKCS #12 keystore with a key and its certificate, or the password is not the one of it",
		"a keystore that is kept as base64 is decoded with b64dec")
}

// newKeystore writes a certificate, if whole also those behind it, and its key
// as base64 of a keystore.
func newKeystore(certs, key, password string, whole bool) (string, error) {
	chain, err := certificatesOf(certs)
	if err != nil {
		return "", err
	}
	private, err := privateKey(key)
	if err != nil {
		return "", err
	}
	if !belong(chain[0], private) {
		return "", badData("the key does not belong to the first certificate", "")
	}
	var more []*x509.Certificate
	if whole {
		more = chain[1:]
	}
	b, err := pkcs12.Modern2023.Encode(private, chain[0], more, password)
	if err != nil {
		return "", badData("the keystore cannot be written", "")
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// newTruststore writes certificates as base64 of a Java truststore.
func newTruststore(certs, password string) (string, error) {
	list, err := certificatesOf(certs)
	if err != nil {
		return "", err
	}
	b, err := pkcs12.Modern2023.EncodeTrustStore(list, password)
	if err != nil {
		return "", badData("the truststore cannot be written", "")
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// certificateFunctions select parts of PEM text.
func certificateFunctions() []*function {
	return []*function{
		{name: "filterPEM", fn: filterPEM},
		{name: "filterCertChain", fn: filterChain},
		{name: "certSANs", fn: alternativeNames},
	}
}

// filterPEM gives the blocks of a type, without regard to case; none is empty
// text.
func filterPEM(kind, text string) (string, error) {
	blocks := pemBlocks(text)
	if len(blocks) == 0 && text != "" {
		return "", notPEM()
	}
	var out strings.Builder
	for _, b := range blocks {
		if !strings.EqualFold(b.Type, kind) {
			continue
		}
		if err := pem.Encode(&out, b); err != nil {
			return "", badData("a block has a header that cannot be written again", "")
		}
	}
	return out.String(), nil
}

// filterChain gives one part of a chain of certificates, or empty text when it
// has no such part.
func filterChain(part, text string) (string, error) {
	certs, err := certificatesOf(text)
	if err != nil {
		return "", err
	}
	chain, err := chainOf(certs)
	if err != nil {
		return "", err
	}
	isRoot := func(c *x509.Certificate) bool {
		if len(c.AuthorityKeyId) == 0 {
			return bytes.Equal(c.RawIssuer, c.RawSubject)
		}
		return bytes.Equal(c.AuthorityKeyId, c.SubjectKeyId)
	}
	roots := slices.IndexFunc(chain, isRoot)
	if roots < 0 {
		roots = len(chain)
	}
	switch part {
	case "leaf":
		return encodeCertificates(chain[:min(1, roots)]), nil
	case "intermediate":
		return encodeCertificates(chain[min(1, roots):roots]), nil
	case "root":
		return encodeCertificates(chain[roots:]), nil
	}
	return "", badData("argument 1 must be one of leaf, intermediate, root", "")
}

// alternativeNames gives the subject alternative names of the first certificate
// (RFC 5280, section 4.2.1.6).
func alternativeNames(text string) ([]string, error) {
	certs, err := certificatesOf(text)
	if err != nil {
		return nil, err
	}
	c := certs[0]
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	names = append(names, c.EmailAddresses...)
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	return names, nil
}

// maxChain bounds the certificates of which each is compared with each.
const maxChain = 1000

// chainOf sorts certificates from the one that signed none of the others to the
// root. It goes by the identifiers of keys and by names: it is no proof that one
// signed the other.
func chainOf(certs []*x509.Certificate) ([]*x509.Certificate, error) {
	if len(certs) > maxChain {
		return nil, tooMuch("there are more than 1000 certificates")
	}
	signer := make([]int, len(certs))
	leaves := len(certs)
	signs := make([]bool, len(certs))
	for i, c := range certs {
		signer[i] = slices.IndexFunc(certs, func(by *x509.Certificate) bool { return by != c && signed(by, c) })
		if j := signer[i]; j >= 0 && !signs[j] {
			signs[j] = true
			leaves--
		}
	}
	if leaves != 1 {
		return nil, badData("the certificates are not one chain", "")
	}
	var chain []*x509.Certificate
	for i := slices.Index(signs, false); i >= 0; i = signer[i] {
		if len(chain) == len(certs) {
			return nil, badData("the certificates go in a circle", "")
		}
		chain = append(chain, certs[i])
	}
	return chain, nil
}

// signed reports whether by may have signed c (RFC 5280, sections 4.2.1.1 and
// 4.2.1.2).
func signed(by, c *x509.Certificate) bool {
	if len(c.AuthorityKeyId) > 0 && len(by.SubjectKeyId) > 0 {
		return bytes.Equal(c.AuthorityKeyId, by.SubjectKeyId)
	}
	return bytes.Equal(c.RawIssuer, by.RawSubject) && !bytes.Equal(c.RawIssuer, c.RawSubject)
}

// certificatesOf reads PEM text of one certificate or more.
func certificatesOf(text string) ([]*x509.Certificate, error) {
	blocks := pemBlocks(text)
	if len(blocks) == 0 {
		return nil, notPEM()
	}
	certs := make([]*x509.Certificate, len(blocks))
	for i, b := range blocks {
		c, err := x509.ParseCertificate(b.Bytes)
		if b.Type != certificateBlock || err != nil {
			return nil, badData("the PEM text has something else than certificates in it, or one that cannot be read", `filterPEM "CERTIFICATE" selects them`)
		}
		certs[i] = c
	}
	return certs, nil
}

// privateKey reads the first private key in PEM text.
func privateKey(text string) (crypto.Signer, error) {
	blocks := pemBlocks(text)
	if len(blocks) == 0 {
		return nil, notPEM()
	}
	for _, b := range blocks {
		if key := parseKey(b); key != nil {
			return key, nil
		}
	}
	return nil, badData("the PEM text has no private key of a kind that is known here", "")
}

func notPEM() *failure { return badData("the value is not PEM, or not whole", "") }

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func encodeCertificates(certs []*x509.Certificate) string {
	var out strings.Builder
	for _, c := range certs {
		out.WriteString(encodePEM(certificateBlock, c.Raw))
	}
	return out.String()
}
