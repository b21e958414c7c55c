//go:build !aws

package identity

import (
	"context"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Proof always fails: AWS's module is not compiled in.
func (AWS) Proof(context.Context) (Proof, error) {
	return nil, &plan.Problem{
		Code: plan.CodeConfig, What: "AWS", Why: "this binary was built without AWS", Fix: "build it with -tags aws",
	}
}
