package bootstrap

import (
	"fmt"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// variable gives the name that a field of a secret has as a variable. ok is
// false for a field that the set does not want. The error is a *plan.Problem.
func variable(s *plan.EnvSet, field string) (name string, ok bool, err error) {
	name, why, wanted := s.Variable(field)
	if why == "" {
		return name, wanted, nil
	}
	p := &plan.Problem{
		Code: plan.CodeData, Origin: s.Origin, What: fmt.Sprintf("variable %q", name), Why: why,
		Fix: "list the fields that are wanted in allow, and declare this one by itself under another name",
	}
	if s.Bundle != nil {
		p.Fix = "give the key another name, with a rewrite or a template, or deliver the keys as files"
	}
	return "", false, p
}

// settle carries out what sets say about names that are taken: by a
// declaration before them, or by what is inherited. What may not be there twice
// stays twice, for the check that comes next. What is dropped is not wiped: it is
// a part of its generation still.
func (j *Job) settle(outputs []output) []output {
	at := map[string]int{} // the output that a name stands for
	dropped := map[int]bool{}
	for i, out := range outputs {
		if out.name == "" {
			continue
		}
		first, twice := at[out.name]
		policy := plan.DuplicateError
		if out.set != nil {
			policy = out.set.Duplicate
		}
		switch {
		case policy == plan.DuplicateKeep && (twice || j.inherited(out.name)):
			dropped[i] = true
			continue
		case policy == plan.DuplicateOverwrite && twice:
			dropped[first] = true
		}
		at[out.name] = i
	}
	if len(dropped) == 0 {
		return outputs
	}
	var kept []output
	for i, out := range outputs {
		if !dropped[i] {
			kept = append(kept, out)
		}
	}
	return kept
}

// inherited reports whether the command would have a variable without us.
func (j *Job) inherited(name string) bool {
	_, there := j.deps.Lookup(name)
	return there
}
