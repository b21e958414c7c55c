package declare

import (
	"fmt"
	"path"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// deliver declares the files and variables of all requests.
func (t *flyteTask) deliver() {
	prefix, _ := t.in.variable(flyteFilePrefix)
	if strings.Contains(prefix, "/") {
		t.problems.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: plan.Origin{Front: flyteName, At: flyteFilePrefix}, What: "variable " + flyteFilePrefix, Why: "it has a slash in it",
			Fix: "name the folder with " + flyteDir,
		})
		return
	}
	dir := path.Clean(t.rest[injectorPrefix+"secret-volume-path"])
	written := map[string]bool{}
	for _, r := range t.requests {
		if r.inFile() && !written[r.path()] {
			written[r.path()] = true
			t.file(r, prefix)
		}
		t.variable(r, dir, prefix)
	}
	if len(written) > 0 {
		t.plan.Sink.Dir = plan.Set(dir, t.origin(injectorPrefix+"secret-volume-path"))
	}
	t.tell(flyteDir, dir)
	t.tell(flyteFilePrefix, prefix)
}

// file declares the file of a request and, because flytekit makes every name
// lower-case before it opens a file, one of that name where it is another one.
func (t *flyteTask) file(r flyteRequest, prefix string) {
	if climbs(r.group + "/" + r.key) {
		t.fail(r.origin, "its group or key has a .. in it and could leave the folder", "request the secret by its path in Vault")
		return
	}
	names := []string{r.fileName(prefix)}
	lower := flyteRequest{group: strings.ToLower(r.group), key: strings.ToLower(r.key)}
	if lower.path() != r.path() {
		if other, taken := t.byPath[lower.path()]; taken {
			t.fail(r.origin, fmt.Sprintf("flytekit would read it from the file of another request, at %s: it makes names lower-case", other.origin), "give one of the secrets another name in Vault")
			return
		}
		t.byPath[lower.path()] = r
		names = append(names, lower.fileName(prefix))
	}
	for _, name := range names {
		t.plan.Files = append(t.plan.Files, plan.File{Path: name, Source: plan.Source{Template: r.template()}, Origin: r.origin})
	}
}

// variable declares the variable of a request, if it wants one: the secret itself,
// or the path of its file.
func (t *flyteTask) variable(r flyteRequest, dir, prefix string) {
	name := r.variable(t.in)
	if name == "" {
		return
	}
	// flytekit makes the name of group and key as they are, slashes included, and
	// finds it so: it need not be one that a shell could name.
	if strings.ContainsAny(name, "=\x00 \t\r\n") {
		t.fail(r.origin, "its group and key make no name of a variable", "set env_var in the request, or request a file")
		return
	}
	if r.inFile() {
		t.plan.Env = append(t.plan.Env, plainVariable(name, path.Join(dir, r.fileName(prefix)), r.origin))
		return
	}
	t.plan.Env = append(t.plan.Env, plan.Env{Name: name, Source: plan.Source{Template: r.template()}, Origin: r.origin})
}

// tell gives the command a variable that flytekit reads.
func (t *flyteTask) tell(name, value string) {
	from := plan.Origin{Front: flyteName, At: name}
	if _, set := t.in.variable(name); !set {
		from = t.requests[0].origin
	}
	t.plan.Env = append(t.plan.Env, plainVariable(name, value, from))
}

// plainVariable is a variable with a text that is no secret.
func plainVariable(name, value string, from plan.Origin) plan.Env {
	text := &plan.Handle{Kind: plan.HandleText, Name: value, Origin: from}
	return plan.Env{Name: name, Source: plan.Source{Pieces: []plan.Piece{{Text: text, To: len(value)}}}, Origin: from}
}
