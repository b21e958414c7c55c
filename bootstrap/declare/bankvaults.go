package declare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const bankVaultsName = "env"

// BankVaults is the front for bank-vaults' references in inherited variables, in
// its whole syntax, and for the variables of its vault-env:
//
//	vault:PATH#KEY[#VERSION]    a key of a secret; PATH is sent as it is, with data/ for KV version 2
//	vault:PATH#${ .a }:${ .b }  a template over the secret's fields
//	>>vault:PATH#KEY[#JSON]     a key of the answer to a write
//	vault:v1:…                  text that the transit engine encrypted, where VAULT_TRANSIT_KEY_ID is set
//	…${vault:PATH#KEY}…         any of these inside of a text
//
// The command gets what a reference leads to under the variable's own name.
//
// Unlike the original: a template prints nothing in place of what is missing but
// fails; a list or a map is delivered as JSON; a version that is no number, a path
// that climbs, and a truth value that is none are told before any request; one
// brace more or less in a text around a reference does not change it; a decryption
// that fails is never passed over.
//
// https://bank-vaults.dev/docs/mutating-webhook/
type BankVaults struct{ Origin plan.Origin }

// Name gives env.
func (BankVaults) Name() string { return bankVaultsName }

// Declare reads Input.Environ. Problems have CodeConfig and name the variable,
// never its value.
func (f BankVaults) Declare(in Input) (plan.Plan, bool, error) {
	b := bankVaults{in: in, values: map[string]string{}, from: f.Origin}
	for _, entry := range in.Environ {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			b.values[name] = value // the last one counts, as for Lookup
		}
	}
	b.transitKey()
	b.optional = b.flag("VAULT_IGNORE_MISSING_SECRETS")
	for _, name := range slices.Sorted(maps.Keys(b.values)) {
		b.variable(name)
	}
	b.fromPaths()
	b.login()
	b.command()
	b.ignored()
	found := len(b.plan.Env)+len(b.plan.EnvSets)+len(b.problems) > 0
	return b.plan, found, b.problems.Err()
}

// bankVaults is one reading of the environment.
type bankVaults struct {
	in       Input
	values   map[string]string
	from     plan.Origin // of the front itself
	plan     plan.Plan
	problems plan.Problems
	optional bool     // a path where nothing is does no harm
	transit  string   // the path that decrypts; "": none
	hidden   []string // patterns of what the command does not inherit
}

func (b *bankVaults) origin(name string) plan.Origin {
	return plan.Origin{Front: bankVaultsName, At: name}
}

func (b *bankVaults) fail(name, why, fix string) {
	b.problems = append(b.problems, &plan.Problem{
		Code: plan.CodeConfig, Origin: b.origin(name), What: fmt.Sprintf("variable %q", name), Why: why, Fix: fix,
	})
}

func (b *bankVaults) ignore(name, why string) {
	b.plan.Ignored = append(b.plan.Ignored, plan.Ignored{What: name, Why: why, Origin: b.origin(name)})
}

// flag reads a truth value. The original takes what is none for false.
func (b *bankVaults) flag(name string) bool {
	v := b.values[name]
	if v == "" {
		return false
	}
	set, ok := parseBool(v)
	if !ok {
		b.fail(name, "it must be true or false", "")
	}
	return set
}

// variable reads one variable. Those about the login and about vault-env itself
// are no references; the command does not get them.
func (b *bankVaults) variable(name string) {
	value := b.values[name]
	if name == "VAULT_TOKEN" && value == loginToken {
		b.plan.Env = append(b.plan.Env, plan.Env{Name: name, Source: plan.Source{Token: true}, Origin: b.origin(name)})
		return
	}
	if strings.HasPrefix(name, "SECRETBOOT_") || slices.Contains(vaultEnvVariables(), name) {
		return
	}
	r := bankVaultsValue{name: name, text: value, from: b.origin(name), transit: b.transit, optional: b.optional}
	src, err := r.source()
	if err != nil {
		b.fail(name, err.why, err.fix)
		return
	}
	if src.left {
		b.ignore(name, "VAULT_TRANSIT_KEY_ID names no key: what the transit engine encrypted stays as it is")
	}
	if !src.found {
		return
	}
	b.plan.Env = append(b.plan.Env, plan.Env{Name: name, Source: src.Source, Origin: r.from})
	if b.optional {
		b.hidden = append(b.hidden, literalGlob(name)) // left out, it must not show the reference
	}
}

// loginToken as the value of VAULT_TOKEN asks for the token of the login.
const loginToken = "vault:login"

// literalGlob gives the shell pattern that matches a name and nothing else.
func literalGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// transitKey reads which key decrypts.
func (b *bankVaults) transitKey() {
	const keyName, pathName = "VAULT_TRANSIT_KEY_ID", "VAULT_TRANSIT_PATH"
	key, mount := b.values[keyName], b.values[pathName]
	if key == "" {
		return
	}
	if mount == "" {
		mount = "transit"
	}
	path := plan.SplitPath(mount) + "/decrypt/" + key
	if _, err := plan.ParseRef("vault:" + path); err != nil || strings.ContainsAny(key, "/#") {
		b.fail(keyName, "it and "+pathName+" make no path of a key", "give the name of the key, and the mount of the engine")
		return
	}
	b.transit = path
}

// fromPaths reads VAULT_ENV_FROM_PATH: every key of a secret is a variable. The
// original appends them to the environment, where programs find the first of a
// name: what is there already stays. It takes any name that a key has.
func (b *bankVaults) fromPaths() {
	const name = "VAULT_ENV_FROM_PATH"
	if b.values[name] == "" {
		return
	}
	for part := range strings.SplitSeq(b.values[name], ",") {
		path, version, pinned := strings.Cut(part, "#")
		read, err := bankVaultsRead(path, version, pinned)
		if err != nil {
			b.fail(name, err.why, "write PATH[#VERSION], with a comma between two")
			continue
		}
		from := b.origin(name)
		from.Key = read.Path
		read.Origin, read.Optional = from, b.optional
		b.plan.EnvSets = append(b.plan.EnvSets, plan.EnvSet{
			Ref: plan.Ref{Read: read, NullEmpty: true}, Duplicate: plan.DuplicateKeep, AnyName: true, Origin: from,
		})
	}
}
