package bootstrap

import (
	"context"

	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Made is a file or variable as it would have been delivered.
type Made struct {
	Path    string // of a file
	Name    string // of a variable; "" for a file
	Content secret.Value
	Alone   bool // it is one secret with no other text around it
}

// Rehearse reads and renders all of the plan and delivers nothing: no login, no
// folder, no command. The session must be logged in where that is needed. The
// error is as that of Run. The caller wipes the contents.
func (j *Job) Rehearse(ctx context.Context) ([]Made, error) {
	all, err := j.gather(ctx)
	outputs := j.settle(all)
	if err == nil {
		err = j.checkTogether(outputs)
	}
	if err != nil {
		wipe(all)
		return nil, err
	}
	made := make([]Made, 0, len(outputs))
	for _, out := range outputs {
		made = append(made, Made{Path: out.file.Path, Name: out.name, Content: out.content})
	}
	return made, nil
}
