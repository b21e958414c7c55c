package plan

import "slices"

// request is a read together with the search that it belongs to.
type request struct {
	Read
	find *Find // of the list that finds secrets
}

// requests lists the plan's reads and those of its references and bundles, once
// for each place that asks.
func requests(p *Plan) []request {
	var list []request
	add := func(r *Ref, from Origin) {
		if r.Read.Path != "" {
			list = append(list, request{Read: r.Read.declaredAt(from)})
		}
	}
	source := func(s Source, from Origin) {
		for _, r := range s.Refs() {
			add(r, from)
		}
	}
	set := func(r *Ref, b *Bundle, from Origin) {
		if b == nil {
			add(r, from)
			return
		}
		for i := range b.Parts {
			list = append(list, b.Parts[i].request(from)...)
		}
	}
	for _, r := range p.Reads {
		list = append(list, request{Read: r})
	}
	for _, f := range p.Files {
		source(f.Source, f.Origin)
	}
	for i := range p.Sets {
		set(&p.Sets[i].Ref, p.Sets[i].Bundle, p.Sets[i].Origin)
	}
	for _, e := range p.Env {
		source(e.Source, e.Origin)
	}
	for i := range p.EnvSets {
		set(&p.EnvSets[i].Ref, p.EnvSets[i].Bundle, p.EnvSets[i].Origin)
	}
	return list
}

// declaredAt gives the read with a place, where it has none of its own.
func (r Read) declaredAt(from Origin) Read {
	if r.Origin == (Origin{}) {
		r.Origin = from
	}
	return r
}

// request is what the part asks for first; a search begins with a list.
func (t *Part) request(from Origin) []request {
	if t.Origin != (Origin{}) {
		from = t.Origin
	}
	switch {
	case t.Find != nil:
		return []request{{Read: Read{Path: t.Find.List, Op: OpList, KV: KVLiteral, Origin: from}, find: t.Find}}
	case t.Ref.Read.Path == "":
		return nil
	}
	return []request{{Read: t.Ref.Read.declaredAt(from)}}
}

// viewReads gives each request once. It is optional only when nobody insists
// on it.
func viewReads(p Plan) []ViewRead {
	index := map[string]int{}
	shown := []ViewRead{}
	for _, r := range requests(&p) {
		key := r.Key()
		i, known := index[key]
		if !known {
			i, index[key] = len(shown), len(shown)
			if r.Op == OpWrite { // it goes to the path as it is, whatever is said
				r.KV = KVLiteral
			}
			shown = append(shown, ViewRead{
				Operation: r.Op.String(), Path: r.Path, KV: r.KV.String(), Version: r.Version, Optional: r.Optional,
				Origin: r.Origin.String(), Sends: sortedKeys(r.Body), Else: append([]string{}, r.Else...),
			})
		}
		shown[i].Optional = shown[i].Optional && r.Optional
		if r.find != nil {
			shown[i].Finds = r.find.Read
		}
	}
	return slices.Clip(shown)
}
