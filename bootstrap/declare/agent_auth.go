package declare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func (a *agent) autoAuth(v hclValue) {
	before, login := len(a.problems), false
	a.block(v, hclFields{
		"method": func(v hclValue) { login = true; a.methods(v) },
		"sink":   a.sinks,
		"sinks": func(v hclValue) {
			a.block(v, hclFields{"sink": a.sinks}, "sink")
		},
		"enable_reauth_on_new_credentials": a.ignored("each run logs in anew"),
	}, "sink", "sinks")
	if !login && len(a.problems) == before {
		a.fail(v, "it has no method", `add method "kubernetes" { … }`)
	}
}

// agentMethod is the method block.
type agentMethod struct {
	kind   string
	at     hclValue // of the type
	config *hclValue
}

// methods reads the block, which names its type as a label or inside.
func (a *agent) methods(v hclValue) {
	var m agentMethod
	f := hclFields{
		"type":        func(v hclValue) { m.kind, _ = a.str(v); m.at = v },
		"mount_path":  a.mountPath,
		"namespace":   a.namespace,
		"config":      func(v hclValue) { m.config = &v },
		"wrap_ttl":    a.wrapped,
		"min_backoff": a.ignored("tries are spaced by our own rule, until timeout"),
		"max_backoff": a.ignored("tries are spaced by our own rule, until timeout"),
		"exit_on_err": a.ignored("a login that is refused always ends the run"),
	}
	blocks := labelled(v, f)
	if len(blocks) > 1 {
		a.fail(v, "there is more than one method", "keep one of them")
		return
	}
	v = blocks[0]
	m.at = v
	if len(v.labels) == 1 {
		m.kind = strings.ToLower(v.labels[0].text)
		v.labels = nil
	}
	before := len(a.problems)
	a.block(v, f)
	if len(a.problems) > before {
		return
	}
	a.method(v, m)
}

// mountPath: Vault Agent logs in at /v1/MOUNT_PATH/login, so that it needs the
// auth/ that our mount goes without.
func (a *agent) mountPath(v hclValue) {
	s, ok := a.str(v)
	if !ok || s == "" {
		return
	}
	mount, ok := strings.CutPrefix(plan.SplitPath(s), "auth/")
	if !ok || mount == "" {
		a.fail(v, "the path of a login begins with auth/", `write it as "auth/kubernetes"; a namespace goes into namespace`)
		return
	}
	a.plan.Login.Mount = plan.Set(mount, a.origin(v))
}

func (a *agent) namespace(v hclValue) {
	if s, ok := a.str(v); ok && s != "" {
		a.plan.Login.Namespace = plan.Set(s, a.origin(v))
	}
}

// wrapped refuses a token that is delivered in a wrapping: ours is in use, so
// that it must not leave for somebody else to unwrap.
func (a *agent) wrapped(v hclValue) {
	if n, ok := a.duration(v, unitSecond); ok && n > 0 {
		a.fail(v, "a wrapped token is not delivered", "leave it out, or let the consumer of the token log in itself")
	}
}

// methodReader reads the config block of one kind of login.
type methodReader struct {
	*hclDecoder
	login *plan.Login
	ours  string   // our name of the method
	need  []string // keys of config
	at    map[string]hclValue
	ca    *plan.Setting[string] // the authority that the login alone trusts
}

// method reads what a login method needs. What is in config is Vault Agent's; how
// ours is called is in package vault.
func (a *agent) method(v hclValue, m agentMethod) {
	r := &methodReader{hclDecoder: a.hclDecoder, login: &a.plan.Login, ours: m.kind, at: map[string]hclValue{}, ca: &a.ca}
	kinds := r.kinds()
	read := kinds[m.kind]
	if read == nil {
		a.unknownMethod(m, kinds)
		return
	}
	r.login.Inputs, r.login.Params = map[string]plan.Handle{}, map[string]plan.Setting[string]{}
	keys := read()
	before := len(a.problems)
	if m.config != nil {
		noted := hclFields{}
		for key, handle := range keys {
			noted[key] = func(v hclValue) { r.at[key] = v; handle(v) }
		}
		a.block(*m.config, noted)
	}
	for _, key := range r.need {
		if given, ok := r.at[key]; len(a.problems) == before && (!ok || given.text == "") {
			a.fail(v, fmt.Sprintf("the method %s needs %s in its config", m.kind, key), "add it")
		}
	}
	r.login.Method = plan.Set(r.ours, a.origin(m.at))
	r.finish()
}

func (a *agent) unknownMethod(m agentMethod, kinds map[string]func() hclFields) {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	have := "the methods are " + strings.Join(names, ", ")
	switch {
	case m.kind == "":
		a.fail(m.at, "it does not say of which type it is", `write method "TYPE" { … }; `+have)
	case slices.Contains([]string{"alicloud", "cf", "kerberos", "oci"}, m.kind):
		a.fail(m.at, "secretboot has no login "+m.kind, have)
	default:
		if near := plan.Nearest(m.kind, names); near != "" {
			have = fmt.Sprintf("did you mean %q? %s", near, have)
		}
		a.fail(m.at, "this login is not known", have)
	}
}

// kinds lists the methods by their type, each with the keys of its config.
func (r *methodReader) kinds() map[string]func() hclFields {
	return map[string]func() hclFields{
		"approle": r.approle, "aws": r.aws, "azure": r.azure, "cert": r.cert, "gcp": r.gcp, "jwt": r.jwt,
		"kubernetes": r.kubernetes, "ldap": r.ldap, "token_file": r.tokenFile,
	}
}

// input leaves a handle to a file.
func (r *methodReader) input(name string) func(hclValue) {
	return func(v hclValue) {
		if s, ok := r.str(v); ok && s != "" {
			r.login.Inputs[name] = plan.Handle{Kind: plan.HandleFile, Name: r.in.absolute(s), Origin: r.origin(v)}
		}
	}
}

func (r *methodReader) param(name string) func(hclValue) {
	return func(v hclValue) {
		if s, ok := r.str(v); ok && s != "" {
			r.login.Params[name] = plan.Set(s, r.origin(v))
		}
	}
}

// secret refuses a text that is a secret in the file.
func (r *methodReader) secret(fix string) func(hclValue) {
	return func(v hclValue) {
		r.fail(v, "it is a secret, and does not belong into this file", fix)
	}
}

// removal notes that a file stays which Vault Agent would remove. It is told even
// where the key is absent, for removing is the default.
func (r *methodReader) removal(key, input, what string) {
	v, there := r.at[key]
	if there && (v.text == "false" || v.text == "0") {
		return
	}
	why := "the file with " + what + " is not removed: it may be needed for the next start"
	from := r.login.Inputs[input].Origin
	if there {
		from = r.origin(v)
	}
	r.plan.Ignored = append(r.plan.Ignored, plan.Ignored{What: "auto_auth.method.config." + key, Why: why, Origin: plan.Origin{Front: from.Front, At: from.At}})
}

func (r *methodReader) approle() hclFields {
	r.need = []string{"role_id_file_path"}
	return hclFields{
		"role_id_file_path":                   r.input("role_id"),
		"secret_id_file_path":                 r.input("secret_id"),
		"remove_secret_id_file_after_reading": func(v hclValue) { r.flag(v) },
		"secret_id_response_wrapping_path":    r.param("secret_id_creation_path"),
	}
}

func (r *methodReader) jwt() hclFields {
	r.need = []string{"path", "role"}
	return hclFields{
		"path":                        r.input("jwt"),
		"role":                        r.text(&r.login.Role),
		"remove_jwt_after_reading":    func(v hclValue) { r.flag(v) },
		"remove_jwt_follows_symlinks": r.ignored("the file is not removed"),
		"jwt_read_period":             r.ignored("the file is read when the login is made"),
	}
}

func (r *methodReader) kubernetes() hclFields {
	r.need = []string{"role"}
	return hclFields{"role": r.text(&r.login.Role), "token_path": r.input("jwt")}
}

func (r *methodReader) ldap() hclFields {
	r.need = []string{"username", "password_file_path"}
	return hclFields{
		"username": func(v hclValue) {
			if s, ok := r.str(v); ok { // a name, shown in the declaration
				r.login.Inputs["username"] = plan.Handle{Kind: plan.HandleText, Name: s, Origin: r.origin(v)}
			}
		},
		"password_file_path":               r.input("password"),
		"remove_password_after_reading":    func(v hclValue) { r.flag(v) },
		"remove_password_follows_symlinks": r.ignored("the file is not removed"),
		"password_read_period":             r.ignored("the file is read when the login is made"),
	}
}

func (r *methodReader) tokenFile() hclFields {
	r.ours, r.need = "token", []string{"token_file_path"}
	return hclFields{"token_file_path": r.input("token")}
}

func (r *methodReader) cert() hclFields {
	again := r.ignored("the certificate is read when the login is made")
	return hclFields{
		"name":          r.text(&r.login.Role),
		"client_cert":   r.input("certificate"),
		"client_key":    r.input("private_key"),
		"ca_cert":       r.path(r.ca),
		"reload":        again,
		"reload_period": again,
	}
}

func (r *methodReader) aws() hclFields {
	const keys = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment, or use the role of the machine or pod"
	r.need = []string{"type", "role"}
	return hclFields{
		"type":                     r.only("iam", "a signed identity document of EC2 is not sent"),
		"role":                     r.text(&r.login.Role),
		"region":                   r.param("region"),
		"header_value":             r.param("server_id"),
		"access_key":               r.secret(keys),
		"secret_key":               r.secret(keys),
		"session_token":            r.secret(keys),
		"nonce":                    r.ignored("it goes with the type ec2"),
		"credential_poll_interval": r.ignored("the credentials are read when the login is made"),
	}
}

// only takes one word.
func (r *methodReader) only(word, why string) func(hclValue) {
	return func(v hclValue) {
		if s, ok := r.str(v); ok && s != word {
			r.fail(v, why, fmt.Sprintf("use type %q", word))
		}
	}
}

func (r *methodReader) azure() hclFields {
	r.need = []string{"role", "resource"}
	return hclFields{
		"role":      r.text(&r.login.Role),
		"resource":  r.param("resource"),
		"object_id": r.param("object_id"),
		"client_id": r.param("client_id"),
		"scope":     r.ignored("it goes with authenticate_from_environment"),
		"authenticate_from_environment": func(v hclValue) {
			if set, _ := r.flag(v); set {
				r.fail(v, "only the managed identity of the machine or pod is used", "leave it out")
			}
		},
	}
}

func (r *methodReader) gcp() hclFields {
	r.need = []string{"type", "role"}
	return hclFields{
		"type": func(v hclValue) {
			if s, ok := r.str(v); ok && s != "gce" && s != "iam" {
				r.fail(v, "it must be gce or iam", "")
				return
			}
			r.param("type")(v)
		},
		"role":            r.text(&r.login.Role),
		"service_account": r.param("service_account"),
		"credentials":     r.secret("put them into a file and name it with --auth credentials_file=PATH"),
		"project":         r.ignored("it is not used any more"),
		"jwt_exp":         r.ignored("the signed token is used at once, so it is valid for a short time only"),
	}
}

// finish adds what follows from several keys.
func (r *methodReader) finish() {
	inputs := r.login.Inputs
	switch r.ours {
	case "approle":
		r.finishAppRole()
	case "jwt":
		r.removal("remove_jwt_after_reading", "jwt", "the jwt")
	case "ldap":
		r.removal("remove_password_after_reading", "password", "the password")
	case "cert":
		_, cert := inputs["certificate"]
		if _, key := inputs["private_key"]; cert != key {
			r.fail(r.either("client_cert", "client_key"), "client_cert and client_key go together", "give both, or none to use those of vault{}")
		}
	}
}

func (r *methodReader) either(names ...string) hclValue {
	for _, name := range names {
		if v, ok := r.at[name]; ok {
			return v
		}
	}
	return hclValue{hclNode: &hclNode{pos: pos{1, 1}}}
}

// finishAppRole: with a wrapping path the file holds a wrapping token. Vault
// Agent removes the file once it was read, unless it is told not to.
func (r *methodReader) finishAppRole() {
	secret, there := r.login.Inputs["secret_id"]
	remove, said := r.at["remove_secret_id_file_after_reading"]
	wrap, isWrapped := r.login.Params["secret_id_creation_path"]
	switch {
	case !there && isWrapped:
		r.fail(r.at["secret_id_response_wrapping_path"], "there is no secret_id_file_path to unwrap", "add it, or leave this out")
		return
	case !there:
		return
	case isWrapped:
		wrap.Value = plan.SplitPath(wrap.Value)
		r.login.Params["secret_id_creation_path"] = wrap
		delete(r.login.Inputs, "secret_id")
		r.login.Inputs["secret_id_wrapped"] = secret
	}
	set, from := true, secret.Origin
	if said {
		set, _ = parseBool(remove.text)
		from = r.origin(remove)
	}
	r.login.Params["remove_secret_id_file"] = plan.Set(fmt.Sprint(set), from)
}
