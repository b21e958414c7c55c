package render

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
)

// pemBundle writes one PEM file with the certificate, its chain and its private
// key, in this order, as HAProxy, nginx, Postgres and others read it.
func pemBundle(fields map[string]any) ([]byte, failures) {
	p, bad := readKeyPair("pem-bundle", fields)
	if len(bad) > 0 {
		return nil, bad
	}
	var out bytes.Buffer
	for _, c := range p.chain {
		_ = pem.Encode(&out, &pem.Block{Type: certificateBlock, Bytes: c.Raw}) // a Buffer takes everything
	}
	if err := pem.Encode(&out, p.keyBlock); err != nil { // a header with a colon in its name
		return nil, failures{cannotCarry("pem-bundle", p.keyField, "its header cannot be written again", "")}
	}
	return out.Bytes(), nil
}

// keyPair is a certificate with its chain and its private key.
type keyPair struct {
	chain    []*x509.Certificate // its own first; each once
	keyField string              // the name that the key has in the secret
	keyBlock *pem.Block
	key      crypto.Signer // nil: it is encrypted
}

const certificateBlock = "CERTIFICATE"

// readKeyPair finds the parts of a key pair in a secret by the names that they
// have in Vault's pki engine, by the usual short ones, and by those of a
// Kubernetes TLS secret:
//
//	certificate, cert, tls.crt         the certificate, which may have its chain behind it
//	private_key, key, tls.key          its private key
//	ca_chain, issuing_ca, ca.crt       the chain: the first of them that is not empty
//
// The chain may be missing. A certificate and a key that do not belong together
// are refused: a server would find that out only when it starts.
func readKeyPair(format string, fields map[string]any) (keyPair, failures) {
	r := pemReader{format: format, fields: fields}
	p := keyPair{}
	r.certificates(&p, r.only("certificate", "certificate", "cert", "tls.crt"))
	r.certificates(&p, r.first("ca_chain", "issuing_ca", "ca.crt"))
	p.keyField = r.only("private key", "private_key", "key", "tls.key")
	r.key(&p)
	if len(r.bad) > 0 {
		return keyPair{}, r.bad
	}
	if p.key != nil && !belong(p.chain[0], p.key) {
		r.fail(p.keyField, "it does not belong to the certificate")
	}
	return p, r.bad
}

func belong(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public())
}

// pemReader reads the fields of a secret and goes on after a failure.
type pemReader struct {
	format string
	fields map[string]any
	bad    failures
}

func (r *pemReader) fail(name, why string) {
	r.bad = append(r.bad, cannotCarry(r.format, name, why, ""))
}

// only gives the one name of several that has a value.
func (r *pemReader) only(what string, names ...string) string {
	there := slices.DeleteFunc(slices.Clone(names), r.isEmpty)
	switch len(there) {
	case 0:
		r.bad = append(r.bad, missing(
			fmt.Sprintf("%s wants a %s, and there is none of the fields %s", r.format, what, strings.Join(names, ", ")), "name the field so, or use a template"))
		return ""
	case 1:
		return there[0]
	}
	r.bad = append(r.bad, badData(
		fmt.Sprintf("%s wants one %s, and there are the fields %s", r.format, what, strings.Join(there, ", ")), "keep one of them, or use a template"))
	return ""
}

// first gives the first name that has a value; "" when none has.
func (r *pemReader) first(names ...string) string {
	if i := slices.IndexFunc(names, func(n string) bool { return !r.isEmpty(n) }); i >= 0 {
		return names[i]
	}
	return ""
}

func (r *pemReader) isEmpty(name string) bool {
	switch v := r.fields[name].(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return false
}

// blocks gives the PEM blocks of a field: of a text, or of a list of texts.
func (r *pemReader) blocks(name string) []*pem.Block {
	var text strings.Builder
	list, ok := r.fields[name].([]any)
	if !ok {
		list = []any{r.fields[name]}
	}
	for _, v := range list {
		s, ok := v.(string)
		if !ok {
			r.fail(name, "it is not text in PEM")
			return nil
		}
		text.WriteString(s + "\n")
	}
	blocks := pemBlocks(text.String())
	if blocks == nil {
		r.fail(name, "it is not PEM, or not whole")
	}
	return blocks
}

// pemBlocks takes PEM text apart; nil when there is none, or when a part of it
// cannot be decoded. What stands between the blocks is left out.
func pemBlocks(text string) []*pem.Block {
	var blocks []*pem.Block
	for b, rest := pem.Decode([]byte(text)); b != nil; b, rest = pem.Decode(rest) {
		blocks = append(blocks, b)
	}
	// pem.Decode skips what it cannot decode, so they are counted.
	if len(blocks) != strings.Count(text, "-----BEGIN ") {
		return nil
	}
	return blocks
}

// certificates adds those of a field to the chain, each once: pki's chain begins
// with what tls.crt may have already.
func (r *pemReader) certificates(p *keyPair, name string) {
	if name == "" {
		return
	}
	for _, b := range r.blocks(name) {
		if b.Type != certificateBlock {
			r.fail(name, "it has something else than certificates in it") // pki's format=pem_bundle
			return
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			r.fail(name, "it has a certificate in it that cannot be read")
			return
		}
		if !slices.ContainsFunc(p.chain, c.Equal) {
			p.chain = append(p.chain, c)
		}
	}
}

// key reads the private key. One that is encrypted is left as it is.
func (r *pemReader) key(p *keyPair) {
	if p.keyField == "" {
		return
	}
	blocks := r.blocks(p.keyField)
	if blocks == nil {
		return
	}
	blocks = slices.DeleteFunc(blocks, func(b *pem.Block) bool {
		return b.Type == "EC PARAMETERS" // openssl writes them before the key, which has them, too
	})
	if len(blocks) != 1 {
		r.fail(p.keyField, "it is not exactly one private key")
		return
	}
	p.keyBlock = blocks[0]
	if p.keyBlock.Type == "ENCRYPTED PRIVATE KEY" || p.keyBlock.Headers["DEK-Info"] != "" {
		return
	}
	if p.key = parseKey(p.keyBlock); p.key == nil {
		r.fail(p.keyField, "it is no private key of a kind that is known here")
	}
}

// parseKey gives nil for what it cannot read.
func parseKey(b *pem.Block) crypto.Signer {
	var key any
	var err error
	switch b.Type {
	case "PRIVATE KEY": // RFC 5958
		key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
	case "RSA PRIVATE KEY": // RFC 8017
		key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
	case "EC PRIVATE KEY": // RFC 5915
		key, err = x509.ParseECPrivateKey(b.Bytes)
	}
	if err != nil {
		return nil
	}
	signer, _ := key.(crypto.Signer)
	return signer
}
