package render

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
)

// jwkFunctions turn a JSON Web Key into PEM.
func jwkFunctions() []*function {
	return []*function{
		{name: "jwkPublicKeyPem", fn: jwkPublic, cost: costLong},
		{name: "jwkPrivateKeyPem", fn: jwkPrivate, cost: costLong},
	}
}

// jwk is a JSON Web Key (RFC 7517) of the kinds RSA and EC (RFC 7518, section 6)
// and OKP (RFC 8037).
type jwk struct {
	Kind  string `json:"kty"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	D     string `json:"d"`
	P     string `json:"p"`
	Q     string `json:"q"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// maxModulus bounds an RSA key, in bytes: larger ones take minutes.
const maxModulus = 2048

func jwkPublic(text string) (string, error) {
	k, err := parseJWK(text)
	if err != nil {
		return "", err
	}
	if k.D != "" {
		return "", badData("the JSON Web Key is private", "jwkPrivateKeyPem is for one")
	}
	key, err := k.public()
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", badKey()
	}
	return encodePEM("PUBLIC KEY", der), nil
}

func jwkPrivate(text string) (string, error) {
	k, err := parseJWK(text)
	if err != nil {
		return "", err
	}
	if k.D == "" {
		return "", badData("the JSON Web Key is not private", "jwkPublicKeyPem is for one that is public")
	}
	key, err := k.private()
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", badKey()
	}
	return encodePEM("PRIVATE KEY", der), nil
}

func badKey() *failure {
	return badData("the JSON Web Key is not whole, or its parts do not belong together", "")
}

func parseJWK(text string) (jwk, error) {
	var k jwk
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		return k, badData("the value is not a JSON Web Key", "")
	}
	return k, nil
}

// bytesOf reads a member: base64url without padding (RFC 7515, section 2); nil
// for one that is not that.
func bytesOf(member string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(member, "="))
	if err != nil || len(b) > maxModulus {
		return nil
	}
	return b
}

func numberOf(member string) *big.Int { return new(big.Int).SetBytes(bytesOf(member)) }

func (k jwk) public() (crypto.PublicKey, error) {
	switch k.Kind + " " + k.Curve {
	case "RSA ":
		n, e := numberOf(k.N), numberOf(k.E)
		if n.Sign() == 0 || !e.IsInt64() || e.Int64() < 2 || e.Int64() > 1<<31-1 {
			return nil, badKey()
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC P-256", "EC P-384", "EC P-521":
		key, err := ecdsa.ParseUncompressedPublicKey(k.curve(), append(append([]byte{4}, bytesOf(k.X)...), bytesOf(k.Y)...))
		if err != nil {
			return nil, badKey()
		}
		return key, nil
	case "OKP Ed25519":
		x := bytesOf(k.X)
		if len(x) != ed25519.PublicKeySize {
			return nil, badKey()
		}
		return ed25519.PublicKey(x), nil
	case "OKP X25519":
		key, err := ecdh.X25519().NewPublicKey(bytesOf(k.X))
		if err != nil {
			return nil, badKey()
		}
		return key, nil
	}
	return nil, badData("a JSON Web Key of this kind has no PEM form here", "RSA, EC (P-256, P-384, P-521) and OKP (Ed25519, X25519) have one")
}

func (k jwk) curve() elliptic.Curve {
	switch k.Curve {
	case "P-384":
		return elliptic.P384()
	case "P-521":
		return elliptic.P521()
	}
	return elliptic.P256()
}

// private gives the private key after a look whether it belongs to the public
// one, which every private JSON Web Key has in it.
func (k jwk) private() (crypto.PrivateKey, error) {
	public, err := k.public()
	if err != nil {
		return nil, err
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		return k.privateRSA(public)
	case *ecdsa.PublicKey:
		key, err := ecdsa.ParseRawPrivateKey(public.Curve, bytesOf(k.D))
		if err != nil || !key.PublicKey.Equal(public) {
			return nil, badKey()
		}
		return key, nil
	case *ecdh.PublicKey:
		key, err := ecdh.X25519().NewPrivateKey(bytesOf(k.D))
		if err != nil || !bytes.Equal(key.PublicKey().Bytes(), public.Bytes()) {
			return nil, badKey()
		}
		return key, nil
	case ed25519.PublicKey:
		if seed := bytesOf(k.D); len(seed) == ed25519.SeedSize {
			if key := ed25519.NewKeyFromSeed(seed); public.Equal(key.Public()) {
				return key, nil
			}
		}
	}
	return nil, badKey()
}

func (k jwk) privateRSA(public *rsa.PublicKey) (crypto.PrivateKey, error) {
	if k.P == "" || k.Q == "" {
		return nil, badData("the JSON Web Key has no p and q, which PEM cannot do without", "")
	}
	key := &rsa.PrivateKey{PublicKey: *public, D: numberOf(k.D), Primes: []*big.Int{numberOf(k.P), numberOf(k.Q)}}
	key.Precompute()
	if key.Validate() != nil {
		return nil, badKey()
	}
	return key, nil
}
