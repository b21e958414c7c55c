package declare

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// podSpec is what we look at in the spec of a pod.
type podSpec struct {
	InitContainers  []container     `json:"initContainers"`
	Containers      []container     `json:"containers"`
	Volumes         []podVolume     `json:"volumes"`
	SecurityContext json.RawMessage `json:"securityContext"`
}

type container struct {
	Name            string          `json:"name"`
	Image           string          `json:"image"`
	Command         []string        `json:"command"`
	Args            []string        `json:"args"`
	Env             []variableDecl  `json:"env"`
	EnvFrom         []envSource     `json:"envFrom"`
	VolumeMounts    []volumeMount   `json:"volumeMounts"`
	SecurityContext json.RawMessage `json:"securityContext"`
}

type variableDecl struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	ValueFrom *struct {
		SecretKeyRef *struct {
			Name     string `json:"name"`
			Key      string `json:"key"`
			Optional bool   `json:"optional"`
		} `json:"secretKeyRef"`
	} `json:"valueFrom"`
}

type envSource struct {
	Prefix    string `json:"prefix"`
	SecretRef *struct {
		Name     string `json:"name"`
		Optional bool   `json:"optional"`
	} `json:"secretRef"`
}

type volumeMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountPath"`
	SubPath   string `json:"subPath"`
}

type podVolume struct {
	Name string `json:"name"`
	CSI  *struct {
		Driver     string            `json:"driver"`
		Attributes map[string]string `json:"volumeAttributes"`
	} `json:"csi"`
	Secret *struct {
		Name  string `json:"secretName"`
		Mode  *int64 `json:"defaultMode"`
		Items []any  `json:"items"`
	} `json:"secret"`
}

// all gives the init containers and the containers.
func (s podSpec) all() []container { return slices.Concat(s.InitContainers, s.Containers) }

// mounts gives the places where a volume is mounted, each once.
func (m *manifested) mounts(volume string) []string {
	var paths []string
	for _, c := range m.pod.all() {
		for _, mount := range c.VolumeMounts {
			switch {
			case mount.Name != volume:
			case mount.SubPath != "":
				m.ignore(m.podKey("spec.containers."+c.Name+".volumeMounts"), "a subPath of the volume "+volume+" is mounted, which never sees a new generation; mount the whole volume")
			case !slices.Contains(paths, path.Clean(mount.MountPath)):
				paths = append(paths, path.Clean(mount.MountPath))
			}
		}
	}
	return paths
}

// volumes reads the volumes that bring secrets.
func (m *manifested) volumes() {
	for _, v := range m.pod.Volumes {
		key := m.podKey("spec.volumes." + v.Name)
		switch {
		case v.CSI != nil && v.CSI.Driver == "secrets-store.csi.k8s.io":
			m.class(v, key)
		case v.Secret != nil:
			m.secretVolume(v, key)
		}
	}
}

// class delivers a SecretProviderClass where its volume is mounted.
func (m *manifested) class(v podVolume, key string) {
	name := v.CSI.Attributes["secretProviderClass"]
	d, ok := named(m.docs, "SecretProviderClass", name, m.namespace)
	if !ok {
		m.fail(key, fmt.Sprintf("the SecretProviderClass %q is not in the file", name), "put it into the same file")
		return
	}
	paths := m.mounts(v.Name)
	if len(paths) == 0 {
		m.ignore(key, "no container mounts it")
		return
	}
	for _, dir := range paths {
		m.add(secretProviderClass(m.in, m.front, d, dir))
	}
	m.served = append(m.served, served{volume: v.Name})
}

// secretVolume delivers the keys of an ExternalSecret where the volume of its
// Secret is mounted.
func (m *manifested) secretVolume(v podVolume, key string) {
	d, ok := m.externalSecretOf(v.Secret.Name)
	switch {
	case !ok:
		m.leave(key, v.Secret.Name)
		return
	case len(v.Secret.Items) > 0:
		m.fail(key, "items chooses and renames keys, which is not supported", "name the keys so in the ExternalSecret, and leave items out")
		return
	}
	for _, dir := range m.mounts(v.Name) {
		p, err := externalSecrets(m.in, m.front, m.docs, []externalDelivery{{document: d, dir: dir}})
		if err == nil && v.Secret.Mode != nil {
			for i := range p.Sets {
				p.Sets[i].Mode = fs.FileMode(*v.Secret.Mode & 0o777)
			}
		}
		m.add(p, err)
	}
	m.served = append(m.served, served{volume: v.Name})
}

// leave notes a Secret that nothing in the file makes.
func (m *manifested) leave(key, name string) {
	m.ignore(key, fmt.Sprintf("nothing in the file makes the Secret %q: Kubernetes brings it", name))
}

// externalSecretOf finds the ExternalSecret that makes a Secret.
func (m *manifested) externalSecretOf(secret string) (document, bool) {
	for _, d := range ofKind(m.docs, "ExternalSecret") {
		spec, _ := d.body["spec"].(map[string]any)
		target, _ := spec["target"].(map[string]any)
		name, _ := target["name"].(string)
		if name == "" {
			name = d.name
		}
		if name == secret {
			return d, true
		}
	}
	return document{}, false
}

// variables reads the variables of the one container that the command runs in.
func (m *manifested) variables() {
	var with []string
	for _, c := range m.pod.all() {
		if m.wanted != "" && c.Name != m.wanted {
			continue
		}
		before := len(m.served)
		parts := m.containerVariables(c)
		if len(parts) == 0 {
			continue
		}
		if len(with) > 0 {
			m.served = m.served[:before]
		}
		with = append(with, c.Name)
		m.parts = append(m.parts, parts...)
	}
	if len(with) > 1 {
		m.fail(m.podKey("spec.containers"), "several containers have variables with secrets, and a command runs in one",
			"name one: PATH#"+m.name+"/CONTAINER with one of "+strings.Join(with, ", "))
	}
}

func (m *manifested) containerVariables(c container) []plan.Plan {
	var parts []plan.Plan
	key := m.podKey("spec.containers." + c.Name)
	for _, v := range c.Env {
		if v.ValueFrom == nil || v.ValueFrom.SecretKeyRef == nil {
			continue
		}
		ref := v.ValueFrom.SecretKeyRef
		p, ok := m.secretKey(key+".env."+v.Name, ref.Name, map[string]string{v.Name: ref.Key})
		if ok {
			m.strict(ref.Optional, key+".env."+v.Name+".valueFrom.secretKeyRef.optional")
			parts = append(parts, p)
			m.served = append(m.served, served{container: c.Name, variable: v.Name})
		}
	}
	for i, from := range c.EnvFrom {
		if from.SecretRef == nil {
			continue
		}
		p, ok := m.secretKey(fmt.Sprintf("%s.envFrom[%d]", key, i), from.SecretRef.Name, nil)
		if ok {
			m.strict(from.SecretRef.Optional, fmt.Sprintf("%s.envFrom[%d].secretRef.optional", key, i))
			for i := range p.EnvSets {
				p.EnvSets[i].Prefix = from.Prefix
			}
			for i := range p.Env {
				p.Env[i].Name = from.Prefix + p.Env[i].Name
			}
			m.shadow(c, fmt.Sprintf("%s.envFrom[%d]", key, i), &p)
			parts = append(parts, p)
			m.served = append(m.served, served{container: c.Name, source: i})
		}
	}
	return append(parts, m.references(c)...)
}

// strict notes that we do not start without what Kubernetes would start without:
// the same file says where its values come from.
func (m *manifested) strict(optional bool, key string) {
	if optional {
		m.ignore(key, "the file says where the value comes from, so one that is not there is an error")
	}
}

// secretKey gives the variables that take keys of a Secret: those that take
// names, or with nil all.
func (m *manifested) secretKey(key, secret string, take map[string]string) (plan.Plan, bool) {
	if d, ok := m.externalSecretOf(secret); ok {
		p, err := externalSecrets(m.in, m.front, m.docs, []externalDelivery{{document: d, env: true}})
		m.problems.Add(err)
		for i := range p.EnvSets {
			p.EnvSets[i].Take, p.EnvSets[i].Origin = take, m.at(key)
		}
		return p, err == nil
	}
	for _, d := range ofKind(m.docs, "SecretProviderClass") {
		if p, ok := m.synced(d, key, secret, take); ok {
			return p, true
		}
	}
	m.leave(key, secret)
	return plan.Plan{}, false
}

// synced gives variables from a Secret that a SecretProviderClass would be synced
// to: each key of it is one of the objects.
func (m *manifested) synced(d document, key, secret string, take map[string]string) (plan.Plan, bool) {
	objects := syncedObjects(d, secret)
	if objects == nil {
		return plan.Plan{}, false
	}
	p, err := secretProviderClass(m.in, m.front, d, "")
	m.problems.Add(err)
	files := p.Files
	p.Files = nil
	if take == nil {
		take = map[string]string{}
		for k := range objects {
			take[k] = k
		}
	}
	for _, name := range slices.Sorted(maps.Keys(take)) {
		i := slices.IndexFunc(files, func(f plan.File) bool { return f.Path == objects[take[name]] })
		if i < 0 {
			m.fail(key, fmt.Sprintf("no object of the SecretProviderClass %q gives the key %q of the Secret", d.name, take[name]), "")
			continue
		}
		p.Env = append(p.Env, plan.Env{Name: name, Source: files[i].Source, Origin: m.at(key)})
	}
	return p, err == nil
}

// syncedObjects gives the objects of the Secret by key; nil when the class makes
// no such Secret.
func syncedObjects(d document, secret string) map[string]string {
	var spec struct {
		SecretObjects []struct {
			SecretName string `json:"secretName"`
			Data       []struct {
				ObjectName string `json:"objectName"`
				Key        string `json:"key"`
			} `json:"data"`
		} `json:"secretObjects"`
	}
	if err := d.into(d.body["spec"], &spec); err != nil {
		return nil
	}
	for _, o := range spec.SecretObjects {
		if o.SecretName != secret {
			continue
		}
		objects := map[string]string{}
		for _, item := range o.Data {
			objects[item.Key] = item.ObjectName
		}
		return objects
	}
	return nil
}

// references reads bank-vaults references in a container's variables, with what
// the webhook's annotations say about the server and the login. The variables are
// those of the container, where the command runs.
func (m *manifested) references(c container) []plan.Plan {
	vars := m.webhookVariables()
	var used bool
	for _, v := range c.Env {
		if v.Value == "" {
			continue
		}
		vars[v.Name] = v.Value
		used = used || strings.Contains(v.Value, "vault:")
	}
	if !used && vars["VAULT_ENV_FROM_PATH"] == "" {
		return nil
	}
	in := m.in
	in.Environ = nil
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		in.Environ = append(in.Environ, name+"="+vars[name])
	}
	in.Lookup = func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	p, found, err := BankVaults{}.Declare(in)
	m.problems.Add(err)
	if !found || err != nil || len(p.Env)+len(p.EnvSets) == 0 {
		return nil
	}
	server, _, err := Environment{}.Declare(in)
	m.problems.Add(err)
	server.Login.Ambient, server.Ignored = nil, nil
	return []plan.Plan{p, server}
}

// webhookVariables gives the variables that the bank-vaults webhook would set.
func (m *manifested) webhookVariables() map[string]string {
	const prefix = "vault.security.banzaicloud.io/"
	names := map[string]string{
		"vault-addr": "VAULT_ADDR", "vault-role": "VAULT_ROLE", "vault-path": "VAULT_PATH", "vault-auth-method": "VAULT_AUTH_METHOD",
		"vault-skip-verify": "VAULT_SKIP_VERIFY", "vault-namespace": "VAULT_NAMESPACE", "vault-ignore-missing-secrets": "VAULT_IGNORE_MISSING_SECRETS",
		"vault-env-from-path": "VAULT_ENV_FROM_PATH", "vault-env-passthrough": "VAULT_ENV_PASSTHROUGH", "vault-env-daemon": "VAULT_ENV_DAEMON",
		"transit-key-id": "VAULT_TRANSIT_KEY_ID", "transit-path": "VAULT_TRANSIT_PATH",
	}
	vars := map[string]string{}
	annotated := m.annotated()
	for _, name := range slices.Sorted(maps.Keys(annotated)) {
		short, ours := strings.CutPrefix(name, prefix)
		if !ours {
			continue
		}
		to, ok := names[short]
		if !ok {
			m.plan.Ignored = append(m.plan.Ignored, plan.Ignored{
				What: "annotation " + name, Why: "it is for the webhook itself, or not supported", Origin: m.at(m.podKey("metadata.annotations")),
			})
			continue
		}
		vars[to] = annotated[name]
	}
	return vars
}
