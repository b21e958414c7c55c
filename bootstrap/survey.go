package bootstrap

import (
	"context"
	"errors"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Survey reads and renders each declaration by itself, so that a failure of one
// stops no other, and delivers nothing. It gives the outputs that are one value
// of a secret; what a template or a format makes has other text in it, and is
// only made so that all is read that a run would read. The session must be logged
// in. The caller wipes the contents, also after an error.
func (j *Job) Survey(ctx context.Context) ([]Made, error) {
	var made []Made
	var ps plan.Problems
	for _, it := range j.items {
		one := *j
		one.items = []item{it}
		outputs, err := one.gather(ctx)
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			wipe(outputs)
			return made, cause
		}
		ps.Add(err)
		if err != nil || !it.isValue() {
			wipe(outputs)
			continue
		}
		made = append(made, values(outputs)...)
	}
	return made, condense(ps).Err()
}

// values gives the outputs that are one value of a secret.
func values(outputs []output) (made []Made) {
	for _, out := range outputs {
		if out.value {
			made = append(made, Made{Path: out.file.Path, Name: out.name, Content: out.content})
		}
	}
	return made
}

// tellMade tells whoever wants to know the values that are about to be delivered.
func (j *Job) tellMade(outputs []output) {
	if j.deps.Made != nil {
		j.deps.Made(values(outputs))
	}
}

// isValue reports whether each output is the value of a field and nothing else.
func (it item) isValue() bool {
	return it.ref != nil && (it.ref.Field != "" || it.set != nil || it.envSet != nil)
}
