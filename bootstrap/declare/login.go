package declare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// loginInputs are the secret inputs of all login methods. Each may be given as
// NAME (the text itself, in a file only), NAME_file or NAME_env.
func loginInputs() []string {
	return []string{
		"token", "token_wrapped", "role_id", "secret_id", "secret_id_wrapped", "jwt", "username", "password",
		"certificate", "private_key", "credentials",
	}
}

// loginParams are further settings of login methods that are no secret, with
// the words that they may have; nil is any text.
func loginParams() map[string][]string {
	return map[string][]string{
		"audience":                nil,
		"client_id":               nil,
		"iam_endpoint":            nil,
		"metadata_endpoint":       nil,
		"object_id":               nil,
		"region":                  nil,
		"remove_secret_id_file":   {"true", "false"},
		"resource":                nil,
		"secret_id_creation_path": nil,
		"server_id":               nil,
		"service_account":         nil,
		"sts_endpoint":            nil,
		"token_creation_path":     nil,
		"type":                    {"gce", "iam"},
	}
}

// loginKey takes the key of an input apart: jwt_file is the jwt in a file.
func loginKey(key string) (input string, kind plan.HandleKind, ok bool) {
	input, kind = key, plan.HandleKey
	for suffix, k := range map[string]plan.HandleKind{"_file": plan.HandleFile, "_env": plan.HandleEnv} {
		if name, cut := strings.CutSuffix(key, suffix); cut {
			input, kind = name, k
		}
	}
	return input, kind, slices.Contains(loginInputs(), input)
}

// auth reads the login. Which methods there are, and what each needs, is known
// to package vault and checked there.
func (d *decoder) auth(v value) {
	l := &d.plan.Login
	l.Inputs, l.Params = map[string]plan.Handle{}, map[string]plan.Setting[string]{}
	f := fields{
		"method":    d.text(&l.Method),
		"mount":     d.text(&l.Mount),
		"role":      d.text(&l.Role),
		"namespace": d.text(&l.Namespace),
	}
	for _, name := range loginInputs() {
		f[name] = d.loginInput(name, plan.HandleKey)
		f[name+"_file"] = d.loginInput(name, plan.HandleFile)
		f[name+"_env"] = d.loginInput(name, plan.HandleEnv)
	}
	for name, words := range loginParams() {
		f[name] = d.loginParam(name, words)
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
		if first, twice := d.plan.Login.Inputs[name]; twice {
			d.fail(v, "the same input is given at "+first.Origin.String(), "keep one of the two")
			return
		}
		d.plan.Login.Inputs[name] = d.handle(v, k, s)
	}
}

// handle names the place of a text, which for HandleKey is v itself.
func (d *decoder) handle(v value, k plan.HandleKind, s string) plan.Handle {
	h := plan.Handle{Kind: k, Name: s, Origin: d.origin(v)}
	switch k {
	case plan.HandleKey:
		h.Name, h.File = v.key, d.in.absolute(d.file)
	case plan.HandleFile:
		h.Name = d.beside(s)
	}
	return h
}

func (d *decoder) loginParam(name string, words []string) func(value) {
	word := func(s string) (string, bool) { return s, slices.Contains(words, s) }
	return func(v value) {
		s, ok := "", false
		switch {
		case words == nil:
			s, ok = d.str(v)
		case slices.Contains(words, "true"):
			var set bool
			set, ok = d.flag(v)
			s = fmt.Sprint(set)
		default:
			s, ok = oneOf(d, v, words, word)
		}
		if ok {
			d.plan.Login.Params[name] = plan.Set(s, d.origin(v))
		}
	}
}

// ParseAuthFlag reads the value of --auth, KEY=VALUE, into l: any key of
// vault.auth that has no option of its own. A relative path starts at in.Cwd.
// The text of an input is refused: everybody on the machine can read a command
// line (proc_pid_cmdline(5)), so an input is given as KEY_file or KEY_env. The
// error is a *plan.Problem with CodeUsage, and never repeats VALUE.
func ParseAuthFlag(in Input, arg string, from plan.Origin, l *plan.Login) error {
	key, text, ok := strings.Cut(arg, "=")
	if !ok || text == "" || key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return flagProblem(from, "it must be KEY=VALUE, such as jwt_file=/run/jwt")
	}
	from.Key = key
	words, isParam := loginParams()[key]
	switch {
	case key == "method" || key == "mount" || key == "role":
		return authProblem(from, "it has an option of its own", "use --auth-"+key)
	case key == "namespace":
		return setOnce(&l.Namespace, text, from)
	case isParam && words != nil && !slices.Contains(words, text):
		return authProblem(from, "it must be one of "+strings.Join(words, ", "), "")
	case isParam:
		param := l.Params[key]
		err := setOnce(&param, text, from)
		l.Params = put(l.Params, key, param)
		return err
	}
	return authInput(in, key, text, from, l)
}

// authInput reads an input, which is not text but the place of one.
func authInput(in Input, key, text string, from plan.Origin, l *plan.Login) error {
	name, kind, known := loginKey(key)
	first, twice := l.Inputs[name]
	switch {
	case !known:
		return authProblem(from, "the key is unknown", authSuggestion(key))
	case kind == plan.HandleKey:
		return authProblem(from, "an input is given by its place here, not as text: others can read a command line",
			fmt.Sprintf("use %s_file=PATH or %s_env=NAME", key, key))
	case twice:
		return authProblem(from, "the same input is given at "+first.Origin.String(), "keep one of the two")
	case kind == plan.HandleFile:
		text = in.absolute(text)
	}
	l.Inputs = put(l.Inputs, name, plan.Handle{Kind: kind, Name: text, Origin: from})
	return nil
}

func setOnce(to *plan.Setting[string], text string, from plan.Origin) error {
	if to.IsSet {
		return authProblem(from, "it is given more than once", "keep one of the two")
	}
	*to = plan.Set(text, from)
	return nil
}

// put adds to a map that may not be there yet.
func put[V any](m map[string]V, key string, v V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = v
	return m
}

func authProblem(from plan.Origin, why, fix string) error {
	return &plan.Problem{Code: plan.CodeUsage, Origin: from, What: "the value of " + from.At, Why: why, Fix: fix}
}

// authSuggestion names the nearest key, or all of them.
func authSuggestion(wrong string) string {
	known := fields{"namespace": nil}
	for name := range loginParams() {
		known[name] = nil
	}
	for _, name := range loginInputs() {
		known[name+"_file"], known[name+"_env"] = nil, nil
	}
	return suggestion(wrong, known)
}
