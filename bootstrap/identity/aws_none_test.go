//go:build !aws

package identity

import (
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestWithoutAWS(t *testing.T) {
	_, err := AWS{ServerID: canary}.Proof(t.Context())
	problem(t, err, plan.CodeConfig, "this binary was built without AWS", "build it with -tags aws")
}
