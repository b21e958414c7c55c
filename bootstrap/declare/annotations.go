package declare

import (
	"maps"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const (
	annotationsName = "annotations"
	annotationsPath = "/etc/podinfo/annotations" // as the Kubernetes documentation mounts it

	injectorPrefix = "vault.hashicorp.com/"
	injectorFolder = "/vault/secrets"
	injectorOn     = "agent-inject"
)

// Annotations is the front for the annotations of the Vault Agent Injector,
// vault.hashicorp.com/…, of one pod. They give the files that the injector's agent
// would write, below the same folder, and the same login. Where the original is
// unsafe it is refused: a file name that climbs out with .., two secrets in one
// file, and a mode that is none.
//
// Path leads to the file of a downwardAPI volume (metadata.annotations), or to a
// manifest with a pod or a workload: FILE, or FILE#NAME for one of several.
// Annotations with another prefix are none of its business.
//
// The server's address is often known to the injector alone, and then has to be
// given as VAULT_ADDR. Files that the injector would mount for its agent
// (tls-secret at /vault/tls, agent-extra-secret at /vault/custom) have to be
// mounted by the pod itself.
//
// https://developer.hashicorp.com/vault/docs/deploy/kubernetes/injector/annotations
type Annotations struct {
	Path   string
	Origin plan.Origin // the flag or variable that named it, for a file that cannot be read
}

// Name gives annotations.
func (Annotations) Name() string { return annotationsName }

// Declare reads the annotations. found is false for a pod that the injector would
// leave alone, for want of agent-inject. Problems have CodeConfig and as Origin
// FILE:LINE, or FILE Kind/name, with the annotation as key: an unknown annotation,
// a value that is none, agent-configmap, and agent-inject-status for a pod that
// the injector was at.
func (f Annotations) Declare(in Input) (plan.Plan, bool, error) {
	pod, err := in.podNotes(f.Name(), f.Path, f.Origin, injectorPrefix)
	if err != nil {
		return plan.Plan{}, true, err
	}
	p, found, err := in.injectorPlan(pod.annotated, pod.origin)
	p.Ignored = append(pod.ignored, p.Ignored...)
	return p, found, err
}

// injectorPlan makes a plan of a pod's annotations, whatever they are found in.
// place gives the origin of one by its whole name. found is false where nothing
// would be injected; the plan then has only what is ignored.
func (in Input) injectorPlan(annotated map[string]string, place func(name string) plan.Origin) (plan.Plan, bool, error) {
	n := injector{in: in, all: map[string]string{}, place: place, files: map[string]string{}}
	for name, value := range annotated {
		if short, ours := strings.CutPrefix(name, injectorPrefix); ours {
			n.all[short] = value
		}
	}
	if len(n.all) == 0 {
		return plan.Plan{}, false, nil
	}
	if n.isOn() {
		n.secrets = n.secretNames()
		n.names()
		n.server()
		n.login()
		n.deliver()
		n.refresh()
		if err := n.problems.Err(); err != nil {
			return plan.Plan{}, true, err
		}
		return n.plan, true, nil
	}
	return n.plan, len(n.problems) > 0, n.problems.Err()
}

// injector makes a plan of annotations and goes on after a problem.
type injector struct {
	in       Input
	all      map[string]string // by name without the prefix
	place    func(name string) plan.Origin
	secrets  []string             // their names as they are written in annotations, sorted
	files    map[string]string    // the path of a file, and the secret that it is of
	json     bool                 // the default template's form
	common   plan.Setting[string] // the folder of all that have none of their own
	plan     plan.Plan
	problems plan.Problems
}

func (n *injector) origin(name string) plan.Origin { return n.place(injectorPrefix + name) }

// fail never repeats the value: somebody may have put a secret there.
func (n *injector) fail(name, why, fix string) {
	n.problems.Add(&plan.Problem{
		Code: plan.CodeConfig, Origin: n.origin(name), What: "annotation " + name, Why: why, Fix: fix,
	})
}

func (n *injector) ignore(name, why string) {
	n.plan.Ignored = append(n.plan.Ignored, plan.Ignored{What: "annotation " + name, Why: why, Origin: n.origin(name)})
}

// isOn reports whether anything would be injected at all. A pod that the injector
// was at already has its files, and would get them twice.
func (n *injector) isOn() bool {
	if n.all["agent-inject-status"] == "injected" {
		n.fail("agent-inject-status", "the Vault Agent Injector of the cluster was at this pod, so that everything would be delivered twice",
			"exempt the pod from the injector's webhook (its namespaceSelector or objectSelector), or do not use secretboot for it")
		return false
	}
	_, there := n.all[injectorOn]
	on := n.flag(injectorOn)
	if !on && len(n.problems) == 0 {
		why := "it is false"
		if !there {
			why = "it is missing"
		}
		n.ignore(injectorOn, why+", so the injector would leave the pod alone and nothing is delivered; set it to \"true\"")
	}
	return on
}

// flag gives a truth value. The empty text is false, as in the original.
func (n *injector) flag(name string) bool {
	v := n.all[name]
	if why := wantBool(v); why != "" {
		n.fail(name, why, "")
		return false
	}
	on, _ := parseBool(v)
	return on
}

// text fills a setting; an empty annotation is one that is not there.
func (n *injector) text(to *plan.Setting[string], name string) {
	if v := n.all[name]; v != "" {
		*to = plan.Set(v, n.origin(name))
	}
}

// path fills a setting with an absolute path.
func (n *injector) path(to *plan.Setting[string], name string) {
	if v := n.all[name]; v != "" {
		*to = plan.Set(n.in.absolute(v), n.origin(name))
	}
}

// names finds what is unknown and notes what is not needed here.
func (n *injector) names() {
	for _, name := range slices.Sorted(maps.Keys(n.all)) {
		rule, secret, known := annotationRule(name)
		switch {
		case !known:
			n.fail(name, "it is unknown", annotationSuggestion(name))
		case rule.ignored != "":
			if why := rule.wrong(n.all[name]); why != "" {
				n.fail(name, why, "")
				continue
			}
			n.ignore(name, rule.ignored)
		case secret == "" && !rule.alone:
			n.ignore(name, "nothing is named by it; write "+rule.name+"-NAME")
		case rule.ofSecret && secret != "":
			n.ofSecret(name, secret)
		case rule.refused != "":
			n.fail(name, rule.refused, rule.fix)
		}
	}
}

// ofSecret notes an annotation of a secret that does not exist. The original
// compares names with their case, and drops such a one in silence.
func (n *injector) ofSecret(name, secret string) {
	if slices.Contains(n.secrets, secret) {
		return
	}
	why := "there is no secret of that name"
	if strings.TrimSpace(n.all[name]) == "" {
		why = "it is empty"
	}
	for _, other := range n.secrets {
		if strings.EqualFold(other, secret) {
			why += ": names are compared with their case, did you mean " + other + "?"
		}
	}
	n.ignore(name, why)
}

// server reads the address and the transport.
func (n *injector) server() {
	v := &n.plan.Vault
	n.text(&v.Address, "service")
	n.text(&v.Namespace, "namespace")
	n.text(&v.Proxy, "proxy-address")
	n.path(&v.TLS.CACert, "ca-cert")
	n.path(&v.TLS.CAPath, "ca-key") // so it is in the original: there is no key of an authority
	n.path(&v.TLS.ClientCert, "client-cert")
	n.path(&v.TLS.ClientKey, "client-key")
	n.text(&v.TLS.ServerName, "tls-server-name")
	const skip = "tls-skip-verify"
	if _, there := n.all[skip]; there {
		v.TLS.SkipVerify = plan.Set(n.flag(skip), n.origin(skip))
	}
	const most = "template-max-connections-per-host"
	switch count, ok := wholeNumber(n.all[most]); {
	case !ok || count < 0:
		n.fail(most, "it must be a whole number from 0", "")
	case count > 0: // 0 is no limit
		v.Connections = plan.Set(count, n.origin(most))
	}
}

// refresh reads how often a secret without a lease is looked at again.
func (n *injector) refresh() {
	const every = "template-static-secret-render-interval"
	text := n.all[every]
	if text == "" {
		return
	}
	d, ok := agentDuration(text)
	switch {
	case !ok:
		n.fail(every, "it must be a duration such as 30s or 5m, or a number of seconds", "")
	case d == 0:
		n.ignore(every, "0 is the agent's word for its own default")
	default:
		n.plan.Refresh.Every = plan.Set(d, n.origin(every))
	}
}
