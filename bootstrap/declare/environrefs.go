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
// a malformed reference, and the templates and writes (${…}, >>vault:) that
// bank-vaults knows and this front does not.
func (f References) Declare(in Input) (plan.Plan, bool, error) {
	var p plan.Plan
	var problems plan.Problems
	for _, entry := range in.Environ {
		name, text, ok := strings.Cut(entry, "=")
		if !ok || name == "" || isOwnVariable(name) {
			continue
		}
		from := plan.Origin{Front: f.Name(), At: name}
		ref, why, fix := implicitReference(text)
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
	return p, len(p.Env) > 0 || len(problems) > 0, problems.Err()
}

func isOwnVariable(name string) bool {
	return strings.HasPrefix(name, "VAULT_") || strings.HasPrefix(name, "SECRETBOOT_")
}

// implicitReference gives nil for a value that is no reference. why must not
// repeat the value: it may be a secret that only looks like a reference.
func implicitReference(text string) (ref *plan.Ref, why, fix string) {
	switch {
	case strings.HasPrefix(text, ">>vault:"):
		return nil, "writing to Vault (>>vault:) is not supported yet", "unset the variable; this version only reads"
	case !strings.HasPrefix(text, "vault:"), plan.IsTransitCiphertext(text):
		return nil, "", ""
	case !strings.ContainsAny(text, "/#"):
		return nil, "", "" // a secret has a mount and a name: this cannot be one
	case strings.Contains(text, "${"):
		return nil, "a template (${…}) in a reference is not supported yet", "write the template below env in a configuration file"
	}
	parsed, err := plan.ParseRef(text)
	if err != nil {
		return nil, "the reference is wrong: " + err.Error(), "write vault:PATH#FIELD"
	}
	return &parsed, "", ""
}
