package render

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// The names of the hooks that the compiler puts into the tree. See run.hooks.
const (
	hookCall   = "_call"   // in place of every function but and, or, not
	hookMember = "_member" // in place of a name that may be a method's
	hookEmit   = "_emit"   // at the end of every pipeline that is printed
	hookRange  = "_range"  // at the end of every pipeline that range iterates over
	hookEnter  = "_enter"  // at the start of every defined template
	hookLeave  = "_leave"  // at the end of it
)

// compiler walks the trees once: it checks what can be checked without data,
// collects the reads, and puts in the hooks through which a run sees every
// value. (html/template puts in its escapers the same way.)
type compiler struct {
	language *Language
	p        *Program
	table    *table
	trees    map[string]*parse.Tree
	tree     *parse.Tree // the one being walked
	seen     map[string]bool
	tested   *parse.CommandNode // its result decides between a branch and its else
	problems plan.Problems
}

func (c *compiler) compile() error {
	for _, name := range slices.Sorted(maps.Keys(c.trees)) {
		c.tree = c.trees[name]
		c.list(c.tree.Root)
		if name != root {
			c.tree.Root.Nodes = slices.Concat(
				[]parse.Node{action(hookEnter)}, c.tree.Root.Nodes, []parse.Node{action(hookLeave)})
		}
	}
	return c.problems.Err()
}

func (c *compiler) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		c.node(n)
	}
}

func (c *compiler) node(n parse.Node) {
	switch n := n.(type) {
	case *parse.ActionNode:
		id := c.site(n.Pipe, site{})
		c.pipe(n.Pipe)
		if len(n.Pipe.Decl) == 0 { // {{ $x := … }} prints nothing
			n.Pipe.Cmds = append(n.Pipe.Cmds, hook(hookEmit, id))
		}
	case *parse.IfNode:
		c.branch(&n.BranchNode)
	case *parse.WithNode:
		c.branch(&n.BranchNode)
	case *parse.RangeNode:
		id := c.site(n.Pipe, site{orElse: n.ElseList != nil})
		c.branch(&n.BranchNode)
		n.Pipe.Cmds = append(n.Pipe.Cmds, hook(hookRange, id))
	case *parse.TemplateNode:
		if _, ok := c.trees[n.Name]; !ok {
			c.undefined(n, n.Name)
		}
		c.pipe(n.Pipe)
	}
}

func (c *compiler) branch(n *parse.BranchNode) {
	if last := len(n.Pipe.Cmds) - 1; n.ElseList != nil && last >= 0 {
		c.tested = n.Pipe.Cmds[last]
	}
	c.pipe(n.Pipe)
	c.list(n.List)
	c.list(n.ElseList)
}

func (c *compiler) pipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for i, cmd := range p.Cmds {
		c.noteRead(p, i)
		c.command(cmd, i > 0)
	}
}

// command rewrites a call; piped says that one argument more comes from the
// command before it.
func (c *compiler) command(cmd *parse.CommandNode, piped bool) {
	id, isCall := cmd.Args[0].(*parse.IdentifierNode)
	s := site{expr: cmd.String(), orElse: cmd == c.tested}
	for i, arg := range cmd.Args {
		if i > 0 {
			cmd.Args[i] = c.operand(arg)
		}
	}
	if !isCall {
		cmd.Args = slices.Concat(c.value(cmd.Args[0]), cmd.Args[1:])
		return
	}
	n := len(cmd.Args) - 1
	if piped {
		n++
	}
	fn, why, fix := c.table.find(id.Ident, n)
	if why != "" {
		c.problem(id, why, fix)
		return
	}
	if fn.builtin {
		return
	}
	s.fn = fn
	if !c.p.Calls(id.Ident) {
		c.p.calls = append(c.p.calls, id.Ident)
	}
	c.checkTemplate(id, cmd)
	cmd.Args = append(hook(hookCall, c.site(id, s)).Args, cmd.Args[1:]...)
}

// checkTemplate looks whether the template that executeTemplate names is defined.
func (c *compiler) checkTemplate(id *parse.IdentifierNode, cmd *parse.CommandNode) {
	if id.Ident != "executeTemplate" || len(cmd.Args) < 2 {
		return
	}
	if name, ok := cmd.Args[1].(*parse.StringNode); ok && c.trees[name.Text] == nil {
		c.undefined(id, name.Text)
	}
}

func (c *compiler) undefined(n parse.Node, name string) {
	c.problem(n, fmt.Sprintf("no template %q is defined", name), suggest(name, slices.Collect(maps.Keys(c.trees))))
}

// operand rewrites an argument. What becomes a call, as a function that is an
// argument without parentheses does, is put into a pipeline of its own.
func (c *compiler) operand(n parse.Node) parse.Node {
	if id, ok := n.(*parse.IdentifierNode); ok {
		p := pipeline([]parse.Node{id}, id.Pos)
		c.command(p.Cmds[0], false)
		return p
	}
	args := c.value(n)
	if len(args) == 1 {
		return args[0]
	}
	return pipeline(args, n.Position())
}

// value rewrites what stands in the place of a function: as it is, or as a call.
func (c *compiler) value(n parse.Node) []parse.Node {
	switch n := n.(type) {
	case *parse.PipeNode:
		c.pipe(n)
	case *parse.ChainNode:
		c.expr(n)
		n.Node = c.operand(n.Node)
		return c.members(n)
	case *parse.FieldNode, *parse.VariableNode:
		c.expr(n)
		return c.members(n)
	}
	return []parse.Node{n}
}

// site notes a place and gives its number.
func (c *compiler) site(n parse.Node, s site) int {
	s.at = c.at(n)
	if s.expr == "" {
		s.expr = n.String()
	}
	c.p.sites = append(c.p.sites, s)
	return len(c.p.sites) - 1
}

// expr notes an expression that text/template itself evaluates, for the case
// that it fails there.
func (c *compiler) expr(n parse.Node) {
	c.p.exprs = append(c.p.exprs, site{at: c.at(n), expr: n.String()})
}

// at gives line:column.
func (c *compiler) at(n parse.Node) string {
	location, _ := c.tree.ErrorContext(n)
	_, at, _ := strings.Cut(location, ":")
	return at
}

func (c *compiler) problem(n parse.Node, why, fix string) {
	c.problems = append(c.problems, &plan.Problem{
		Code: plan.CodeData, Origin: c.p.origin, What: c.p.what(c.at(n), n.String()), Why: why, Fix: fix,
	})
}

// hook makes the command {{ name id }}.
func hook(name string, id int) *parse.CommandNode {
	return &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{
		parse.NewIdentifier(name),
		&parse.NumberNode{NodeType: parse.NodeNumber, IsInt: true, Int64: int64(id), Text: strconv.Itoa(id)},
	}}
}

// action makes the action {{ name }}.
func action(name string) parse.Node {
	cmd := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{parse.NewIdentifier(name)}}
	return &parse.ActionNode{
		NodeType: parse.NodeAction,
		Pipe:     &parse.PipeNode{NodeType: parse.NodePipe, Cmds: []*parse.CommandNode{cmd}},
	}
}
