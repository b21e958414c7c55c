package declare

import (
	"bytes"
	"io"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// The places in a patched pod.
const (
	patchConfig = "/etc/secretboot" // the ConfigMap with our configuration
	patchBinary = "/run/secretboot" // the folder that our binary is copied to, for a wrapped command
	patchMemory = "16Mi"            // the size of a volume in memory
)

// Patch writes what makes a workload start without the CSI driver, the operator
// or the injector: a ConfigMap with our configuration, and a strategic merge
// patch (kubectl patch --patch-file, or patches: of a kustomization) that puts
// volumes in memory in the place of theirs, an init container of ours before all
// others, and our `run` before the command of a container that had its secrets as
// variables. image is the image that has our binary.
//
// The error is w's, or plan.Problems with CodeConfig: those of Declare, and a
// container whose command is not in the manifest, so that we cannot stand before
// it.
func (f Manifest) Patch(out io.Writer, in Input, image string) error {
	m, err := f.open(in)
	if err != nil {
		return err
	}
	p, _, err := m.declare()
	if err != nil {
		return err
	}
	patch := &patcher{manifested: m, plan: p, image: image}
	return patch.write(out)
}

type patcher struct {
	*manifested
	plan  plan.Plan
	image string
}

// obj is an object; YAML writes its keys sorted.
type obj = map[string]any

func (p *patcher) write(out io.Writer) error {
	files, env := p.split()
	pod := obj{}
	data := obj{}
	if len(files.Files)+len(files.Sets) > 0 {
		if err := p.config(data, "init.yaml", files); err != nil {
			return err
		}
	}
	if len(env.Env)+len(env.EnvSets) > 0 {
		if err := p.config(data, "run.yaml", env); err != nil {
			return err
		}
	}
	if len(data) == 0 {
		p.fail(p.podKey("spec"), "nothing in it needs a patch", "")
		return p.problems.Err()
	}
	p.containers(pod, data)
	p.podVolumes(pod, data)
	if err := p.problems.Err(); err != nil {
		return err
	}
	config := obj{"apiVersion": "v1", "kind": "ConfigMap", "metadata": p.meta(p.configName()), "data": data}
	patched := obj{"apiVersion": p.apiVersion, "kind": p.kind, "metadata": p.meta(p.name)}
	p.place(patched, obj{"spec": pod, "metadata": p.template()})
	return writeDocuments(out, config, patched)
}

// split gives the part of the plan that an init container can deliver, and that
// which the command's wrapper has to.
func (p *patcher) split() (files, env plan.Plan) {
	files, env = p.plan, p.plan
	files.Env, files.EnvSets = nil, nil
	env.Files, env.Sets = nil, nil
	env.Sink = plan.Sink{}
	return files, env
}

func (p *patcher) config(data obj, name string, part plan.Plan) error {
	var b bytes.Buffer
	if err := Write(&b, part); err != nil {
		return err
	}
	data[name] = b.String()
	return nil
}

func (p *patcher) configName() string { return p.name + "-secretboot" }

func (p *patcher) meta(name string) obj {
	m := obj{"name": name}
	if p.namespace != "" {
		m["namespace"] = p.namespace
	}
	return m
}

// template turns the injector off: the annotations stay for whoever reads them.
func (p *patcher) template() obj {
	annotated := p.annotated()
	if _, ok := annotated[injectorPrefix+injectorOn]; !ok {
		return nil
	}
	return obj{"annotations": obj{injectorPrefix + injectorOn: "false"}}
}

// place puts the pod where the kind of workload has it.
func (p *patcher) place(in, pod obj) {
	if pod["metadata"] == nil || len(pod["metadata"].(obj)) == 0 {
		delete(pod, "metadata")
	}
	var steps []string
	if at := p.podPath(); at != "" {
		steps = strings.Split(at, ".")
	}
	for i, step := range steps {
		if i == len(steps)-1 {
			in[step] = pod
			return
		}
		next := obj{}
		in[step] = next
		in = next
	}
	in["spec"] = pod["spec"]
}

// podVolumes puts memory in the place of what the driver or a Secret brought, and
// adds what the injector would have.
func (p *patcher) podVolumes(pod, data obj) {
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
	if data["run.yaml"] != nil {
		volumes = append(volumes, obj{"name": "secretboot-binary", "emptyDir": obj{"sizeLimit": "32Mi"}})
	}
	pod["volumes"] = append(volumes, obj{"name": "secretboot-config", "configMap": obj{"name": p.configName()}})
}

// added are the folders that no volume of the pod is mounted on: the injector
// would have added one.
func (p *patcher) added() []volumeMount {
	var mounts []volumeMount
	dirs := []string{}
	if p.plan.Sink.Dir.IsSet {
		dirs = append(dirs, p.plan.Sink.Dir.Value)
	}
	for _, f := range p.plan.Files {
		if path.IsAbs(f.Path) {
			dirs = append(dirs, path.Dir(f.Path))
		}
	}
	for _, dir := range dirs {
		have := slices.ContainsFunc(mounts, func(m volumeMount) bool { return m.MountPath == dir })
		if !have && !p.isMounted(dir) {
			mounts = append(mounts, volumeMount{Name: "secretboot-" + string(rune('a'+len(mounts))), MountPath: dir})
		}
	}
	return mounts
}

// isMounted reports whether a folder is in a volume of the pod already.
func (p *patcher) isMounted(dir string) bool {
	for _, c := range p.pod.all() {
		for _, m := range c.VolumeMounts {
			if at := path.Clean(m.MountPath); at == dir || len(dir) > len(at) && dir[:len(at)+1] == at+"/" {
				return true
			}
		}
	}
	return false
}

// containers adds ours, and changes those whose variables we bring.
func (p *patcher) containers(pod, data obj) {
	var inits []any
	if data["init.yaml"] != nil {
		inits = append(inits, p.ours("secretboot", []string{"init", "--config", patchConfig + "/init.yaml"}, p.ourMounts()))
	}
	if data["run.yaml"] != nil {
		binary := obj{"name": "secretboot-binary", "mountPath": patchBinary}
		inits = append(inits, p.ours("secretboot-install", []string{"install", patchBinary + "/secretboot"}, []any{binary}))
	}
	pod["initContainers"] = inits
	var changed []any
	for _, c := range p.pod.Containers {
		if change := p.change(c); change != nil {
			changed = append(changed, change)
		}
	}
	if len(changed) > 0 {
		pod["containers"] = changed
	}
}

// ours is an init container of ours, with the user of the containers that read
// the files: they are its own alone.
func (p *patcher) ours(name string, args []string, mounts []any) obj {
	c := obj{"name": name, "image": p.image, "args": args, "volumeMounts": mounts}
	for _, user := range p.pod.Containers {
		if len(user.SecurityContext) > 0 {
			c["securityContext"] = user.SecurityContext
			break
		}
	}
	return c
}

func (p *patcher) ourMounts() []any {
	mounts := []any{obj{"name": "secretboot-config", "mountPath": patchConfig, "readOnly": true}}
	for _, s := range p.served {
		for _, dir := range p.mounts(s.volume) {
			mounts = append(mounts, obj{"name": s.volume, "mountPath": dir})
		}
	}
	for _, m := range p.added() {
		mounts = append(mounts, obj{"name": m.Name, "mountPath": m.MountPath})
	}
	return mounts
}

// change is what becomes of one container; nil is nothing.
func (p *patcher) change(c container) obj {
	out := obj{}
	var mounts []any
	for _, m := range p.added() {
		mounts = append(mounts, obj{"name": m.Name, "mountPath": m.MountPath, "readOnly": true})
	}
	var env []any
	for _, s := range p.served {
		if s.container == c.Name && s.variable != "" {
			env = append(env, obj{"name": s.variable, "$patch": "delete"})
		}
	}
	if p.wraps(c) {
		p.wrap(c, out)
		mounts = append(mounts, obj{"name": "secretboot-binary", "mountPath": patchBinary, "readOnly": true},
			obj{"name": "secretboot-config", "mountPath": patchConfig, "readOnly": true})
	}
	if len(env) > 0 {
		out["env"] = env
	}
	if len(mounts) > 0 {
		out["volumeMounts"] = mounts
	}
	if len(out) == 0 {
		return nil
	}
	out["name"] = c.Name
	return out
}

// wraps reports whether the variables of a container are ours to bring.
func (p *patcher) wraps(c container) bool {
	return slices.ContainsFunc(p.served, func(s served) bool { return s.container == c.Name })
}

// wrap puts our run before the command. A list without a merge key is replaced,
// so what is left of envFrom is written out.
func (p *patcher) wrap(c container, out obj) {
	if len(c.Command) == 0 {
		p.fail(p.podKey("spec.containers."+c.Name), "it has no command, and that of its image is not known here",
			"write the image's ENTRYPOINT as command, and its CMD as args")
		return
	}
	out["command"] = append([]string{patchBinary + "/secretboot", "run", "--config", patchConfig + "/run.yaml", "--"}, c.Command...)
	var kept []any
	for i := range c.EnvFrom {
		if !slices.ContainsFunc(p.served, func(s served) bool { return s.container == c.Name && s.variable == "" && s.source == i }) {
			kept = append(kept, p.rawEnvFrom(c.Name, i))
		}
	}
	if len(kept) < len(c.EnvFrom) {
		out["envFrom"] = kept
	}
}

// rawEnvFrom gives an entry of envFrom as it was written.
func (p *patcher) rawEnvFrom(name string, i int) any {
	list, _ := p.workload.spec["containers"].([]any)
	for _, item := range list {
		c, _ := item.(map[string]any)
		from, _ := c["envFrom"].([]any)
		if c["name"] == name && i < len(from) {
			return from[i]
		}
	}
	return nil
}

// writeDocuments writes objects as one YAML file.
func writeDocuments(out io.Writer, docs ...obj) error {
	for i, doc := range docs {
		text, err := yaml.Marshal(doc)
		if err != nil {
			return err
		}
		if i > 0 {
			text = append([]byte("---\n"), text...)
		}
		if _, err := out.Write(text); err != nil {
			return err
		}
	}
	return nil
}
