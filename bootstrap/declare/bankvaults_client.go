package declare

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// loginVariables are those that vault-env passes on to the command when that
// asked for the token; see vaultEnvVariables.
func loginVariables() []string {
	return []string{
		"VAULT_TOKEN", "VAULT_ADDR", "VAULT_AGENT_ADDR", "VAULT_CACERT", "VAULT_CAPATH", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY",
		"VAULT_CLIENT_TIMEOUT", "VAULT_SRV_LOOKUP", "VAULT_SKIP_VERIFY", "VAULT_NAMESPACE", "VAULT_TLS_SERVER_NAME", "VAULT_WRAP_TTL",
		"VAULT_MFA", "VAULT_MAX_RETRIES",
	}
}

// vaultEnvVariables are the variables that vault-env keeps to itself.
func vaultEnvVariables() []string {
	return append(
		loginVariables(),
		"VAULT_CLUSTER_ADDR", "VAULT_REDIRECT_ADDR", "VAULT_CLI_NO_COLOR", "VAULT_RATE_LIMIT", "VAULT_ROLE", "VAULT_PATH",
		"VAULT_AUTH_METHOD", "VAULT_TRANSIT_KEY_ID", "VAULT_TRANSIT_PATH", "VAULT_TRANSIT_BATCH_SIZE", "VAULT_IGNORE_MISSING_SECRETS",
		"VAULT_ENV_PASSTHROUGH", "VAULT_JSON_LOG", "VAULT_LOG_LEVEL", "VAULT_REVOKE_TOKEN", "VAULT_ENV_DAEMON", "VAULT_ENV_FROM_PATH",
		"VAULT_ENV_DELAY",
	)
}

// command says what the command inherits and who waits for it.
func (b *bankVaults) command() {
	var passed []string
	for name := range strings.SplitSeq(b.values["VAULT_ENV_PASSTHROUGH"], ",") {
		passed = append(passed, strings.TrimSpace(name))
	}
	isLogin := b.values["VAULT_TOKEN"] == loginToken
	if isLogin {
		passed = append(passed, loginVariables()...)
	}
	hidden := slices.DeleteFunc(vaultEnvVariables(), func(name string) bool { return slices.Contains(passed, name) })
	if slices.Contains(passed, "VAULT_TOKEN") && !isLogin {
		// The one credential that may be asked for. It takes the setting that
		// keeps all of them, so the others are hidden by name.
		b.plan.Run.KeepCredentials = plan.Set(true, b.origin("VAULT_ENV_PASSTHROUGH"))
		hidden = append(hidden, "VAULT_TOKEN_FILE", "VAULT_ROLE_ID", "VAULT_ROLE_ID_FILE", "VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE", "SECRETBOOT_*")
	}
	b.plan.Run.EnvDeny = plan.Set(append(hidden, b.hidden...), b.from)
	if b.flag("VAULT_ENV_DAEMON") {
		b.plan.Run.Mode = plan.Set(plan.RunSupervise, b.origin("VAULT_ENV_DAEMON"))
	}
}

// ignored notes what has no meaning here; Environment does so for the variables
// that Vault's own client has.
func (b *bankVaults) ignored() {
	for _, v := range []struct{ name, why string }{
		{"VAULT_REVOKE_TOKEN", "a token of our own login is revoked anyway, as soon as nothing hangs on it"},
		{"VAULT_ENV_DELAY", "nothing is waited for: a request that fails is repeated until timeout"},
		{"VAULT_JSON_LOG", "use --log-format json"},
		{"VAULT_LOG_LEVEL", "use --log-level"},
		{"VAULT_ENV_LOG_SERVER", "we log to the standard error only"},
		{"VAULT_TRANSIT_BATCH_SIZE", "each text is decrypted by a request of its own"},
		{"VAULT_CACERT_RELOAD", "the certificates are read once, at the start"},
	} {
		if b.values[v.name] != "" {
			b.ignore(v.name, v.why)
		}
	}
}

// login says which login vault-env would do: with a token where one is given,
// else with the service account's token. Where nothing at all is said and no
// service account is there, it is found out as for everybody.
func (b *bankVaults) login() {
	asked := slices.DeleteFunc(loginWishes(), func(name string) bool { return b.values[name] == "" })
	switch name := b.tokenGiven(); {
	case name != "":
		b.plan.Login.Method = plan.Set("token", b.origin(name))
		for _, wish := range asked {
			b.ignore(wish, "a token is given, as "+name)
		}
	case len(asked) > 0:
		b.loginByRole()
	case b.values["VAULT_ROLE_ID"] == "" && b.values["VAULT_ROLE_ID_FILE"] == "" && b.isPod():
		b.loginByRole()
	}
}

// loginWishes are the variables that say how to log in without a token.
func loginWishes() []string {
	return []string{"VAULT_AUTH_METHOD", "VAULT_PATH", "VAULT_ROLE", "KUBERNETES_SERVICE_ACCOUNT_TOKEN", "VAULT_JWT_FILE"}
}

// tokenGiven names the variable that gives a token. The first two are inputs of
// the Environment front, which also tells that both are set.
func (b *bankVaults) tokenGiven() string {
	const path = "VAULT_TOKEN_PATH"
	switch token := b.values["VAULT_TOKEN"]; {
	case b.values["VAULT_TOKEN_FILE"] != "":
		return "VAULT_TOKEN_FILE"
	case token != "" && token != loginToken:
		return "VAULT_TOKEN"
	case b.values[path] != "":
		b.input("token", path)
		return path
	}
	return ""
}

// input leaves a handle to a login input in the file that a variable names.
func (b *bankVaults) input(input, name string) {
	b.plan.Login.Inputs = put(b.plan.Login.Inputs, input, plan.Handle{
		Kind: plan.HandleFile, Name: b.in.absolute(b.values[name]), Origin: b.origin(name),
	})
}

// isPod reports whether a service account's token is there and no ~/.vault-token,
// which the original takes first.
func (b *bankVaults) isPod() bool {
	there := func(path string) bool {
		text, err := b.in.read(path)
		defer clear(text)
		return err == nil && len(trimNewline(text)) > 0
	}
	if b.in.Home != "" && there(filepath.Join(b.in.Home, ".vault-token")) {
		return false
	}
	return there(serviceAccountToken)
}

// cloudLogin is a word of VAULT_AUTH_METHOD as we call it.
type cloudLogin struct{ word, method, kind string }

// loginByRole reads how the role is logged in to. The original's default mount is
// kubernetes even for a cloud's login; ours is the login's own.
func (b *bankVaults) loginByRole() {
	const role, mount, method = "VAULT_ROLE", "VAULT_PATH", "VAULT_AUTH_METHOD"
	l := &b.plan.Login
	l.Role = plan.Set("default", b.from) // of the original
	if v := b.values[role]; v != "" {
		l.Role = plan.Set(v, b.origin(role))
	}
	if v := plan.SplitPath(b.values[mount]); v != "" {
		l.Mount = plan.Set(v, b.origin(mount))
	}
	word, from := b.values[method], b.origin(method)
	if word == "" {
		word, from = "jwt", b.from
	}
	logins := []cloudLogin{
		{"jwt", "kubernetes", ""},
		{"kubernetes", "kubernetes", ""},
		{"aws-iam", "aws", ""},
		{"gcp", "gcp", ""},
		{"gcp-gce", "gcp", "gce"},
		{"gcp-iam", "gcp", "iam"},
		{"azure", "azure", ""},
	}
	i := slices.IndexFunc(logins, func(c cloudLogin) bool { return c.word == word })
	if i < 0 {
		b.badMethod(method, word, logins)
		return
	}
	l.Method = plan.Set(logins[i].method, from)
	if kind := logins[i].kind; kind != "" {
		l.Params = put(l.Params, "type", plan.Set(kind, from))
	}
	b.jwt(logins[i].method == "kubernetes", word)
}

// badMethod says what is wrong with VAULT_AUTH_METHOD.
func (b *bankVaults) badMethod(name, word string, logins []cloudLogin) {
	var words []string
	for _, c := range logins {
		words = append(words, c.word)
	}
	fix := "use one of " + strings.Join(words, ", ")
	if word == "aws-ec2" || word == "namespaced" {
		b.fail(name, "this login of bank-vaults is not supported", fix)
		return
	}
	if near := plan.Nearest(word, words); near != "" {
		fix = "did you mean " + near + "? " + fix
	}
	b.fail(name, "this login is not known", fix)
}

// jwt reads where the service account's token is, if not in its usual place. The
// first one counts, as in the original.
func (b *bankVaults) jwt(used bool, word string) {
	first := ""
	for _, name := range []string{"KUBERNETES_SERVICE_ACCOUNT_TOKEN", "VAULT_JWT_FILE"} {
		switch {
		case b.values[name] == "":
		case !used:
			b.ignore(name, "the login "+word+" needs no service account")
		case first != "":
			b.ignore(name, first+" is set and comes first")
		default:
			first = name
			b.input("jwt", name)
		}
	}
}
