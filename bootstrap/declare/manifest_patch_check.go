package declare

import (
	"fmt"
	"slices"
	"strings"
)

// secretUse is a place of the pod that wants a Secret of the cluster.
type secretUse struct{ secret, key string }

// stillNeeded refuses to take away a volume of the CSI driver as long as something
// wants a Secret that the driver makes only while that volume is mounted.
func (p *patcher) stillNeeded() {
	uses := p.uses()
	for _, v := range p.pod.Volumes {
		if v.CSI == nil || !slices.Contains(p.served, served{volume: v.Name}) {
			continue
		}
		d, _ := named(p.docs, "SecretProviderClass", v.CSI.Attributes["secretProviderClass"], p.namespace)
		for _, use := range uses {
			if syncedObjects(d, use.secret) == nil {
				continue
			}
			p.fail(use.key, fmt.Sprintf("it needs the Secret %q, which the CSI driver makes only while the volume %q is mounted, and the patch takes that away", use.secret, v.Name),
				"patch all containers at once, and mount the class's volume in the place of its Secret")
		}
	}
}

// namesTaken refuses a pod that has a container or volume with a name of ours: a
// merge would mix the two. It is most often one that was patched before.
func (p *patcher) namesTaken() {
	ours := func(name string) bool { return name == ourInit || strings.HasPrefix(name, ourInit+"-") }
	const why, fix = "the patch has one of this name", "give the manifest as it was before a patch, or rename it"
	for _, c := range p.pod.all() {
		if ours(c.Name) {
			p.fail(p.podKey("spec.containers."+c.Name), why, fix)
		}
	}
	for _, v := range p.pod.Volumes {
		if ours(v.Name) {
			p.fail(p.podKey("spec.volumes."+v.Name), why, fix)
		}
	}
}

// uses lists what takes Secrets of the cluster after the patch.
func (p *patcher) uses() []secretUse {
	var uses []secretUse
	for _, c := range p.pod.all() {
		key := p.podKey("spec.containers." + c.Name)
		for _, v := range c.Env {
			if v.ValueFrom == nil || v.ValueFrom.SecretKeyRef == nil || slices.Contains(p.served, served{container: c.Name, variable: v.Name}) {
				continue
			}
			uses = append(uses, secretUse{v.ValueFrom.SecretKeyRef.Name, key + ".env." + v.Name})
		}
		for i, from := range c.EnvFrom {
			if from.SecretRef != nil && !slices.Contains(p.served, served{container: c.Name, source: i}) {
				uses = append(uses, secretUse{from.SecretRef.Name, fmt.Sprintf("%s.envFrom[%d]", key, i)})
			}
		}
	}
	for _, v := range p.pod.Volumes {
		key := p.podKey("spec.volumes." + v.Name)
		if v.Secret != nil && !slices.Contains(p.served, served{volume: v.Name}) {
			uses = append(uses, secretUse{v.Secret.Name, key})
		}
		if v.Projected == nil {
			continue
		}
		for i, s := range v.Projected.Sources {
			if s.Secret != nil {
				uses = append(uses, secretUse{s.Secret.Name, fmt.Sprintf("%s.projected.sources[%d].secret", key, i)})
			}
		}
	}
	return uses
}

// onlyReferences refuses to turn the bank-vaults webhook off for the whole pod
// while a container that is not patched needs it.
func (p *patcher) onlyReferences() {
	if p.wanted == "" || len(p.wrapped) == 0 || len(p.wrapped[0].references) == 0 {
		return
	}
	for _, c := range p.pod.all() {
		if c.Name != p.wanted && len(p.references(c)) > 0 {
			p.fail(p.podKey("spec.containers."+c.Name), "its variables have references too, and the webhook that reads them is turned off for the whole pod",
				"leave /"+p.wanted+" out, for a patch of all containers")
		}
	}
}

// expanded refuses a text of a container in which Kubernetes fills in a variable
// that it does not know any more.
func (p *patcher) expanded(c container) {
	texts := map[string][]string{"command": c.Command, "args": c.Args}
	for _, v := range c.Env {
		texts["env."+v.Name] = append(texts["env."+v.Name], v.Value)
	}
	for _, s := range p.served {
		if s.container != c.Name || s.variable == "" {
			continue
		}
		for _, key := range sortedKeys(texts) {
			if strings.Contains(strings.Join(texts[key], "\n"), "$("+s.variable+")") {
				p.fail(p.podKey("spec.containers."+c.Name)+"."+key, "Kubernetes fills in $("+s.variable+") there, and does not know this variable after the patch",
					"let the command put the text together, or give the whole text as one secret")
			}
		}
	}
}
