package render

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// run is one execution of a program.
type run struct {
	ctx     context.Context //nolint:containedctx // the functions of a template take no context
	p       *Program
	id      *Program // p, or the one without a body that it was made of
	in      Input
	all     *template.Template        // the templates that are defined, for executeTemplate
	lacking []Need                    // not empty: we only go on to find more of them
	asked   map[string]bool           // keys of lacking
	used    map[string]bool           // keys of the answers that were looked at
	answers map[string]*answer        // each secret is copied once, so that the template may change it
	files   []*written                // by writeToFile, in the order of the first call for each
	wrote   int                       // bytes in files
	calls   map[[sha256.Size]byte]int // of functions of chance: see remember
	scratch *scratch
	steps   int
	depth   int
}

// Execute renders the program. If it asks for reads that in has no answer to,
// it gives those instead of bytes, and no error: what else goes wrong may come
// from what is lacking. Otherwise it fails with a *plan.Problem: CodeMissing
// (with [ErrMissing] in its chain) for a value that is not there, CodeData for
// what a function cannot handle and for a template that does too much,
// CodeUnavailable (with the cause of ctx in its chain) when ctx ends before the
// template does, or the code of the answer that it asked for. Used is there in any
// case.
func (p *Program) Execute(ctx context.Context, in Input) (Output, error) {
	r, out, err := p.run(ctx, in, nil)
	used := slices.Collect(maps.Keys(r.used))
	if err != nil {
		return Output{Used: used}, err
	}
	if len(r.lacking) > 0 {
		return Output{Lacking: r.lacking, Used: used}, nil
	}
	return Output{Bytes: out, Files: r.extras(), Used: used}, nil
}

// ExecuteOver renders a program of a dialect whose templates have data: it is
// what . is. The program may change its own copy of it. It fails as Execute
// does, with CodeBug for a program of another dialect.
func (p *Program) ExecuteOver(ctx context.Context, data map[string]any) (secret.Value, error) {
	if !p.dialect.over {
		return secret.Value{}, &plan.Problem{Code: plan.CodeBug, Origin: p.origin, What: p.what("", ""), Why: "it takes no data"}
	}
	_, out, err := p.run(ctx, Input{}, data)
	var told *plan.Problem
	if errors.As(err, &told) && errors.Is(err, ErrMissing) && len(data) > 0 {
		named := *told
		named.Fix = "the data have " + listNames(slices.Sorted(maps.Keys(data))) + strings.TrimSuffix("; "+told.Fix, "; ")
		err = &named
	}
	return out, err
}

// run executes the program once.
func (p *Program) run(ctx context.Context, in Input, data map[string]any) (*run, secret.Value, error) {
	r := &run{ctx: ctx, id: p, in: in, asked: map[string]bool{}, used: map[string]bool{}, answers: map[string]*answer{}, calls: map[[sha256.Size]byte]int{}}
	r.scratch = &scratch{r: r, values: map[string]any{}}
	whole, err := p.complete()
	if err != nil {
		return r, secret.Value{}, err
	}
	r.p, p = whole, whole
	text, err := p.executable(r)
	if err != nil {
		return r, secret.Value{}, p.executionProblem(err)
	}
	r.all = text
	var dot any
	if p.dialect.over {
		if err := r.inspect(data, 0); err != nil {
			return r, secret.Value{}, p.problem(site{}, err)
		}
		dot = clone(data)
	}
	out := &limited{}
	err = text.Execute(out, dot)
	if err != nil && (len(r.lacking) == 0 || errors.Is(err, errBudget)) {
		return r, secret.Value{}, p.executionProblem(err)
	}
	return r, secret.New(out.bytes()), nil
}

// hooks are the functions that the compiler put into the tree.
func hooks(r *run) template.FuncMap {
	return template.FuncMap{
		hookCall:   func(id int, args ...any) (any, error) { return r.call(id, args) },
		hookMember: func(id int, v any, name string, args ...any) (any, error) { return r.member(id, v, name, args) },
		hookEmit:   func(id int, v any) (string, error) { return r.emit(id, v) },
		hookRange:  func(id int, v any) (any, error) { return r.iterate(id, v) },
		hookEnter:  func() (string, error) { return r.enter() },
		hookLeave:  func() string { r.depth--; return "" },
	}
}

// scouting says that bytes are not wanted any more, only further needs.
func (r *run) scouting() bool { return len(r.lacking) > 0 }

// fail tells err at a site; while scouting, only what must end the execution.
func (r *run) fail(id int, err error) error {
	if r.scouting() && !errors.Is(err, errBudget) {
		return nil
	}
	var told *located
	if errors.As(err, &told) {
		return told.problem
	}
	return r.p.problem(r.p.sites[id], err)
}

func (r *run) call(id int, args []any) (any, error) {
	s := r.p.sites[id]
	v, err := s.fn.call(r, args)
	absent := err != nil && plan.CodeOf(err) == plan.CodeMissing && s.fn.asks()
	switch {
	case absent && s.orElse: // the template says what to do without it
		return nil, nil
	case err != nil:
		return nil, r.fail(id, err)
	}
	return v, nil
}

// emit gives the text of what is printed. Numbers keep the text they came in.
func (r *run) emit(id int, v any) (string, error) {
	text, err := r.text(v)
	if err != nil {
		return "", r.fail(id, err)
	}
	return text, nil
}

func (r *run) text(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", missing("the value is missing", r.p.dialect.absent)
	case string:
		return v, r.spend(1 + len(v)>>10)
	}
	look := noNil
	if r.p.whole {
		look |= nilGoes
	}
	if err := r.inspect(v, look); err != nil {
		return "", err
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		return "", badData("this has no printed form", "")
	}
	return fmt.Sprint(v), nil
}

// iterate looks at what a range is about to iterate over.
func (r *run) iterate(id int, v any) (any, error) {
	s := r.p.sites[id]
	rv := reflect.ValueOf(v)
	n := 0
	switch {
	case v == nil && s.orElse:
		return nil, nil
	case v == nil:
		return nil, r.fail(id, missing("the list is missing", "add an {{else}} to the range, or test the value first"))
	case rv.Kind() == reflect.Map || rv.Kind() == reflect.Slice || rv.Kind() == reflect.Array:
		n = rv.Len()
	case rv.CanInt():
		n = int(min(rv.Int(), maxSteps+1))
	case rv.CanUint():
		n = int(min(rv.Uint(), maxSteps+1))
	default:
		return nil, r.fail(id, badData("range wants a list, a map or a whole number", ""))
	}
	if err := r.spend(1 + max(n, 0)); err != nil {
		return nil, r.fail(id, err)
	}
	return v, nil
}

func (r *run) enter() (string, error) {
	r.depth++
	if r.depth > maxDepth {
		return "", tooMuch("templates call one another without end")
	}
	return "", r.spend(1)
}

// limited is a buffer that refuses to grow over maxOutput. It grows by parts: one that
// doubles would need three times as much memory at its end.
type limited struct {
	parts [][]byte
	size  int
}

const maxPart = 1 << 20

func (l *limited) Write(b []byte) (int, error) {
	if l.size+len(b) > maxOutput {
		return 0, tooMuch("the output would be larger than 16 MiB")
	}
	written := len(b)
	for len(b) > 0 {
		last := len(l.parts) - 1
		if last < 0 || len(l.parts[last]) == cap(l.parts[last]) {
			l.parts = append(l.parts, make([]byte, 0, max(512, min(max(l.size, len(b)), maxPart))))
			last++
		}
		n := min(len(b), cap(l.parts[last])-len(l.parts[last]))
		l.parts[last] = append(l.parts[last], b[:n]...)
		b, l.size = b[n:], l.size+n
	}
	return written, nil
}

// bytes gives all that was written, once, and leaves no copy behind.
func (l *limited) bytes() []byte {
	if len(l.parts) == 1 && l.size > cap(l.parts[0])/2 {
		return l.parts[0]
	}
	all := bytes.Join(l.parts, nil)
	for _, part := range l.parts {
		clear(part)
	}
	return all
}
