// Package identity proves to Vault who we are by what the platform knows about
// us: a CI job, a virtual machine, a service account, a role.
//
// A [Source] gives the members of the JSON body that the platform's login at
// Vault takes, such as jwt; what a Vault role adds (role, mount) is the
// caller's. A source is a struct of settings. It does nothing before Proof is
// called, keeps nothing afterwards, and may be used again for the next login.
//
// The contract of every source:
//
//   - one try takes at most 5 s (2 s to an instance's metadata service); what
//     can pass (no connection, 408, 429, 5xx) is tried five times with growing,
//     jittered waits, and no longer than the context allows; what cannot pass
//     fails at once and says what to do;
//   - no redirect is followed, and requests to a metadata service use no proxy;
//   - an answer is at most 1 MiB, UTF-8, and of the documented form;
//   - a credential is sent by https only, or to a loopback address, but for the
//     metadata services, which the platforms offer by http;
//   - settings are checked before the first request, and all their problems are
//     returned together;
//   - an error is a [*plan.Problem] or [plan.Problems], without Origin: the
//     caller knows who asked (plan.At). Its code is plan.CodeConfig,
//     plan.CodeDenied, plan.CodeUnavailable or plan.CodeProtocol. When the
//     context was cancelled, the error is its cause;
//   - no error, nor anything that it wraps, holds a credential, the query of a
//     URL, or text of an answer.
//
// Nothing is logged. The process environment is not read, with one exception:
// [AWS] leaves it to AWS's own module to find credentials, and that module looks
// at the environment and at files of the home directory.
package identity

import (
	"context"

	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Proof is the members of a login's body by name, such as jwt.
type Proof map[string]secret.Value

// Source gets a proof from a platform.
type Source interface {
	// Proof asks the platform anew at each call: what it gives is short-lived.
	Proof(ctx context.Context) (Proof, error)
}
