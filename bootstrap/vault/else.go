package vault

import (
	"errors"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// attempt is a path of one declaration at which there was nothing for us.
type attempt struct {
	path string
	err  error
}

// firstOf reads at the path of r and then at each of its further ones, until one
// gives a secret or fails for a reason that another path does not help against.
// The error names all that was tried.
func firstOf(r plan.Read, read func(plan.Read) (secret.Secret, error)) (secret.Secret, error) {
	var tried []attempt
	for _, path := range append([]string{r.Path}, r.Else...) {
		one := r
		one.Path, one.Else = path, nil
		s, err := read(one)
		switch {
		case err == nil:
			return s, nil
		case !isElsewhere(err):
			return secret.Secret{}, err
		}
		tried = append(tried, attempt{plan.SplitPath(path), err})
	}
	return secret.Secret{}, allOf(tried)
}

// isElsewhere reports whether the secret may well be at another path: this one
// has none, is refused, or is in no secrets engine.
func isElsewhere(err error) bool {
	var f *fault
	switch plan.CodeOf(err) {
	case plan.CodeMissing:
		return true
	case plan.CodeDenied:
		return !tokenRefused(err)
	}
	return errors.As(err, &f) && f.says("no handler for route")
}

// allOf gives the error that says most, with what was tried beside it: that a
// secret is missing says more than that its path is refused, which Vault's
// policies do to every path that is not meant.
func allOf(tried []attempt) error {
	best := 0
	for i, t := range tried {
		if rank(t.err) < rank(tried[best].err) {
			best = i
		}
	}
	var p *plan.Problem
	if len(tried) == 1 || !errors.As(tried[best].err, &p) {
		return tried[best].err
	}
	q := *p
	var others []string
	for _, t := range slices.Delete(slices.Clone(tried), best, best+1) {
		others = append(others, t.path+" ("+whyOf(t.err)+")")
	}
	q.Why += "; also tried: " + strings.Join(others, ", ")
	return &q
}

// rank orders what a failed try says, best first.
func rank(err error) int {
	return slices.Index([]plan.Code{plan.CodeMissing, plan.CodeDenied, plan.CodeConfig}, plan.CodeOf(err))
}
