package declare

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Write writes a plan as our own configuration file, in YAML: [Config] reads it
// back as the same plan, but for the places where things were declared. These,
// and what the plan ignores, are comments.
//
// What the plan found out by itself (ambient login inputs, the reads of
// templates) is left out: it is found out again. The error is w's, or
// plan.Problems with CodeConfig for what a configuration file cannot say: above
// all a text that stands in another file and may be a secret, which is not copied.
func Write(w io.Writer, p plan.Plan) error {
	c := &configWriter{}
	root := c.root(&p)
	if err := c.problems.Err(); err != nil {
		return err
	}
	var out yamlWriter
	out.comment(0, "Written by secretboot convert. docs/configuration.md explains the keys.")
	for _, i := range p.Ignored {
		out.comment(0, "not needed: "+i.What+": "+strings.TrimPrefix(i.Why, "not needed: ")+" ("+i.Origin.String()+")")
	}
	out.keys(root, 0, false)
	if err := readable(out.String()); err != nil {
		return err
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// readable reads what was written: what Config refuses must not pass for a
// configuration.
func readable(text string) error {
	_, _, err := Config{Path: "/converted.yaml"}.Declare(Input{Cwd: "/", Open: func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(text))), nil
	}})
	var read, problems plan.Problems
	read.Add(err)
	for _, p := range read {
		problems = append(problems, &plan.Problem{
			Code: plan.CodeConfig, Origin: plan.Origin{Front: configName, Key: p.Origin.Key}, What: p.What,
			Why: "our configuration cannot say this: " + p.Why, Fix: "keep the declaration that it is from, with --from", Err: p,
		})
	}
	return problems.Err()
}

type configWriter struct{ problems plan.Problems }

func (c *configWriter) fail(from plan.Origin, what, why, fix string) {
	c.problems = append(c.problems, &plan.Problem{Code: plan.CodeConfig, Origin: from, What: what, Why: why, Fix: fix})
}

// set adds a setting that is set.
func set[T any](m *mapping, key string, s plan.Setting[T], value func(T) any) {
	if s.IsSet {
		m.put(key, value(s.Value))
	}
}

func asText(s string) any               { return s }
func asFlag(b bool) any                 { return raw(strconv.FormatBool(b)) }
func asPeriod(d time.Duration) any      { return raw(plan.Period(d)) }
func asNumber[T int | int64](n T) any   { return raw(strconv.FormatInt(int64(n), 10)) }
func asWord[T fmt.Stringer](word T) any { return word.String() }
func asTexts(list []string) any         { return list }

// asRule gives the version of a KV engine, which is a number where it can be.
func asRule(k plan.KVRule) any {
	if k == plan.KV1 || k == plan.KV2 {
		return raw(k.String())
	}
	return k.String()
}

func (c *configWriter) root(p *plan.Plan) *mapping {
	m := &mapping{}
	m.put("version", raw("1"))
	m.below("vault", c.vault(p))
	set(m, "dev", p.Vault.Dev, asText)
	set(m, "dir", p.Sink.Dir, asText)
	set(m, "mount", p.Sink.Mount, asWord)
	set(m, "mount_size", p.Sink.MountSize, asNumber)
	set(m, "allow_disk", p.Sink.AllowDisk, asFlag)
	set(m, "timeout", p.Timeout, asPeriod)
	set(m, "receipt", p.Receipt, asText)
	set(m, "listen", p.Listen, asText)
	set(m, "exit_with", p.ExitWith, asText)
	set(m, "template_root", p.TemplateRoot, asText)
	m.below("refresh", c.refresh(p.Refresh))
	m.list("files", c.files(p))
	m.below("env", c.env(p))
	m.list("env_from", c.envFrom(p))
	m.below("run", c.run(&p.Run))
	for _, r := range p.Reads {
		c.fail(r.Origin, "read "+r.Path, "nothing is made of it, and a configuration file has no key for that", "")
	}
	return m
}

func (c *configWriter) vault(p *plan.Plan) *mapping {
	v, m := &p.Vault, &mapping{}
	set(m, "address", v.Address, asText)
	set(m, "namespace", v.Namespace, asText)
	set(m, "proxy", v.Proxy, asText)
	set(m, "connections", v.Connections, asNumber)
	headers := &mapping{}
	for _, name := range sortedKeys(v.Headers) {
		headers.put(name, c.text(v.Headers[name], "header "+name))
	}
	m.below("headers", headers)
	if h := v.HeaderSet; h.Kind != plan.HandleNone && (h.Kind != plan.HandleEnv || h.Name != "VAULT_HEADERS") {
		c.fail(h.Origin, "headers", "a whole set of headers comes from the variable VAULT_HEADERS only", "name each header below vault.headers")
	}
	set(m, "redirects", v.Redirects, asTexts)
	set(m, "rate_limit", v.RateLimit, asWord)
	set(m, "body_limit", v.BodyLimit, asNumber)
	kv := &mapping{}
	for _, mount := range sortedKeys(v.KV) {
		kv.put(mount, asRule(v.KV[mount]))
	}
	m.below("kv", kv)
	t, tls := &v.TLS, &mapping{}
	set(tls, "ca_cert", t.CACert, asText)
	set(tls, "ca_cert_pem", t.CACertPEM, asText)
	set(tls, "ca_path", t.CAPath, asText)
	set(tls, "client_cert", t.ClientCert, asText)
	set(tls, "client_key", t.ClientKey, asText)
	set(tls, "server_name", t.ServerName, asText)
	set(tls, "skip_verify", t.SkipVerify, asFlag)
	m.below("tls", tls)
	m.below("auth", c.auth(&p.Login))
	return m
}

func (c *configWriter) auth(l *plan.Login) *mapping {
	m := &mapping{}
	set(m, "method", l.Method, asText)
	set(m, "mount", l.Mount, asText)
	set(m, "role", l.Role, asText)
	set(m, "namespace", l.Namespace, asText)
	for _, name := range sortedKeys(l.Params) {
		value := asText
		if words := loginParams()[name]; len(words) > 0 && words[0] == "true" {
			value = func(s string) any { return raw(s) }
		}
		set(m, name, l.Params[name], value)
	}
	for _, name := range sortedKeys(l.Inputs) {
		c.loginInput(m, name, l.Inputs[name])
	}
	return m
}

// loginInput names the place of an input by the suffix of its key.
func (c *configWriter) loginInput(m *mapping, name string, h plan.Handle) {
	switch {
	case h.Member != "" || h.Offset+h.End+h.Of > 0:
		c.fail(h.Origin, "login input "+name, "it is part of a longer text", "put it into a file or variable of its own and name that")
	case h.Kind == plan.HandleEnv:
		m.put(name+"_env", h.Name)
	case h.Kind == plan.HandleFile:
		m.put(name+"_file", h.Name)
	case h.Kind == plan.HandleText:
		m.put(name, h.Name)
	default:
		c.notCopied(h, "login input "+name, "put it into a file or variable, and name that with "+name+"_file or "+name+"_env")
	}
}

func (c *configWriter) notCopied(h plan.Handle, what, fix string) {
	c.fail(h.Origin, what, "its text stands in the declaration and may be a secret: it is not copied", fix)
}

// text gives a text that is no secret, or the place of one.
func (c *configWriter) text(h plan.Handle, what string) any {
	if h.Kind == plan.HandleText && !h.JSON {
		return h.Name
	}
	return c.place(h, what)
}

// place gives the map that names a place.
func (c *configWriter) place(h plan.Handle, what string) *mapping {
	m := &mapping{}
	switch h.Kind {
	case plan.HandleEnv:
		m.put("env", h.Name)
	case plan.HandleFile:
		m.put("file", h.Name)
	case plan.HandleText:
		m.put("text", h.Name)
	default:
		c.notCopied(h, what, "put it into a file or variable, and name that with { file: PATH } or { env: NAME }")
	}
	m.text("member", h.Member)
	if h.Offset > 0 {
		m.put("offset", asNumber(h.Offset))
	}
	if h.End > 0 {
		m.put("end", asNumber(h.End))
	}
	if h.Of > 0 {
		m.put("of", asNumber(h.Of))
	}
	m.flag("json", h.JSON)
	return m
}

func (c *configWriter) refresh(r plan.Refresh) *mapping {
	m := &mapping{}
	set(m, "every", r.Every, asPeriod)
	set(m, "splay", r.Splay, asPeriod)
	set(m, "on_change", r.OnChange, func(a plan.Action) any {
		switch a.Kind {
		case plan.ActionSignal:
			return "signal:" + a.Signal
		case plan.ActionRestart:
			return "restart"
		case plan.ActionExec:
			exec := &mapping{}
			exec.put("exec", a.Argv)
			if a.Timeout > 0 {
				exec.put("timeout", asPeriod(a.Timeout))
			}
			return exec
		case plan.ActionNone:
		}
		return "none"
	})
	set(m, "debounce", r.Debounce, asPeriod)
	set(m, "min_interval", r.MinInterval, asPeriod)
	return m
}

func (c *configWriter) run(r *plan.Run) *mapping {
	m := &mapping{}
	m.texts("command", r.Command)
	set(m, "mode", r.Mode, asWord)
	set(m, "kill_timeout", r.KillTimeout, asPeriod)
	set(m, "janitor", r.Janitor, asFlag)
	set(m, "keep_credentials", r.KeepCredentials, asFlag)
	set(m, "pristine", r.Pristine, asFlag)
	set(m, "env_allow", r.EnvAllow, asTexts)
	set(m, "env_deny", r.EnvDeny, asTexts)
	set(m, "dangerous_env", r.DangerousEnv, asFlag)
	set(m, "user", r.User, asText)
	set(m, "no_new_privs", r.NoNewPrivs, asFlag)
	set(m, "cap_drop", r.CapDrop, asTexts)
	for _, later := range []struct {
		key  string
		set  bool
		from plan.Origin
	}{
		{"mask", r.Mask.IsSet, r.Mask.Origin},
		{"fail_on_leak", r.FailOnLeak.IsSet, r.FailOnLeak.Origin},
		{"pty", r.PTY.IsSet, r.PTY.Origin},
	} {
		if later.set {
			c.fail(later.from, "run."+later.key, "it is not supported by this version", "leave it out")
		}
	}
	return m
}

// above is the comment with the place of a declaration.
func above(o plan.Origin) string {
	if at := o.String(); at != "" {
		return "from " + strings.TrimSpace(at)
	}
	return ""
}
