package declare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const manifestName = "manifest"

// Manifest is the front for a whole Kubernetes manifest: a Pod, Deployment,
// StatefulSet, DaemonSet, ReplicaSet, Job or CronJob, with what belongs to it in
// the same file. Of one workload it takes what applies:
//
//   - the annotations of the Vault Agent Injector, and Flyte's secret requests;
//   - csi volumes of the Secrets Store driver with their SecretProviderClass, as
//     files where the containers mount them;
//   - secretKeyRef and secretRef of a Secret that an ExternalSecret, or the
//     secretObjects of such a class, would make, and volumes of the former;
//   - bank-vaults references in a container's variables, with the webhook's
//     annotations (vault.security.banzaicloud.io/…).
//
// A Secret that nothing in the file makes is left to Kubernetes, and noted.
type Manifest struct {
	Path   string      // FILE, FILE#WORKLOAD or FILE#WORKLOAD/CONTAINER
	Origin plan.Origin // what named the file
}

// Name gives manifest.
func (Manifest) Name() string { return manifestName }

// Declare reads the manifest. Problems have CodeConfig: several workloads, or
// several containers with variables, and no word which one is meant; and those of
// the fronts that its parts belong to.
func (f Manifest) Declare(in Input) (plan.Plan, bool, error) {
	m, err := f.open(in)
	if err != nil {
		return plan.Plan{}, true, err
	}
	return m.declare()
}

// manifested is one workload with the documents around it.
type manifested struct {
	object
	docs     []document
	workload workload
	pod      podSpec
	parts    []plan.Plan
	served   []served // what Kubernetes need not bring any more
	wanted   string   // the container whose variables are meant; "" is not said
	patching bool     // for Patch: not for the one command that we start here
	wrapped  []wrapped
	webhook  map[string]string // see webhookVariables
}

// wrapped is a container whose variables have secrets.
type wrapped struct {
	container
	parts      []plan.Plan // from elsewhere
	references []plan.Plan // in the variables themselves
}

// served is a part of the pod that the plan stands for.
type served struct {
	volume    string // of the pod; or
	container string // a container
	variable  string // and its variable; "" with source
	source    int    // the index in its envFrom
}

// open finds the workload that is meant, and reads its pod.
func (f Manifest) open(in Input) (*manifested, error) {
	path, name, _ := objectPath(f.Path)
	name, container, _ := strings.Cut(name, "/")
	docs, err := in.manifest(f.Name(), path, f.Origin)
	if err != nil {
		return nil, err
	}
	var all, chosen []workload
	for _, d := range docs {
		w, ok := workloadOf(d)
		if !ok || d.kind == "" {
			continue
		}
		all = append(all, w)
		if name == "" || name == d.name {
			chosen = append(chosen, w)
		}
	}
	switch {
	case len(all) == 0:
		return nil, manifestProblem(f.Origin, path, "there is no workload in it", "it needs a Pod, Deployment, StatefulSet, DaemonSet, Job or CronJob")
	case len(chosen) == 0:
		return nil, manifestProblem(f.Origin, path, fmt.Sprintf("there is no workload %q in it", name), "it has "+titles(all))
	case len(chosen) > 1:
		return nil, manifestProblem(f.Origin, path, "several workloads are in it: "+titles(chosen), "name one: --from "+f.Name()+":"+path+"#NAME")
	}
	m := &manifested{object: object{document: chosen[0].document, front: f.Name(), in: in}, docs: docs, workload: chosen[0], wanted: container}
	return m, m.readPod()
}

// readPod reads what we look at of the pod.
func (m *manifested) readPod() error {
	if err := m.into(m.workload.spec, &m.pod); err != nil {
		m.fail(m.podKey("spec"), "a field of the pod is of another kind than Kubernetes has it", "check it with kubectl apply --dry-run=server")
		return m.problems.Err()
	}
	is := func(c container) bool { return c.Name == m.wanted }
	if m.wanted != "" && !slices.ContainsFunc(m.pod.all(), is) {
		m.fail(m.podKey("spec.containers"), fmt.Sprintf("there is no container %q", m.wanted), "")
	}
	return m.problems.Err()
}

// podPath is the key of the pod in the object; "" for a Pod itself.
func (m *manifested) podPath() string {
	switch m.kind {
	case "Pod":
		return ""
	case "CronJob":
		return "spec.jobTemplate.spec.template"
	case "PodTemplate":
		return "template"
	}
	return "spec.template"
}

// podKey gives the key of something in the pod.
func (m *manifested) podKey(key string) string {
	return strings.TrimPrefix(m.podPath()+"."+key, ".")
}

// read reads all parts of the pod.
func (m *manifested) read() {
	m.annotations()
	m.volumes()
	m.variables()
}

// declare puts the parts together, for a command that we start.
func (m *manifested) declare() (plan.Plan, bool, error) {
	m.read()
	m.oneCommand()
	p, err := plan.Merge(append(m.parts, m.plan)...)
	m.problems.Add(err)
	if err := m.problems.Err(); err != nil {
		return plan.Plan{}, true, err
	}
	return p, len(p.Files)+len(p.Sets)+len(p.Env)+len(p.EnvSets) > 0, nil
}

// add takes a part over, or its problems.
func (m *manifested) add(p plan.Plan, err error) {
	m.problems.Add(err)
	if err == nil {
		m.parts = append(m.parts, p)
	}
}

// annotations reads what the pod's annotations ask for. Flyte's requests go with
// the injector's.
func (m *manifested) annotations() {
	pod, err := m.workload.notes(m.front, []string{injectorPrefix, flytePrefix})
	if err != nil {
		m.problems.Add(err)
		return
	}
	if p, found, err := m.in.flytePlan(pod); found || err != nil {
		m.add(p, err)
		return
	}
	p, _, err := m.in.injectorPlan(pod.annotated, pod.origin)
	p.Ignored = append(pod.ignored, p.Ignored...)
	m.add(p, err)
}

// annotated are all annotations of the pod.
func (m *manifested) annotated() map[string]string { return texts(m.workload.metadata["annotations"]) }
