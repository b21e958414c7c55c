package declare

import (
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// loginInputs are the secret inputs of all login methods. Each may be given as
// NAME (the text itself), NAME_file or NAME_env.
func loginInputs() []string {
	return []string{
		"token", "role_id", "secret_id", "secret_id_wrapped", "jwt", "username", "password", "certificate", "private_key",
	}
}

// loginParams are further settings of login methods that are no secret.
func loginParams() []string { return []string{"audience", "secret_id_creation_path"} }

func (d *decoder) vault(v value) {
	p := &d.plan.Vault
	d.object(v, fields{
		"address":   d.text(&p.Address),
		"namespace": d.text(&p.Namespace),
		"proxy":     d.text(&p.Proxy),
		"connections": func(v value) {
			if n, ok := d.number(v, 1); ok {
				p.Connections = plan.Set(n, d.origin(v))
			}
		},
		"kv":   d.kvMounts,
		"tls":  d.tls,
		"auth": d.auth,
	})
}

func (d *decoder) tls(v value) {
	t := &d.plan.Vault.TLS
	d.object(v, fields{
		"ca_cert":     d.path(&t.CACert),
		"ca_cert_pem": d.text(&t.CACertPEM),
		"ca_path":     d.path(&t.CAPath),
		"client_cert": d.path(&t.ClientCert),
		"client_key":  d.path(&t.ClientKey),
		"server_name": d.text(&t.ServerName),
		"skip_verify": d.boolean(&t.SkipVerify),
	})
}

// kvMounts reads the version of KV mounts by mount path.
func (d *decoder) kvMounts(v value) {
	if !d.expect(v, kindMap, "a map of mounts, such as { secret: 2 }") {
		return
	}
	rules := map[string]plan.KVRule{}
	for _, p := range v.pairs {
		child, mount := v.childAt(p), plan.SplitPath(p.key)
		_, twice := rules[mount]
		switch {
		case mount == "":
			d.fail(child, "the mount is empty", "")
		case twice:
			d.fail(child, "the same mount is there twice, with and without a slash", "keep one of the two")
		default:
			d.kvRule(child, func(rule plan.KVRule) { rules[mount] = rule })
		}
	}
	d.plan.Vault.KV = rules
}

func (d *decoder) kvRule(v value, take func(plan.KVRule)) {
	if rule, ok := oneOf(d, v, []string{"1", "2", "auto"}, plan.ParseKVRule); ok {
		take(rule)
	}
}

// auth reads the login. Which methods there are, and what each needs, is known
// to package vault and checked there.
func (d *decoder) auth(v value) {
	l := &d.plan.Login
	l.Inputs, l.Params = map[string]plan.Handle{}, map[string]plan.Setting[string]{}
	f := fields{
		"method": d.text(&l.Method),
		"mount":  d.text(&l.Mount),
		"role":   d.text(&l.Role),
	}
	for _, name := range loginInputs() {
		f[name] = d.loginInput(name, plan.HandleKey)
		f[name+"_file"] = d.loginInput(name, plan.HandleFile)
		f[name+"_env"] = d.loginInput(name, plan.HandleEnv)
	}
	for _, name := range loginParams() {
		f[name] = func(v value) {
			if s, ok := d.str(v); ok {
				l.Params[name] = plan.Set(s, d.origin(v))
			}
		}
	}
	d.object(v, f)
}

// loginInput leaves a handle to the input; its text stays in the file.
func (d *decoder) loginInput(name string, k plan.HandleKind) func(value) {
	return func(v value) {
		s, ok := d.str(v)
		if !ok {
			return
		}
		h := plan.Handle{Kind: k, Name: s, Origin: d.origin(v)}
		switch k {
		case plan.HandleKey:
			h.Name, h.File = v.key, d.in.absolute(d.file)
		case plan.HandleFile:
			h.Name = d.beside(s)
		}
		if first, twice := d.plan.Login.Inputs[name]; twice {
			d.fail(v, "the same input is given at "+first.Origin.String(), "keep one of the two")
			return
		}
		d.plan.Login.Inputs[name] = h
	}
}
