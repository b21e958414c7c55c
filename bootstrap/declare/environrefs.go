package declare

import (
	"fmt"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// References is the front for inherited variables whose value is a reference
// with the vault: prefix, such as DB_PASSWORD=vault:secret/data/db#password.
// The command gets the secret under the same name.
//
// Left as they are: ciphertext of the transit engine (vault:v1:…), values with
// neither / nor # (an image name such as vault:1.21), and the VAULT_… and
// SECRETBOOT_… variables themselves.
type References struct{}

// Name gives references.
func (References) Name() string { return "references" }

// Declare reads Input.Environ. Problems have CodeConfig and name the variable:
// a malformed reference, and what only [BankVaults] knows: templates and writes
// (${…}, >>vault:), and vault:login.
func (f References) Declare(in Input) (plan.Plan, bool, error) {
	var p plan.Plan
	var problems plan.Problems
	for _, entry := range in.Environ {
		name, text, ok := strings.Cut(entry, "=")
		wantsToken := name == "VAULT_TOKEN" && text == loginToken
		if !ok || name == "" || isOwnVariable(name) && !wantsToken {
			continue
		}
		from := plan.Origin{Front: f.Name(), At: name}
		ref, why, fix := implicitReference(text)
		if wantsToken {
			why, fix = "vault:login, the token of the login, is no reference to a secret", fixEnv
		}
		if ref == nil && why == "" && strings.Contains(text, "${vault:") {
			p.Ignored = append(p.Ignored, plan.Ignored{
				What: "variable " + name, Why: "a reference within a text is not looked for here; " + fixEnv, Origin: from, Mistyped: true,
			})
		}
		switch {
		case why != "":
			problems = append(problems, &plan.Problem{
				Code: plan.CodeConfig, Origin: from, What: fmt.Sprintf("variable %q", name), Why: why, Fix: fix,
			})
		case ref != nil:
			ref.Read.Origin = from
			p.Env = append(p.Env, plan.Env{Name: name, Source: plan.Source{Ref: ref}, Origin: from})
		}
	}
	return p, len(p.Env)+len(p.Ignored) > 0 || len(problems) > 0, problems.Err()
}

func isOwnVariable(name string) bool {
	return strings.HasPrefix(name, "VAULT_") || strings.HasPrefix(name, "SECRETBOOT_")
}

const fixEnv = "use --from env, which reads all that bank-vaults knows"

// implicitReference gives nil for a value that is no reference. why must not
// repeat the value: it may be a secret that only looks like a reference.
func implicitReference(text string) (ref *plan.Ref, why, fix string) {
	switch {
	case strings.HasPrefix(text, ">>vault:"):
		return nil, "nothing is written to Vault (>>vault:) for a variable that happens to be there", fixEnv
	case !strings.HasPrefix(text, "vault:"), plan.IsTransitCiphertext(text):
		return nil, "", ""
	case !strings.ContainsAny(text, "/#"):
		return nil, "", "" // a secret has a mount and a name: this cannot be one
	case strings.Contains(text, "${"):
		return nil, "there is a template (${…}) in the reference", fixEnv
	}
	parsed, err := plan.ParseRef(text)
	if err != nil {
		return nil, "the reference is wrong: " + err.Error(), "write vault:PATH#FIELD"
	}
	return &parsed, "", ""
}
