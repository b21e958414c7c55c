package vault

import (
	"context"
	"log/slog"
	"net/url"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/identity"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// roleUse says whether a method has roles.
type roleUse uint8

const (
	roleNone roleUse = iota
	roleMay          // the mount may have a default role
	roleMust
)

// method is one way to log in.
type method struct {
	name    string
	mount   string            // where it is by default; "": it is no request to a mount
	signs   []string          // declared inputs of which any one says that this login is meant
	needs   [][]string        // sets of inputs; one of them must be complete
	may     []string          // inputs that may be there
	ambient map[string]string // what the platform may leave, by the input that it stands in for
	params  []string
	role    roleUse
	hint    string // what to do when the inputs are missing
	build   func(inputs) (login, error)
}

// methods is the table of all of them. Where a role and nothing else was given,
// the first whose inputs the platform has left is taken.
func methods() []method {
	return []method{
		{
			name: "token", signs: []string{"token", "token_wrapped"}, needs: [][]string{{"token"}, {"token_wrapped"}},
			ambient: map[string]string{"token": plan.AmbientTokenHelper}, params: []string{"token_creation_path"}, build: newToken,
			hint: "set VAULT_TOKEN or VAULT_TOKEN_FILE, or vault.auth.token_file or token_env",
		},
		{
			name: "approle", mount: "approle", signs: []string{"role_id"}, needs: [][]string{{"role_id"}},
			may: []string{"secret_id", "secret_id_wrapped"}, params: []string{"secret_id_creation_path", "remove_secret_id_file"}, build: newAppRole,
			hint: "set VAULT_ROLE_ID or VAULT_ROLE_ID_FILE, or vault.auth.role_id_file or role_id_env",
		},
		{
			name: "github-actions", mount: "jwt", needs: [][]string{{"id_token_request_url", "id_token_request_token"}}, role: roleMay, params: []string{"audience"},
			ambient: map[string]string{"id_token_request_url": plan.AmbientIDTokenURL, "id_token_request_token": plan.AmbientIDTokenRequest},
			build:   newGitHubActions, hint: "the job needs `permissions: id-token: write`, and must not be one of a fork's pull request",
		},
		{
			name: "jwt", mount: "jwt", signs: []string{"jwt"}, needs: [][]string{{"jwt"}}, role: roleMay,
			ambient: map[string]string{"jwt": plan.AmbientGitLabIDToken}, build: newJWT,
		},
		{
			name: "kubernetes", mount: "kubernetes", needs: [][]string{{"jwt"}}, role: roleMust,
			ambient: map[string]string{"jwt": plan.AmbientServiceAccount}, build: newJWT,
			hint: "mount the service account's token (automountServiceAccountToken, or a projected volume), or give vault.auth.jwt_file",
		},
		{
			name: "cert", mount: "cert", signs: []string{"certificate"}, needs: [][]string{{"certificate", "private_key"}}, role: roleMay, build: newCert,
			hint: "give vault.auth.certificate_file and private_key_file, or VAULT_CLIENT_CERT and VAULT_CLIENT_KEY",
		},
		{name: "userpass", mount: "userpass", signs: []string{"username"}, needs: [][]string{{"username", "password"}}, build: newUserPass},
		{name: "ldap", mount: "ldap", signs: []string{"username"}, needs: [][]string{{"username", "password"}}, build: newUserPass},
		{
			name: "aws", mount: "aws", needs: [][]string{{}}, role: roleMay, build: newAWS,
			params: []string{"region", "sts_endpoint", "server_id"},
		},
		{
			name: "gcp", mount: "gcp", signs: []string{"credentials"}, needs: [][]string{{}}, may: []string{"credentials"}, role: roleMust, build: newGCP,
			params: []string{"type", "service_account", "metadata_endpoint", "iam_endpoint"},
		},
		{
			name: "azure", mount: "azure", needs: [][]string{{}}, role: roleMust, build: newAzure,
			params: []string{"resource", "client_id", "object_id", "metadata_endpoint"},
		},
		{name: "none", needs: [][]string{{}}, build: func(inputs) (login, error) { return noLogin{}, nil }},
	}
}

// post begins a login by request.
func (in inputs) post() *postLogin {
	l := in.options.Login
	p := &postLogin{
		method: in.method.name, mount: mountOr(l, in.method.mount), from: strings.Join(in.from, ", "),
	}
	if in.method.role != roleNone {
		p.role = l.Role.Or("")
	}
	return p
}

// withRole adds the role to what proves who we are.
func (p *postLogin) withRole(from func(context.Context) (identity.Proof, error)) func(context.Context) (identity.Proof, error) {
	return func(ctx context.Context) (identity.Proof, error) {
		members, err := from(ctx)
		if err == nil && p.role != "" {
			members["role"] = secret.New([]byte(p.role))
		}
		return members, err
	}
}

func newToken(in inputs) (login, error) {
	from := strings.Join(in.from, ", ")
	w := in.by["token_wrapped"]
	if w == nil {
		return &tokenLogin{token: in.by["token"], from: from}, nil
	}
	if in.by["token"] != nil {
		return nil, both(in, "token", "token_wrapped")
	}
	return &tokenLogin{from: from, wrapped: &wrapping{
		token: w.value, what: "token", origin: w.handle.Origin, expect: in.param("token_creation_path"), setting: "token_creation_path",
		usual: []string{"auth/token/create", "auth/token/create/+", "auth/token/create-orphan", "auth/+/login", "auth/+/login/+"},
	}}, nil
}

// newAppRole logs in with a role id and, where the role wants it, a secret id
// (https://developer.hashicorp.com/vault/api-docs/auth/approle).
func newAppRole(in inputs) (login, error) {
	p := in.post()
	sid, wrapped := in.by["secret_id"], in.by["secret_id_wrapped"]
	if sid != nil && wrapped != nil {
		return nil, both(in, "secret_id", "secret_id_wrapped")
	}
	role := in.by["role_id"]
	p.secretID = sid
	p.proof = func(context.Context) (identity.Proof, error) {
		members := identity.Proof{"role_id": role.fresh()}
		if sid != nil {
			members["secret_id"] = sid.fresh()
		}
		return members, nil
	}
	switch {
	case sid != nil:
		p.once = true
	case wrapped != nil:
		p.secretID = wrapped
		p.wrapped = &wrapping{
			token: wrapped.value, what: "secret id", origin: wrapped.handle.Origin, expect: in.param("secret_id_creation_path"), setting: "secret_id_creation_path",
			usual: []string{"auth/" + p.mount + "/role/+/secret-id", "auth/" + p.mount + "/role/+/custom-secret-id"},
		}
	}
	return p, in.removal(p, p.secretID)
}

// removal has the secret id's file removed once it is used up, where that was
// asked for. That it cannot be removed is a warning: the login has happened.
func (in inputs) removal(p *postLogin, file *input) error {
	wish := in.options.Login.Params["remove_secret_id_file"]
	if wish.Or("false") != "true" {
		return nil
	}
	if file == nil || file.handle.Kind != plan.HandleFile {
		return &plan.Problem{
			Code: plan.CodeConfig, Origin: wish.Origin, What: "remove_secret_id_file", Why: "the secret id comes from no file",
			Fix: "leave it out, or give secret_id_file or secret_id_wrapped_file",
		}
	}
	p.used = func() {
		if file.removed {
			return
		}
		file.removed = true
		if err := in.options.Remove(file.handle); err != nil {
			in.options.Log.Warn("the file of the secret id was not removed", slog.String("file", file.handle.Name), slog.String("why", plan.PathCause(err)))
			return
		}
		in.options.Log.Info("removed the file of the secret id", slog.String("file", file.handle.Name))
	}
	return nil
}

func both(in inputs, first, second string) error {
	return &plan.Problem{
		Code: plan.CodeConfig, Origin: in.by[second].handle.Origin, What: "login " + in.method.name, Why: first + " and " + second + " were both given",
		Fix: "give one of the two",
	}
}

// newJWT logs in with a token that the platform signed: a job's, or that of a
// Kubernetes service account
// (https://developer.hashicorp.com/vault/api-docs/auth/jwt, …/auth/kubernetes).
// It is read again for each try, because the platform renews it.
func newJWT(in inputs) (login, error) {
	p, jwt := in.post(), in.by["jwt"]
	p.proof = p.withRole(func(context.Context) (identity.Proof, error) {
		return identity.Proof{"jwt": jwt.fresh()}, nil
	})
	return p, nil
}

// newGitHubActions has GitHub sign a token for this job and logs in with it
// (https://docs.github.com/actions/security-for-github-actions/security-hardening-your-deployments).
func newGitHubActions(in inputs) (login, error) {
	p := in.post()
	source := identity.GitHub{
		URL: in.value("id_token_request_url"), Token: in.value("id_token_request_token"), Audience: in.param("audience"),
		Transport: transportOf(in.options.Proxy),
	}
	p.proof = p.withRole(source.Proof)
	return p, nil
}

// newCert logs in with the client certificate of the TLS connection; the role
// is called a name there (https://developer.hashicorp.com/vault/api-docs/auth/cert).
func newCert(in inputs) (login, error) {
	p := in.post()
	p.proof = func(context.Context) (identity.Proof, error) {
		members := identity.Proof{}
		if p.role != "" {
			members["name"] = secret.New([]byte(p.role))
		}
		return members, nil
	}
	out := certLogin{postLogin: p}
	a := in.options.Vault.Address
	if u, err := url.Parse(a.Value); err == nil && u.Scheme != "https" {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: a.Origin, What: "login cert", Why: "a client certificate needs TLS, and the address is " + u.Scheme, Fix: "give an https address",
		}
	}
	if in.by["certificate"] == nil {
		p.from = in.options.Vault.TLS.ClientCert.Origin.String()
		return out, nil
	}
	key := in.value("private_key")
	pair, err := pairOf(in.value("certificate").Reveal(), key.Reveal(), in.by["certificate"].handle.Origin)
	if err != nil {
		return nil, err
	}
	out.pair = &keyPair{*pair}
	return out, nil
}

// certLogin brings its own certificate, or uses that of the connection.
type certLogin struct {
	*postLogin
	pair *keyPair // nil: the connection's
}

// newUserPass logs in with a name, which is part of the path, and a password
// (https://developer.hashicorp.com/vault/api-docs/auth/userpass, …/auth/ldap).
func newUserPass(in inputs) (login, error) {
	p := in.post()
	name := string(in.value("username").Reveal())
	if strings.Contains(name, "/") || name == "." || name == ".." {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: in.by["username"].handle.Origin, What: "username", Why: "has a slash in it, or is one or two dots",
			Fix: "give the name alone",
		}
	}
	p.path = "/" + name
	password := in.by["password"]
	p.proof = func(context.Context) (identity.Proof, error) {
		return identity.Proof{"password": password.fresh()}, nil
	}
	return p, nil
}

func newAWS(in inputs) (login, error) {
	p := in.post()
	source := identity.AWS{
		Region: in.param("region"), STSEndpoint: in.param("sts_endpoint"), ServerID: in.param("server_id"), Transport: transportOf(in.options.Proxy),
	}
	p.from = "the AWS credentials of this process"
	p.proof = p.withRole(source.Proof)
	return p, nil
}

func newGCP(in inputs) (login, error) {
	p := in.post()
	l := in.options.Login
	kind := l.Params["type"]
	if in.by["credentials"] != nil && !kind.IsSet {
		kind.Value = "iam"
	}
	switch kind.Value {
	case "gce", "":
		if in.by["credentials"] != nil || in.param("iam_endpoint") != "" {
			return nil, &plan.Problem{
				Code: plan.CodeConfig, Origin: kind.Origin, What: "vault.auth.type", Why: "credentials and iam_endpoint mean nothing to the type gce",
				Fix: "set type: iam, or leave them out",
			}
		}
		source := identity.GCPMetadata{
			Endpoint: in.param("metadata_endpoint"), ServiceAccount: in.param("service_account"), Audience: "http://vault/" + p.role,
		}
		p.from = "Google's metadata service"
		p.proof = p.withRole(source.Proof)
	case "iam":
		source := identity.GCPIAM{
			Credentials: in.value("credentials"), ServiceAccount: in.param("service_account"), Role: p.role,
			MetadataEndpoint: in.param("metadata_endpoint"), IAMEndpoint: in.param("iam_endpoint"), Transport: transportOf(in.options.Proxy),
		}
		p.proof = p.withRole(source.Proof)
	default:
		return nil, &plan.Problem{Code: plan.CodeConfig, Origin: kind.Origin, What: "vault.auth.type", Why: "must be gce or iam"}
	}
	return p, nil
}

func newAzure(in inputs) (login, error) {
	p := in.post()
	source := identity.Azure{
		Endpoint: in.param("metadata_endpoint"), Resource: in.param("resource"), ClientID: in.param("client_id"), ObjectID: in.param("object_id"),
	}
	p.from = "Azure's metadata service"
	p.proof = p.withRole(source.Proof)
	return p, nil
}
