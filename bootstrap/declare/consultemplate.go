package declare

import (
	"github.com/secretboot/secretboot/bootstrap/plan"
)

const consulTemplateName = "consul-template"

// ConsulTemplate is the front for the configuration of consul-template, in HCL
// (version 1) or JSON: vault, template, exec, wait and default_delimiters. What
// is about Consul, Nomad or its own process is told in Plan.Ignored.
//
// Of several files each is a front of its own. Where two say the same thing
// differently, the later one wins to consul-template; here that is a problem, as
// for all declarations of one rank.
//
// Relative paths start at Input.Cwd, as they do for consul-template.
//
// https://github.com/hashicorp/consul-template/blob/main/docs/configuration.md
type ConsulTemplate struct {
	Path   string
	Origin plan.Origin // of the wish for this file
}

// Name gives consul-template.
func (ConsulTemplate) Name() string { return consulTemplateName }

// Declare reads the file. Problems have CodeConfig and name the line: what is no
// HCL or JSON, unknown keys, and a token in the file itself.
func (c ConsulTemplate) Declare(in Input) (plan.Plan, bool, error) {
	return declareHCL(in, consulTemplateName, c.Path, c.Origin, func(d *hclDecoder, root hclValue) {
		t := consulTemplate{hclDecoder: d, templates: hclTemplates{hclDecoder: d}}
		t.root(root)
	})
}

type consulTemplate struct {
	*hclDecoder
	templates hclTemplates

	token, unwrap, role *hclValue // of vault{}
}

func (c *consulTemplate) root(v hclValue) {
	const (
		consul = "secretboot reads Vault: a template that asks for anything else is refused"
		own    = "it is about the original's own process"
		log    = "the log is set by our own options"
	)
	c.delimiters(v)
	c.block(v, hclFields{
		"vault":                c.vault,
		"template":             c.templates.file,
		"exec":                 c.exec,
		"wait":                 func(v hclValue) { c.wait(v, &c.plan.Refresh) },
		"default_delimiters":   func(hclValue) {},
		"consul":               c.ignored(consul),
		"nomad":                c.ignored(consul),
		"deduplicate":          c.ignored(consul),
		"max_stale":            c.ignored(consul),
		"block_query_wait":     c.ignored(consul),
		"err_on_failed_lookup": c.ignored("what a template reads and does not get always ends the run"),
		"template_error_fatal": c.when(false, "a template that fails ends the run: the command would start without its secret"),
		"once":                 c.ignored("the mode of the run says whether anything stays after the delivery"),
		"kill_signal":          c.ignored(own),
		"reload_signal":        c.ignored(own),
		"pid_file":             c.ignored("no file with a process id is written"),
		"log_level":            c.ignored(log),
		"log_file":             c.ignored(log),
		"syslog":               c.ignored(log),
		"telemetry":            c.ignored("no metrics are sent"),
	}, "template")
	c.templates.sandbox()
}

// delimiters are read first: they hold for the templates before them, too.
func (c *consulTemplate) delimiters(v hclValue) {
	for _, m := range v.members {
		if m.key != "default_delimiters" {
			continue
		}
		for _, child := range m.blocks() {
			child.key = m.key
			c.block(child, hclFields{
				"left":  func(v hclValue) { c.templates.left, _ = c.str(v) },
				"right": func(v hclValue) { c.templates.right, _ = c.str(v) },
			})
		}
	}
}

func (c *consulTemplate) vault(v hclValue) {
	to, login := &c.plan.Vault, &c.plan.Login
	login.Inputs = map[string]plan.Handle{}
	file := func(name string) func(hclValue) {
		return func(v hclValue) {
			if s, ok := c.str(v); ok && s != "" {
				login.Inputs[name] = plan.Handle{Kind: plan.HandleFile, Name: c.in.absolute(s), Origin: c.origin(v)}
			}
		}
	}
	c.block(v, hclFields{
		"address":                        c.text(&to.Address),
		"namespace":                      c.text(&to.Namespace),
		"token":                          c.secret("put it into a file and name that as vault_agent_token_file, or set VAULT_TOKEN"),
		"vault_agent_token_file":         func(v hclValue) { c.token = &v; file("token")(v) },
		"unwrap_token":                   func(v hclValue) { c.wrapped(v) },
		"k8s_auth_role_name":             func(v hclValue) { c.role = &v; c.text(&login.Role)(v) },
		"k8s_service_account_token_path": file("jwt"),
		"k8s_service_account_token":      c.secret("put it into a file and name that as k8s_service_account_token_path"),
		"k8s_service_mount_path":         c.mount,
		"default_lease_duration":         c.every(&c.plan.Refresh.Every, unitNone),
		"lease_renewal_threshold":        c.fraction,
		"ssl":                            c.ssl,
		"transport":                      c.transport,
		"retry":                          c.ignored("requests are repeated until timeout"),
		"renew_token":                    c.ignored("the token is renewed for as long as the run needs it"),
		"client_user_agent":              c.ignored("requests say that they are secretboot's"),
		"grace":                          c.ignored("it is not used any more"),
		"enabled":                        c.when(false, "the templates decide whether Vault is asked"),
	})
	c.finishLogin()
}

// secret refuses a text that is a secret in the file. An empty one is none.
func (c *consulTemplate) secret(fix string) func(hclValue) {
	return func(v hclValue) {
		if v.kind != kindString || v.text != "" {
			c.fail(v, "it is a secret, and does not belong into this file", fix)
		}
	}
}

func (c *consulTemplate) wrapped(v hclValue) {
	if set, _ := c.flag(v); set {
		c.unwrap = &v
	}
}

// mount is where the Kubernetes login is, without auth/; we take it with, too.
func (c *consulTemplate) mount(v hclValue) {
	c.text(&c.plan.Login.Mount)(v)
	m := &c.plan.Login.Mount
	m.Value = plan.SplitPath(m.Value)
	if len(m.Value) > 5 && m.Value[:5] == "auth/" {
		m.Value = m.Value[5:]
	}
}

// finishLogin says which login is meant. consul-template takes a token before it
// tries Kubernetes; two of them declared side by side are rather a mistake.
func (c *consulTemplate) finishLogin() {
	login := &c.plan.Login
	token, hasToken := login.Inputs["token"]
	jwt, hasJWT := login.Inputs["jwt"]
	switch {
	case hasJWT && !login.Role.IsSet:
		c.problems = append(c.problems, &plan.Problem{
			Code: plan.CodeConfig, Origin: jwt.Origin, What: "the Kubernetes login", Why: "it has no role", Fix: "add k8s_auth_role_name",
		})
	case hasToken && login.Role.IsSet:
		c.fail(*c.role, "there is a file with a token as well, which the original prefers", "keep one of the two")
	case login.Role.IsSet:
		login.Method = plan.Set("kubernetes", c.origin(*c.role))
	case hasToken:
		login.Method = plan.Set("token", c.origin(*c.token))
	}
	switch {
	case c.unwrap == nil:
	case !hasToken:
		c.fail(*c.unwrap, "the token that is unwrapped must be named", "put it into a file and name that as vault_agent_token_file, or use --auth token_wrapped_file=PATH")
	default:
		delete(login.Inputs, "token")
		login.Inputs["token_wrapped"] = token
	}
}

func (c *consulTemplate) ssl(v hclValue) {
	t := plan.TLS{}
	enabled := true
	c.block(v, hclFields{
		"enabled":       func(v hclValue) { enabled, _ = c.flag(v) },
		"ca_cert":       c.path(&t.CACert),
		"ca_cert_bytes": c.text(&t.CACertPEM),
		"ca_path":       c.path(&t.CAPath),
		"cert":          c.path(&t.ClientCert),
		"key":           c.path(&t.ClientKey),
		"server_name":   c.text(&t.ServerName),
		"verify": func(v hclValue) {
			if set, ok := c.flag(v); ok {
				t.SkipVerify = plan.Set(!set, c.origin(v))
			}
		},
	})
	if !enabled {
		c.ignore(v, "enabled is false")
		return
	}
	c.plan.Vault.TLS = t
}

func (c *consulTemplate) transport(v hclValue) {
	f := hclFields{"max_conns_per_host": c.connections}
	for _, name := range []string{
		"dial_keep_alive", "dial_timeout", "disable_keep_alives", "idle_conn_timeout", "max_idle_conns", "max_idle_conns_per_host", "tls_handshake_timeout",
	} {
		f[name] = c.ignored("connections have our own bounds, and are closed when the secrets are there")
	}
	c.block(v, f)
}
