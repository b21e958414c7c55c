package plan

import (
	"fmt"
	"maps"
	"slices"
)

// named is one Setting of a Plan with the key it has in a configuration file.
type named struct {
	name string
	setting
}

// settings lists every Setting of the plan that is not inside a list or a map,
// in the order of the configuration file. It is the only such list: merging
// and printing go through it, and a test holds it against the type itself.
func (p *Plan) settings() []named {
	v, t, l, r, f := &p.Vault, &p.Vault.TLS, &p.Login, &p.Run, &p.Refresh
	return []named{
		{"vault.address", &v.Address},
		{"vault.namespace", &v.Namespace},
		{"vault.proxy", &v.Proxy},
		{"vault.connections", &v.Connections},
		{"vault.redirects", &v.Redirects},
		{"vault.rate_limit", &v.RateLimit},
		{"vault.body_limit", &v.BodyLimit},
		{"vault.tls.ca_cert", &t.CACert},
		{"vault.tls.ca_cert_pem", &t.CACertPEM},
		{"vault.tls.ca_path", &t.CAPath},
		{"vault.tls.client_cert", &t.ClientCert},
		{"vault.tls.client_key", &t.ClientKey},
		{"vault.tls.server_name", &t.ServerName},
		{"vault.tls.skip_verify", &t.SkipVerify},
		{"vault.auth.method", &l.Method},
		{"vault.auth.mount", &l.Mount},
		{"vault.auth.role", &l.Role},
		{"vault.auth.namespace", &l.Namespace},
		{"dev", &v.Dev},
		{"dir", &p.Sink.Dir},
		{"allow_disk", &p.Sink.AllowDisk},
		{"mount", &p.Sink.Mount},
		{"mount_size", &p.Sink.MountSize},
		{"timeout", &p.Timeout},
		{"receipt", &p.Receipt},
		{"listen", &p.Listen},
		{"exit_with", &p.ExitWith},
		{"template_root", &p.TemplateRoot},
		{"refresh.every", &f.Every},
		{"refresh.splay", &f.Splay},
		{"refresh.on_change", &f.OnChange},
		{"refresh.debounce", &f.Debounce},
		{"refresh.min_interval", &f.MinInterval},
		{"run.mode", &r.Mode},
		{"run.user", &r.User},
		{"run.kill_timeout", &r.KillTimeout},
		{"run.janitor", &r.Janitor},
		{"run.mask", &r.Mask},
		{"run.fail_on_leak", &r.FailOnLeak},
		{"run.pty", &r.PTY},
		{"run.pristine", &r.Pristine},
		{"run.env_allow", &r.EnvAllow},
		{envDeny, &r.EnvDeny},
		{"run.dangerous_env", &r.DangerousEnv},
		{"run.keep_credentials", &r.KeepCredentials},
		{"run.no_new_privs", &r.NoNewPrivs},
		{"run.cap_drop", &r.CapDrop},
	}
}

// envDeny is the one setting that several declarations of a rank complete.
const envDeny = "run.env_deny"

// joinedLists gives the patterns of both, each once. The origin is the first one's.
func joinedLists(a, b Setting[[]string]) Setting[[]string] {
	if !a.IsSet {
		return b
	}
	both := slices.Clone(a.Value)
	for _, glob := range b.Value {
		if !slices.Contains(both, glob) {
			both = append(both, glob)
		}
	}
	a.Value = both
	return a
}

// Overlay gives low with high put over it. A setting, a login input, a login
// parameter, a header, a KV rule and the command are high's where high has one;
// every other list is low's followed by high's. Neither argument is changed, and the
// result shares no map or list with them.
//
// Login inputs of different methods are kept side by side, each with its
// Origin: which of them count is for the login to decide.
func Overlay(low, high Plan) Plan {
	out := low
	out.forgetRoots(&high)
	theirs := high.settings()
	for i, s := range out.settings() {
		if theirs[i].isSet() {
			s.take(theirs[i].setting)
		}
	}
	// What one of them denies, the command does not get: a front's credentials
	// must not come back because somebody denies another variable.
	out.Run.EnvDeny = joinedLists(high.Run.EnvDeny, low.Run.EnvDeny)
	out.Vault.KV = union(low.Vault.KV, high.Vault.KV)
	if len(high.Vault.KV) > 0 {
		out.Vault.KVOrigin = high.Vault.KVOrigin
	}
	out.Vault.Headers = union(low.Vault.Headers, high.Vault.Headers)
	if high.Vault.HeaderSet.Kind != HandleNone {
		out.Vault.HeaderSet = high.Vault.HeaderSet
	}
	out.Vault.Redirects.Value = slices.Clone(out.Vault.Redirects.Value)
	out.Login.Inputs = union(low.Login.Inputs, high.Login.Inputs)
	out.Login.Ambient = union(low.Login.Ambient, high.Login.Ambient)
	out.Login.Params = union(low.Login.Params, high.Login.Params)
	if len(high.Run.Command) > 0 {
		out.Run.Command, out.Run.CommandOrigin = high.Run.Command, high.Run.CommandOrigin
	}
	out.Run.Command = slices.Clone(out.Run.Command)
	out.appendLists(low, high)
	return out
}

// forgetRoots drops the certificate authorities of p where high names its own.
// ca_cert, ca_cert_pem and ca_path are three ways to say one thing, so a file
// that high names must not lose to a bundle that a lower rank gave.
func (p *Plan) forgetRoots(high *Plan) {
	t := high.Vault.TLS
	if t.CACert.IsSet || t.CACertPEM.IsSet || t.CAPath.IsSet {
		none := Setting[string]{}
		p.Vault.TLS.CACert, p.Vault.TLS.CACertPEM, p.Vault.TLS.CAPath = none, none, none
	}
}

// appendLists makes each list of p a fresh one: low's and then high's.
func (p *Plan) appendLists(low, high Plan) {
	p.Reads = slices.Concat(low.Reads, high.Reads)
	p.Files = slices.Concat(low.Files, high.Files)
	p.Sets = slices.Concat(low.Sets, high.Sets)
	p.Env = slices.Concat(low.Env, high.Env)
	p.EnvSets = slices.Concat(low.EnvSets, high.EnvSets)
	p.Computed = slices.Concat(low.Computed, high.Computed)
	p.Ignored = slices.Clone(low.Ignored)
	for _, i := range high.Ignored { // one store may serve many secrets
		if !slices.Contains(p.Ignored, i) {
			p.Ignored = append(p.Ignored, i)
		}
	}
}

// union gives a fresh map with the entries of both; high's win.
func union[V any](low, high map[string]V) map[string]V {
	if low == nil && high == nil {
		return nil
	}
	out := make(map[string]V, len(low)+len(high))
	maps.Copy(out, low)
	maps.Copy(out, high)
	return out
}

// Yield gives p without the settings, login inputs and login parameters that high
// has. Overlay would put high's in their place; two plans that are merged before are
// not in conflict about them. Neither argument is changed.
func Yield(p, high Plan) Plan {
	theirs := high.settings()
	for i, s := range p.settings() {
		if theirs[i].isSet() && s.name != envDeny {
			s.forget()
		}
	}
	p.Login.Inputs, p.Login.Params = maps.Clone(p.Login.Inputs), maps.Clone(p.Login.Params)
	maps.DeleteFunc(p.Login.Inputs, func(name string, _ Handle) bool { _, ok := high.Login.Inputs[name]; return ok })
	maps.DeleteFunc(p.Login.Params, func(name string, _ Setting[string]) bool { return high.Login.Params[name].IsSet })
	return p
}

// Merge joins plans of one rank, none of which wins over another: a setting, a
// login input, a login parameter, a header, a KV rule or a command that two of
// them give differently is a Problem with CodeConfig that names both places. All such
// problems are returned together, as Problems. The same value twice is fine.
// What the command does not inherit is what any of them says.
func Merge(parts ...Plan) (Plan, error) {
	var out Plan
	var problems Problems
	for i := range parts {
		part := &parts[i]
		problems = append(problems, out.conflicts(part)...)
		next := Overlay(*part, out) // what is there already stays
		next.keepRoots(part)
		next.Run.EnvDeny = joinedLists(out.Run.EnvDeny, part.Run.EnvDeny)
		next.appendLists(out, *part)
		out = next
	}
	return out, problems.Err()
}

// keepRoots undoes what Overlay does to certificate authorities: plans of one
// rank complete each other.
func (p *Plan) keepRoots(part *Plan) {
	mine, theirs := &p.Vault.TLS, &part.Vault.TLS
	for _, pair := range [][2]*Setting[string]{
		{&mine.CACert, &theirs.CACert}, {&mine.CACertPEM, &theirs.CACertPEM}, {&mine.CAPath, &theirs.CAPath},
	} {
		if !pair[0].IsSet {
			*pair[0] = *pair[1]
		}
	}
}

// conflicts lists what p and part say differently.
func (p *Plan) conflicts(part *Plan) Problems {
	var problems Problems
	theirs := part.settings()
	for i, s := range p.settings() {
		other := theirs[i]
		if s.isSet() && other.isSet() && !s.same(other.setting) && s.name != envDeny {
			problems = append(problems, conflict(s.name, s.from(), other.from()))
		}
	}
	for _, name := range shared(p.Login.Params, part.Login.Params) {
		a, b := p.Login.Params[name], part.Login.Params[name]
		if a.IsSet && b.IsSet && a.Value != b.Value {
			problems = append(problems, conflict("vault.auth."+name, a.Origin, b.Origin))
		}
	}
	problems = append(problems, handleConflicts("vault.auth.", p.Login.Inputs, part.Login.Inputs)...)
	problems = append(problems, handleConflicts("vault.headers.", p.Vault.Headers, part.Vault.Headers)...)
	if a, b := p.Vault.HeaderSet, part.Vault.HeaderSet; a.Kind != HandleNone && b.Kind != HandleNone && !a.same(b) {
		problems = append(problems, conflict("vault.headers", a.Origin, b.Origin))
	}
	for _, mount := range shared(p.Vault.KV, part.Vault.KV) {
		if p.Vault.KV[mount] != part.Vault.KV[mount] {
			problems = append(problems, conflict("vault.kv."+mount, p.Vault.KVOrigin, part.Vault.KVOrigin))
		}
	}
	a, b := p.Run.Command, part.Run.Command
	if len(a) > 0 && len(b) > 0 && !slices.Equal(a, b) {
		problems = append(problems, conflict("run.command", p.Run.CommandOrigin, part.Run.CommandOrigin))
	}
	return problems
}

// handleConflicts lists the names for which two maps name different places.
func handleConflicts(prefix string, a, b map[string]Handle) Problems {
	var problems Problems
	for _, name := range shared(a, b) {
		if !a[name].same(b[name]) {
			problems = append(problems, conflict(prefix+name, a[name].Origin, b[name].Origin))
		}
	}
	return problems
}

// shared lists the keys that both maps have, sorted.
func shared[V any](a, b map[string]V) []string {
	var keys []string
	for key := range a {
		if _, ok := b[key]; ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// conflict never says the two values: one of them may be a mistyped secret.
func conflict(name string, first, second Origin) *Problem {
	why := "two declarations of the same rank differ"
	if at := first.String(); at != "" {
		why = fmt.Sprintf("declared with another value at %s", at)
	}
	return &Problem{
		Code: CodeConfig, Origin: second, What: fmt.Sprintf("setting %q", name), Why: why,
		Fix: "keep one of the two",
	}
}
