package declare

import (
	"github.com/secretboot/secretboot/bootstrap/plan"
)

const environmentName = "environment"

// Environment is the front for the variables of the vault command, with their
// meaning there, and for the login inputs VAULT_TOKEN, VAULT_ROLE_ID and
// VAULT_SECRET_ID, each also as …_FILE. An empty variable is not set.
//
// It also finds what a platform leaves for a login that nobody declared, as
// plan.Login.Ambient, and in a GitLab job (GITLAB_CI) the address, role and
// mount that GitLab has variables for. Which login is meant is not decided here.
//
// https://developer.hashicorp.com/vault/docs/commands#configure-environment-variables
// https://docs.gitlab.com/ci/secrets/hashicorp_vault/
type Environment struct{}

// Name gives environment.
func (Environment) Name() string { return environmentName }

// Declare reads the variables. Problems have CodeConfig: VAULT_SKIP_VERIFY
// that is no boolean, VAULT_RATE_LIMIT that is no rate, and an input that is
// given in two ways.
func (Environment) Declare(in Input) (plan.Plan, bool, error) {
	e := environment{in: in}
	e.server()
	e.tls()
	e.limits()
	e.gitlab()
	e.login()
	e.ambient()
	e.ignored()
	return e.plan, e.found || len(e.problems) > 0, e.problems.Err()
}

type environment struct {
	in       Input
	plan     plan.Plan
	problems plan.Problems
	found    bool
}

func variableOrigin(name string) plan.Origin {
	return plan.Origin{Front: environmentName, At: name}
}

// text fills a setting from the first of the variables that is set.
func (e *environment) text(to *plan.Setting[string], names ...string) {
	for _, name := range names {
		if v, ok := e.in.variable(name); ok {
			*to = plan.Set(v, variableOrigin(name))
			e.found = true
			return
		}
	}
}

// server: VAULT_AGENT_ADDR wins over VAULT_ADDR, and VAULT_PROXY_ADDR over
// VAULT_HTTP_PROXY, as in Vault's own client.
func (e *environment) server() {
	v := &e.plan.Vault
	e.text(&v.Address, "VAULT_AGENT_ADDR", "VAULT_ADDR")
	e.text(&v.Namespace, "VAULT_NAMESPACE")
	e.text(&v.Proxy, "VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY")
	const headers = "VAULT_HEADERS" // a JSON object of texts by name
	if _, ok := e.in.variable(headers); ok {
		v.HeaderSet = plan.Handle{Kind: plan.HandleEnv, Name: headers, Origin: variableOrigin(headers)}
		e.found = true
	}
}

func (e *environment) limits() {
	const limit = "VAULT_RATE_LIMIT"
	v, ok := e.in.variable(limit)
	if !ok {
		return
	}
	e.found = true
	rate, err := plan.ParseRate(v)
	if err != nil {
		e.fail(limit, err.Error(), "")
		return
	}
	e.plan.Vault.RateLimit = plan.Set(rate, variableOrigin(limit))
}

func (e *environment) tls() {
	t := &e.plan.Vault.TLS
	e.text(&t.CACert, "VAULT_CACERT")
	e.text(&t.CACertPEM, "VAULT_CACERT_BYTES")
	e.text(&t.CAPath, "VAULT_CAPATH")
	e.text(&t.ClientCert, "VAULT_CLIENT_CERT")
	e.text(&t.ClientKey, "VAULT_CLIENT_KEY")
	e.text(&t.ServerName, "VAULT_TLS_SERVER_NAME")
	const skip = "VAULT_SKIP_VERIFY"
	v, ok := e.in.variable(skip)
	if !ok {
		return
	}
	e.found = true
	set, ok := parseBool(v)
	if !ok {
		e.fail(skip, "it must be true or false", "")
		return
	}
	t.SkipVerify = plan.Set(set, variableOrigin(skip))
}

// parseBool knows the words that strconv.ParseBool knows, which is what the
// vault command uses.
func parseBool(s string) (set, ok bool) {
	switch s {
	case "1", "t", "T", "true", "TRUE", "True":
		return true, true
	case "0", "f", "F", "false", "FALSE", "False":
		return false, true
	}
	return false, false
}

func (e *environment) fail(name, why, fix string) {
	e.problems = append(e.problems, &plan.Problem{
		Code: plan.CodeConfig, Origin: variableOrigin(name), What: "variable " + name, Why: why, Fix: fix,
	})
}

func (e *environment) login() {
	e.plan.Login.Inputs = map[string]plan.Handle{}
	for _, input := range [][2]string{{"token", "VAULT_TOKEN"}, {"role_id", "VAULT_ROLE_ID"}, {"secret_id", "VAULT_SECRET_ID"}} {
		e.input(input[0], input[1])
	}
	e.found = e.found || len(e.plan.Login.Inputs) > 0
}

func (e *environment) input(name, variable string) {
	text, direct := e.in.variable(variable)
	direct = direct && text != loginToken // it asks for a token, see BankVaults
	path, file := e.in.variable(variable + "_FILE")
	switch {
	case direct && file:
		e.fail(variable+"_FILE", variable+" is set as well, so it is not clear which one counts", "unset one of the two")
	case direct:
		e.plan.Login.Inputs[name] = plan.Handle{Kind: plan.HandleEnv, Name: variable, Origin: variableOrigin(variable)}
	case file:
		e.plan.Login.Inputs[name] = plan.Handle{
			Kind: plan.HandleFile, Name: e.in.absolute(path), Origin: variableOrigin(variable + "_FILE"),
		}
	}
}

func (e *environment) ignore(what, why string, from plan.Origin) {
	e.plan.Ignored = append(e.plan.Ignored, plan.Ignored{What: what, Why: why, Origin: from})
}

// ignored notes the variables of the vault command that have no meaning here.
func (e *environment) ignored() {
	for _, v := range []struct{ name, why string }{
		{"VAULT_CLIENT_TIMEOUT", "it bounds one request; use timeout, which bounds the whole start"},
		{"VAULT_MAX_RETRIES", "requests are repeated until timeout"},
		{"VAULT_SRV_LOOKUP", "the address is used as it is"},
		{"VAULT_DISABLE_REDIRECTS", "a redirect leads to the same host only, or to one that vault.redirects names"},
		{"VAULT_WRAP_TTL", "answers are not wrapped"},
		{"VAULT_MFA", "a login cannot ask a person"},
	} {
		if _, ok := e.in.variable(v.name); ok {
			e.ignore(v.name, v.why, variableOrigin(v.name))
			e.found = true
		}
	}
	// OpenBao's client reads these before Vault's own. Whoever sets them alone expects them to be read.
	for _, name := range []string{"ADDR", "AGENT_ADDR", "TOKEN", "NAMESPACE", "CACERT", "CAPATH", "CLIENT_CERT", "CLIENT_KEY", "TLS_SERVER_NAME", "SKIP_VERIFY"} {
		_, bao := e.in.variable("BAO_" + name)
		if _, ok := e.in.variable("VAULT_" + name); bao {
			e.plan.Ignored = append(e.plan.Ignored, plan.Ignored{
				What: "BAO_" + name, Why: "OpenBao's own names are not read: set VAULT_" + name, Origin: variableOrigin("BAO_" + name), Mistyped: !ok,
			})
			e.found = true
		}
	}
}
