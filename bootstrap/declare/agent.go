package declare

import (
	"fmt"
	"math"
	"strconv"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const agentName = "agent"

// Agent is the front for the configuration of Vault Agent, in HCL (version 1) or
// JSON: vault, auto_auth with its method and sinks, template, template_config,
// env_template and exec. Unlike Vault Agent it takes template and env_template
// together, and both with or without exec. What else is in the file is about the
// agent as a server, and is told in Plan.Ignored.
//
// Relative paths start at Input.Cwd, as they do for Vault Agent.
//
// https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent
type Agent struct {
	Path   string
	Origin plan.Origin // of the wish for this file
}

// Name gives agent.
func (Agent) Name() string { return agentName }

// Declare reads the file. Problems have CodeConfig and name the line: what is no
// HCL or JSON, unknown keys, login methods and sinks that we cannot do as they
// are declared, and secrets in the file itself.
func (a Agent) Declare(in Input) (plan.Plan, bool, error) {
	return declareHCL(in, agentName, a.Path, a.Origin, func(d *hclDecoder, root hclValue) {
		g := agent{hclDecoder: d, templates: hclTemplates{hclDecoder: d}}
		g.root(root)
	})
}

type agent struct {
	*hclDecoder
	templates hclTemplates
	ca        plan.Setting[string] // auto_auth.method.config.ca_cert
}

func (a *agent) root(v hclValue) {
	f := hclFields{
		"vault":           a.vault,
		"auto_auth":       a.autoAuth,
		"template":        a.templates.file,
		"template_config": a.templateConfig,
		"env_template":    a.templates.variable,
		"exec":            a.exec,
		"exit_after_auth": a.ignored("the mode of the run says whether anything stays after the delivery"),
		"listener":        a.ignored("nothing listens: a command that sends its requests to this address must be given Vault's own, or a vault agent or vault proxy beside it"),
		"api_proxy":       a.ignored("nothing listens, so nothing is passed on to Vault; see listener"),
		"cache":           a.ignored("nothing listens and each secret is read once, so there is nothing to keep; see listener"),
		"disable_mlock":   a.ignored("where secrets may be swapped out is told by the checks of the folder"),
		"telemetry":       a.ignored("no metrics are sent"),
		"pid_file":        a.ignored("no file with a process id is written"),
	}
	for _, name := range []string{
		"log_level", "log_format", "log_file", "log_rotate_duration", "log_rotate_bytes", "log_rotate_max_files", "log_requests_level",
	} {
		f[name] = a.ignored("the log is set by our own options")
	}
	for _, name := range []string{"disable_idle_connections", "disable_keep_alives"} {
		f[name] = a.ignored("connections are closed when the secrets are there")
	}
	for _, name := range []string{"default_max_request_duration", "cluster_name", "administrative_namespace_path"} {
		f[name] = a.ignored("it is a setting of a server")
	}
	a.block(v, f, "template", "env_template", "listener")
	a.templates.sandbox()
	a.inheritNamespace()
	a.inheritCA()
}

// inheritNamespace: the templates of Vault Agent are read in the namespace of the
// login where vault{} names none. That is how the injector writes it.
func (a *agent) inheritNamespace() {
	if !a.plan.Vault.Namespace.IsSet {
		a.plan.Vault.Namespace = a.plan.Login.Namespace
	}
}

// inheritCA: Vault Agent can trust one authority for the login by certificate and
// another for the rest. We have one for all requests.
func (a *agent) inheritCA() {
	t := &a.plan.Vault.TLS
	switch {
	case !a.ca.IsSet, t.CACert.Value == a.ca.Value:
	case t.CACert.IsSet || t.CAPath.IsSet:
		a.problems = append(a.problems, &plan.Problem{
			Code: plan.CodeConfig, Origin: plan.Origin{Front: a.front, At: a.ca.Origin.At}, What: fmt.Sprintf("%q", a.ca.Origin.Key),
			Why: "vault{} names another authority, and one is used for all requests", Fix: "put both certificates into one file, and name it in vault{} alone",
		})
	default:
		t.CACert = a.ca
	}
}

func (a *agent) vault(v hclValue) {
	to := &a.plan.Vault
	a.block(v, hclFields{
		"address":         a.text(&to.Address),
		"namespace":       a.text(&to.Namespace),
		"ca_cert":         a.path(&to.TLS.CACert),
		"ca_path":         a.path(&to.TLS.CAPath),
		"client_cert":     a.path(&to.TLS.ClientCert),
		"client_key":      a.path(&to.TLS.ClientKey),
		"tls_server_name": a.text(&to.TLS.ServerName),
		"tls_skip_verify": a.boolean(&to.TLS.SkipVerify),
		"retry":           a.ignored("requests are repeated until timeout"),
	})
}

// boolean fills a setting with a truth value.
func (d *hclDecoder) boolean(to *plan.Setting[bool]) func(hclValue) {
	return func(v hclValue) {
		if set, ok := d.flag(v); ok {
			*to = plan.Set(set, d.origin(v))
		}
	}
}

func (a *agent) templateConfig(v hclValue) {
	a.block(v, hclFields{
		"static_secret_render_interval": a.every(&a.plan.Refresh.Every, unitSecond),
		"max_connections_per_host":      a.connections,
		"lease_renewal_threshold":       a.fraction,
		"exit_on_retry_failure":         a.ignored("a secret that cannot be read until timeout always ends the run"),
	})
}

// connections: 0 is no bound to the originals, and needs no setting.
func (d *hclDecoder) connections(v hclValue) {
	if n, ok := d.number(v, 0); ok && n > 0 {
		d.plan.Vault.Connections = plan.Set(n, d.origin(v))
	}
}

// fraction checks the part of a lease after which it is renewed, and notes it.
func (d *hclDecoder) fraction(v hclValue) {
	n, err := strconv.ParseFloat(v.text, 64)
	if v.kind == kindMap || v.kind == kindList || err != nil || !(n >= 0 && n <= 1) || math.IsNaN(n) {
		d.fail(v, "it must be a number from 0 to 1", "")
		return
	}
	d.ignore(v, "when a lease is renewed is not decided by the declaration")
}

// exec is the command that env_template is for.
func (a *agent) exec(v hclValue) {
	var command *hclValue
	restart := plan.Set(plan.Action{Kind: plan.ActionRestart}, a.origin(v)) // the default
	a.block(v, hclFields{
		"command": func(v hclValue) { command = &v },
		"restart_on_secret_changes": func(v hclValue) {
			switch {
			case v.kind == kindString && v.text == "always":
				restart.Origin = a.origin(v)
			case v.kind == kindString && v.text == "never":
				restart = plan.Set(plan.Action{}, a.origin(v))
			default:
				a.fail(v, "it must be always or never", "")
			}
		},
		"restart_stop_signal": func(v hclValue) {
			if name, ok := a.signal(v); ok && name != "TERM" {
				a.ignore(v, fmt.Sprintf("a command is stopped with SIGTERM, not SIG%s: see that it ends at that", name))
			}
		},
	})
	switch {
	case v.kind != kindMap:
	case command == nil:
		a.fail(v, "it names no command", `add command = ["program", "argument"]`)
	default:
		a.plan.Run.Command, _ = a.command(*command)
		a.plan.Run.CommandOrigin = a.origin(*command)
		a.plan.Refresh.OnChange = restart
	}
}
