package vault

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// login gets a token for a client.
type login interface {
	run(ctx context.Context, c *Client) error
}

// method is one way to log in.
type method struct {
	name     string
	needs    []string // the inputs that must be there
	may      []string // the inputs that may be there
	fallback string   // an input that only counts when nothing else was given
	build    func(l plan.Login, in inputs) login
}

// inputs are the fetched inputs of a method by name, and where they came from.
type inputs struct {
	values map[string]secret.Value
	from   string
}

func methods() []method {
	return []method{
		{name: "token", needs: []string{"token"}, fallback: "token_helper", build: newTokenLogin},
		{name: "approle", needs: []string{"role_id"}, may: []string{"secret_id"}, build: newAppRoleLogin},
	}
}

// chooseLogin decides which login is meant, from the method that was named or
// else from the inputs that are there, and fetches its inputs. More than one
// possible login is an error: the operator decides, not we.
func chooseLogin(l plan.Login, resolve func(plan.Handle) ([]byte, error)) (login, error) {
	m, err := pick(l)
	if err != nil {
		return nil, err
	}
	var ps plan.Problems
	ps.Add(unused(l, m))
	in := inputs{values: map[string]secret.Value{}}
	var from []string
	for _, name := range slices.Concat(m.needs, m.may) {
		h, ok := l.Inputs[name]
		if !ok && name == "token" {
			h, ok = l.Inputs[m.fallback]
		}
		if !ok {
			continue
		}
		text, err := resolve(h)
		if ps.Add(err); err == nil {
			in.values[name] = secret.New(text)
			from = append(from, h.String())
		}
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	in.from = strings.Join(from, ", ")
	return m.build(l, in), nil
}

// unused refuses what the configuration file says for another login: a wish
// that is silently dropped would be worse. Variables may be there for others.
func unused(l plan.Login, m method) error {
	var ps plan.Problems
	drop := func(name string, from plan.Origin) {
		if from.Front == "config" {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: from, What: "vault.auth", Why: name + " means nothing to the login " + m.name,
				Fix: "leave it out; this version knows the logins token and approle",
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Inputs)) {
		if name != m.fallback && !slices.Contains(m.needs, name) && !slices.Contains(m.may, name) {
			drop(name, l.Inputs[name].Origin)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Params)) {
		drop(name, l.Params[name].Origin)
	}
	if l.Role.IsSet {
		drop("role", l.Role.Origin)
	}
	return ps.Err()
}

// CheckLogin tells, from the declaration alone, whether it is clear which login
// is meant. That nothing was given is no problem yet: `secretboot plan` needs
// no login. Nothing is read.
func CheckLogin(l plan.Login) error {
	if len(l.Inputs) == 0 && l.Method.Or("auto") == "auto" {
		return nil
	}
	m, err := pick(l)
	if err != nil {
		return err
	}
	return unused(l, m)
}

// pick finds the one method that is meant.
func pick(l plan.Login) (method, error) {
	if name := l.Method.Or("auto"); name != "auto" && name != "" {
		return named(l, name)
	}
	var found []method
	for _, m := range methods() {
		if has(l, m.needs) {
			found = append(found, m)
		}
	}
	if len(found) == 0 {
		for _, m := range methods() {
			if _, ok := l.Inputs[m.fallback]; ok {
				found = append(found, m)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return method{}, nothingGiven(l)
	}
	var names, places []string
	for _, m := range found {
		names = append(names, m.name)
		places = append(places, m.name+" from "+l.Inputs[m.needs[0]].String())
	}
	return method{}, &plan.Problem{
		Code: plan.CodeConfig, What: "login", Why: "ambiguous: " + strings.Join(places, ", "),
		Fix: "set vault.auth.method (SECRETBOOT_AUTH_METHOD) to one of " + strings.Join(names, ", ") + ", or give the inputs of one only",
	}
}

// named finds the method that was asked for by name and checks its inputs.
func named(l plan.Login, name string) (method, error) {
	var known []string
	for _, m := range methods() {
		known = append(known, m.name)
		if m.name != name {
			continue
		}
		_, spare := l.Inputs[m.fallback]
		if !has(l, m.needs) && !spare {
			return m, &plan.Problem{
				Code: plan.CodeConfig, Origin: l.Method.Origin, What: "login " + name, Why: strings.Join(m.needs, ", ") + " is missing",
				Fix: "give it as vault.auth." + m.needs[0] + "_env or …_file, or set VAULT_" + strings.ToUpper(m.needs[0]),
			}
		}
		return m, nil
	}
	return method{}, &plan.Problem{
		Code: plan.CodeConfig, Origin: l.Method.Origin, What: "login method " + name, Why: "not known",
		Fix: "use one of " + strings.Join(known, ", "),
	}
}

// nothingGiven says what is missing, and names a half-given login.
func nothingGiven(l plan.Login) error {
	p := &plan.Problem{
		Code: plan.CodeConfig, What: "login", Why: "no token and no role id was given",
		Fix: "set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID (each also with _FILE), or vault.auth in the configuration",
	}
	names := slices.Sorted(maps.Keys(l.Inputs))
	if len(names) > 0 {
		p.Why = "only " + strings.Join(names, ", ") + " was given, which is not enough for any login"
		p.Origin = l.Inputs[names[0]].Origin
	}
	return p
}

func has(l plan.Login, names []string) bool {
	for _, n := range names {
		if _, ok := l.Inputs[n]; !ok {
			return false
		}
	}
	return true
}

// tokenLogin uses a token that was given to us. It is never revoked.
type tokenLogin struct {
	token secret.Value
	from  string
}

func newTokenLogin(_ plan.Login, in inputs) login {
	return tokenLogin{in.values["token"], in.from}
}

func (t tokenLogin) run(_ context.Context, c *Client) error {
	c.log.Info("using a token that was given to us", slog.String("from", t.from))
	if err := c.setToken(t.token.Reveal()); err != nil {
		return plan.At(err, plan.Origin{Front: "login", At: t.from})
	}
	return nil
}

// setToken makes the token the client's, after checking that it can be sent in
// a header.
func (c *Client) setToken(token []byte) error {
	for _, b := range token {
		if b <= 0x20 || b >= 0x7f {
			return &plan.Problem{
				Code: plan.CodeConfig, What: "the Vault token", Why: "has a space, a line break or another unprintable character in it",
				Fix: "give the token alone",
			}
		}
	}
	c.api.SetToken(string(token))
	return nil
}

// appRole logs in with a role id and, where the role wants it, a secret id
// (https://developer.hashicorp.com/vault/api-docs/auth/approle).
type appRole struct {
	mount, from      string
	roleID, secretID secret.Value
}

func newAppRoleLogin(l plan.Login, in inputs) login {
	mount := strings.TrimPrefix(strings.Trim(l.Mount.Or(""), "/"), "auth/")
	if mount == "" {
		mount = "approle"
	}
	return appRole{mount: mount, from: in.from, roleID: in.values["role_id"], secretID: in.values["secret_id"]}
}

func (a appRole) run(ctx context.Context, c *Client) error {
	body := map[string]string{"role_id": string(a.roleID.Reveal())}
	if a.secretID.Len() > 0 {
		body["secret_id"] = string(a.secretID.Reveal())
	}
	return c.logIn(ctx, loginAt{"approle", a.mount, a.from}, body)
}

// loginAt says which login is done where, with inputs from where.
type loginAt struct{ method, mount, from string }

// origin names the places that the inputs came from.
func (l loginAt) origin() plan.Origin { return plan.Origin{Front: "login", At: l.from} }

// logIn posts a login and keeps the token that it gives. It is not repeated
// once the server may have seen it: the secret id may be good for one use. A
// 502 is the exception: a proxy in front of a restarting Vault answers so, and
// to fail at once would break every start behind it. Should Vault have seen the
// login after all, the next one is refused and says so, or an unused token is
// left to its TTL.
func (c *Client) logIn(ctx context.Context, to loginAt, texts map[string]string) error {
	name, mount := to.method, to.mount
	body, err := json.Marshal(texts)
	if err != nil {
		return &plan.Problem{Code: plan.CodeBug, What: "login " + name, Why: "its inputs cannot be encoded"}
	}
	path := "auth/" + mount + "/login"
	ans, err := c.do(ctx, request{method: "PUT", path: path, body: body, once: true, gateway: true})
	if err != nil {
		return loginProblem(err, to, path)
	}
	if ans.Auth == nil || ans.Auth.ClientToken == "" {
		return &plan.Problem{
			Code: plan.CodeProtocol, Origin: to.origin(), What: "login " + name + " at " + path, Why: "the answer holds no token",
			Fix: "check that the mount is an auth method and that VAULT_ADDR is Vault",
		}
	}
	if err := c.setToken([]byte(ans.Auth.ClientToken)); err != nil {
		return err
	}
	c.mu.Lock()
	c.owned = ans.Auth.TokenType != "batch" // a batch token cannot be revoked
	c.mu.Unlock()
	c.log.Info("logged in", slog.String("method", name), slog.String("mount", mount),
		slog.String("from", to.from), slog.String("accessor", ans.Auth.Accessor), slog.Any("policies", ans.Auth.Policies),
		slog.Int64("ttl_s", ans.Auth.LeaseDuration))
	return nil
}

// loginProblem adds what a refused login usually comes from.
func loginProblem(err error, to loginAt, path string) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	p := &plan.Problem{Code: f.code, Origin: to.origin(), What: "login " + to.method + " at " + path, Why: f.why, Fix: f.fix, Err: err}
	var whole *plan.Problem
	if errors.As(err, &whole) && f.passing {
		p.Why = whole.Why
	}
	switch {
	case f.says("invalid role or secret ID"), f.says("invalid secret id"), f.says("invalid role ID"),
		f.says("failed to validate"), f.says("missing secret_id"), f.says("missing role_id"):
		p.Code, p.Why = plan.CodeDenied, "the role id or the secret id is not valid"
		p.Fix = "check both, the secret id's TTL and number of uses, and that they belong to this mount and namespace"
	case f.says("no handler for route"), f.says("unsupported path"):
		p.Code, p.Why = plan.CodeDenied, "there is no such login there"
		p.Fix = "check vault.auth.mount and VAULT_NAMESPACE"
	case f.code == plan.CodeDenied:
		p.Fix = "check vault.auth.mount, VAULT_NAMESPACE, and the addresses that the role is bound to"
	}
	return p
}
