package render

import (
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// keystore writes the certificate, its chain and its private key as PKCS #12
// (RFC 7292), encrypted with AES-256 and PBKDF2 as OpenSSL 3 and Java 20 do by
// default. OpenSSL from 1.1.1 and Java from 12 (and the updates of 8 and 11 since
// 2021) read it. The salts are random, so no two keystores are equal.
func (m Means) keystore(fields map[string]any) ([]byte, failures) {
	const format = "pkcs12"
	password := string(m.Password.Reveal())
	if why := badKeystorePassword(password); why != "" {
		return nil, failures{{code: plan.CodeConfig, why: "pkcs12 wants a password, and " + why, fix: "set keystore_password"}}
	}
	p, bad := readKeyPair(format, fields)
	if len(bad) > 0 {
		return nil, bad
	}
	if p.key == nil {
		return nil, failures{cannotCarry(format, p.keyField, "it is encrypted", "store it as it is, Vault encrypts it")}
	}
	b, err := pkcs12.Modern2023.WithRand(m.Random).Encode(p.key, p.chain[0], p.chain[1:], password)
	if err != nil {
		return nil, failures{cannotCarry(format, p.keyField, "it is no key that a keystore takes", "")}
	}
	return b, nil
}

// badKeystorePassword tells what is no password for every reader: Java 17 takes
// ASCII only ("Password is not ASCII"), and a line break ends a password wherever
// it is read from a file.
func badKeystorePassword(s string) string {
	switch {
	case s == "":
		return "there is none"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }):
		return "this one has a character that is not printable ASCII, which Java does not take"
	}
	return ""
}
