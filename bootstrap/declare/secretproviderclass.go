package declare

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const secretProviderClassName = "secretproviderclass"

// SecretProviderClass is the front for a SecretProviderClass of the Vault
// provider for the Secrets Store CSI driver: the file that a pod's csi volume
// names, which here needs neither the driver nor the provider.
//
// The files have the same names and bytes. Where they go is said by the pod's
// mount, which is not in the object: give the folder (dir, --dir). A file has
// our mode unless filePermission says otherwise. The login is that of the
// pod's service account.
//
// https://developer.hashicorp.com/vault/docs/deploy/kubernetes/csi/configurations
type SecretProviderClass struct {
	Path   string      // of the manifest; PATH#NAME takes one of several
	Origin plan.Origin // what named the file
}

// Name gives secretproviderclass.
func (SecretProviderClass) Name() string { return secretProviderClassName }

// Declare reads the manifest. Problems have CodeConfig: no such object or several
// of them, another provider, an unknown parameter, a file name that is there twice
// or climbs out of the folder, and every value that the original refuses too.
func (f SecretProviderClass) Declare(in Input) (plan.Plan, bool, error) {
	_, chosen, err := objectsOf(in, f.Name(), f.Path, f.Origin, "SecretProviderClass")
	if err != nil {
		return plan.Plan{}, true, err
	}
	if len(chosen) > 1 {
		file, _, _ := objectPath(f.Path)
		return plan.Plan{}, true, manifestProblem(f.Origin, file, "several SecretProviderClasses are in it",
			"name one: --from "+f.Name()+":"+file+"#NAME with one of "+strings.Join(namesOf(chosen), ", "))
	}
	p, err := secretProviderClass(in, f.Name(), chosen[0], "")
	return p, true, err
}

// secretProviderClass translates one object. Its files go below dir; "" is the
// sink.
func secretProviderClass(in Input, front string, d document, dir string) (plan.Plan, error) {
	c := &providerClass{object: object{document: d, front: front, in: in}, dir: dir}
	c.spec()
	return c.result()
}

type providerClass struct {
	object
	dir    string
	params map[string]string
}

// providerClassSpec is spec; the parameters are the provider's own.
type providerClassSpec struct {
	Provider      string            `json:"provider"`
	Parameters    map[string]string `json:"parameters"`
	SecretObjects []struct {
		SecretName string `json:"secretName"`
		Type       any    `json:"type"`
		Data       any    `json:"data"`
		Labels     any    `json:"labels"`
		Annotation any    `json:"annotations"`
	} `json:"secretObjects"`
}

func (c *providerClass) spec() {
	if !strings.HasPrefix(c.apiVersion, "secrets-store.csi.x-k8s.io/") {
		c.fail("apiVersion", "it is no SecretProviderClass of the Secrets Store CSI driver", "write secrets-store.csi.x-k8s.io/v1")
		return
	}
	var spec providerClassSpec
	c.fill(c.body["spec"], reflect.ValueOf(&spec).Elem(), "spec")
	if spec.Provider != "vault" {
		c.fail("spec.provider", "only the provider vault is read", "write provider: vault, or declare the secret in another way")
		return
	}
	for i, s := range spec.SecretObjects {
		why := "no Kubernetes Secret is made, so the value never enters etcd"
		if s.SecretName != "" {
			why += fmt.Sprintf("; what refers to the Secret %q gets the file or a variable from us instead", s.SecretName)
		}
		c.ignore(fmt.Sprintf("spec.secretObjects[%d]", i), why)
	}
	c.params = spec.Parameters
	c.parameters()
	c.objects()
}

// parameters reads all but the objects.
func (c *providerClass) parameters() {
	known := c.readers()
	words := slices.Sorted(maps.Keys(known))
	for _, name := range slices.Sorted(maps.Keys(c.params)) {
		key := "spec.parameters." + name
		if read, ok := known[name]; ok {
			read(c.params[name], key)
			continue
		}
		fix := "the parameters are " + strings.Join(words, ", ")
		if near := plan.Nearest(name, words); near != "" {
			fix = fmt.Sprintf("did you mean %q?", near)
		}
		c.fail(key, "the parameter is unknown", fix)
	}
	c.plan.Login.Method = plan.Set("kubernetes", c.at("spec.provider"))
	if c.params["roleName"] == "" {
		c.fail("spec.parameters.roleName", "it is missing", "name the role of Vault's kubernetes login")
	}
	if c.params["vaultAuthMountPath"] != "" && c.params["vaultKubernetesMountPath"] != "" {
		c.fail("spec.parameters.vaultKubernetesMountPath", "vaultAuthMountPath is there too, and both are the mount of the login",
			"keep vaultAuthMountPath")
	}
}

// readers has what to do with each parameter.
func (c *providerClass) readers() map[string]func(value, key string) {
	v := &c.plan.Vault
	return map[string]func(value, key string){
		"objects":                  func(string, string) {},
		"roleName":                 c.text(&c.plan.Login.Role),
		"vaultAddress":             c.text(&v.Address),
		"vaultNamespace":           c.text(&v.Namespace),
		"vaultAuthMountPath":       c.mount,
		"vaultKubernetesMountPath": c.mount,
		"audience":                 c.audience,
		"vaultSkipTLSVerify":       c.skipVerify,
		"vaultCACertPath":          c.file(&v.TLS.CACert),
		"vaultCADirectory":         c.file(&v.TLS.CAPath),
		"vaultTLSServerName":       c.text(&v.TLS.ServerName),
		"vaultTLSClientCertPath":   c.file(&v.TLS.ClientCert),
		"vaultTLSClientKeyPath":    c.file(&v.TLS.ClientKey),
		"vaultCAPem": func(_, key string) {
			c.ignore(key, "the provider no longer reads it either; use vaultCACertPath")
		},
		"kubernetesServiceAccountPath": func(_, key string) {
			c.ignore(key, "the provider no longer reads it either; the token is the pod's own")
		},
	}
}

// text fills a setting; an empty parameter is one that is not there.
func (c *providerClass) text(to *plan.Setting[string]) func(value, key string) {
	return func(value, key string) {
		if value != "" {
			*to = plan.Set(value, c.at(key))
		}
	}
}

// file fills a setting with a path. It was one in the provider's container, and
// is one in ours now.
func (c *providerClass) file(to *plan.Setting[string]) func(value, key string) {
	return func(value, key string) {
		if value != "" {
			*to = plan.Set(c.in.absolute(value), c.at(key))
		}
	}
}

// audience: the provider has a token made for it; we take the token that is in
// the pod, and cannot make it. So it is no setting of the login.
func (c *providerClass) audience(value, key string) {
	if value != "" {
		c.ignore(key, "the token is the one in the pod: where the role of the login wants the audience "+value+", mount a projected token that has it and give jwt_file")
	}
}

func (c *providerClass) skipVerify(value, key string) {
	set, err := strconv.ParseBool(value)
	if err != nil {
		c.fail(key, "it must be true or false", "")
		return
	}
	c.plan.Vault.TLS.SkipVerify = plan.Set(set, c.at(key))
}

// objects reads the list inside the text, and adds a file for each.
func (c *providerClass) objects() {
	const key = "spec.parameters.objects"
	items, why := classObjects(c.params["objects"])
	if why != "" {
		c.fail(key, why, "write a list, each with - objectName, secretPath and secretKey")
		return
	}
	byPath := map[string][]*classObject{}
	for i, item := range items {
		o := &classObject{class: c, fields: item, key: fmt.Sprintf("objects[%d]", i)}
		f, ok := o.file()
		if !ok {
			continue
		}
		byPath[f.Path] = append(byPath[f.Path], o)
		f.Path = path.Join(c.dir, f.Path)
		c.plan.Files = append(c.plan.Files, f)
	}
	for _, p := range slices.Sorted(maps.Keys(byPath)) {
		c.unique(byPath[p])
	}
}

// unique refuses objects that would be one file. Tutorials print objectName:
// config for both the user name and the password, so it says what would be right.
func (c *providerClass) unique(same []*classObject) {
	fix, keys := "give each object a name of its own", []string{}
	for _, o := range same {
		if key := o.text("secretKey"); key != "" {
			keys = append(keys, "objectName: "+key)
		}
	}
	if len(keys) == 2 && keys[0] != keys[1] && len(same) == 2 {
		fix = "objectName is the name of the file: write " + strings.Join(keys, " and ")
	}
	for _, o := range same[1:] {
		c.fail(o.place("objectName"), fmt.Sprintf("each objectName must be unique, and %q is that of %s too", o.name, same[0].key), fix)
	}
}
