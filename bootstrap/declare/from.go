package declare

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// frontKind is one word of --from.
type frontKind struct {
	name string
	path string // the usual place of its declaration; "" is none
	bare bool   // it has no declaration in a file
	help string
	make func(path string, from plan.Origin) Front
}

// frontKinds lists them in the order of the documentation.
func frontKinds() []frontKind {
	return []frontKind{
		{name: configName, help: "our own configuration file", make: func(p string, o plan.Origin) Front { return Config{Path: p, Origin: o} }},
		{name: annotationsName, path: annotationsPath, help: "annotations of the Vault Agent Injector: of a downwardAPI volume (" + annotationsPath + "), or in a manifest", make: func(p string, o plan.Origin) Front { return Annotations{Path: p, Origin: o} }},
		{name: flyteName, path: annotationsPath, help: "secret requests of a Flyte task, in the same places", make: func(p string, o plan.Origin) Front { return Flyte{Path: p, Origin: o} }},
		{name: agentName, help: "the configuration of Vault Agent, HCL or JSON", make: func(p string, o plan.Origin) Front { return Agent{Path: p, Origin: o} }},
		{name: consulTemplateName, help: "the configuration of consul-template, HCL or JSON", make: func(p string, o plan.Origin) Front { return ConsulTemplate{Path: p, Origin: o} }},
		{name: secretProviderClassName, help: "a SecretProviderClass of the Vault CSI provider; PATH#NAME takes one of several", make: func(p string, o plan.Origin) Front { return SecretProviderClass{Path: p, Origin: o} }},
		{name: externalSecretName, help: "ExternalSecrets and their SecretStores as files, one per key; PATH#NAME takes one of several", make: func(p string, o plan.Origin) Front { return ExternalSecret{Path: p, Origin: o} }},
		{name: externalSecretEnvName, help: "the same as variables, one per key", make: func(p string, o plan.Origin) Front { return ExternalSecret{Path: p, Origin: o, Env: true} }},
		{name: bankVaultsName, bare: true, help: "bank-vaults references in inherited variables", make: func(_ string, o plan.Origin) Front { return BankVaults{Origin: o} }},
		{name: mlflowName, bare: true, help: "the variables of MLflow Secrets Auth's Vault provider", make: func(_ string, o plan.Origin) Front { return MLflow{Origin: o} }},
		{name: manifestName, help: "all of the above that a Kubernetes workload has; PATH#NAME takes one of several", make: func(p string, o plan.Origin) Front { return Manifest{Path: p, Origin: o} }},
	}
}

// Kinds lists the words that ParseFrom knows, each as KIND, KIND:PATH or
// KIND[:PATH], with what it means.
func Kinds() []string {
	var lines []string
	for _, k := range frontKinds() {
		word := k.name + ":PATH"
		switch {
		case k.bare:
			word = k.name
		case k.path != "":
			word = k.name + "[:PATH]"
		}
		lines = append(lines, fmt.Sprintf("%s\t%s", word, k.help))
	}
	return lines
}

// ParseFrom reads the value of --from, KIND[:PATH], and gives the front for it.
// from is the flag, or the variable that stands for it. The error is a
// *plan.Problem with CodeUsage.
func ParseFrom(arg string, from plan.Origin) (Front, error) {
	word, path, hasPath := strings.Cut(arg, ":")
	var names []string
	for _, k := range frontKinds() {
		names = append(names, k.name)
		if k.name != word {
			continue
		}
		switch {
		case k.bare && hasPath:
			return nil, fromProblem(from, word+" is not in a file", "write "+word+" alone")
		case !k.bare && path == "" && k.path == "":
			return nil, fromProblem(from, word+" wants a path", "write "+word+":PATH")
		case path == "":
			path = k.path
		}
		return k.make(path, from), nil
	}
	fix := "the kinds are " + strings.Join(names, ", ")
	if near := cmp.Or(knownAs(word), plan.Nearest(word, names)); near != "" {
		fix = fmt.Sprintf("did you mean %q? %s", near, fix)
	}
	if word == "envconsul" {
		fix = "what its flags and file say is said by --env-from, see docs/migration.md; " + fix
	}
	return nil, fromProblem(from, "this kind of declaration is not known", fix)
}

// knownAs gives the kind for another name that its tool goes by; "" for none.
func knownAs(word string) string {
	return map[string]string{
		"vault-agent": "agent", "injector": "annotations", "csi": "secretproviderclass", "spc": "secretproviderclass",
		"eso": "externalsecret", "vault-env": "env", "bank-vaults": "env", "kubernetes": "manifest", "k8s": "manifest",
	}[strings.ToLower(word)]
}

func fromProblem(from plan.Origin, why, fix string) error {
	return &plan.Problem{Code: plan.CodeUsage, Origin: from, What: "the value of " + from.At, Why: why, Fix: fix}
}
