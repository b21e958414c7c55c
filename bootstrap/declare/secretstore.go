package declare

import (
	"cmp"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net/textproto"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// store is a SecretStore or ClusterSecretStore for Vault: its plan has the
// server and the login, and it makes paths of keys.
type store struct {
	object
	docs []document // what stands beside it: the ConfigMap of a CA may
	spec vaultStore
}

const vaultKey = "spec.provider.vault"

// readStore translates a store. Its problems are in the store.
func readStore(in Input, front string, docs []document, d document) *store {
	s := &store{object: object{document: d, front: front, in: in}, docs: docs}
	var spec storeSpec
	s.apiVersionOf()
	s.fill(d.body["spec"], reflect.ValueOf(&spec).Elem(), "spec")
	for _, name := range slices.Sorted(maps.Keys(spec.Provider)) {
		if name != "vault" && spec.Provider[name] != nil {
			s.fail("spec.provider."+name, "only the provider vault is read", "declare these secrets in another way")
		}
	}
	s.ignoreAll("spec.", "it is for the operator, and there is none", []unusedField{
		{"conditions", spec.Conditions},
		{"controller", spec.Controller},
		{"refreshInterval", spec.RefreshInterval},
		{"retrySettings", spec.RetrySettings},
	})
	if spec.Provider["vault"] == nil {
		if len(s.problems) == 0 {
			s.fail(vaultKey, "it is missing", "say where Vault is: server, path and auth")
		}
		return s
	}
	s.fill(spec.Provider["vault"], reflect.ValueOf(&s.spec).Elem(), vaultKey)
	s.server()
	s.login()
	return s
}

// apiVersionOf refuses what is no object of External Secrets, or is of a time
// when it had other fields.
func (o *object) apiVersionOf() {
	if o.apiVersion != "external-secrets.io/v1" && o.apiVersion != "external-secrets.io/v1beta1" {
		o.fail("apiVersion", "it must be external-secrets.io/v1 or external-secrets.io/v1beta1", "")
	}
}

// sameServer reports whether two stores lead to one server with one login; where
// the secrets are on it may differ.
func (s *store) sameServer(other *store) bool {
	a, b := s.spec, other.spec
	a.Path, a.Version, b.Path, b.Version = "", "", "", ""
	return reflect.DeepEqual(a, b)
}

func (s *store) server() {
	v := &s.plan.Vault
	s.set(&v.Address, s.spec.Server, vaultKey+".server")
	s.set(&v.Namespace, s.spec.Namespace, vaultKey+".namespace")
	s.set(&s.plan.Login.Namespace, s.spec.Auth.Namespace, vaultKey+".auth.namespace")
	s.authorities()
	for _, half := range []struct {
		ref  *secretRef
		to   *plan.Setting[string]
		name string
		key  string
	}{
		{s.spec.TLS.Cert, &v.TLS.ClientCert, "certSecretRef", "tls.crt"},
		{s.spec.TLS.Key, &v.TLS.ClientKey, "keySecretRef", "tls.key"},
	} {
		key := vaultKey + ".tls." + half.name
		if file := s.secretFile(half.ref, half.key, key); file != "" {
			*half.to = plan.Set(file, s.at(key))
		}
	}
	s.headers()
	s.ignoreAll(vaultKey+".", "it is about secrets that the client writes itself, and we write none", []unusedField{
		{"checkAndSet", s.spec.CheckSet},
		{"forwardInconsistent", s.spec.Forward},
		{"readYourWrites", s.spec.ReadYours},
	})
}

func (s *store) set(to *plan.Setting[string], value, key string) {
	if value != "" {
		*to = plan.Set(value, s.at(key))
	}
}

// authorities finds the certificates that vouch for the server. They are public,
// so those of a ConfigMap beside the store go into the plan.
func (s *store) authorities() {
	t := &s.plan.Vault.TLS
	from, key := s.spec.CAProvider, vaultKey+".caProvider"
	if s.spec.CABundle != "" {
		text, ok := bundlePEM(s.spec.CABundle)
		if !ok {
			s.fail(vaultKey+".caBundle", "it must be PEM certificates in base64", "give it as base64 -w0 ca.pem prints it")
		}
		t.CACertPEM = plan.Set(text, s.at(vaultKey+".caBundle"))
		if from != nil {
			s.ignore(key, "caBundle is there, and wins in the original too")
		}
		return
	}
	switch {
	case from == nil:
	case from.Type == "Secret":
		if file := s.secretFile(&secretRef{Name: from.Name, Key: from.Key}, "", key); file != "" {
			t.CACert = plan.Set(file, s.at(key))
		}
	default:
		text, why, fix := configMapText(s.docs, from.Name, from.Key, cmp.Or(from.Namespace, s.namespace))
		if why == "" {
			if block, _ := pem.Decode([]byte(text)); block == nil {
				why = "the ConfigMap's text has no PEM certificates"
			}
		}
		if why != "" {
			s.fail(key, why, fix)
		}
		t.CACertPEM = plan.Set(text, s.at(key))
	}
}

// bundlePEM decodes a caBundle. One that was encoded twice is accepted, as the
// original does.
func bundlePEM(s string) (string, bool) {
	text := []byte(s)
	for range 2 {
		var err error
		if text, err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text))); err != nil {
			return "", false
		}
		if block, _ := pem.Decode(text); block != nil {
			return string(text), true
		}
	}
	return "", false
}

// configMapText gives a text of a ConfigMap in the same file.
func configMapText(docs []document, name, key, namespace string) (text, why, fix string) {
	d, ok := named(docs, "ConfigMap", name, namespace)
	if !ok {
		return "", fmt.Sprintf("the ConfigMap %q is not in the file", name), "put it into the same file: the cluster's API is not asked"
	}
	data, _ := d.body["data"].(map[string]any)
	text, ok = data[key].(string)
	if !ok {
		return "", fmt.Sprintf("the ConfigMap %q has no text with this key", name), "check the key"
	}
	return text, "", ""
}

// headers are told by their names only: whoever wrote them into the store has
// shown them to all who may read it, but a log is open to more people.
func (s *store) headers() {
	for _, name := range slices.Sorted(maps.Keys(s.spec.Headers)) {
		key, value := vaultKey+".headers."+name, s.spec.Headers[name]
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		_, twice := s.plan.Vault.Headers[canonical]
		switch err := plan.CheckHeader(name); {
		case err != nil:
			s.fail(key, err.Error(), "")
		case twice:
			s.fail(key, "the same header is there twice, in another spelling", "keep one of the two")
		case strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }):
			s.fail(key, "a header cannot have a line break or another control character in it", "")
		default:
			h := plan.Handle{Kind: plan.HandleText, Name: value, Origin: s.at(key)}
			s.plan.Vault.Headers = put(s.plan.Vault.Headers, canonical, h)
		}
	}
}

// secretsFolder is where the Secrets are expected that a store takes its login
// from, each mounted as a volume: the key KEY of the Secret NAME is the file
// NAME/KEY below it. The operator asks the cluster's API for them, which a pod
// has no rights to.
const secretsFolder = "/etc/secretboot/secrets"

// secretFile gives the file that stands for a key of a Secret; "" for none.
func (s *store) secretFile(ref *secretRef, usual, key string) string {
	if ref == nil {
		return ""
	}
	name := ref.Key
	if name == "" {
		name = usual
	}
	switch {
	case badSecretKey(ref.Name) != "":
		s.fail(key+".name", "it is no name of a Secret", "")
	case name == "":
		s.fail(key+".key", "it is missing", "name the key of the Secret")
	case badSecretKey(name) != "":
		s.fail(key+".key", badSecretKey(name), "")
	default:
		return path.Join(secretsFolder, ref.Name, name)
	}
	return ""
}

// badSecretKey says why a name is none that the keys of a Secret may have, and
// so no name of a file.
//
// https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data
func badSecretKey(name string) string {
	allowed := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r)
	}
	switch {
	case name == "":
		return "it is empty"
	case len(name) > 253:
		return "it is longer than 253 characters"
	case name == "." || strings.HasPrefix(name, ".."):
		return "a key is not . and does not begin with .."
	case strings.ContainsFunc(name, func(r rune) bool { return !allowed(r) }):
		return "a key has only letters, digits, -, _ and ."
	}
	return ""
}
