package declare

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const mlflowName = "mlflow"

// MLflow is the front for the variables of MLflow Secrets Auth's Vault provider.
// That is a plug-in which asks Vault for each request; here the command gets the
// variables that MLflow's own client reads, MLFLOW_TRACKING_TOKEN or
// MLFLOW_TRACKING_USERNAME and _PASSWORD, and never both kinds, for then the
// client takes the wrong one.
//
// Unlike the original: a word, a number or a name of a variable that it would pass
// over is an error; the hosts that may get the credentials are held against
// MLFLOW_TRACKING_URI before the start, and what the command sets later is outside
// of our reach; mounts other than secret work, as its documentation says.
//
// https://hugodscarvalho.github.io/mlflow-secrets-auth/
type MLflow struct{ Origin plan.Origin }

// Name gives mlflow.
func (MLflow) Name() string { return mlflowName }

// Declare reads the variables. It finds nothing where the Vault provider is not
// enabled. Problems have CodeConfig.
func (f MLflow) Declare(in Input) (plan.Plan, bool, error) {
	m := mlflow{in: in}
	if !m.enabled() {
		return m.plan, len(m.problems) > 0, m.problems.Err()
	}
	m.unknown()
	m.header()
	m.destination()
	m.login()
	m.deliver()
	m.ignore("MLFLOW_SECRETS_LOG_LEVEL", "use --log-level")
	m.ignore("MLFLOW_SECRETS_MAX_RETRIES", "requests are repeated until timeout")
	return m.plan, true, m.problems.Err()
}

// The variables of MLflow Secrets Auth and of MLflow itself.
const (
	mlflowEnable   = "MLFLOW_SECRETS_AUTH_ENABLE"
	mlflowPath     = "MLFLOW_VAULT_SECRET_PATH"
	mlflowMode     = "MLFLOW_VAULT_AUTH_MODE"
	mlflowTTL      = "MLFLOW_VAULT_TTL_SEC"
	mlflowHosts    = "MLFLOW_SECRETS_ALLOWED_HOSTS"
	mlflowHeader   = "MLFLOW_AUTH_HEADER_NAME"
	mlflowURI      = "MLFLOW_TRACKING_URI"
	mlflowRegistry = "MLFLOW_REGISTRY_URI"
	mlflowToken    = "MLFLOW_TRACKING_TOKEN"
	mlflowUsername = "MLFLOW_TRACKING_USERNAME"
	mlflowPassword = "MLFLOW_TRACKING_PASSWORD"
)

// mlflow is one reading of the environment.
type mlflow struct {
	in       Input
	plan     plan.Plan
	problems plan.Problems
}

func (m *mlflow) origin(name string) plan.Origin { return plan.Origin{Front: mlflowName, At: name} }

// text gives a variable without the white space around it; "" is not set.
func (m *mlflow) text(name string) string {
	v, _ := m.in.variable(name)
	return strings.TrimSpace(v)
}

func (m *mlflow) fail(name, why, fix string) {
	m.problems = append(m.problems, &plan.Problem{
		Code: plan.CodeConfig, Origin: m.origin(name), What: "variable " + name, Why: why, Fix: fix,
	})
}

// ignore notes a variable that is set.
func (m *mlflow) ignore(name, why string) {
	if _, ok := m.in.variable(name); ok {
		m.note(name, name, why)
	}
}

func (m *mlflow) note(name, what, why string) {
	m.plan.Ignored = append(m.plan.Ignored, plan.Ignored{What: what, Why: why, Origin: m.origin(name)})
}

// providers are those of MLflow Secrets Auth, in the order in which it takes the
// first that is enabled, each with the end of its own switch.
func providers() [][2]string {
	return [][2]string{
		{"vault", "_VAULT"}, {"aws-secrets-manager", "_AWS_SECRETS_MANAGER"}, {"azure-key-vault", "_AZURE_KEY_VAULT"},
	}
}

// enabled reads the list of providers and the switch of each. The original comes
// to Vault first, so that the others never have their turn.
func (m *mlflow) enabled() bool {
	on := map[string]string{} // the variable that says so
	var known []string
	for _, p := range providers() {
		known = append(known, p[0])
		if m.toggle(mlflowEnable + p[1]) {
			on[p[0]] = mlflowEnable + p[1]
		}
	}
	for name := range strings.SplitSeq(m.text(mlflowEnable), ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case name == "":
		case slices.Contains(known, name):
			on[name] = mlflowEnable
		default:
			fix := "the providers are " + strings.Join(known, ", ")
			if near := plan.Nearest(name, known); near != "" {
				fix = "did you mean " + near + "? " + fix
			}
			m.fail(mlflowEnable, "it names a provider that is not known", fix)
		}
	}
	if on["vault"] == "" {
		m.note(mlflowEnable, "MLflow Secrets Auth", "its Vault provider is not enabled: set "+mlflowEnable+"=vault")
		return false
	}
	delete(on, "vault")
	for _, name := range slices.Sorted(maps.Keys(on)) {
		m.note(on[name], name, "the Vault provider comes before it, and no other is read here")
	}
	return true
}

// toggle reads the switch of one provider, in any case. The original takes what
// it does not know for no.
func (m *mlflow) toggle(name string) bool {
	switch strings.ToLower(m.text(name)) {
	case "1", "true", "yes", "on":
		return true
	case "", "0", "false", "no", "off":
		return false
	}
	m.fail(name, "it must be one of 1, true, yes, on, or of 0, false, no, off", "")
	return false
}

// unknown finds misspelt names, which the original does not see.
func (m *mlflow) unknown() {
	known := []string{mlflowEnable, mlflowPath, mlflowMode, mlflowTTL, mlflowHosts, "MLFLOW_SECRETS_LOG_LEVEL", "MLFLOW_SECRETS_MAX_RETRIES"}
	for _, p := range providers() {
		known = append(known, mlflowEnable+p[1])
	}
	var names []string
	for _, entry := range m.in.Environ {
		name, _, _ := strings.Cut(entry, "=")
		ours := strings.HasPrefix(name, "MLFLOW_VAULT_") || strings.HasPrefix(name, "MLFLOW_SECRETS_")
		if ours && !slices.Contains(known, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fix := "unset it"
		if near := plan.Nearest(name, known); near != "" {
			fix = "did you mean " + near + "?"
		}
		m.fail(name, "MLflow Secrets Auth has no variable of this name", fix)
	}
}

func (m *mlflow) header() {
	if h := m.text(mlflowHeader); h != "" && !strings.EqualFold(h, "Authorization") {
		m.fail(mlflowHeader, "MLflow's own client sends its credentials as Authorization, and no variable tells it another header",
			"unset it, or have the server take Authorization")
	}
}

// refresh reads how long the credentials are believed. The original takes what is
// no such number for 300.
func (m *mlflow) refresh() (r plan.Refresh) {
	const most = 24 * 60 * 60
	v := m.text(mlflowTTL)
	if v == "" {
		return r
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most {
		m.fail(mlflowTTL, fmt.Sprintf("it must be a whole number of seconds from 1 to %d", most), "")
		return r
	}
	r.Every = plan.Set(time.Duration(n)*time.Second, m.origin(mlflowTTL))
	return r
}

// login: a token wins over an AppRole. Both are inputs of the Environment front.
func (m *mlflow) login() {
	for _, l := range [][2]string{{"token", "VAULT_TOKEN"}, {"approle", "VAULT_ROLE_ID"}} {
		for _, name := range []string{l[1], l[1] + "_FILE"} {
			if _, ok := m.in.variable(name); ok {
				m.plan.Login.Method = plan.Set(l[0], m.origin(name))
				return
			}
		}
	}
}

// deliver says which variables the command gets, and which it must not inherit.
func (m *mlflow) deliver() {
	read, ok := m.read()
	refresh := m.refresh()
	mode := strings.ToLower(m.text(mlflowMode))
	deliver := map[string]string{mlflowToken: plan.TrackingToken}
	other := []string{mlflowUsername, mlflowPassword}
	switch mode {
	case "basic":
		deliver = map[string]string{mlflowUsername: plan.TrackingUsername, mlflowPassword: plan.TrackingPassword}
		other = []string{mlflowToken}
	case "", "bearer":
		m.credentialsFile()
	default: // the original takes it for bearer
		m.fail(mlflowMode, "it must be bearer or basic", "")
	}
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(deliver)) {
		m.plan.Env = append(m.plan.Env, plan.Env{
			Name:    name,
			Source:  plan.Source{Ref: &plan.Ref{Read: read, Field: deliver[name], Select: plan.SelectTracking}},
			Refresh: refresh,
			Origin:  m.origin(mlflowPath),
		})
	}
	m.plan.Run.EnvDeny = plan.Set(other, m.origin(mlflowMode))
}

// credentialsFile refuses a file that gives MLflow's client a name and a password:
// it takes them before the token, wherever they come from. In basic mode the
// variables win over the file.
//
// https://mlflow.org/docs/latest/ml/auth/#using-credentials-file
func (m *mlflow) credentialsFile() {
	if m.in.Home == "" {
		return
	}
	path := filepath.Join(m.in.Home, ".mlflow", "credentials")
	text, err := m.in.read(path)
	defer clear(text)
	if err == nil && strings.Contains(string(text), "mlflow_tracking_username") && strings.Contains(string(text), "mlflow_tracking_password") {
		m.fail(mlflowMode, "MLflow's client would take the name and the password in "+path+", and not the token",
			"remove the file, or set "+mlflowMode+"=basic")
	}
}

// read says where the secret is. The original knows one mount, secret, and puts
// everything below it; its documentation has paths with other mounts, which are
// tried where nothing is below secret.
//
//	secret/x, secret/data/x, x  secret/x
//	kv/x                        secret/kv/x, then kv/x
//	kv/data/x                   kv/data/x, then secret/data/kv/data/x: nobody who
//	                            writes it means a folder data below secret
func (m *mlflow) read() (plan.Read, bool) {
	path := plan.SplitPath(m.text(mlflowPath))
	if path == "" {
		m.fail(mlflowPath, "it must name the secret, such as secret/mlflow/auth", "")
		return plan.Read{}, false
	}
	if _, err := plan.ParseRef("vault:" + path); err != nil || strings.Contains(path, "#") {
		m.fail(mlflowPath, "it is no path of a secret", "write MOUNT/PATH, such as secret/mlflow/auth")
		return plan.Read{}, false
	}
	r := plan.Read{Origin: m.origin(mlflowPath)}
	below, isSecret := strings.CutPrefix(path, "secret/")
	rest, explicit := strings.CutPrefix(below, "data/")
	switch {
	case isSecret && explicit && !strings.HasPrefix(rest, "data/"):
		r.Path = "secret/" + rest
	case isSecret:
		r.Path = path
	case strings.Contains(path, "/data/"):
		r.Path, r.Else = path, []string{"secret/data/" + path}
	case strings.Contains(path, "/"):
		r.Path, r.Else = "secret/"+path, []string{path}
	default:
		r.Path = "secret/" + path
	}
	return r, true
}
