package render

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// failure is an error that is known to hold no data: why and fix are sentences
// of ours. All other errors of functions are replaced, because they may quote
// their argument (those of strconv do).
type failure struct {
	code plan.Code
	why  string
	fix  string
	err  error
}

func (f *failure) Error() string { return f.why }
func (f *failure) Unwrap() error { return f.err }

func badData(why, fix string) *failure {
	return &failure{code: plan.CodeData, why: why, fix: fix}
}

func missing(why, fix string) *failure {
	return &failure{code: plan.CodeMissing, why: why, fix: fix, err: ErrMissing}
}

// errBudget ends an execution, even one that only looks for lacking reads.
var errBudget = errors.New("render: the template does too much")

func tooMuch(why string) *failure {
	return &failure{code: plan.CodeData, why: why, fix: "make the template do less", err: errBudget}
}

// timeIsUp ends an execution because its context has ended.
func timeIsUp(ctx context.Context) *failure {
	return &failure{
		code: plan.CodeUnavailable, why: "the time is up", fix: "raise --timeout, or make the template do less",
		err: errors.Join(errBudget, context.Cause(ctx)),
	}
}

// located is an error that knows its place already: that inside the template
// which executeTemplate executed.
type located struct{ problem error }

func (l *located) Error() string { return l.problem.Error() }
func (l *located) Unwrap() error { return l.problem }

// problem tells at which site err happened.
func (p *Program) problem(s site, err error) error {
	out := &plan.Problem{Code: plan.CodeData, Origin: p.origin, What: p.what(s.at, s.expr)}
	var f *failure
	var read *plan.Problem
	switch {
	case errors.As(err, &f):
		out.Code, out.Why, out.Fix, out.Err = f.code, f.why, f.fix, f.err
	case errors.As(err, &read): // an answer's
		out.Code, out.Fix, out.Err = read.Code, read.Fix, read
		out.Why = strings.Trim(read.What+": "+read.Why, ": ")
		if read.Origin != (plan.Origin{}) {
			out.Origin = read.Origin
		}
	default:
		out.Why = "the function cannot handle its argument"
	}
	return out
}

// executionProblem translates what text/template says. Our own problems pass;
// of everything else only the place and the kind are kept.
func (p *Program) executionProblem(err error) error {
	var own *plan.Problem
	if errors.As(err, &own) {
		return own
	}
	s := site{}
	place := regexp.MustCompile(`^template: \x00:(\d+:\d+): executing `)
	if m := place.FindStringSubmatch(err.Error()); m != nil {
		s.at = m[1]
		for _, e := range p.exprs { // the last one that was met there
			if e.at == s.at {
				s.expr = e.expr
			}
		}
	}
	var f *failure
	if errors.As(err, &f) { // from a method, or from a hook without a site
		return p.problem(s, f)
	}
	var exec template.ExecError
	if !errors.As(err, &exec) {
		return &plan.Problem{Code: plan.CodeBug, Origin: p.origin, What: p.what("", ""), Why: "cannot be executed"}
	}
	return p.problem(s, kindOf(err.Error()))
}

// kindOf finds out what kind of error text/template tells (Go 1.26,
// text/template/exec.go). A wrong guess costs a worse sentence, nothing else.
func kindOf(message string) *failure {
	has := func(part string) bool { return strings.Contains(message, part) }
	switch {
	case has("map has no entry for key"), has("nil data; no entry for key"), has("nil pointer evaluating"):
		return missing("there is no such value", "")
	case has("invalid value; expected"):
		return missing("an argument of the method is a value that is missing", "")
	case has("can't evaluate field"):
		return badData("the value on the left has no such field", "")
	case has("exceeded maximum template depth"):
		return tooMuch("templates call one another without end")
	case has("is not a method but has arguments"), has("cannot be invoked as function"):
		return badData("a field takes no arguments", "")
	case has("wrong type for value"), has("expected "), has("wrong number of args"):
		return badData("the method takes other arguments", "")
	}
	return badData("this cannot be evaluated", "")
}

// suggest says "did you mean" when one of the names is near.
func suggest(name string, names []string) string {
	best := plan.Nearest(name, slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == root }))
	if best == "" {
		return ""
	}
	return "did you mean " + best + "?"
}
