package render

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
)

// certificate is what the function pkiCert gives. Data has the same again, so
// that .Data.Cert means .Cert.
type certificate struct {
	pemTexts
	Data *pemTexts `json:"-"`
}

// pemTexts are PEM texts, each with a newline at its end. One that the answer
// does not have is missing.
type pemTexts struct {
	Cert, Key, CA any
	CAChain       []string // CA and the authorities above it
}

func (*pemTexts) name() (string, string) {
	return "a certificate with its key", "name a member of it: .Cert, .Key, .CA or .CAChain"
}

// pkiCert has a certificate issued: the arguments are those of a write with the
// function secret, and equal ones give the same certificate everywhere. Unlike
// consul-template it never takes an old one from the file that it renders to.
func pkiCert(r *run, args ...string) (any, error) {
	if len(args) == 1 {
		args = append(args, "") // without data it is a write, too
	}
	a, err := r.read("pkiCert", args)
	if a == nil || err != nil {
		return nil, err
	}
	c := &pemTexts{CAChain: []string{}}
	// The order makes issuing_ca the CA, whatever stands in the chain. What
	// Vault calls certificate may be a bundle of all of them.
	names := slices.Concat([]string{"certificate", "private_key", "issuing_ca", "ca_chain"}, slices.Sorted(maps.Keys(a.Data)))
	for _, name := range names {
		if err := c.add(a.Data[name]); err != nil {
			return nil, err
		}
	}
	if c.Cert == nil && c.Key == nil && c.CA == nil {
		return nil, missing("the answer has no certificate in PEM form", "leave format out, or set it to pem")
	}
	return &certificate{*c, c}, r.spend(1 + len(c.CAChain))
}

// add sorts the PEM blocks of a text, or of the texts of a list.
func (c *pemTexts) add(v any) error {
	switch v := v.(type) {
	case []any:
		for _, elem := range v {
			if err := c.add(elem); err != nil {
				return err
			}
		}
	case string:
		rest := []byte(v)
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				return nil
			}
			if err := c.block(block); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *pemTexts) block(b *pem.Block) error {
	text := string(pem.EncodeToMemory(b))
	if strings.HasSuffix(b.Type, "PRIVATE KEY") {
		if c.Key == nil {
			c.Key = text
		}
		return nil
	}
	if b.Type != "CERTIFICATE" {
		return nil
	}
	cert, err := x509.ParseCertificate(b.Bytes)
	switch {
	case err != nil:
		return badData("the answer has a certificate that cannot be parsed", "")
	case !cert.IsCA:
		if c.Cert == nil {
			c.Cert = text
		}
	case !slices.Contains(c.CAChain, text):
		if c.CA == nil {
			c.CA = text
		}
		c.CAChain = append(c.CAChain, text)
	}
	return nil
}
