package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// importRules is the one-way import graph of the house. A rule names a package
// (below the module), the packages of ours that it may import, and whether it
// may import anything else outside the standard library.
var importRules = []struct {
	pkg     string
	may     []string
	stdOnly bool
	why     string
}{
	{"bootstrap/plan", nil, true, "a plan is data: whoever prints it must not pull in a client"},
	{"bootstrap/secret", nil, true, "the type that guards secrets must be small enough to read whole"},
	{"bootstrap/receipt", nil, true, "a receipt is data: whoever reads it must not need us"},
	{"bootstrap/identity", []string{"bootstrap/plan", "bootstrap/secret"}, false, "what a platform says of us is no business of Vault's"},
	{"bootstrap/declare", []string{"bootstrap/plan"}, false, "a front translates; it must not be able to touch a secret or the network"},
	{"render", []string{"bootstrap/plan", "bootstrap/secret"}, false, "rendering is pure"},
	{"bootstrap/status", []string{"bootstrap/plan"}, true, "what a probe is told holds no secret: it is not even within reach"},
	{"volume", []string{"bootstrap/plan", "bootstrap/receipt", "bootstrap/secret"}, false, "the sink knows nothing of Vault"},
	{"bootstrap/vault", []string{"bootstrap/identity", "bootstrap/plan", "bootstrap/receipt", "bootstrap/secret"}, false, "the client knows nothing of files"},
	{"process", nil, false, "supervision must not know what a secret is"},
	{"process/mask", nil, true, "it is given names and bytes: whoever reads it sees that no secret has another way out"},
	{"bootstrap", []string{
		"bootstrap/plan", "bootstrap/receipt", "bootstrap/secret", "render",
	}, false, "the pipeline sees Vault and the sink through interfaces"},
	{"bootstrap/doctor", []string{
		"bootstrap", "bootstrap/identity", "bootstrap/plan", "bootstrap/secret", "bootstrap/vault", "volume",
	}, false, "it asks the parts what they can tell of themselves; what it does to the world comes from main"},
}

const module = "github.com/secretboot/secretboot/"

func directImports(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{join .Imports "\n"}}`, "./"+pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", pkg, err, out)
	}
	return strings.Fields(string(out))
}

func TestImportRules(t *testing.T) {
	for _, rule := range importRules {
		allowed := map[string]bool{}
		for _, m := range rule.may {
			allowed[module+m] = true
		}
		for _, imp := range directImports(t, rule.pkg) {
			ours := strings.HasPrefix(imp, module)
			if ours && !allowed[imp] {
				t.Errorf("%s imports %s: %s", rule.pkg, imp, rule.why)
			}
			if rule.stdOnly && !ours && strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
				t.Errorf("%s imports %s, but may use the standard library only: %s", rule.pkg, imp, rule.why)
			}
		}
	}
}

// deniedImports are packages that only some of ours may import.
var deniedImports = []struct {
	prefix string
	only   []string
	why    string
}{
	{"github.com/hashicorp/vault/", nil, "it reads the environment, follows redirects with the token and bounds nothing; see package vault"},
	{"net/http", []string{"bootstrap/vault", "bootstrap/identity", "bootstrap/status", "."}, "nothing else talks to the network; status only answers, on what main listens to, and main gives the platform's proxy"},
	{"os/exec", nil, "one owner of wait: os/exec would reap beside it"},
	{"github.com/kelseyhightower/envconfig", []string{"."}, "only main reads the environment"},
	{"k8s.io/", nil, "Kubernetes types cost megabytes; manifests are read as data"},
}

func TestOneImporter(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(line)
		pkg := strings.TrimSuffix(strings.TrimPrefix(words[0]+"/", module), "/")
		if pkg == "" {
			pkg = "."
		}
		for _, imp := range words[1:] {
			for _, d := range deniedImports {
				if strings.HasPrefix(imp, d.prefix) && !slices.Contains(d.only, pkg) {
					t.Errorf("%s imports %s: %s", words[0], imp, d.why)
				}
			}
		}
	}
}
