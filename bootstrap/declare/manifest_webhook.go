package declare

import (
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const (
	webhookPrefix = "vault.security.banzaicloud.io/"
	webhookOff    = "mutate" // with the value skip the webhook leaves the pod alone
)

// podFiles is what the front for references finds in every pod: a service
// account's token, and no token of a user.
func podFiles(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("token")), nil }

// references reads bank-vaults references in a container's variables, with what
// the webhook's annotations say about the server and the login. The variables are
// those of the container, where the command runs.
func (m *manifested) references(c container) []plan.Plan {
	vars := maps.Clone(m.webhookVariables())
	var used bool
	for _, v := range c.Env {
		if v.Value == "" {
			continue
		}
		vars[v.Name] = v.Value
		used = used || strings.Contains(v.Value, "vault:")
	}
	if !used && vars["VAULT_ENV_FROM_PATH"] == "" {
		return nil
	}
	in := m.in
	if m.patching {
		in.Home, in.Open = "", podFiles
	}
	in.Environ = nil
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		in.Environ = append(in.Environ, name+"="+vars[name])
	}
	in.Lookup = func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	p, found, err := BankVaults{Origin: m.at(m.podKey("spec.containers." + c.Name + ".env"))}.Declare(in)
	m.problems.Add(err)
	if !found || err != nil || len(p.Env)+len(p.EnvSets) == 0 {
		return nil
	}
	server, _, err := Environment{}.Declare(in)
	m.problems.Add(err)
	server.Login.Ambient, server.Ignored = nil, nil
	return []plan.Plan{p, server}
}

// webhookVariables gives the variables that the bank-vaults webhook would set.
func (m *manifested) webhookVariables() map[string]string {
	if m.webhook != nil {
		return m.webhook
	}
	names := map[string]string{
		"vault-addr": "VAULT_ADDR", "vault-role": "VAULT_ROLE", "vault-path": "VAULT_PATH", "vault-auth-method": "VAULT_AUTH_METHOD",
		"vault-skip-verify": "VAULT_SKIP_VERIFY", "vault-namespace": "VAULT_NAMESPACE", "vault-ignore-missing-secrets": "VAULT_IGNORE_MISSING_SECRETS",
		"vault-env-from-path": "VAULT_ENV_FROM_PATH", "vault-env-passthrough": "VAULT_ENV_PASSTHROUGH", "vault-env-daemon": "VAULT_ENV_DAEMON",
		"transit-key-id": "VAULT_TRANSIT_KEY_ID", "transit-path": "VAULT_TRANSIT_PATH",
	}
	vars := map[string]string{}
	annotated := m.annotated()
	for _, name := range slices.Sorted(maps.Keys(annotated)) {
		short, ours := strings.CutPrefix(name, webhookPrefix)
		if !ours || short == webhookOff {
			continue
		}
		to, ok := names[short]
		if !ok {
			m.plan.Ignored = append(m.plan.Ignored, plan.Ignored{
				What: "annotation " + name, Why: "it is for the webhook itself, or not supported", Origin: m.at(m.podKey("metadata.annotations")),
			})
			continue
		}
		vars[to] = annotated[name]
	}
	m.webhook = vars
	return vars
}
