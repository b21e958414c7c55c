package bootstrap

import (
	"maps"
	"time"

	"github.com/secretboot/secretboot/render"
)

// generation is what was read and what was made of it: each path was read once,
// and everything that shows it shows the same answer.
type generation struct {
	answers render.Answers
	needs   map[string]render.Need // by the key of the answer: how to read it again
	asked   map[string]time.Time   // and when it was asked for
	parts   []part                 // one per item of the job
	later   bool                   // it is not the first
}

// part is what was made of one item.
type part struct {
	outputs []output
	used    []string // the keys of the answers that it was made of; one may be there twice
	done    bool
}

// tokenKey stands in part.used for the token of the login. No Need has this key.
const tokenKey = "token"

func newGeneration(items int) *generation {
	return &generation{answers: render.Answers{}, needs: map[string]render.Need{}, asked: map[string]time.Time{}, parts: make([]part, items)}
}

// enter takes an answer. How it was asked for is only for those who ask again.
func (g *generation) enter(n render.Need, a render.Answer, asked time.Time, keep bool) {
	key := n.Key()
	g.answers[key] = a
	if keep {
		g.needs[key], g.asked[key] = n, asked
	}
}

// outputs lists all that was made, in the order declared.
func (g *generation) outputs() []output {
	n := 0
	for _, p := range g.parts {
		n += len(p.outputs)
	}
	all := make([]output, 0, n)
	for _, p := range g.parts {
		all = append(all, p.outputs...)
	}
	return all
}

// without gives a generation in the making: it has all of g but the answers that
// are named, and the parts that were made of them. The contents are shared.
func (g *generation) without(keys map[string]bool) *generation {
	next := newGeneration(len(g.parts))
	next.later = true
	for key, a := range g.answers {
		if !keys[key] {
			next.answers[key] = a
		}
	}
	maps.Copy(next.needs, g.needs)
	maps.Copy(next.asked, g.asked)
	for i, p := range g.parts {
		if !p.usesAny(keys) {
			next.parts[i] = p
		}
	}
	return next
}

func (p part) usesAny(keys map[string]bool) bool {
	if !p.done {
		return true
	}
	for _, key := range p.used {
		if keys[key] {
			return true
		}
	}
	return false
}

// users gives the parts, by number, that an answer was used for, by its key.
func (g *generation) users() map[string][]int {
	users := make(map[string][]int, len(g.answers))
	for i, p := range g.parts {
		for _, key := range p.used {
			users[key] = append(users[key], i)
		}
	}
	return users
}

// prune forgets answers that nothing was made of.
func (g *generation) prune() {
	used := map[string]bool{}
	for _, p := range g.parts {
		for _, key := range p.used {
			used[key] = true
		}
	}
	for key := range g.needs {
		if !used[key] {
			delete(g.answers, key)
			delete(g.needs, key)
			delete(g.asked, key)
		}
	}
}

// wipe overwrites what was made, but not what other, which may be nil, has too.
func (g *generation) wipe(other *generation) {
	if g == nil {
		return
	}
	for i, p := range g.parts {
		if other != nil && other.parts[i].done && len(p.outputs) > 0 && len(other.parts[i].outputs) > 0 && &p.outputs[0] == &other.parts[i].outputs[0] {
			continue
		}
		wipe(p.outputs)
	}
}
