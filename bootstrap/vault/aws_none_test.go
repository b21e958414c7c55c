//go:build !aws

package vault

import (
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestAWSNeedsItsBuild: the default build says how to get the login.
func TestAWSNeedsItsBuild(t *testing.T) {
	_, s, err := logIn(t, always(200, loginAnswer), ask("aws", ""))
	problem(t, err, plan.CodeConfig, "login aws at auth/aws/login, role app: AWS: this binary was built without AWS (declared at the AWS credentials of this process); build it with -tags aws")
	if s.count() != 0 {
		t.Errorf("%q", s.all())
	}
}
