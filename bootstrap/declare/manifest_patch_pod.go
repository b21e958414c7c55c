package declare

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// The names of what we add to a pod.
const (
	ourInit    = "secretboot"
	ourInstall = "secretboot-install"
	ourBinary  = "secretboot-binary"
	ourConfig  = "secretboot-config"
	ourTLS     = "secretboot-tls"
)

const (
	tlsSecret = "tls-secret" // the injector's annotation, and where it mounts the Secret
	tlsMount  = "/vault/tls"
	initFirst = "agent-init-first" // the annotation: the files are for the other init containers too
)

// patched is the spec of the pod in the patch.
//
// A merge puts the containers that the patch names before those that it does not,
// in kubectl, the API server and kustomize alike. So ours are first, and the order
// of the others is kept as long as it names all of them or none. The directive
// $setElementOrder would say it in kubectl only: kustomize leaves it in the pod.
func (p *patcher) patched(image string) obj {
	inits := p.ours(image)
	pod := obj{}
	if theirs := p.changes("initContainers", p.pod.InitContainers); theirs != nil {
		inits = append(inits, theirs...)
	}
	pod["initContainers"] = inits
	if theirs := p.changes("containers", p.pod.Containers); theirs != nil {
		pod["containers"] = theirs
	}
	if volumes := p.podVolumes(); len(volumes) > 0 {
		pod["volumes"] = volumes
	}
	return pod
}

// ours are our init containers.
func (p *patcher) ours(image string) []any {
	var inits []any
	if p.hasFiles() {
		inits = append(inits, p.our(ourInit, image, []string{"init", "--config", patchConfig + "/" + patchInit}, p.ourMounts()))
	}
	if len(p.wrapped) > 0 {
		inits = append(inits, p.our(ourInstall, image, []string{"install", patchBinary + "/secretboot"}, []any{mountOf(ourBinary, patchBinary, false)}))
	}
	return inits
}

// our is an init container of ours, with the user of the containers that read
// the files: they are its own alone.
func (p *patcher) our(name, image string, args []string, mounts []any) obj {
	c := obj{"name": name, "image": image, "args": args, "volumeMounts": mounts}
	for _, user := range p.pod.Containers {
		if len(user.SecurityContext) > 0 {
			c["securityContext"] = user.SecurityContext
			break
		}
	}
	return c
}

// namesUser reports whether the manifest says which user our init container runs as.
func (p *patcher) namesUser() bool {
	names := func(context json.RawMessage) bool {
		var c struct {
			RunAsUser *int64 `json:"runAsUser"`
		}
		return json.Unmarshal(context, &c) == nil && c.RunAsUser != nil
	}
	for _, user := range p.pod.Containers {
		if len(user.SecurityContext) > 0 {
			return names(user.SecurityContext) || names(p.pod.SecurityContext)
		}
	}
	return names(p.pod.SecurityContext)
}

func mountOf(name, at string, readOnly bool) obj {
	m := obj{"name": name, "mountPath": at}
	if readOnly {
		m["readOnly"] = true
	}
	return m
}

// ourMounts are the folders that our init container fills, and what it reads.
func (p *patcher) ourMounts() []any {
	mounts := []any{mountOf(ourConfig, patchConfig, true)}
	have := []volumeMount{{Name: ourConfig, MountPath: patchConfig}}
	fill := func(m volumeMount) {
		if !slices.Contains(have, m) {
			have = append(have, m)
			mounts = append(mounts, mountOf(m.Name, m.MountPath, false))
		}
	}
	for _, s := range p.served {
		for _, dir := range p.mounts(s.volume) {
			fill(volumeMount{Name: s.volume, MountPath: dir})
		}
	}
	for _, m := range p.added() {
		fill(m)
	}
	for _, dir := range p.dirs() {
		if _, ok := over(have, dir); ok {
			continue
		}
		if m, ok := p.mounted(dir); ok {
			fill(volumeMount{Name: m.Name, MountPath: m.MountPath})
		}
	}
	if p.tlsSecret() != "" {
		p.tls = true
		have = append(have, volumeMount{Name: ourTLS, MountPath: tlsMount})
		mounts = append(mounts, mountOf(ourTLS, tlsMount, true))
	}
	return append(mounts, p.reads(ourInit, p.files, have)...)
}

// tlsSecret is the Secret that the injector would mount; "" where there is none, or
// the pod has a volume there already.
func (p *patcher) tlsSecret() string {
	if _, ok := p.mounted(tlsMount); ok {
		return ""
	}
	return p.annotated()[injectorPrefix+tlsSecret]
}

// reads gives the mounts, beside those that are there, with the files that a plan
// reads; where no container of the pod has one, that stays to be done by hand.
func (p *patcher) reads(name string, of plan.Plan, have []volumeMount) []any {
	var mounts []any
	for _, file := range filesOf(of) {
		if _, ok := over(have, file); ok {
			continue
		}
		m, ok := p.mounted(file)
		switch {
		case ok:
		case p.tlsSecret() != "" && strings.HasPrefix(file, tlsMount+"/"):
			p.tls = true
			m = volumeMount{Name: ourTLS, MountPath: tlsMount}
		default:
			p.missing = append(p.missing, "a volume with "+file+" for the container "+name)
			continue
		}
		have = append(have, m)
		mount := mountOf(m.Name, m.MountPath, true)
		if m.SubPath != "" {
			mount["subPath"] = m.SubPath
		}
		mounts = append(mounts, mount)
	}
	return mounts
}

// filesOf lists the files that a plan reads for the connection and the login, but
// for the service account's token, which each container has.
func filesOf(p plan.Plan) []string {
	t := p.Vault.TLS
	var files []string
	for _, s := range []plan.Setting[string]{t.CACert, t.CAPath, t.ClientCert, t.ClientKey} {
		files = append(files, s.Value)
	}
	for _, name := range sortedKeys(p.Login.Inputs) {
		if h := p.Login.Inputs[name]; h.Kind == plan.HandleFile {
			files = append(files, h.Name)
		}
	}
	return slices.DeleteFunc(files, func(f string) bool { return f == "" || path.Dir(f) == path.Dir(serviceAccountToken) })
}

// over finds the mount that has a path in it.
func over(mounts []volumeMount, file string) (volumeMount, bool) {
	i := slices.IndexFunc(mounts, func(m volumeMount) bool {
		at := path.Clean(m.MountPath)
		return at == file || strings.HasPrefix(file, strings.TrimSuffix(at, "/")+"/")
	})
	if i < 0 {
		return volumeMount{}, false
	}
	return mounts[i], true
}

// mounted finds the mount of any container that has a path in it. One whose place
// in the volume depends on the container is none for others.
func (p *patcher) mounted(file string) (volumeMount, bool) {
	var all []volumeMount
	for _, c := range p.pod.all() {
		all = append(all, c.VolumeMounts...)
	}
	return over(slices.DeleteFunc(all, func(m volumeMount) bool { return m.SubExpr != "" }), file)
}

// dirs are the folders that we fill.
func (p *patcher) dirs() []string {
	var dirs []string
	if p.files.Sink.Dir.IsSet {
		dirs = append(dirs, p.files.Sink.Dir.Value)
	}
	for _, f := range p.files.Files {
		if path.IsAbs(f.Path) {
			dirs = append(dirs, path.Dir(f.Path))
		}
	}
	return dirs
}

// added are the folders that no volume of the pod is mounted on: the injector
// would have added one.
func (p *patcher) added() []volumeMount {
	var mounts []volumeMount
	for _, dir := range p.dirs() {
		_, there := p.mounted(dir)
		have := slices.ContainsFunc(mounts, func(m volumeMount) bool { return m.MountPath == dir })
		if !have && !there {
			mounts = append(mounts, volumeMount{Name: "secretboot-" + string(rune('a'+len(mounts))), MountPath: dir})
		}
	}
	return mounts
}

// podVolumes puts memory in the place of what the driver or a Secret brought, and
// adds what the injector would have.
func (p *patcher) podVolumes() []any {
	memory := obj{"medium": "Memory", "sizeLimit": patchMemory}
	var volumes []any
	for _, s := range p.served {
		if s.volume == "" {
			continue
		}
		v := obj{"name": s.volume, "emptyDir": memory}
		i := slices.IndexFunc(p.pod.Volumes, func(v podVolume) bool { return v.Name == s.volume })
		if p.pod.Volumes[i].CSI != nil {
			v["csi"] = nil
		} else {
			v["secret"] = nil
		}
		volumes = append(volumes, v)
	}
	for _, m := range p.added() {
		volumes = append(volumes, obj{"name": m.Name, "emptyDir": memory})
	}
	if p.tls {
		volumes = append(volumes, obj{"name": ourTLS, "secret": obj{"secretName": p.tlsSecret()}})
	}
	if len(p.wrapped) > 0 {
		volumes = append(volumes, obj{"name": ourBinary, "emptyDir": obj{"sizeLimit": "32Mi"}})
	}
	if p.hasFiles() || len(p.envs) > 0 {
		volumes = append(volumes, obj{"name": ourConfig, "configMap": obj{"name": p.configName()}})
	}
	return volumes
}
