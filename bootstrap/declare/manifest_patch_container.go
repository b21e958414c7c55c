package declare

import (
	"slices"
)

// changes are the containers of a list with what becomes of each: all of them, so
// that their order stays, or nil.
func (p *patcher) changes(list string, containers []container) []any {
	var all []any
	changed := false
	for _, c := range containers {
		change := p.change(c, list)
		changed = changed || len(change) > 0
		change["name"] = c.Name
		all = append(all, change)
	}
	if !changed {
		return nil
	}
	return all
}

// change is what becomes of one container.
func (p *patcher) change(c container, list string) obj {
	out := obj{}
	var mounts []any
	if list == "containers" || p.annotated()[injectorPrefix+initFirst] == "true" {
		for _, m := range p.added() {
			mounts = append(mounts, mountOf(m.Name, m.MountPath, true))
		}
	}
	if i := slices.IndexFunc(p.wrapped, func(w wrapped) bool { return w.Name == c.Name }); i >= 0 {
		mounts = append(mounts, p.wrap(p.wrapped[i], list, out)...)
	}
	if len(mounts) > 0 {
		out["volumeMounts"] = mounts
	}
	return out
}

// wrap puts our run before the command, and gives the mounts that it needs.
func (p *patcher) wrap(w wrapped, list string, out obj) []any {
	if len(w.Command) == 0 {
		p.fail(p.podKey("spec.containers."+w.Name), "it has no command, and that of its image is not known here",
			"write the image's ENTRYPOINT as command, and its CMD as args")
		return nil
	}
	p.expanded(w.container)
	command := []string{patchBinary + "/secretboot", "run"}
	mounts := []any{mountOf(ourBinary, patchBinary, true)}
	if len(w.references) > 0 {
		command = append(command, "--from", bankVaultsName)
	}
	if own, ok := p.envs[w.Name]; ok {
		command = append(command, "--config", patchConfig+"/"+runConfig(w.Name))
		mounts = append(mounts, mountOf(ourConfig, patchConfig, true))
		mounts = append(mounts, p.reads(w.Name, own, w.VolumeMounts)...)
	}
	out["command"] = slices.Concat(command, []string{"--"}, w.Command)
	if env := p.environment(w); len(env) > 0 {
		out["env"] = env
	}
	if kept := p.keptSources(w.container, list); len(kept) < len(w.EnvFrom) {
		out["envFrom"] = kept
	}
	return mounts
}

// environment changes the variables: those that we bring are taken away, and
// those that the webhook would set are there.
func (p *patcher) environment(w wrapped) []any {
	var env []any
	for _, s := range p.served {
		if s.container == w.Name && s.variable != "" {
			env = append(env, obj{"name": s.variable, "$patch": "delete"})
		}
	}
	if len(w.references) == 0 {
		return env
	}
	vars := p.webhookVariables()
	for _, name := range sortedKeys(vars) {
		if !slices.ContainsFunc(w.Env, func(v variableDecl) bool { return v.Name == name }) {
			env = append(env, obj{"name": name, "value": vars[name]})
		}
	}
	return env
}

// keptSources are the entries of envFrom that stay. A list without a merge key is
// replaced, so they are written out.
func (p *patcher) keptSources(c container, list string) []any {
	var kept []any
	for i := range c.EnvFrom {
		if !slices.Contains(p.served, served{container: c.Name, source: i}) {
			kept = append(kept, p.rawEnvFrom(c.Name, list, i))
		}
	}
	return kept
}

// rawEnvFrom gives an entry of envFrom as it was written.
func (p *patcher) rawEnvFrom(name, list string, i int) any {
	all, _ := p.workload.spec[list].([]any)
	for _, item := range all {
		c, _ := item.(map[string]any)
		from, _ := c["envFrom"].([]any)
		if c["name"] == name && i < len(from) {
			return from[i]
		}
	}
	return nil
}
