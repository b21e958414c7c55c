package declare

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

const (
	flyteName     = "flyte"
	flytePrefix   = "flyte.secrets/"
	flyteRequests = flytePrefix + "s" // a number follows
	flyteLabel    = "inject-flyte-secrets"
	flyteFolder   = "/etc/flyte/secrets"
	flyteRole     = "flyte"

	flyteDir        = "FLYTE_SECRETS_DEFAULT_DIR"
	flyteFilePrefix = "FLYTE_SECRETS_FILE_PREFIX"
	flyteEnvPrefix  = "FLYTE_SECRETS_ENV_PREFIX"
)

// Flyte is the front for the secrets that a Flyte task asks for: the requests
// that Flyte leaves for its webhook (flyte.secrets/s0, …), and the annotations of
// the Vault Agent Injector that the webhook's Vault manager makes of them. Either
// gives the file GROUP/KEY below /etc/flyte/secrets, and where a name has capital
// letters a second one in lower case, which is what flytekit opens. Other
// annotations of the injector at the pod count as in [Annotations]; the role is
// flyte unless one is given.
//
// It goes further than Flyte's Vault manager: a key may have any characters, a
// request for a variable (ENV_VAR) is met, and env_var is heeded, which for a file
// is a variable with its path.
//
// FLYTE_SECRETS_DEFAULT_DIR is the folder and FLYTE_SECRETS_FILE_PREFIX is put
// before the names of files, where they are set; the command gets both. Another
// folder must be given so, and not as --dir, of which the task would not know.
//
// Path is as in Annotations.
type Flyte struct {
	Path   string
	Origin plan.Origin // the flag or variable that named it, for a file that cannot be read
}

// Name gives flyte.
func (Flyte) Name() string { return flyteName }

// Declare reads the requests. Problems have CodeConfig and name the annotation: a
// request that cannot be read, that has no group or no key, two for one file, and
// what Annotations refuses.
func (f Flyte) Declare(in Input) (plan.Plan, bool, error) {
	pod, err := in.podNotes(f.Name(), f.Path, f.Origin, injectorPrefix, flytePrefix)
	if err != nil {
		return plan.Plan{}, true, err
	}
	return in.flytePlan(pod)
}

// flytePlan makes a plan of the requests of a pod, wherever they were found.
func (in Input) flytePlan(pod podNotes) (plan.Plan, bool, error) {
	t := flyteTask{in: in, pod: pod, rest: map[string]string{}, byPath: map[string]flyteRequest{}}
	t.ignored = pod.ignored
	t.managed()
	t.requested()
	if len(t.requests) == 0 {
		return plan.Plan{}, len(t.problems) > 0, t.problems.Err()
	}
	t.defaults()
	p, found, err := in.injectorPlan(t.rest, t.origin)
	t.problems.Add(err)
	if found && err == nil {
		t.plan = p
		t.deliver()
		p = t.plan
	}
	p.Ignored = append(t.ignored, p.Ignored...)
	if err := t.problems.Err(); err != nil {
		return plan.Plan{}, true, err
	}
	return p, found, nil
}

// flyteTask makes a plan of the annotations of one task's pod.
type flyteTask struct {
	in       Input
	pod      podNotes
	rest     map[string]string // the annotations that are no requests
	dir      plan.Origin       // the variable that names the folder, if one does
	requests []flyteRequest
	byPath   map[string]flyteRequest // by the path of its file
	plan     plan.Plan
	problems plan.Problems
	ignored  []plan.Ignored
}

// origin is the place of an annotation, or of what stands for one.
func (t *flyteTask) origin(name string) plan.Origin {
	if name == injectorPrefix+"secret-volume-path" && t.dir.At != "" {
		return t.dir
	}
	if _, there := t.pod.annotated[name]; !there {
		return t.requests[0].origin
	}
	return t.pod.origin(name)
}

func (t *flyteTask) fail(from plan.Origin, why, fix string) {
	t.problems.Add(&plan.Problem{Code: plan.CodeConfig, Origin: from, What: "secret request", Why: why, Fix: fix})
}

// managed takes the requests out of what Flyte's Vault manager made of them: the
// group as the path of a secret, GROUP/KEY as its file, and one of two templates,
// or none for a database. What is otherwise is left to the injector's rules.
func (t *flyteTask) managed() {
	maps.Copy(t.rest, t.pod.annotated)
	for _, name := range slices.Sorted(maps.Keys(t.pod.annotated)) {
		id, ok := strings.CutPrefix(name, injectorPrefix+"agent-inject-secret-")
		if !ok {
			continue
		}
		file, template := injectorPrefix+"agent-inject-file-"+id, injectorPrefix+"agent-inject-template-"+id
		r := flyteRequest{group: t.rest[name], managed: true, origin: t.pod.origin(name)}
		r.key, ok = strings.CutPrefix(t.rest[file], r.group+"/")
		switch text := t.rest[template]; {
		case !ok || r.group == "" || r.key == "":
			continue
		case text == fmt.Sprintf(`{{- with secret "%s" -}}{{ .Data.%s }}{{- end -}}`, r.group, r.key):
			r.version = flyteKV1
		case text == fmt.Sprintf(`{{- with secret "%s" -}}{{ .Data.data.%s }}{{- end -}}`, r.group, r.key):
			r.version = flyteKV2
		case text == "":
			r.version = flyteDB
		default:
			continue
		}
		for _, used := range []string{name, file, template} {
			delete(t.rest, used)
		}
		t.add(r)
	}
}

// requested reads the requests themselves.
func (t *flyteTask) requested() {
	for _, name := range slices.Sorted(maps.Keys(t.pod.annotated)) {
		if !strings.HasPrefix(name, flytePrefix) {
			continue
		}
		from := t.pod.origin(name)
		if !strings.HasPrefix(name, flyteRequests) {
			t.fail(from, "the annotation is unknown", "requests are "+flyteRequests+"0, "+flyteRequests+"1 and so on")
			continue
		}
		r, err := decodeFlyteRequest(t.pod.annotated[name])
		r.origin = from
		switch {
		case err != nil:
			t.fail(from, err.Error(), "leave the annotation as Flyte wrote it")
		case r.group == "" || r.key == "":
			t.fail(from, "it has no group or no key, and Vault needs both", "name both in the task's secret_requests")
		default:
			t.add(r)
		}
	}
	if t.pod.labels[flyteLabel] == "true" {
		t.ignored = append(t.ignored, plan.Ignored{
			What: "label " + flyteLabel, Why: "it is for Flyte's webhook: where that still runs, take the label away, or both deliver", Origin: t.pod.origin(flyteLabel),
		})
	}
}

// add notes a request, but for one that was made already: both kinds of
// annotations are at a pod that the webhook was at. Version 2 of KV is meant where
// no version is given, or one that Flyte does not know, unless the Vault manager,
// which has a setting for that, wrote another one down.
func (t *flyteTask) add(r flyteRequest) {
	first, twice := t.byPath[r.path()]
	if r.unknown {
		t.ignored = append(t.ignored, plan.Ignored{What: "group_version", Why: "it is none of kv1, kv2 and db; Flyte takes its default then, kv2, and so do we", Origin: r.origin})
	}
	switch {
	case r.version == "" && twice && first.managed:
		r.version = first.version
	case r.version == "":
		r.version = flyteKV2
	}
	if twice && first.version != r.version {
		t.fail(r.origin, "the same group and key are requested with another group_version at "+first.origin.String(), "keep one of the two")
		return
	}
	if !twice {
		t.byPath[r.path()] = r
	}
	if !slices.ContainsFunc(t.requests, func(o flyteRequest) bool {
		return o.path() == r.path() && o.inFile() == r.inFile() && o.variable(t.in) == r.variable(t.in)
	}) {
		t.requests = append(t.requests, r)
	}
}

// defaults adds what Flyte's Vault manager adds. What is at the pod already stays.
func (t *flyteTask) defaults() {
	for name, value := range map[string]string{injectorOn: "true", "secret-volume-path": flyteFolder, "role": flyteRole} {
		if _, there := t.rest[injectorPrefix+name]; !there {
			t.rest[injectorPrefix+name] = value
		}
	}
	dir, ok := t.in.variable(flyteDir)
	switch {
	case !ok:
	case !path.IsAbs(dir) || path.Clean(dir) == "/" || climbs(dir):
		t.problems.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: plan.Origin{Front: flyteName, At: flyteDir}, What: "variable " + flyteDir, Why: "it must be the absolute path of a folder, without ..",
			Fix: "set it to a path such as " + flyteFolder + ", or unset it",
		})
	default:
		t.rest[injectorPrefix+"secret-volume-path"] = dir
		t.dir = plan.Origin{Front: flyteName, At: flyteDir}
	}
}
