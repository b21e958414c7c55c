package declare

import (
	"bytes"
	"fmt"
	"io"
	"maps"
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
	patchInit   = "init.yaml"       // the configuration of our init container
)

// PatchNotes is what a patch cannot say itself.
type PatchNotes struct {
	ByHand  []string       // what has to be done beside it
	Ignored []plan.Ignored // what has no meaning for us, and stays as it is
}

// Patch writes a strategic merge patch (kubectl patch --patch-file, or patches: of
// a kustomization) that makes a workload start without the CSI driver, the
// operator or a webhook: volumes in memory in the place of theirs, an init
// container of ours before all others, and our `run` before the command of each
// container that had its secrets as variables. References in variables stay where
// they are, and our `run` reads them. image is the image that has our binary. The
// configuration that the patched pod mounts is that of ConfigMap.
//
// The error is w's, or plan.Problems with CodeConfig: those of Declare, but for
// several containers; a container whose command is not in the manifest, so that we
// cannot stand before it; something that would lose what the patch takes away; and
// names of ours that the pod has already.
func (f Manifest) Patch(out io.Writer, in Input, image string) (PatchNotes, error) {
	p, err := f.patcher(in)
	if err != nil {
		return PatchNotes{}, err
	}
	pod := p.patched(image)
	if err := p.problems.Err(); err != nil {
		return PatchNotes{}, err
	}
	whole := obj{"apiVersion": p.apiVersion, "kind": p.kind, "metadata": p.meta(p.name)}
	p.place(whole, obj{"spec": pod, "metadata": p.template()})
	return PatchNotes{ByHand: p.byHand(), Ignored: p.ignored()}, writeObject(out, whole)
}

// ConfigMap writes the ConfigMap of a workload that Patch makes. The errors are
// those of Patch; and a problem with CodeConfig when the patched workload needs
// none, because all its references are in variables.
func (f Manifest) ConfigMap(out io.Writer, in Input) error {
	p, err := f.patcher(in)
	if err != nil {
		return err
	}
	p.patched("")
	data := p.data()
	if len(data) == 0 {
		p.fail(p.podKey("spec"), "its references stay in its variables, so that it needs no configuration", "apply the patch alone")
	}
	if err := p.problems.Err(); err != nil {
		return err
	}
	return writeObject(out, obj{"apiVersion": "v1", "kind": "ConfigMap", "metadata": p.meta(p.configName()), "data": data})
}

// obj is an object; YAML writes its keys sorted.
type obj = map[string]any

// patcher is one reading of a workload for its patch.
type patcher struct {
	*manifested
	files   plan.Plan            // of our init container
	envs    map[string]plan.Plan // of our run, by the container; none has only references
	tls     bool                 // the injector's volume for TLS is wanted
	missing []string             // volumes that nobody in the pod mounts
}

// patcher reads the workload, and splits what is declared by who delivers it.
func (f Manifest) patcher(in Input) (*patcher, error) {
	m, err := f.open(in)
	if err != nil {
		return nil, err
	}
	m.patching = true
	m.read()
	p := &patcher{manifested: m, envs: map[string]plan.Plan{}}
	if err := p.problems.Err(); err != nil {
		return nil, err
	}
	p.split()
	if !p.hasFiles() && len(p.wrapped) == 0 {
		p.fail(p.podKey("spec"), "nothing in it needs a patch", "")
	}
	p.namesTaken()
	p.stillNeeded()
	p.onlyReferences()
	return p, p.problems.Err()
}

func (p *patcher) hasFiles() bool { return len(p.files.Files)+len(p.files.Sets) > 0 }

// split gives the files to the init container, and to each container its
// variables; all have one server and one login.
func (p *patcher) split() {
	parts := append(slices.Clone(p.parts), p.plan)
	for _, w := range p.wrapped {
		for _, part := range w.parts {
			part.Env, part.EnvSets = nil, nil
			parts = append(parts, part)
		}
	}
	var err error
	if p.files, err = plan.Merge(parts...); err != nil {
		p.problems.Add(err)
		return
	}
	p.problems.Add(p.files.Check())
	server := p.files
	server.Files, server.Sets, server.Sink = nil, nil, plan.Sink{}
	for _, w := range p.wrapped {
		mine, err := plan.Merge(append([]plan.Plan{server}, w.parts...)...)
		p.problems.Add(err)
		if len(w.parts) > 0 {
			p.envs[w.Name] = mine
		} else {
			mine = plan.Plan{}
		}
		all, err := plan.Merge(append([]plan.Plan{mine}, w.references...)...) // as run puts them together
		p.problems.Add(err)
		p.problems.Add(all.Check())
	}
}

// ignored is what has no meaning for us, but for what only the patch does: it
// brings the volume for TLS, and our init container is the first.
func (p *patcher) ignored() []plan.Ignored {
	return slices.DeleteFunc(slices.Clone(p.files.Ignored), func(i plan.Ignored) bool {
		return p.tls && i.Origin.Key == injectorPrefix+tlsSecret || i.Origin.Key == injectorPrefix+initFirst
	})
}

// data is that of the ConfigMap.
func (p *patcher) data() obj {
	data := obj{}
	if p.hasFiles() {
		p.config(data, patchInit, p.files)
	}
	for _, name := range slices.Sorted(maps.Keys(p.envs)) {
		p.config(data, runConfig(name), p.envs[name])
	}
	return data
}

func (p *patcher) config(data obj, name string, part plan.Plan) {
	part.Ignored = p.ignored()
	var b bytes.Buffer
	p.problems.Add(Write(&b, part))
	data[name] = b.String()
}

// runConfig names the configuration of a container's variables.
func runConfig(container string) string { return "run-" + container + ".yaml" }

func (p *patcher) configName() string { return p.name + "-secretboot" }

func (p *patcher) meta(name string) obj {
	m := obj{"name": name}
	if p.namespace != "" {
		m["namespace"] = p.namespace
	}
	return m
}

// template turns the webhooks off: their annotations stay for whoever reads them.
func (p *patcher) template() obj {
	off := obj{}
	if _, ok := p.annotated()[injectorPrefix+injectorOn]; ok {
		off[injectorPrefix+injectorOn] = "false"
	}
	if slices.ContainsFunc(p.wrapped, func(w wrapped) bool { return len(w.references) > 0 }) {
		off[webhookPrefix+webhookOff] = "skip"
	}
	if len(off) == 0 {
		return nil
	}
	return obj{"annotations": off}
}

// place puts the pod where the kind of workload has it.
func (p *patcher) place(in, pod obj) {
	if pod["metadata"].(obj) == nil {
		delete(pod, "metadata")
	}
	at := p.podPath()
	if at == "" {
		in["spec"] = pod["spec"]
		if notes, ok := pod["metadata"].(obj); ok {
			maps.Copy(in["metadata"].(obj), notes)
		}
		return
	}
	steps := strings.Split(at, ".")
	last := len(steps) - 1
	for _, step := range steps[:last] {
		next := obj{}
		in[step] = next
		in = next
	}
	in[steps[last]] = pod
}

// byHand says what is to be done beside the patch.
func (p *patcher) byHand() []string {
	var noAddress, noRoots []string
	look := func(c container, v plan.Vault) {
		t := v.TLS
		if !v.Address.IsSet && !v.Dev.IsSet && !c.has("VAULT_ADDR", "VAULT_AGENT_ADDR") {
			noAddress = append(noAddress, c.Name)
		}
		known := t.CACert.IsSet || t.CACertPEM.IsSet || t.CAPath.IsSet || t.SkipVerify.Value || strings.HasPrefix(v.Address.Value, "http:")
		if !known && !c.has("VAULT_CACERT", "VAULT_CAPATH", "VAULT_CACERT_BYTES", "VAULT_SKIP_VERIFY") {
			noRoots = append(noRoots, c.Name)
		}
	}
	if p.hasFiles() {
		look(container{Name: ourInit}, p.files.Vault)
	}
	for _, w := range p.wrapped {
		all, _ := plan.Merge(append([]plan.Plan{p.envs[w.Name]}, w.references...)...) // split told what is wrong
		look(w.container, all.Vault)
	}
	var lines []string
	if len(noAddress) > 0 {
		lines = append(lines, "VAULT_ADDR for the containers "+strings.Join(noAddress, ", ")+": the manifest has no address")
	}
	if len(noRoots) > 0 {
		lines = append(lines, "VAULT_CACERT and a volume with its file for the containers "+strings.Join(noRoots, ", ")+
			", unless the certificates of the image vouch for the server: the manifest names no CA")
	}
	if p.hasFiles() && !p.namesUser() {
		lines = append(lines, "runAsUser, the same for the container "+ourInit+" and those that read its files: files are 0400 unless a mode is declared, and the manifest names no user")
	}
	return append(lines, p.missing...)
}

// has reports whether a container has one of some variables.
func (c container) has(names ...string) bool {
	return slices.ContainsFunc(c.Env, func(v variableDecl) bool { return slices.Contains(names, v.Name) })
}

// writeObject writes an object as YAML.
func writeObject(out io.Writer, o obj) error {
	text, err := yaml.Marshal(o)
	if err != nil {
		return fmt.Errorf("writing the object: %w", err)
	}
	_, err = out.Write(text)
	return err
}
