package declare

import (
	"github.com/secretboot/secretboot/bootstrap/plan"
)

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
		"headers":    d.headers,
		"redirects":  d.redirects,
		"rate_limit": limit(d, &p.RateLimit, plan.ParseRate),
		"body_limit": limit(d, &p.BodyLimit, plan.ParseSize),
		"kv":         d.kvMounts,
		"tls":        d.tls,
		"auth":       d.auth,
	})
}

// limit fills a setting with what parse makes of a number or text.
func limit[T any](d *decoder, to *plan.Setting[T], parse func(string) (T, error)) func(value) {
	return func(v value) {
		n, err := parse(v.text) // a list, a map or a truth value has no text that it takes
		if err != nil {
			d.fail(v, err.Error(), "")
			return
		}
		*to = plan.Set(n, d.origin(v))
	}
}

// redirects reads the hosts that a redirect may lead to.
func (d *decoder) redirects(v value) {
	var hosts []string
	d.list(v, func(item value) {
		s, ok := d.str(item)
		if !ok {
			return
		}
		host, err := plan.ParseRedirectHost(s)
		if err != nil {
			d.fail(item, err.Error(), "")
			return
		}
		hosts = append(hosts, host)
	})
	d.plan.Vault.Redirects = plan.Set(hosts, d.origin(v))
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
	d.plan.Vault.KVOrigin = d.origin(v)
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
	if rule, ok := oneOf(d, v, plan.KVRuleNames(), plan.ParseKVRule); ok {
		take(rule)
	}
}
