package render

import (
	"net/url"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// noteRead collects command i of a pipeline if it is a read of a path that is
// written out: {{ secret "path" }} or {{ "path" | secret }}.
func (c *compiler) noteRead(p *parse.PipeNode, i int) {
	args := p.Cmds[i].Args
	id, ok := args[0].(*parse.IdentifierNode)
	if !ok || id.Ident != "secret" && id.Ident != "secrets" {
		return
	}
	operands := args[1:]
	if i > 0 {
		if len(operands) > 0 || i > 1 || len(p.Cmds[0].Args) != 1 {
			return
		}
		operands = p.Cmds[0].Args
	}
	path, ok := literal(operands)
	if !ok {
		return
	}
	need, err := newNeed(id.Ident, []string{path})
	if err != nil {
		c.problem(id, err.why, err.fix)
		return
	}
	need.Read.Origin = c.p.origin
	if key := need.Key(); !c.seen[key] {
		c.seen[key] = true
		c.p.reads = append(c.p.reads, need.Read)
	}
}

// literal gives the one operand if it is a string.
func literal(operands []parse.Node) (string, bool) {
	if len(operands) != 1 {
		return "", false
	}
	s, ok := operands[0].(*parse.StringNode)
	if !ok {
		return "", false
	}
	return s.Text, true
}

// newNeed reads the arguments of secret and secrets: a path, then "key=value"
// pairs, which make it a write.
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
	for _, arg := range args[1:] {
		if arg == "" { // upstream: a write without data
			continue
		}
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return need, badData(`an argument after the path is not "key=value"`, "")
		}
		if need.Body == nil {
			need.Body = map[string]secret.Value{}
		}
		if _, twice := need.Body[key]; twice {
			return need, badData("the key of an argument occurs twice", "")
		}
		need.Body[key] = secret.New([]byte(value))
	}
	return need, nil
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
