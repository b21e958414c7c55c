package vault

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Choice is the login that is meant, and why.
type Choice struct {
	Method string        // "" when nothing was given
	Why    string        // for the user
	Inputs []plan.Handle // what it will fetch
}

// Choose tells, from the declaration alone, which login is meant. That nothing
// was given is no problem yet: `secretboot plan` needs no login. Nothing is
// read. Problems have plan.CodeConfig.
func Choose(v plan.Vault, l plan.Login) (Choice, error) {
	ch := chooser{vault: v, login: l, elsewhere: true}
	m, why, err := ch.pick()
	if m.name == "" && len(l.Inputs) == 0 && !ch.asked() {
		return Choice{}, nil
	}
	if err != nil {
		return Choice{}, err
	}
	out := Choice{Method: m.name, Why: why}
	for _, name := range ch.names(m) {
		if h, ok := ch.handle(m, name); ok {
			out.Inputs = append(out.Inputs, h)
		}
	}
	return out, ch.unused(m)
}

// chooseLogin decides which login is meant and fetches its inputs. More than
// one possible login is an error: the operator decides, not we.
func chooseLogin(o Options) (login, error) {
	ch := chooser{vault: o.Vault, login: o.Login}
	m, why, err := ch.pick()
	if err != nil {
		return nil, err
	}
	var ps plan.Problems
	ps.Add(ch.unused(m))
	in := inputs{options: o, method: m, by: map[string]*input{}}
	for _, name := range ch.names(m) {
		h, ok := ch.handle(m, name)
		if !ok {
			continue
		}
		text, err := o.Resolve(h)
		if ps.Add(err); err == nil {
			in.by[name] = &input{handle: h, value: secret.New(text), resolve: o.Resolve}
			in.from = append(in.from, h.String())
		}
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	if !ch.asked() {
		o.Log.Info("login found out", slog.String("method", m.name), slog.String("why", why))
	}
	return m.build(in)
}

// chooser finds the one login that a declaration means.
type chooser struct {
	vault plan.Vault
	login plan.Login

	// elsewhere: the plan is looked at where it may not run, so that what the
	// platform will leave for a login that was asked for need not be here.
	elsewhere bool
}

// asked reports whether a method was asked for by name.
func (ch chooser) asked() bool { return ch.login.Method.Or("auto") != "auto" }

// names lists the inputs that a method may take.
func (ch chooser) names(m method) []string { return slices.Concat(slices.Concat(m.needs...), m.may) }

// handle gives where an input of a method is found: where it was declared, or
// else where the platform leaves it.
func (ch chooser) handle(m method, name string) (plan.Handle, bool) {
	if h, ok := ch.login.Inputs[name]; ok {
		return h, true
	}
	// What the platform leaves stands in for a whole login only: a declared
	// token_wrapped must not be joined by ~/.vault-token.
	if ch.declares(m) {
		return plan.Handle{}, false
	}
	h, ok := ch.login.Ambient[m.ambient[name]]
	return h, ok
}

// declares reports whether an input was declared that means this very login.
func (ch chooser) declares(m method) bool {
	return slices.ContainsFunc(m.signs, func(name string) bool { _, ok := ch.login.Inputs[name]; return ok })
}

// complete reports whether one way of giving the method its inputs is there.
func (ch chooser) complete(m method) bool {
	there := func(name string) bool {
		_, ok := ch.handle(m, name)
		return ok || ch.elsewhere && ch.asked() && m.ambient[name] != "" && m.name != "token"
	}
	if m.name == "cert" && ch.vault.TLS.ClientCert.IsSet && !slices.ContainsFunc(m.needs[0], there) {
		return true
	}
	return slices.ContainsFunc(m.needs, func(set []string) bool {
		return !slices.ContainsFunc(set, func(name string) bool { return !there(name) })
	})
}

// pick finds the one method that is meant: the one that was named; else the one
// whose inputs were declared; else, for a role, what the platform offers; else
// an agent that logs in by itself; else ~/.vault-token; else a client certificate.
func (ch chooser) pick() (m method, why string, err error) {
	if ch.asked() {
		m, err = ch.named(ch.login.Method.Value)
		return m, "it was asked for", err
	}
	var found []method
	for _, m := range methods() {
		if ch.declares(m) {
			found = append(found, m)
		}
	}
	switch {
	case len(found) > 1:
		return method{}, "", ch.ambiguous(found)
	case len(found) == 1:
		m, err = ch.named(found[0].name)
		return m, ch.place(m) + " was declared", err
	case len(ch.login.Inputs) > 0:
		return method{}, "", ch.nothingGiven()
	}
	for _, m := range methods() {
		if ch.login.Role.IsSet && len(m.ambient) > 0 && m.role != roleNone && ch.complete(m) {
			return m, "a role is given, and " + ch.place(m) + " is there", nil
		}
	}
	if ch.vault.Address.Origin.At == agentVariable {
		m, err = ch.named("none")
		return m, "the address is an agent's, given as " + agentVariable, err
	}
	if m, err = ch.named("token"); err == nil {
		return m, ch.place(m) + " is there", nil
	}
	if cert := ch.vault.TLS.ClientCert; cert.IsSet {
		m, err = ch.named("cert")
		return m, "a client certificate is given, at " + cert.Origin.String(), err
	}
	return method{}, "", ch.nothingGiven()
}

// agentVariable names the address of an agent, which can log in by itself.
const agentVariable = "VAULT_AGENT_ADDR"

// place names where the first input of a method is.
func (ch chooser) place(m method) string {
	for _, name := range ch.names(m) {
		if h, ok := ch.handle(m, name); ok {
			return name + " from " + h.String()
		}
	}
	return m.name
}

func (ch chooser) ambiguous(found []method) error {
	var names, places []string
	for _, m := range found {
		names = append(names, m.name)
		_, from, _ := strings.Cut(ch.place(m), " ")
		places = append(places, m.name+" "+from)
	}
	return &plan.Problem{
		Code: plan.CodeConfig, What: "login", Why: "ambiguous: " + strings.Join(places, ", "),
		Fix: "set vault.auth.method (SECRETBOOT_AUTH_METHOD) to one of " + strings.Join(names, ", ") + ", or give the inputs of one only",
	}
}

// named finds the method that was asked for by name and checks its inputs.
func (ch chooser) named(name string) (method, error) {
	var known []string
	for _, m := range methods() {
		known = append(known, m.name)
		if m.name != name {
			continue
		}
		var ps plan.Problems
		if !ch.complete(m) {
			ps.Add(ch.missing(m))
		}
		if m.role == roleMust && !ch.login.Role.IsSet {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: ch.login.Method.Origin, What: "login " + name, Why: "the role is missing",
				Fix: "set vault.auth.role, --auth-role or SECRETBOOT_AUTH_ROLE",
			})
		}
		return m, ps.Err()
	}
	p := &plan.Problem{
		Code: plan.CodeConfig, Origin: ch.login.Method.Origin, What: "login method " + name, Why: "not known",
		Fix: "use one of " + strings.Join(known, ", "),
	}
	if near := plan.Nearest(name, known); near != "" {
		p.Fix = "did you mean " + near + "? " + p.Fix
	}
	return method{}, p
}

// missing says which inputs a method lacks.
func (ch chooser) missing(m method) error {
	set := m.needs[0]
	for _, other := range m.needs { // the way that was begun
		if slices.ContainsFunc(other, func(name string) bool { _, ok := ch.handle(m, name); return ok }) {
			set = other
		}
	}
	absent := slices.DeleteFunc(slices.Clone(set), func(name string) bool { _, ok := ch.handle(m, name); return ok })
	fix := "give it as vault.auth." + absent[0] + "_file or …_env"
	if m.hint != "" {
		fix = m.hint
	}
	return &plan.Problem{
		Code: plan.CodeConfig, Origin: ch.login.Method.Origin, What: "login " + m.name, Why: strings.Join(absent, ", ") + " is missing", Fix: fix,
	}
}

// nothingGiven says what is missing, and names a half-given login.
func (ch chooser) nothingGiven() error {
	p := &plan.Problem{
		Code: plan.CodeConfig, What: "login", Why: "no token and no role id was given",
		Fix: "set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID (each also with _FILE), or vault.auth in the configuration",
	}
	if names := slices.Sorted(maps.Keys(ch.login.Inputs)); len(names) > 0 {
		p.Why = "only " + strings.Join(names, ", ") + " was given, which is not enough for any login"
		p.Origin = ch.login.Inputs[names[0]].Origin
		return p
	}
	for _, m := range methods() {
		if len(m.ambient) > 0 && m.role != roleNone && ch.complete(m) {
			p.Why, p.Fix = "no role was given for "+ch.place(m), "set vault.auth.role, --auth-role or SECRETBOOT_AUTH_ROLE, or give a token"
			return p
		}
	}
	if ch.login.Role.IsSet {
		p.Fix = "a role alone needs a token of the platform, and none is here: a GitHub job has one with permissions id-token: write, a GitLab job " +
			"with VAULT_ID_TOKEN below id_tokens, a pod where its service account's token is mounted; else " + p.Fix
	}
	return p
}

// unused refuses what was declared for another login: a wish that is silently
// dropped would be worse. Variables may be there for others.
func (ch chooser) unused(m method) error {
	var ps plan.Problems
	l := ch.login
	drop := func(name string, from plan.Origin) {
		if from.Front == "config" || from.Front == "flag" {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: from, What: "vault.auth", Why: name + " means nothing to the login " + m.name,
				Fix: "leave it out, or set vault.auth.method to the login that is meant",
			})
		}
	}
	may := ch.names(m)
	for _, name := range slices.Sorted(maps.Keys(l.Inputs)) {
		if !slices.Contains(may, name) {
			drop(name, l.Inputs[name].Origin)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Params)) {
		if !slices.Contains(m.params, name) {
			drop(name, l.Params[name].Origin)
		}
	}
	if l.Role.IsSet && m.role == roleNone {
		drop("role", l.Role.Origin)
	}
	if l.Mount.IsSet && m.mount == "" {
		drop("mount", l.Mount.Origin)
	}
	return ps.Err()
}
