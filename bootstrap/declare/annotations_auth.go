package declare

import (
	"maps"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// autoAuthUse says what becomes of a setting of an agent's login.
type autoAuthUse uint8

const (
	authFile   autoAuthUse = iota // a path: the input To in that file
	authText                      // the input To itself, which is no secret
	authParam                     // the parameter To
	authBool                      // the parameter To, true or false
	authRole                      // the role
	authCA                        // the certificate authority
	authIgnore                    // nothing; Why says why
	authIs                        // only the value To is possible
	authRefuse                    // an error; Why says why, and To what to do
)

// autoAuthKey is one setting of an agent's login method.
type autoAuthKey struct {
	name string
	use  autoAuthUse
	to   string
	why  string
}

// autoAuthMethod is a login of the agent, and ours that it becomes.
type autoAuthMethod struct {
	name, ours string
	keys       []autoAuthKey
}

const (
	jwtStays      = "the file stays: the platform renews it, and secretboot reads it again for each try"
	notInMetadata = "a secret does not belong in an annotation"
)

// autoAuthMethods are the login methods of the agent that we have.
//
// https://developer.hashicorp.com/vault/docs/agent-and-proxy/autoauth/methods
func autoAuthMethods() []autoAuthMethod {
	role := autoAuthKey{name: "role", use: authRole}
	noRole := autoAuthKey{name: "role", use: authIgnore, why: "this login has no role"}
	return []autoAuthMethod{
		{"kubernetes", "kubernetes", []autoAuthKey{role, {name: "token_path", use: authFile, to: "jwt"}}},
		{"jwt", "jwt", []autoAuthKey{
			role,
			{name: "path", use: authFile, to: "jwt"},
			{name: "remove_jwt_after_reading", use: authIgnore, why: jwtStays},
			{name: "remove_jwt_follows_symlinks", use: authIgnore, why: jwtStays},
			{name: "jwt_read_period", use: authIgnore, why: "the file is read when a login needs it"},
		}},
		{"approle", "approle", []autoAuthKey{
			noRole,
			{name: "role_id_file_path", use: authFile, to: "role_id"},
			{name: "secret_id_file_path", use: authFile, to: "secret_id"},
			{name: "remove_secret_id_file_after_reading", use: authBool, to: "remove_secret_id_file"},
			{name: "secret_id_response_wrapping_path", use: authParam, to: "secret_id_creation_path"},
		}},
		{"aws", "aws", []autoAuthKey{
			role,
			{name: "type", use: authIs, to: "iam"},
			{name: "region", use: authParam, to: "region"},
			{name: "header_value", use: authParam, to: "server_id"},
			{name: "access_key", use: authRefuse, why: notInMetadata, to: "give this process AWS credentials in one of AWS's own ways, such as a role of the pod"},
			{name: "secret_key", use: authRefuse, why: notInMetadata, to: "give this process AWS credentials in one of AWS's own ways, such as a role of the pod"},
			{name: "session_token", use: authRefuse, why: notInMetadata, to: "give this process AWS credentials in one of AWS's own ways, such as a role of the pod"},
			{name: "nonce", use: authRefuse, why: "it is of the type ec2, which we do not have", to: "use the type iam"},
			{name: "credential_poll_interval", use: authIgnore, why: "the credentials are looked up when a login needs them"},
		}},
		{"gcp", "gcp", []autoAuthKey{
			role,
			{name: "type", use: authParam, to: "type"},
			{name: "service_account", use: authParam, to: "service_account"},
			{name: "credentials", use: authRefuse, why: notInMetadata, to: "take it away, and give the file with vault.auth.credentials_file or --auth credentials_file=PATH"},
			{name: "project", use: authIgnore, why: "the service account has it"},
			{name: "jwt_exp", use: authIgnore, why: "the token that is signed is used at once"},
		}},
		{"azure", "azure", []autoAuthKey{
			role,
			{name: "resource", use: authParam, to: "resource"},
			{name: "client_id", use: authParam, to: "client_id"},
			{name: "object_id", use: authParam, to: "object_id"},
			{name: "authenticate_from_environment", use: authIs, to: "false"},
			{name: "scope", use: authRefuse, why: "it is of authenticate_from_environment, which we do not have", to: "use a managed identity"},
		}},
		{"cert", "cert", []autoAuthKey{
			{name: "role", use: authIgnore, why: "this login has its role as auth-config-name"},
			{name: "name", use: authRole},
			{name: "ca_cert", use: authCA},
			{name: "client_cert", use: authFile, to: "certificate"},
			{name: "client_key", use: authFile, to: "private_key"},
			{name: "reload", use: authIgnore, why: "the certificate is read when a login needs it"},
		}},
		{"token_file", "token", []autoAuthKey{noRole, {name: "token_file_path", use: authFile, to: "token"}}},
		{"ldap", "ldap", []autoAuthKey{
			noRole,
			{name: "username", use: authText, to: "username"},
			{name: "password_file_path", use: authFile, to: "password"},
			{name: "remove_password_after_reading", use: authIgnore, why: "the file stays: a restart needs it"},
			{name: "remove_password_follows_symlinks", use: authIgnore, why: "the file stays: a restart needs it"},
		}},
	}
}

// login reads how to get a token. The original logs in at auth/kubernetes unless
// auth-path says otherwise, whatever auth-type is; ours is where the method is.
func (n *injector) login() {
	m, ok := n.method()
	if !ok {
		return
	}
	l := &n.plan.Login
	l.Inputs, l.Params = map[string]plan.Handle{}, map[string]plan.Setting[string]{}
	n.mount()
	settings := n.authSettings()
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		n.setting(m, key, settings[key])
	}
	n.completeLogin(m)
}

// authSettings finds the annotations of the method's settings, by their keys. The
// role has one of its own, which wins.
func (n *injector) authSettings() map[string]string {
	settings := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(n.all)) {
		rule, key, _ := annotationRule(name)
		if rule.name != "auth-config" || key == "" {
			continue
		}
		key = strings.ReplaceAll(key, "-", "_")
		if first, twice := settings[key]; twice {
			n.fail(name, "it says the same as "+first, "keep one of the two")
			continue
		}
		settings[key] = name
	}
	if n.all["role"] != "" {
		if twice, there := settings["role"]; there {
			n.ignore(twice, "there is role, which wins")
		}
		settings["role"] = "role"
	}
	return settings
}

// method finds the login that auth-type names.
func (n *injector) method() (autoAuthMethod, bool) {
	const name = "auth-type"
	kind, there := n.all[name]
	from := n.origin(name)
	if !there {
		kind, from = "kubernetes", n.origin(injectorOn)
	}
	var known []string
	for _, m := range autoAuthMethods() {
		known = append(known, m.name)
		if m.name == kind {
			n.plan.Login.Method = plan.Set(m.ours, from)
			return m, true
		}
	}
	fix := "use one of " + strings.Join(known, ", ")
	if near := plan.Nearest(kind, known); near != "" {
		fix = "did you mean " + near + "? " + fix
	}
	n.fail(name, "there is no such login here", fix)
	return autoAuthMethod{}, false
}

// mount reads where the login is. The annotation has it with auth/ in front.
func (n *injector) mount() {
	const name = "auth-path"
	text, there := n.all[name]
	if !there {
		return
	}
	mount := strings.TrimPrefix(plan.SplitPath(text), "auth/")
	if mount == "" || mount == "auth" || climbs(mount) {
		n.fail(name, "it must be the path of a login method", "write auth/MOUNT, such as auth/kubernetes")
		return
	}
	n.plan.Login.Mount = plan.Set(mount, n.origin(name))
}

// setting reads one setting of the method, which the annotation name gives.
func (n *injector) setting(m autoAuthMethod, key, name string) {
	var names []string
	for _, k := range m.keys {
		names = append(names, k.name)
		if k.name != key {
			continue
		}
		switch {
		case k.use == authIgnore:
			n.ignore(name, k.why)
		case k.use == authRefuse:
			n.fail(name, k.why, k.to)
		case n.all[name] == "":
			n.fail(name, "it is empty", "")
		default:
			n.take(k, name)
		}
		return
	}
	fix := "the login " + m.name + " has " + strings.Join(names, ", ")
	if near := plan.Nearest(key, names); near != "" {
		fix = "did you mean auth-config-" + strings.ReplaceAll(near, "_", "-") + "?"
	}
	n.fail(name, "the login "+m.name+" has no such setting", fix)
}

// take puts a setting where it belongs.
func (n *injector) take(k autoAuthKey, name string) {
	l, text, from := &n.plan.Login, n.all[name], n.origin(name)
	switch k.use {
	case authFile:
		l.Inputs[k.to] = plan.Handle{Kind: plan.HandleFile, Name: n.in.absolute(text), Origin: from}
	case authText:
		l.Inputs[k.to] = plan.Handle{Kind: plan.HandleText, Name: text, Origin: from}
	case authRole:
		l.Role = plan.Set(text, from)
	case authCA:
		if n.plan.Vault.TLS.CACert.IsSet {
			n.fail(name, "there is ca-cert, and the login uses the same connection", "keep one of the two")
			return
		}
		n.plan.Vault.TLS.CACert = plan.Set(n.in.absolute(text), from)
	case authIs:
		if text != k.to {
			n.fail(name, "we have "+k.to+" only", "write "+k.to+", or leave it out")
		}
	case authBool:
		on := n.flag(name)
		l.Params[k.to] = plan.Set(map[bool]string{true: "true", false: "false"}[on], from)
	case authParam:
		if words := loginParams()[k.to]; words != nil && !slices.Contains(words, text) {
			n.fail(name, "it must be one of "+strings.Join(words, ", "), "")
			return
		}
		l.Params[k.to] = plan.Set(text, from)
	}
}

// completeLogin adds what the agent does unless it is told otherwise: it removes
// the files of what it used up. A secret id that is wrapped is an input of its own.
func (n *injector) completeLogin(m autoAuthMethod) {
	l := &n.plan.Login
	if m.name == "kubernetes" && !l.Role.IsSet {
		n.problems.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: l.Method.Origin, What: "login kubernetes", Why: "the role is missing", Fix: "add " + injectorPrefix + "role",
		})
	}
	id, there := l.Inputs["secret_id"]
	if _, wrapped := l.Params["secret_id_creation_path"]; wrapped && there {
		delete(l.Inputs, "secret_id")
		l.Inputs["secret_id_wrapped"] = id
	}
	const remove = "remove_secret_id_file"
	switch wish, said := l.Params[remove]; {
	case m.name == "approle" && there && !said:
		l.Params[remove] = plan.Set("true", id.Origin)
	case said && !there:
		delete(l.Params, remove)
		n.plan.Ignored = append(n.plan.Ignored, plan.Ignored{What: "remove_secret_id_file_after_reading", Why: "there is no file of a secret id", Origin: wish.Origin})
	}
	for _, file := range []struct{ method, input, key string }{{"jwt", "jwt", "remove_jwt_after_reading"}, {"ldap", "password", "remove_password_after_reading"}} {
		h, given := l.Inputs[file.input]
		said := n.all["auth-config-"+file.key] != "" || n.all["auth-config-"+strings.ReplaceAll(file.key, "_", "-")] != ""
		if m.name == file.method && given && !said {
			n.plan.Ignored = append(n.plan.Ignored, plan.Ignored{What: file.key, Why: "the agent removes the file after reading it; here it stays, because it is needed again", Origin: h.Origin})
		}
	}
}
