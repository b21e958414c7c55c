package render

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"hash"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// externalFunctions are what the External Secrets Operator has beside sprig's.
// They do what they do there (runtime/template/v2 of external-secrets), with
// these differences: what it turns into empty text or into a default is an
// error, as are PEM text of which a part cannot be read and a certificate with a
// key that is not its own.
func externalFunctions() []*function {
	list := []*function{
		{name: "toYaml", fn: toSigsYAML, deep: true, inside: mustUTF},
		{name: "fromYaml", fn: fromSigsYAML},
		{name: "hexdec", fn: func(s string) (string, error) {
			b, err := hex.DecodeString(s)
			if err != nil {
				return "", badData("the value is not hexadecimal", "")
			}
			return string(b), nil
		}},
		{name: "htpasswd", fn: htpasswd(sprigRepairs()["htpasswd"]), cost: costLong, deep: true, varies: true},
		{name: "rsaDecrypt", fn: rsaDecrypt},
	}
	return slices.Concat(list, keystoreFunctions(), certificateFunctions(), jwkFunctions())
}

// toSigsYAML writes YAML as sigs.k8s.io/yaml does, byte by byte, but for the last
// newline. That library knows numbers of 64 bits only.
func toSigsYAML(v any) (string, error) {
	if !shortNumbers(v) {
		return "", badData("toYaml cannot carry a number of so many digits", "use toJson")
	}
	b, err := yaml.Marshal(v)
	if err != nil {
		return "", badData("the value cannot be written as YAML", "use toJson")
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}

// shortNumbers reports whether all numbers in v keep their value as an int64,
// a uint64 or the shortest text of a float64.
func shortNumbers(v any) bool {
	switch v := v.(type) {
	case json.Number:
		f, isFloat := exact(v).(float64)
		if !isFloat {
			return exact(v) != any(v)
		}
		x, ok := rational(v)
		y, _ := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
		return ok && y != nil && x.Cmp(y) == 0
	case map[string]any:
		for _, elem := range v {
			if !shortNumbers(elem) {
				return false
			}
		}
	case []any:
		for _, elem := range v {
			if !shortNumbers(elem) {
				return false
			}
		}
	}
	return true
}

// fromSigsYAML reads a map of YAML 1.1, as kubectl does: y is true. A key that
// occurs twice is an error.
func fromSigsYAML(r *run, s string) (map[string]any, error) {
	if len(s) > maxYAML {
		return nil, tooMuch("the YAML text is larger than 1 MiB")
	}
	if nestedYAML(s) {
		return nil, tooMuch("the YAML text is nested more than 200 levels deep")
	}
	m := map[string]any{}
	exactly := func(d *json.Decoder) *json.Decoder {
		d.UseNumber()
		return d
	}
	if err := yaml.UnmarshalStrict([]byte(s), &m, exactly); err != nil {
		return nil, badData("the value is not a map in YAML", "")
	}
	return m, r.inspect(m, 0)
}

// htpasswd gives a line of a password file, with bcrypt or, if asked for, the
// SHA-1 of old servers.
func htpasswd(withBcrypt any) any {
	bcrypt, _ := withBcrypt.(func(string, string) (string, error))
	return func(user, password string, algorithm ...string) (string, error) {
		switch {
		case len(algorithm) == 0 || len(algorithm) == 1 && algorithm[0] == "bcrypt":
			return bcrypt(user, password)
		case len(algorithm) > 1 || algorithm[0] != "sha":
			return "", badData("argument 3 must be one of bcrypt, sha", "")
		case strings.Contains(user, ":"):
			return "", badData("the name of a user has no colon", "")
		}
		sum := sha1.Sum([]byte(password))
		return user + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:]), nil
	}
}

// rsaDecrypt decrypts with a private key in PEM.
func rsaDecrypt(scheme, digest, in, key string) (string, error) {
	switch scheme {
	case "None":
		return in, nil
	case "RSA-OAEP": // RFC 8017, section 7.1
	default:
		return "", badData("argument 1 must be one of RSA-OAEP, None", "")
	}
	hashes := map[string]func() hash.Hash{"None": sha256.New, "SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}
	if hashes[digest] == nil {
		return "", badData("argument 2 must be one of SHA1, SHA256, SHA512, None (which is SHA256)", "")
	}
	signer, err := privateKey(key)
	if err != nil {
		return "", err
	}
	private, ok := signer.(*rsa.PrivateKey)
	if !ok {
		return "", badData("argument 4 is no RSA key", "")
	}
	out, err := rsa.DecryptOAEP(hashes[digest](), nil, private, []byte(in), nil)
	if err != nil {
		return "", badData("the text cannot be decrypted with this key", "")
	}
	return string(out), nil
}
