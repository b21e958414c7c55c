package declare

import (
	"encoding/json"
	"fmt"
	"maps"
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
	SubExpr   string `json:"subPathExpr"`
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
	Projected *struct {
		Sources []struct {
			Secret *struct {
				Name string `json:"name"`
			} `json:"secret"`
		} `json:"sources"`
	} `json:"projected"`
}

// all gives the init containers and the containers.
func (s podSpec) all() []container { return slices.Concat(s.InitContainers, s.Containers) }

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

// variables reads the variables of the container that is meant, or of all.
func (m *manifested) variables() {
	for _, c := range m.pod.all() {
		if m.wanted != "" && c.Name != m.wanted {
			continue
		}
		w := wrapped{container: c, parts: m.containerVariables(c), references: m.references(c)}
		if len(w.parts)+len(w.references) > 0 {
			m.wrapped = append(m.wrapped, w)
		}
	}
}

// oneCommand takes the variables over, which must be of one container.
func (m *manifested) oneCommand() {
	var with []string
	for _, w := range m.wrapped {
		with = append(with, w.Name)
		m.parts = slices.Concat(m.parts, w.parts, w.references)
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
	return parts
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
