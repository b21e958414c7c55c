package plan

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Check finds what is wrong with the plan as it stands, before any request:
// empty paths and names, paths that climb out of the sink, two declarations
// for one path or variable, a file where another needs a folder, a source that
// is not exactly one of template and reference, and modes beyond 0777.
//
// It returns Problems with CodeConfig, all of them. What only reading can show
// (the names inside a FileSet or an EnvSet) is checked again after reading.
func (p *Plan) Check() error {
	c := checker{plan: p, byPath: map[string]int{}}
	if m := c.plan.Sink.MountSize; m.IsSet && c.plan.Sink.Mount.Or(MountShared) != MountPrivate {
		c.fail(m.Origin, "mount_size", "only a private mount has a size of its own", "add mount: private, or leave it out")
	}
	if l := c.plan.Listen; l.IsSet && c.plan.Run.Mode.Or(RunAuto) == RunReplace {
		c.fail(l.Origin, "listen", "we replace ourselves with the command, so nobody would answer there", "leave it out, or supervise the command")
	}
	c.refresh()
	c.files()
	c.sets()
	c.folders()
	c.env()
	c.run()
	return c.problems.Err()
}

type checker struct {
	plan     *Plan
	problems Problems
	taken    []place
	byPath   map[string]int // index of the first claim in taken
}

// place is a path in the file system that a declaration lays claim to.
type place struct {
	path   string // absolute, or relative to a sink that is not chosen yet
	name   string // as declared
	folder bool   // a set: other files may share it
	origin Origin
}

func (c *checker) fail(from Origin, what, why, fix string) {
	c.problems = append(c.problems, &Problem{Code: CodeConfig, Origin: from, What: what, Why: why, Fix: fix})
}

// shortestEvery keeps a mistyped unit from being a flood of requests. A file that
// stands in for Vault is nobody else's.
const shortestEvery = time.Second

func (c *checker) refresh() {
	for r := range c.plan.Refreshes() {
		if every := r.Every; every.Value > 0 && every.Value < shortestEvery && !c.plan.Vault.Dev.IsSet {
			c.fail(every.Origin, "refresh.every", "it is less than a second: Vault would be asked all the time", "give it a second at least, or 0 for never")
		}
	}
}

func (c *checker) files() {
	for _, f := range c.plan.Files {
		what := fmt.Sprintf("file %q", f.Path)
		c.mode(f.Mode, f.Origin, what)
		c.source(f.Source, f.Origin, what)
		switch why := badFilePath(f.Path); {
		case why != "":
			c.fail(f.Origin, what, why, "")
		case f.Memfd && path.IsAbs(f.Path):
			c.fail(f.Origin, what, "a memfd is in no folder", "give it a name alone")
		case f.Memfd:
		case f.MemfdEnv != "":
			c.fail(f.Origin, what, "a variable is for a memfd", "add memfd: true, or leave env out")
		case c.outsidePrivate(f.Path):
			c.fail(f.Origin, what, "it would be outside of the private mount, where others see it", "give it a path below dir, or leave mount: private out")
		default:
			c.claim(place{path: c.locate(f.Path), name: f.Path, origin: f.Origin})
		}
	}
}

// outsidePrivate reports whether a path is not on the mount that was asked for.
func (c *checker) outsidePrivate(p string) bool {
	dir := path.Clean(c.plan.Sink.Dir.Or("")) + "/"
	return c.plan.Sink.Mount.Or(MountShared) == MountPrivate && path.IsAbs(p) && !strings.HasPrefix(path.Clean(p), dir)
}

func (c *checker) sets() {
	for _, s := range c.plan.Sets {
		what := fmt.Sprintf("folder %q", s.Dir)
		c.mode(s.Mode, s.Origin, what)
		c.setSource(&s.Ref, s.Bundle, s.Origin, what)
		switch why := badPath(s.Dir); {
		case why != "":
			c.fail(s.Origin, what, why, "")
		default:
			c.claim(place{path: c.locate(s.Dir), name: s.Dir, folder: true, origin: s.Origin})
		}
	}
}

// claim notes a place, unless another file has the very same path.
func (c *checker) claim(p place) {
	i, there := c.byPath[p.path]
	if !there || c.taken[i].folder && p.folder {
		c.byPath[p.path] = len(c.taken)
		c.taken = append(c.taken, p)
		return
	}
	c.fail(p.origin, p.what(), "the same path is declared at "+c.taken[i].origin.String(), "give one of them another path")
}

func (p place) what() string {
	if p.folder {
		return fmt.Sprintf("folder %q", p.name)
	}
	return fmt.Sprintf("file %q", p.name)
}

// folders refuses a file whose path is a folder that another path needs.
func (c *checker) folders() {
	files := map[string]place{}
	for _, p := range c.taken {
		if !p.folder {
			files[p.path] = p
		}
	}
	for _, p := range c.taken {
		for dir := path.Dir(p.path); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if parent, ok := files[dir]; ok {
				c.fail(p.origin, p.what(), fmt.Sprintf("its folder is itself a file, %q, declared at %s", parent.name, parent.origin), "give one of them another path")
			}
		}
	}
}

// locate gives the absolute path where the sink is known, so that a relative
// and an absolute name of one file are seen to be one.
func (c *checker) locate(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(c.plan.Sink.Dir.Or(""), p)
}

func badFilePath(p string) string {
	switch {
	case p == "":
		return "the path is empty"
	case strings.HasSuffix(p, "/") || path.Clean(p) == "." || path.Base(p) == "..":
		return "the path names a folder"
	}
	return badPath(p)
}

func badPath(p string) string {
	switch {
	case strings.ContainsFunc(p, isControl):
		return "the path has a control character"
	case slices.Contains(strings.Split(p, "/"), ".."):
		return "the path has a .. element and could leave the sink"
	}
	return ""
}

func (c *checker) mode(m fs.FileMode, from Origin, what string) {
	if m&^fs.ModePerm != 0 {
		c.fail(from, what, "the mode has more than permission bits", "use a mode from 0001 to 0777")
	}
}

func (c *checker) source(s Source, from Origin, what string) {
	kinds := 0
	for _, has := range []bool{s.Template != nil, s.Ref != nil, len(s.Pieces) > 0, s.Token} {
		if has {
			kinds++
		}
	}
	switch kinds {
	case 0:
		c.fail(from, what, "it has neither a template nor a secret", "")
	case 1:
	default:
		c.fail(from, what, "it has both a template and a secret", "keep one of the two")
		return
	}
	for _, ref := range s.Refs() {
		c.ref(ref, from, what)
	}
}

func (c *checker) ref(r *Ref, from Origin, what string) {
	if r.Read.Path == "" {
		c.fail(from, what, "the path of its secret is empty", "")
	}
	if r.Read.Version < 0 {
		c.fail(from, what, "the version of its secret is below 1", "")
	}
}

// setSource checks where a set comes from.
func (c *checker) setSource(r *Ref, b *Bundle, from Origin, what string) {
	if b == nil {
		c.ref(r, from, what)
		return
	}
	for i := range b.Parts {
		if p := &b.Parts[i]; p.Find == nil {
			c.ref(&p.Ref, p.Origin, what)
		}
	}
	if len(b.Parts)+len(b.Templates) == 0 {
		c.fail(from, what, "nothing is declared that it could hold", "")
	}
}

func (c *checker) env() {
	seen := map[string]Origin{}
	for _, e := range c.plan.Env {
		what := fmt.Sprintf("variable %q", e.Name)
		c.source(e.Source, e.Origin, what)
		first, twice := seen[e.Name]
		switch {
		case e.Name == "":
			c.fail(e.Origin, "a variable", "its name is empty", "")
		case strings.ContainsAny(e.Name, "=\x00") || strings.ContainsAny(e.Name, " \t\r\n") && !e.AnyName:
			c.fail(e.Origin, what, "a name cannot have =, NUL or white space in it", "")
		case strings.HasPrefix(e.Name, "SECRETBOOT_"):
			c.fail(e.Origin, what, "the names that begin with SECRETBOOT_ are ours", "give it another name")
		case isDangerous(e.Name) && !e.Source.IsLiteral() && !c.plan.Run.DangerousEnv.Or(false):
			c.fail(e.Origin, what, whyDangerous, fixDangerous)
		case twice:
			c.fail(e.Origin, what, "the same variable is declared at "+first.String(), "keep one of the two")
		default:
			seen[e.Name] = e.Origin
		}
	}
	c.memfds(seen)
	for i := range c.plan.EnvSets {
		c.envSet(&c.plan.EnvSets[i])
	}
}

func (c *checker) envSet(s *EnvSet) {
	what := fmt.Sprintf("variables with prefix %q", s.Prefix)
	c.setSource(&s.Ref, s.Bundle, s.Origin, what)
	if s.Prefix != "" && NotVariable(s.Prefix) != "" {
		c.fail(s.Origin, what, "no name of a variable can begin so", "use letters, digits and _, and no digit first")
		return
	}
	if s.Bundle == nil || s.Take != nil {
		return
	}
	for _, k := range s.Bundle.keys() {
		name, why, _ := s.Variable(k.name)
		from := k.from
		if from == (Origin{}) {
			from = s.Origin
		}
		switch {
		case why != "":
			c.fail(from, fmt.Sprintf("variable %q", name), why, "give the key another name, or deliver the keys as files (a bundle below files; --from externalsecret in place of externalsecret-env)")
		case isDangerous(name) && !c.plan.Run.DangerousEnv.Or(false):
			c.fail(from, fmt.Sprintf("variable %q", name), whyDangerous, fixDangerous)
		}
	}
}

// memfds checks the variables that lead to memfds; seen has those of secrets.
func (c *checker) memfds(seen map[string]Origin) {
	for _, f := range c.plan.Files {
		if !f.Memfd {
			continue
		}
		name := f.Variable()
		what := fmt.Sprintf("variable %q", name)
		first, twice := seen[name]
		switch {
		case strings.ContainsAny(name, "=\x00 \t\r\n"):
			c.fail(f.Origin, what, "a name cannot have =, NUL or white space in it", "")
		case isDangerous(name) && !c.plan.Run.DangerousEnv.Or(false):
			c.fail(f.Origin, what, whyDangerous, fixDangerous)
		case strings.HasPrefix(f.MemfdEnv, "SECRETBOOT_"):
			c.fail(f.Origin, what, "the names that begin with SECRETBOOT_ are ours", "give it another name")
		case twice:
			c.fail(f.Origin, what, "the same variable is declared at "+first.String(), "name another one with env")
		default:
			seen[name] = f.Origin
		}
	}
}
