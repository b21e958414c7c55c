package declare

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// podNotes are the annotations of one pod, and where they stand.
type podNotes struct {
	front     string
	at        string // the file, or the object in it
	annotated map[string]string
	labels    map[string]string // known from a manifest only
	lines     map[string]int    // of the annotations in a file of the downward API
	ignored   []plan.Ignored
}

// origin is the place of an annotation, whether it is there or not.
func (p podNotes) origin(name string) plan.Origin {
	at := p.at
	if line := p.lines[name]; line > 0 {
		at += ":" + strconv.Itoa(line)
	}
	return plan.Origin{Front: p.front, At: at, Key: name}
}

// podNotes reads the annotations of one pod: from the file of a downwardAPI
// volume, or from a manifest, which the content tells. path may end in #NAME, to
// choose one of several objects of a manifest. ours are the prefixes that make an
// annotation one of the front's.
func (in Input) podNotes(front, path string, from plan.Origin, ours ...string) (podNotes, error) {
	path, name, _ := strings.Cut(path, "#")
	text, err := in.read(path)
	if err != nil {
		return podNotes{}, plan.Problems{{
			Code: plan.CodeConfig, Origin: from, What: fmt.Sprintf("cannot read the annotations in %q", path), Why: reason(err), Err: err,
			Fix: "mount metadata.annotations there with a downwardAPI volume, or name another file with " + front + ":PATH",
		}}
	}
	switch {
	case isDownward(text) && name != "":
		return podNotes{}, plan.Problems{{
			Code: plan.CodeConfig, Origin: from, What: fmt.Sprintf("the name after # in %q", path+"#"+name), Why: "the file has the annotations of one pod", Fix: "leave it out: it chooses an object of a manifest",
		}}
	case isDownward(text):
		return readDownward(front, path, text)
	}
	in.Open = func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil } // a pipe is read once
	docs, err := in.manifest(front, path, from)
	if err != nil {
		return podNotes{}, err
	}
	return choosePod(front, path, name, docs, ours)
}

// isDownward tells the file of a downwardAPI volume, whose first line is
// KEY="VALUE", from a manifest. An empty one is of a pod without annotations.
func isDownward(text []byte) bool {
	text = bytes.TrimSpace(text)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	key, value, ok := bytes.Cut(line, []byte("="))
	return len(text) == 0 || ok && bytes.HasPrefix(value, []byte(`"`)) && !bytes.ContainsAny(key, " \t:{\"'#")
}

// readDownward reads lines of KEY="VALUE", where the value is quoted as in Go.
// One line may be as long as all annotations of a pod, 256 KiB.
//
// https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
func readDownward(front, path string, text []byte) (podNotes, error) {
	p := podNotes{front: front, at: path, annotated: map[string]string{}, lines: map[string]int{}}
	var ps plan.Problems
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		key, quoted, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), "=")
		value, err := strconv.Unquote(quoted)
		first, twice := p.lines[key]
		why := ""
		switch {
		case key == "" || err != nil || quoted[0] != '"':
			why = `it is no line KEY="VALUE" as Kubernetes writes it`
		case twice:
			why = fmt.Sprintf("the annotation is there already, in line %d", first)
		}
		if why != "" {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: plan.Origin{Front: front, At: path + ":" + strconv.Itoa(number)}, What: "the annotations of the pod", Why: why,
				Fix: "mount metadata.annotations with a downwardAPI volume, and leave the file as it is",
			})
			continue
		}
		p.annotated[key], p.lines[key] = value, number
	}
	return p, ps.Err()
}

// workload is a pod, or what makes pods, in a manifest.
type workload struct {
	document
	metadata map[string]any // of the pod
	spec     map[string]any // of the pod
}

// workloadOf finds the pod in a document; ok is false where there is none.
func workloadOf(d document) (w workload, ok bool) {
	down := func(from map[string]any, path ...string) map[string]any {
		for _, key := range path {
			from, _ = from[key].(map[string]any)
		}
		return from
	}
	var pod map[string]any
	switch d.kind {
	case "Pod":
		pod = d.body
	case "Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet", "ReplicationController", "": // "": a patch of one of them
		pod = down(d.body, "spec", "template")
	case "CronJob":
		pod = down(d.body, "spec", "jobTemplate", "spec", "template")
	case "PodTemplate":
		pod = down(d.body, "template")
	}
	return workload{document: d, metadata: down(pod, "metadata"), spec: down(pod, "spec")}, pod != nil
}

// title names the object, for messages and origins.
func (w workload) title() string {
	if w.kind == "" {
		return strings.TrimSpace("patch " + w.name)
	}
	return w.kind + "/" + w.name
}

func titles(all []workload) string {
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = w.title()
	}
	return strings.Join(names, ", ")
}

// has reports whether an annotation with one of the prefixes is at the pod, or at
// the object that makes it.
func (w workload) has(prefixes []string) bool {
	atPod, _ := w.metadata["annotations"].(map[string]any)
	for name := range atPod {
		if hasPrefix(name, prefixes) {
			return true
		}
	}
	return len(w.misplaced(prefixes)) > 0
}

// misplaced are the annotations of a workload itself, which are none of its pods'.
func (w workload) misplaced(prefixes []string) []string {
	var names []string
	for name := range w.annotated {
		if w.kind != "Pod" && hasPrefix(name, prefixes) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// choosePod finds the one pod that is meant.
func choosePod(front, path, name string, docs []document, ours []string) (podNotes, error) {
	var all, fitting []workload
	for _, d := range docs {
		if w, ok := workloadOf(d); ok {
			all = append(all, w)
		}
	}
	for _, w := range all {
		if name == "" && w.has(ours) || name != "" && (w.name == name || w.title() == name) {
			fitting = append(fitting, w)
		}
	}
	if name == "" && len(all) == 1 {
		fitting = all
	}
	why, fix := "", ""
	switch {
	case len(all) == 0:
		why, fix = "it has no pod, and nothing that makes pods", "name the manifest of a Pod, Deployment, StatefulSet, DaemonSet, Job, CronJob or ReplicaSet"
	case len(fitting) == 1:
		return fitting[0].notes(front, ours)
	case len(fitting) == 0 && name == "":
		return podNotes{front: front, at: path}, nil
	case len(fitting) == 0:
		why, fix = "nothing in it has the name after #", "it has "+titles(all)
	default:
		why = "it has several: " + titles(fitting)
		fix = "say which one is meant, with " + front + ":" + path + "#Kind/name"
	}
	return podNotes{}, plan.Problems{{Code: plan.CodeConfig, Origin: plan.Origin{Front: front, At: path}, What: "the manifest", Why: why, Fix: fix}}
}

// notes gives the annotations of the pod.
func (w workload) notes(front string, ours []string) (podNotes, error) {
	p := podNotes{front: front, at: w.at + " " + w.title(), annotated: map[string]string{}, labels: texts(w.metadata["labels"])}
	var ps plan.Problems
	fail := func(name, why, fix string) {
		ps.Add(&plan.Problem{Code: plan.CodeConfig, Origin: p.origin(name), What: "annotation " + name, Why: why, Fix: fix})
	}
	atPod, _ := w.metadata["annotations"].(map[string]any)
	found := 0
	for name, v := range atPod {
		text, isText := v.(string)
		if !hasPrefix(name, ours) {
			continue
		}
		found++
		if !isText {
			fail(name, "it must be text, or the cluster refuses it", "put the value in quotes")
		}
		p.annotated[name] = text
	}
	for _, name := range w.misplaced(ours) {
		if found == 0 {
			fail(name, "it is at the "+w.kind+" and not at its pods, where nobody reads it", "move it to the metadata of the pod template")
			continue
		}
		p.ignored = append(p.ignored, plan.Ignored{What: "annotation " + name, Why: "it is at the " + w.kind + " and not at its pods", Origin: p.origin(name)})
	}
	ps.Add(w.injected(p.origin("")))
	slices.SortFunc(ps, func(a, b *plan.Problem) int { return strings.Compare(a.Origin.Key, b.Origin.Key) })
	return p, ps.Err()
}

// injected refuses a pod that has the containers of the injector.
func (w workload) injected(from plan.Origin) error {
	var ps plan.Problems
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := w.spec[list].([]any)
		for _, c := range containers {
			m, _ := c.(map[string]any)
			if name, _ := m["name"].(string); name == "vault-agent" || name == "vault-agent-init" {
				ps.Add(&plan.Problem{
					Code: plan.CodeConfig, Origin: from, What: "container " + name, Why: "the Vault Agent Injector of the cluster added it, so that everything would be delivered twice",
					Fix: "give the manifest as it was before it was applied, and exempt the pod from the injector's webhook",
				})
			}
		}
	}
	return ps.Err()
}
