package declare

import (
	"cmp"
	"fmt"
	"path"
	"reflect"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const (
	externalSecretName    = "externalsecret"
	externalSecretEnvName = "externalsecret-env"
)

// ExternalSecret is the front for the objects of the External Secrets Operator:
// ExternalSecrets (or ClusterExternalSecrets) with the SecretStores that they
// name, in one manifest. What would be the keys of a Kubernetes Secret become
// files, as a Secret volume would have them, or variables, as envFrom would;
// no Secret is made, so the values never enter etcd.
//
// A store's login may want Secrets, which a pod has no right to read. They are
// expected as volumes: the key KEY of the Secret NAME is the file
// /etc/secretboot/secrets/NAME/KEY. A service account is the pod's own.
//
// https://external-secrets.io/latest/api/externalsecret/
type ExternalSecret struct {
	Path   string      // of the manifest; PATH#NAME takes one of several ExternalSecrets
	Origin plan.Origin // what named the file
	Env    bool        // variables, not files
}

// Name gives externalsecret or externalsecret-env.
func (f ExternalSecret) Name() string {
	if f.Env {
		return externalSecretEnvName
	}
	return externalSecretName
}

// Declare reads the manifest. One ExternalSecret's files go into the sink itself,
// those of several into a folder each with the name of the Secret. Problems have
// CodeConfig: no ExternalSecret, a store or ConfigMap that is not in the file,
// stores that lead to several servers, and what the API server or the operator
// refuses.
func (f ExternalSecret) Declare(in Input) (plan.Plan, bool, error) {
	docs, chosen, err := objectsOf(in, f.Name(), f.Path, f.Origin, "ExternalSecret", "ClusterExternalSecret")
	if err != nil {
		return plan.Plan{}, true, err
	}
	wanted := make([]externalDelivery, len(chosen))
	for i, d := range chosen {
		wanted[i] = externalDelivery{document: d, env: f.Env, folder: len(chosen) > 1}
	}
	p, err := externalSecrets(in, f.Name(), docs, wanted)
	return p, true, err
}

// externalDelivery is one ExternalSecret and where its keys go.
type externalDelivery struct {
	document
	env    bool   // to variables, else to files
	prefix string // of the variables
	dir    string // of the files; "" is the sink
	folder bool   // the files go into a folder of dir with the Secret's name
}

// externalSecrets translates ExternalSecrets; docs are all the objects there are
// beside them. All of them must lead to one server with one login.
func externalSecrets(in Input, front string, docs []document, wanted []externalDelivery) (plan.Plan, error) {
	all := &externals{in: in, front: front, docs: docs, stores: map[string]*store{}}
	for _, w := range wanted {
		all.add(w)
	}
	all.join()
	all.unusedStores()
	if err := all.problems.Err(); err != nil {
		return plan.Plan{}, err
	}
	return all.plan, nil
}

// externals collects what several ExternalSecrets have in common.
type externals struct {
	in       Input
	front    string
	docs     []document
	stores   map[string]*store // by place
	asked    map[string]*store // by kind, namespace of what asks, and name
	used     []*store          // in the order of their use
	plan     plan.Plan
	problems plan.Problems
}

// store gives the store that a reference names; nil where there is none.
func (all *externals) store(ref storeRef, namespace string) *store {
	kind := cmp.Or(ref.Kind, "SecretStore")
	asked := kind + "/" + namespace + "/" + ref.Name
	if s, ok := all.asked[asked]; ok {
		return s
	}
	d, ok := named(all.docs, kind, ref.Name, namespace)
	if !ok {
		return nil
	}
	s := all.stores[d.at]
	if s == nil {
		s = readStore(all.in, all.front, all.docs, d)
		all.stores[d.at] = s
		all.used = append(all.used, s)
	}
	all.asked = put(all.asked, asked, s)
	return s
}

// join takes over the server and the login of the stores, which must be one.
func (all *externals) join() {
	for _, s := range all.used {
		all.problems.Add(s.problems.Err())
	}
	for i, s := range all.used {
		if i > 0 && len(s.problems)+len(all.used[0].problems) == 0 && !s.sameServer(all.used[0]) {
			all.problems.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: s.at("spec"), What: fmt.Sprintf("%s %q", s.kind, s.name),
				Why: "it has another server or login than " + all.used[0].at("spec").String() + ", and one run has one of each",
				Fix: "take the ExternalSecrets of one store at a time, with PATH#NAME",
			})
		}
		if i == 0 {
			all.plan.Vault, all.plan.Login = s.plan.Vault, s.plan.Login
		}
		all.plan.Ignored = append(all.plan.Ignored, s.plan.Ignored...)
	}
}

func (all *externals) unusedStores() {
	for _, d := range ofKind(all.docs, "SecretStore", "ClusterSecretStore") {
		if all.stores[d.at] == nil {
			all.plan.Ignored = append(all.plan.Ignored, plan.Ignored{
				What: d.kind + " " + d.name, Why: "nothing that is delivered comes from it", Origin: d.origin(all.front, "spec"),
			})
		}
	}
}

// add translates one ExternalSecret.
func (all *externals) add(w externalDelivery) {
	e := &external{object: object{document: w.document, front: all.front, in: all.in}, all: all, key: "spec"}
	e.apiVersionOf()
	name := e.read()
	e.bundle()
	refresh := plan.Refresh{Every: e.every()}
	if w.folder && badSecretKey(name) != "" {
		e.fail(e.key+".target.name", "it is no name of a Secret", "")
	}
	all.problems.Add(e.problems.Err())
	if len(e.problems) > 0 {
		return
	}
	all.plan.Ignored = append(all.plan.Ignored, e.plan.Ignored...)
	from := e.at(e.key)
	if w.env {
		all.plan.EnvSets = append(all.plan.EnvSets, plan.EnvSet{Bundle: &e.made, Prefix: w.prefix, Refresh: refresh, Origin: from})
		return
	}
	dir := w.dir
	if w.folder {
		dir = path.Join(dir, name)
	}
	all.plan.Sets = append(all.plan.Sets, plan.FileSet{Dir: dir, Bundle: &e.made, Refresh: refresh, Origin: from})
}

// external is one ExternalSecret on its way into a bundle.
type external struct {
	object
	all  *externals
	key  string // of its spec
	spec externalSpec
	made plan.Bundle
}

// clusterExternalSpec is the spec of a ClusterExternalSecret around that of the
// ExternalSecrets which it would make.
type clusterExternalSpec struct {
	Spec       map[string]any `json:"externalSecretSpec" required:"true"`
	Name       string         `json:"externalSecretName"`
	Metadata   any            `json:"externalSecretMetadata"`
	Selector   any            `json:"namespaceSelector"`
	Selectors  any            `json:"namespaceSelectors"`
	Namespaces any            `json:"namespaces"`
	Every      any            `json:"refreshTime"`
}

// read fills spec and gives the name of the Secret.
func (e *external) read() (name string) {
	raw, name := e.body["spec"], e.name
	if e.kind == "ClusterExternalSecret" {
		var c clusterExternalSpec
		e.fill(raw, reflect.ValueOf(&c).Elem(), e.key)
		e.ignoreAll("spec.", "it says where and when ExternalSecrets are made, and none is made", []unusedField{
			{"externalSecretMetadata", c.Metadata},
			{"namespaceSelector", c.Selector},
			{"namespaceSelectors", c.Selectors},
			{"namespaces", c.Namespaces},
			{"refreshTime", c.Every},
		})
		raw, e.key = c.Spec, "spec.externalSecretSpec"
		if c.Name != "" {
			name = c.Name
		}
	}
	e.fill(raw, reflect.ValueOf(&e.spec).Elem(), e.key)
	t := &e.spec.Target
	if t.Name != "" {
		name = t.Name
	}
	e.ignoreAll(e.key+".target.", "no Kubernetes Secret is made: its keys are delivered to the process", []unusedField{
		{"creationPolicy", t.CreationPolicy},
		{"immutable", t.Immutable},
		{"manifest", t.Manifest},
	})
	e.ignoreAll(e.key+".", "it is when the operator may read, and we read when the process starts", []unusedField{{"syncWindows", e.spec.SyncWindows}})
	return name
}

// every gives how often the secrets are looked at: an hour by default, as the
// original's schema has it, and never for the policies that say so.
func (e *external) every() plan.Setting[time.Duration] {
	key, text := e.key+".refreshInterval", e.spec.RefreshInterval
	if text == "" {
		text = "1h"
	}
	n, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil || n < 0 {
		e.fail(key, "it must be a duration with a unit, such as 1h or 30s, or 0", "")
	}
	if e.spec.RefreshPolicy == "CreatedOnce" || e.spec.RefreshPolicy == "OnChange" {
		key, n = e.key+".refreshPolicy", 0
	}
	return plan.Set(n, e.at(key))
}
