package plan

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Policy writes the smallest Vault policy, in HCL, that lets the plan run: one
// line per path, below a comment with the places that ask for it. A line that
// may be left out under a condition ends with "# optional: " and the condition.
// p.Reads must be complete, see bootstrap.Reads. The error is w's.
//
// The grammar and the meaning of * and + in it:
// https://developer.hashicorp.com/vault/docs/concepts/policies
func Policy(w io.Writer, p Plan) error {
	b := policy{plan: &p, index: map[string]int{}}
	b.head()
	for _, r := range requests(&p) {
		b.read(r)
	}
	b.computed()
	b.housekeeping()
	_, err := io.WriteString(w, b.String())
	return err
}

type policy struct {
	plan  *Plan
	notes []string // comments at the top
	grant []*grant // in the order of the plan
	index map[string]int
	last  []string // comments at the end of what the plan asks for
}

// grant is one line.
type grant struct {
	path     string
	can      []string
	origins  []string
	optional string // when the line is not needed; "": it is
	below    bool   // the path ends with a * that is meant as one
}

// add grants something at a path, or more at one that is there. What one needs
// is not optional because another does not.
func (b *policy) add(path string, from Origin, optional string, can ...string) *grant {
	i, known := b.index[path]
	if !known {
		i, b.index[path] = len(b.grant), len(b.grant)
		b.grant = append(b.grant, &grant{path: path, optional: optional})
	}
	g := b.grant[i]
	if optional == "" {
		g.optional = ""
	}
	for _, c := range can {
		if !slices.Contains(g.can, c) {
			g.can = append(g.can, c)
		}
	}
	if at := from.String(); at != "" && !slices.Contains(g.origins, at) {
		g.origins = append(g.origins, at)
	}
	return g
}

// addBelow grants something at all that is below a path.
func (b *policy) addBelow(path string, from Origin, can string) {
	b.add(path+"/*", from, "", can).below = true
}

// head says what holds for the whole policy.
func (b *policy) head() {
	b.notes = []string{"The smallest policy for what secretboot is to do."}
	if dev := b.plan.Vault.Dev; dev.IsSet {
		b.notes = append(b.notes, "With "+dev.Origin.String()+" nothing asks Vault; it is what the same paths need there.")
	}
	here, login := b.namespaces()
	switch {
	case here == login && here != "":
		b.notes = append(b.notes, "It belongs into the namespace "+here+".")
	case here != login:
		b.notes = append(b.notes, fmt.Sprintf("It belongs into the namespace of the login, %s; the secrets are in %s.", orRoot(login), orRoot(here)))
	}
}

func orRoot(namespace string) string {
	if namespace == "" {
		return "root"
	}
	return namespace
}

// namespaces gives that of the secrets and that of the login; "" is root.
func (b *policy) namespaces() (secrets, login string) {
	clean := func(s string) string {
		if s = SplitPath(s); s == "root" {
			return ""
		}
		return s
	}
	secrets = clean(b.plan.Vault.Namespace.Or(""))
	return secrets, clean(b.plan.Login.Namespace.Or(secrets))
}

// prefix is what paths begin with in a policy of the login's namespace.
func (b *policy) prefix() string {
	secrets, login := b.namespaces()
	switch rest, below := strings.CutPrefix(secrets, login+"/"); {
	case secrets == login:
		return ""
	case login == "":
		return secrets + "/"
	case below:
		return rest + "/"
	}
	return "" // no policy reaches there: the note says where the secrets are
}

// read grants what one request needs.
func (b *policy) read(r request) {
	switch {
	case r.find != nil:
		b.search(r)
		return
	case r.Op == OpList && b.goesBelow(SplitPath(r.Path)):
		b.addBelow(SplitPath(r.Path), r.Origin, "list")
		return
	}
	b.at(r.Read, r.Path, "")
	for _, path := range r.Else {
		b.at(r.Read, path, "needed only where "+SplitPath(r.Path)+" has no secret or is refused")
	}
}

// at grants a request at one of its paths, under the names that the KV engine
// there may have for it.
func (b *policy) at(r Read, path, optional string) {
	path = SplitPath(path)
	if path == "" {
		return
	}
	mount, rule := b.mount(path)
	switch {
	case r.Op == OpWrite || r.KV == KV1 || r.KV == KVLiteral:
		b.add(path, r.Origin, optional, b.capabilities(r, path)...)
		return
	case mount != "":
		if r.KV == KV2 {
			rule = KV2
		}
		b.add(rule.Path(r.Op, mount, path), r.Origin, optional, b.capabilities(r, path)...)
		return
	case r.KV == KVAuto && SaysKV2(path):
		b.add(path, r.Origin, optional, b.capabilities(r, path)...)
		return
	}
	first, rest, _ := strings.Cut(path, "/")
	v2 := KV2.Path(r.Op, first, path)
	switch {
	case rest == "":
		b.add(path, r.Origin, optional, b.capabilities(r, path)...)
	case r.KV == KV2:
		b.add(v2, r.Origin, optional, b.capabilities(r, v2)...)
	default:
		say := "; say which with vault.kv: { " + first + ": 1 } or { " + first + ": 2 }"
		b.add(v2, r.Origin, "needed only if "+first+" is a KV engine of version 2"+say, b.capabilities(r, v2)...)
		b.add(path, r.Origin, "needed only if "+first+" is anything else"+say, b.capabilities(r, path)...)
	}
}

// mount gives the longest declared mount that a path is in, as the client finds
// it; "" is none.
func (b *policy) mount(path string) (string, KVRule) {
	for at := path; ; {
		for name, rule := range b.plan.Vault.KV {
			if SplitPath(name) == at && rule != KVAuto {
				return at, rule
			}
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return "", KVAuto
		}
		at = at[:i]
	}
}

// capabilities are those that the operation needs. A PUT to an engine is an
// update; only a store (KV, cubbyhole) tells one that creates a secret from one
// that replaces it.
func (b *policy) capabilities(r Read, path string) []string {
	switch r.Op {
	case OpList:
		return []string{"list"}
	case OpWrite:
		mount, _ := b.mount(path)
		if mount != "" || SaysKV2(path) || strings.HasPrefix(path, "cubbyhole/") || r.KV == KV1 || r.KV == KV2 {
			return []string{"create", "update"}
		}
		return []string{"update"}
	}
	return []string{"read"}
}

// search grants what a Find needs: the list, with all folders below unless it is
// flat, and each secret. Vault checks a list with a slash at the path's end, so
// that PATH/* allows that of PATH too.
func (b *policy) search(r request) {
	list, read := SplitPath(r.find.List), SplitPath(r.find.Read)
	if r.find.Flat {
		b.add(list, r.Origin, "", "list")
	} else {
		b.addBelow(list, r.Origin, "list")
	}
	if len(r.find.Tags) > 0 {
		b.addBelow(list, r.Origin, "read")
	}
	b.addBelow(read, r.Origin, "read")
}

// goesBelow reports whether a search lists a path and the folders below it: what
// that is granted is enough for the path itself.
func (b *policy) goesBelow(path string) bool {
	return slices.ContainsFunc(requests(b.plan), func(r request) bool {
		return r.find != nil && !r.find.Flat && SplitPath(r.find.List) == path
	})
}

// computed tells which paths are not there. Those of a search are: they are below
// the path that it lists.
func (b *policy) computed() {
	for _, at := range b.plan.Computed {
		if slices.ContainsFunc(requests(b.plan), func(r request) bool { return r.find != nil && r.Origin == at }) {
			continue
		}
		b.last = append(b.last, "Not known before it runs, and so not here: the paths that are computed at "+at.String()+".")
	}
}

// housekeeping adds what the plan can do without.
func (b *policy) housekeeping() {
	method := b.plan.Login.Method.Or("auto")
	const inDefault = "in Vault's default policy; "
	switch method {
	case "none":
		return
	case "token":
		if b.mayLease() {
			b.add("sys/leases/revoke", Origin{}, "ends leases when the command ends, before their time is over", "update")
		}
	default:
		b.add("auth/token/revoke-self", Origin{}, inDefault+"ends our token when the command ends, before its time is over", "update")
	}
	if b.plan.Receipt.IsSet {
		b.add("auth/token/lookup-self", b.plan.Receipt.Origin, inDefault+"lets the receipt say who we are", "read")
	}
}

// mayLease reports whether a request goes to what may be no KV engine.
func (b *policy) mayLease() bool {
	return slices.ContainsFunc(requests(b.plan), func(r request) bool {
		path := SplitPath(r.Path)
		mount, _ := b.mount(path)
		return mount == "" && !SaysKV2(path) && (r.KV == KVAuto || r.KV == KVLiteral) && r.Op != OpList
	})
}

func (b *policy) String() string {
	var out strings.Builder
	for _, note := range b.notes {
		out.WriteString("# " + oneLine(note) + "\n")
	}
	needed := func(g *grant) bool { return !strings.HasPrefix(g.path, "auth/token/") && g.path != "sys/leases/revoke" }
	for _, g := range b.grant {
		if needed(g) {
			b.line(&out, g)
		}
	}
	if len(b.last) > 0 {
		out.WriteString("\n")
	}
	for _, note := range b.last {
		out.WriteString("# " + oneLine(note) + "\n")
	}
	for _, g := range b.grant {
		if !needed(g) {
			b.line(&out, g)
		}
	}
	return out.String()
}

// line writes one grant.
func (b *policy) line(out *strings.Builder, g *grant) {
	out.WriteString("\n")
	path := b.prefix() + g.path
	for _, at := range g.origins {
		out.WriteString("# " + oneLine(at) + "\n")
	}
	if why := wider(path, g.below); why != "" {
		out.WriteString("# " + why + "\n")
	}
	slices.Sort(g.can)
	fmt.Fprintf(out, "path %s { capabilities = [%s] }", quoteHCL(path), `"`+strings.Join(g.can, `", "`)+`"`)
	if g.optional != "" {
		out.WriteString(" # optional: " + oneLine(g.optional))
	}
	out.WriteString("\n")
}

// wider says where a path means more in a policy than itself: Vault has no way
// to write these signs so that they stand for themselves.
func wider(path string, below bool) string {
	switch {
	case strings.Contains(path, "{{"):
		return "{{ }} is replaced by what Vault knows of the token: this line may not match the path"
	case strings.HasSuffix(path, "*") && !below:
		return "the * at the end matches every path that begins so, which is more than is read"
	case slices.Contains(strings.Split(path, "/"), "+"):
		return "the + matches any one name in its place, which is more than is read"
	}
	return ""
}

// quoteHCL writes a text in HCL's quotes, in which ${ would begin an
// interpolation.
func quoteHCL(s string) string {
	return strings.ReplaceAll(strconv.Quote(s), "${", `\u0024{`)
}
