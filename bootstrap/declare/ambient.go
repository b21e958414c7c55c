package declare

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// serviceAccountToken is where Kubernetes mounts the token of a pod's service
// account unless the pod says otherwise.
//
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// ambient finds the login inputs that nobody declared.
func (e *environment) ambient() {
	e.plan.Login.Ambient = map[string]plan.Handle{}
	if e.in.Home != "" {
		e.ambientFile(plan.AmbientTokenHelper, filepath.Join(e.in.Home, ".vault-token"))
	}
	e.ambientFile(plan.AmbientServiceAccount, serviceAccountToken)
	e.githubActions()
	if e.inGitLab() {
		e.ambientVariable(plan.AmbientGitLabIDToken, "VAULT_ID_TOKEN")
	}
	e.found = e.found || len(e.plan.Login.Ambient) > 0
}

// githubActions: only a job with the permission id-token: write has the two
// variables, and one is of no use without the other.
//
// https://docs.github.com/en/actions/reference/security/oidc
func (e *environment) githubActions() {
	const url, token = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
	_, hasURL := e.in.variable(url)
	_, hasToken := e.in.variable(token)
	if hasURL && hasToken {
		e.ambientVariable(plan.AmbientIDTokenURL, url)
		e.ambientVariable(plan.AmbientIDTokenRequest, token)
	}
}

func (e *environment) ambientVariable(input, name string) {
	if _, ok := e.in.variable(name); ok {
		e.plan.Login.Ambient[input] = plan.Handle{Kind: plan.HandleEnv, Name: name, Origin: variableOrigin(name)}
	}
}

// ambientFile looks for a file. One that cannot be read is noted and no error:
// most likely nobody counts on it.
func (e *environment) ambientFile(input, path string) {
	from := plan.Origin{Front: environmentName, At: path}
	text, err := e.in.read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		e.ignore(path, reason(err), from)
	case len(trimNewline(text)) == 0:
		e.ignore(path, "the file is empty", from)
	default:
		e.plan.Login.Ambient[input] = plan.Handle{Kind: plan.HandleFile, Name: path, Origin: from}
	}
	clear(text)
}

func (e *environment) inGitLab() bool {
	_, ok := e.in.variable("GITLAB_CI")
	return ok
}

// gitlab reads the variables that GitLab documents for a job's secrets.
// Outside of a job their names are too general to be taken for ours.
//
// https://docs.gitlab.com/ci/secrets/hashicorp_vault/
func (e *environment) gitlab() {
	if !e.inGitLab() {
		return
	}
	if !e.plan.Vault.Address.IsSet {
		e.text(&e.plan.Vault.Address, "VAULT_SERVER_URL")
	}
	e.text(&e.plan.Login.Role, "VAULT_AUTH_ROLE")
	e.text(&e.plan.Login.Mount, "VAULT_AUTH_PATH")
}
