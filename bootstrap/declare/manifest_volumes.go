package declare

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// mounts gives the places where a volume is mounted, each once.
func (m *manifested) mounts(volume string) []string {
	var paths []string
	for _, c := range m.pod.all() {
		for _, mount := range c.VolumeMounts {
			if at := path.Clean(mount.MountPath); mount.Name == volume && !slices.Contains(paths, at) {
				paths = append(paths, at)
			}
		}
	}
	return paths
}

// takes gives the places of a volume that we deliver to; none where it is left as
// it is, which is noted.
func (m *manifested) takes(volume, key string) []string {
	var users []string
	for _, c := range m.pod.all() {
		for _, mount := range c.VolumeMounts {
			if mount.Name != volume {
				continue
			}
			users = append(users, c.Name)
			if mount.SubPath+mount.SubExpr != "" {
				m.ignore(key, "the container "+c.Name+" mounts a subPath of it, which never sees a new generation, so all of it is left to Kubernetes; mount the whole volume instead")
				return nil
			}
		}
	}
	others := slices.DeleteFunc(slices.Compact(users), func(name string) bool { return name == m.wanted })
	switch {
	case len(users) == 0:
		m.ignore(key, "no container mounts it")
		return nil
	case !m.patching || m.wanted == "" || len(others) == 0:
		return m.mounts(volume)
	case len(others) == len(users):
		m.ignore(key, "the container "+m.wanted+" does not mount it")
		return nil
	}
	m.fail(key, fmt.Sprintf("the patch is for the container %q alone, and %s mounts the volume too", m.wanted, strings.Join(others, ", ")), "leave /"+m.wanted+" out, for a patch of all containers")
	return nil
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
		case v.Projected != nil:
			m.projected(v, key)
		}
	}
}

// serve notes that we stand for a volume.
func (m *manifested) serve(volume string) {
	if s := (served{volume: volume}); !slices.Contains(m.served, s) {
		m.served = append(m.served, s)
	}
}

// projected notes the Secrets of a volume that joins several sources: it is left
// as it is.
func (m *manifested) projected(v podVolume, key string) {
	for i, source := range v.Projected.Sources {
		if source.Secret == nil {
			continue
		}
		at, name := fmt.Sprintf("%s.projected.sources[%d].secret", key, i), source.Secret.Name
		maker := m.maker(name)
		if maker == "" {
			m.leave(at, name)
			continue
		}
		m.ignore(at, fmt.Sprintf("a projected volume joins several sources, and is left to Kubernetes: it still needs the Secret %q of the %s; to have it from us, give it a csi or secret volume of its own", name, maker))
	}
}

// maker names what in the file makes a Secret; "" is nothing.
func (m *manifested) maker(secret string) string {
	if d, ok := m.externalSecretOf(secret); ok {
		return "ExternalSecret " + d.name
	}
	for _, d := range ofKind(m.docs, "SecretProviderClass") {
		if syncedObjects(d, secret) != nil {
			return "SecretProviderClass " + d.name
		}
	}
	return ""
}

// class delivers a SecretProviderClass where its volume is mounted.
func (m *manifested) class(v podVolume, key string) {
	name := v.CSI.Attributes["secretProviderClass"]
	d, ok := named(m.docs, "SecretProviderClass", name, m.namespace)
	if !ok {
		m.fail(key, fmt.Sprintf("the SecretProviderClass %q is not in the file", name), "put it into the same file")
		return
	}
	for _, dir := range m.takes(v.Name, key) {
		m.add(secretProviderClass(m.in, m.front, d, dir))
		m.serve(v.Name)
	}
}

// secretVolume delivers the keys of an ExternalSecret where the volume of its
// Secret is mounted.
func (m *manifested) secretVolume(v podVolume, key string) {
	d, ok := m.externalSecretOf(v.Secret.Name)
	switch {
	case !ok && m.maker(v.Secret.Name) != "":
		m.ignore(key, fmt.Sprintf("the Secret %q is a copy of the class's volume, and this volume of it is left to Kubernetes; mount the class's volume here instead", v.Secret.Name))
		return
	case !ok:
		m.leave(key, v.Secret.Name)
		return
	case len(v.Secret.Items) > 0:
		m.fail(key, "items chooses and renames keys, which is not supported", "name the keys so in the ExternalSecret, and leave items out")
		return
	}
	for _, dir := range m.takes(v.Name, key) {
		p, err := externalSecrets(m.in, m.front, m.docs, []externalDelivery{{document: d, dir: dir}})
		if err == nil && v.Secret.Mode != nil {
			for i := range p.Sets {
				p.Sets[i].Mode = fs.FileMode(*v.Secret.Mode & 0o777)
			}
		}
		m.add(p, err)
		m.serve(v.Name)
	}
}
