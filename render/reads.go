package render

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// noteRead collects command i of a pipeline if it is a read or write of a path
// that is written out: {{ secret "path" }} or {{ "path" | secret }}.
func (c *compiler) noteRead(p *parse.PipeNode, i int) {
	args := p.Cmds[i].Args
	id, ok := args[0].(*parse.IdentifierNode)
	if !ok || id.Ident != "secret" && id.Ident != "secrets" && id.Ident != "pkiCert" {
		return
	}
	operands := args[1:]
	if i > 0 { // what comes before is the last argument
		last := parse.Node(p)
		if i == 1 && len(p.Cmds[0].Args) == 1 {
			last = p.Cmds[0].Args[0]
		}
		operands = append(slices.Clone(operands), last)
	}
	if len(operands) == 0 {
		return // an error when it runs
	}
	path, ok := operands[0].(*parse.StringNode)
	if !ok {
		c.p.open = true
		return
	}
	need, err := newNeed(id.Ident, []string{path.Text})
	if err != nil {
		c.problem(id, err.why, err.fix)
		return
	}
	need.Read.Origin = c.p.origin
	to := &c.p.reads
	if len(operands) > 1 && id.Ident != "secrets" || id.Ident == "pkiCert" {
		need.Read.Op, to = plan.OpWrite, &c.p.writes
	}
	if key := need.Key(); !c.seen[key] {
		c.seen[key] = true
		*to = append(*to, need.Read)
	}
}

// newNeed reads the arguments of secret, secrets and pkiCert: a path, then
// "key=value" pairs, which make it a write.
func newNeed(function string, args []string) (Need, *failure) {
	need := Need{}
	if len(args) == 0 {
		return need, badData("the path is missing", "")
	}
	path, version, err := splitPath(args[0])
	if err != nil {
		return need, err
	}
	need.Read = plan.Read{Path: path, Version: version}
	if function == "secrets" {
		need.Read.Op = plan.OpList
		return need, nil
	}
	if len(args) == 1 {
		return need, nil
	}
	if version != 0 {
		return need, badData("a write has no version", "")
	}
	need.Read.Op = plan.OpWrite
	need.Body, err = pairs(args[1:])
	return need, err
}

// pairs reads "key=value" arguments. Upstream strips white space from values,
// which would change a password; so only "key = value" is stripped.
func pairs(args []string) (map[string]secret.Value, *failure) {
	var body map[string]secret.Value
	for _, arg := range args {
		if arg == "" { // upstream: a write without data
			continue
		}
		key, value, ok := strings.Cut(arg, "=")
		if spaced := strings.TrimRight(key, " "); spaced != key { // "key = value"
			value = strings.TrimSpace(value)
		}
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, badData(`an argument after the path is not "key=value"`, "")
		}
		if body == nil {
			body = map[string]secret.Value{}
		}
		if _, twice := body[key]; twice {
			return nil, badData("the key of an argument occurs twice", "")
		}
		body[key] = secret.New([]byte(value))
	}
	return body, nil
}

// splitPath reads PATH[?version=N]. As upstream does, it treats the text as a
// URL; unlike upstream it refuses what it would have to drop.
func splitPath(s string) (string, int, *failure) {
	path, query, hasQuery := strings.Cut(plan.SplitPath(s), "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return "", 0, badData("the path has a bad % escape", "write % as %25")
	}
	if path = plan.SplitPath(path); path == "" {
		return "", 0, badData("the path is empty", "")
	}
	if strings.Contains(path, "#") {
		return "", 0, badData("a path in a template has no #FIELD", "name the field as .Data.FIELD or .Data.data.FIELD")
	}
	if _, err := plan.ParseRef(path); err != nil {
		return "", 0, badData("the path has an empty, . or .. element or a control character", "")
	}
	if !hasQuery {
		return path, 0, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil || len(values) != 1 || len(values["version"]) != 1 {
		return "", 0, badData("after the ? of a path only version=NUMBER is known", "")
	}
	version, err := strconv.Atoi(values.Get("version"))
	if err != nil || version < 0 {
		return "", 0, badData("the version must be a whole number", "")
	}
	return path, version, nil
}
