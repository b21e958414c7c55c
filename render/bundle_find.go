package render

import (
	"context"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// The bounds of one search: whoever writes below the path decides how much there
// is, and a server could list without end.
const (
	maxFolders = 64     // folders inside one another
	maxFound   = 10_000 // folders and secrets, all together
)

// search is one walk over what was listed so far.
type search struct {
	part    *part
	answers Answers
	seen    int
	hits    []string // paths below that of the search
	lacking []Need   // what the walk stopped at
}

// search walks as far as the answers lead.
func (p *part) search(answers Answers) (*search, error) {
	s := &search{part: p, answers: answers}
	return s, s.folder("", 0)
}

// list is the need for what is in a folder, whose path is empty or ends with /.
func (p *part) list(below string) Need {
	path := strings.TrimSuffix(p.Find.List+"/"+below, "/")
	return Need{Read: plan.Read{Path: path, Op: plan.OpList, KV: plan.KVLiteral, Optional: p.Ref.Read.Optional, Origin: p.Origin}}
}

// read is the need for one secret below base.
func (p *part) read(base, below string) Need {
	return Need{Read: plan.Read{Path: base + "/" + below, KV: plan.KVLiteral, Origin: p.Origin}}
}

func (s *search) folder(below string, depth int) error {
	need := s.part.list(below)
	a, ok := s.answers[need.Key()]
	switch {
	case !ok:
		s.lacking = append(s.lacking, need)
		return nil
	case a.Err != nil && below != "" && plan.CodeOf(a.Err) == plan.CodeMissing:
		return nil // it was emptied meanwhile
	case a.Err != nil:
		return a.Err
	}
	for _, name := range namesIn(a.Secret) {
		rest, isFolder := strings.CutSuffix(name, "/")
		switch s.seen++; {
		case !isName(rest):
			return s.problem(plan.CodeProtocol, "a name in it is none that a path can have", "")
		case s.seen > maxFound:
			return s.problem(plan.CodeData, "there are more than 10000 secrets and folders in it", "name a folder further down")
		case isFolder && depth == maxFolders:
			return s.problem(plan.CodeData, "it has more than 64 folders inside one another", "name a folder further down")
		}
		var err error
		switch {
		case !isFolder:
			err = s.secret(below + name)
		case !s.part.Find.Flat:
			err = s.folder(below+name, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// secret looks at one secret that is there.
func (s *search) secret(below string) error {
	p := s.part
	if !p.name(p.Find.Base + below) {
		return nil
	}
	if len(p.Find.Tags) > 0 {
		meta, ok, err := s.take(p.read(p.Find.List, below))
		if err != nil || !ok || !hasTags(meta, p.Find.Tags) {
			return err
		}
	}
	_, ok, err := s.take(p.read(p.Find.Read, below))
	if ok && err == nil {
		s.hits = append(s.hits, below)
	}
	return err
}

// take gives the answer to a need, if there is one: a secret that is listed and
// not there was deleted, its newest version or all of it.
func (s *search) take(n Need) (secret.Secret, bool, error) {
	a, ok := s.answers[n.Key()]
	switch {
	case !ok:
		s.lacking = append(s.lacking, n)
		return secret.Secret{}, false, nil
	case a.Err != nil && plan.CodeOf(a.Err) == plan.CodeMissing:
		return secret.Secret{}, false, nil
	}
	return a.Secret, a.Err == nil, a.Err
}

func (s *search) problem(code plan.Code, why, fix string) error {
	return &plan.Problem{Code: code, Origin: s.part.Origin, What: "list of " + s.part.Find.List, Why: why, Fix: fix}
}

// namesIn gives the names of a list, sorted, each once.
func namesIn(s secret.Secret) []string {
	list, _ := s.Data.Reveal()["keys"].([]any)
	var names []string
	for _, v := range list {
		name, _ := v.(string)
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isName reports whether a name from a list is one element of a path, so that no
// server leads us to another place than the one below the search.
func isName(name string) bool {
	ref, err := plan.ParseRef(name)
	return err == nil && ref.Read.Path == name && ref.Field == "" && !strings.ContainsAny(name, "/#")
}

// hasTags reports whether the custom metadata has all the tags.
func hasTags(meta secret.Secret, tags map[string]string) bool {
	custom, _ := meta.Data.Reveal()["custom_metadata"].(map[string]any)
	for tag, want := range tags {
		if got, ok := custom[tag].(string); !ok || got != want {
			return false
		}
	}
	return true
}

// found makes a key of each secret that was found: the whole of it in JSON.
func (p *part) found(ctx context.Context, answers Answers) (map[string][]byte, error) {
	s, err := p.search(answers)
	if err != nil {
		return nil, err
	}
	keys := make(map[string][]byte, len(s.hits))
	var ps plan.Problems
	for _, below := range s.hits {
		need := p.read(p.Find.Read, below)
		got, err := p.answer(need, answers)
		if err != nil {
			return nil, err
		}
		fields, bad := wholeMap(ctx, plan.Ref{Read: need.Read}, got)
		text, f := jsonValue(fields, true)
		if f != nil {
			bad = append(bad, f)
		}
		if len(bad) > 0 {
			ps.Add(bad.problems(plan.Ref{Read: need.Read}, p.Origin))
		}
		keys[p.Find.Base+below] = text
	}
	return keys, ps.Err()
}
