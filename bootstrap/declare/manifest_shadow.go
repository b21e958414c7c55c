package declare

import (
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// shadow leaves out what an envFrom would give under a name that the container's
// env has: to Kubernetes env wins, and a text there is none that we deliver, so
// that ours would replace it. Where it is not known before reading which keys
// there are, that is noted.
//
// Two envFrom with one name stay an error, though to Kubernetes the later one wins.
func (m *manifested) shadow(c container, key string, p *plan.Plan) {
	var names []string
	for _, v := range c.Env {
		names = append(names, v.Name)
	}
	left := func(name string) bool {
		if !slices.Contains(names, name) {
			return false
		}
		m.ignore(key+"."+name, "env has a variable of this name, and wins")
		return true
	}
	p.Env = slices.DeleteFunc(p.Env, func(e plan.Env) bool { return left(e.Name) })
	for i := range p.EnvSets {
		s := &p.EnvSets[i]
		keys, known := bundleKeys(s.Bundle)
		if !known {
			if len(names) > 0 {
				m.ignore(key, "its keys are not known before they are read, so one with the name of a variable in env ("+strings.Join(names, ", ")+") is not left out here, as Kubernetes would")
			}
			continue
		}
		take := map[string]string{}
		for _, k := range keys {
			if !left(s.Prefix + k) {
				take[s.Prefix+k] = k
			}
		}
		if len(take) < len(keys) {
			s.Prefix, s.Take = "", take
		}
	}
	p.EnvSets = slices.DeleteFunc(p.EnvSets, func(s plan.EnvSet) bool { return s.Take != nil && len(s.Take) == 0 })
}

// bundleKeys gives the keys that a bundle always has, each once; known is false
// where what is in Vault decides.
func bundleKeys(b *plan.Bundle) (keys []string, known bool) {
	if b == nil {
		return nil, false
	}
	for _, part := range b.Parts {
		if part.Key == "" || part.Ref.Read.Optional {
			return nil, false
		}
		if b.Keep {
			keys = append(keys, part.Key)
		}
	}
	for _, t := range b.Templates {
		if t.Key == "" {
			return nil, false
		}
		keys = append(keys, t.Key)
	}
	slices.Sort(keys)
	return slices.Compact(keys), true
}
