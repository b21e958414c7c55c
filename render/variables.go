package render

import (
	"io"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Variables writes variables, sorted by name, in one of the formats that consist of
// names with texts. random gives the bits of what nobody may foresee, as in [Means].
//
// The error is plan.Problems with CodeData, one for each name or value that the format
// cannot carry, or with CodeBug for a format of another kind.
func Variables(format plan.Format, values map[string]secret.Value, random io.Reader) (secret.Value, error) {
	lines, ok := Means{Random: random}.lines(format)
	if !ok {
		return secret.Value{}, &plan.Problem{Code: plan.CodeBug, What: "variables", Why: format.String() + " is no format for them"}
	}
	fields := make(map[string]any, len(values))
	for name, v := range values {
		fields[name] = string(v.Reveal())
	}
	text, bad := lines.write(format.String(), fields)
	var ps plan.Problems
	for _, f := range bad {
		ps = append(ps, &plan.Problem{Code: f.code, What: "variables", Why: f.why, Fix: "leave it out of them, and deliver it as a file"})
	}
	return secret.New(text), ps.Err()
}
