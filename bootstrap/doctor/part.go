package doctor

import (
	"strconv"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// part is one declaration by itself: what is wrong with it stops no other.
type part struct {
	subject  string
	plan     plan.Plan
	optional bool // that its secret is missing is no failure
}

// parts takes a plan apart.
func parts(p plan.Plan) []part {
	var all []part
	bare := p
	bare.Files, bare.Sets, bare.Env, bare.EnvSets = nil, nil, nil, nil
	bare.Receipt = plan.Setting[string]{}
	add := func(subject string, optional bool, with func(*plan.Plan)) {
		one := bare
		with(&one)
		all = append(all, part{subject, one, optional})
	}
	for _, f := range p.Files {
		add("file "+strconv.Quote(f.Path), f.Optional || hasDefault(f.Source), func(one *plan.Plan) { one.Files = []plan.File{f} })
	}
	for _, s := range p.Sets {
		add("files in "+strconv.Quote(s.Dir), s.Ref.Read.Optional, func(one *plan.Plan) { one.Sets = []plan.FileSet{s} })
	}
	for _, v := range p.Env {
		add("variable "+v.Name, v.Optional || hasDefault(v.Source), func(one *plan.Plan) { one.Env = []plan.Env{v} })
	}
	for _, s := range p.EnvSets {
		add(s.Title(), s.Ref.Read.Optional, func(one *plan.Plan) { one.EnvSets = []plan.EnvSet{s} })
	}
	return all
}

func hasDefault(s plan.Source) bool { return s.Ref != nil && s.Ref.Default != nil }
