package render

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// root is the name that the outermost template has inside text/template. No
// {{define}} can take it by accident, and it is easy to find in a message.
const root = "\x00"

// Program is a template that was checked and can be executed any number of
// times, also at the same time.
type Program struct {
	name    string
	origin  plan.Origin
	dialect dialect
	reads   []plan.Read
	writes  []plan.Read // for those who want to know; their arguments are left out
	open    bool        // some path is computed
	whole   bool        // see plan.MissingWhole
	exact   bool        // a key that a map lacks is an error where it is named
	calls   []string    // the functions that occur, each once
	now     func() time.Time
	*body   // nil: again makes a program that has it
	again   func() (*Program, error)
}

// body is what only an execution needs.
type body struct {
	trees []*parse.Tree // what a template is made of when it runs
	sites []site
	exprs []site // the expressions that text/template evaluates: their places
}

// site is a place in the template that the rewritten tree refers to by number.
type site struct {
	at     string // line:column
	expr   string
	fn     *function // nil for printing and for range
	orElse bool      // of a range, or of what is tested: it has an else branch
}

// Language is the functions that templates may call. To make it costs more than
// to compile a small template, so one serves all templates of a plan. The zero
// Language is ready; it may not be used by two goroutines at once.
type Language struct {
	// Small is for a plan of thousands of templates: a Program keeps nothing that only
	// its execution needs, and each execution compiles it again. The trees of
	// a template take some 2 KiB, its text a hundred bytes. Such programs may not be
	// executed at the same time as others of the Language.
	Small bool

	tables  map[plan.Dialect]*table
	methods map[string]bool
}

// methodNames gives the names that may be those of methods, which are collected
// once.
func (l *Language) methodNames() map[string]bool {
	if l.methods == nil {
		l.methods = methodNames()
	}
	return l.methods
}

// table gives the functions of a dialect, which are made once.
func (l *Language) table(d plan.Dialect, make func() *table) *table {
	if l.tables == nil {
		l.tables = map[plan.Dialect]*table{}
	}
	t, ok := l.tables[d]
	if !ok {
		t = make()
		l.tables[d] = t
	}
	return t
}

// Compile checks a template without executing it. It fails with [plan.Problems]
// of CodeData, one for each syntax error, unknown function or template, wrong
// number of arguments, and function that is not supported; and with CodeConfig
// for a dialect that is not supported.
func (l *Language) Compile(t plan.Template, origin plan.Origin) (*Program, error) {
	p, err := l.compile(t, origin, time.Now)
	if err == nil && l.Small {
		p.body, p.again = nil, func() (*Program, error) { return l.compile(t, origin, time.Now) }
	}
	return p, err
}

// complete gives p with its body.
func (p *Program) complete() (*Program, error) {
	if p.body == nil {
		return p.again()
	}
	return p, nil
}

// compile is Compile with a clock.
func (l *Language) compile(t plan.Template, origin plan.Origin, now func() time.Time) (*Program, error) {
	p := &Program{whole: t.Missing == plan.MissingWhole, name: t.Name, origin: origin, now: now, body: &body{}}
	var ok bool
	if p.dialect, ok = dialectOf(t.Dialect); !ok {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: origin, What: p.what("", ""),
			Why: "templates of this declaration are not supported yet",
		}
	}
	trees, err := p.parse(t)
	if err != nil {
		return nil, err
	}
	c := &compiler{language: l, p: p, table: l.table(t.Dialect, p.dialect.table), trees: trees, seen: map[string]bool{}}
	if err := c.compile(); err != nil {
		return nil, err
	}
	p.trees, p.exact = slices.Collect(maps.Values(trees)), t.Missing == plan.MissingError || p.dialect.named
	p.sites, p.exprs = slices.Clip(p.sites), slices.Clip(p.exprs)
	return p, nil
}

// executable makes what can be executed, once for each run: until then a program is
// as small as its trees, for there may be ten thousand.
func (p *Program) executable(r *run) (*template.Template, error) {
	text := template.New(root).Funcs(hooks(r))
	if p.exact {
		text.Option("missingkey=error")
	}
	for _, tree := range p.trees {
		if _, err := text.AddParseTree(tree.Name, tree); err != nil {
			return nil, err
		}
	}
	return text, nil
}

// parse gives the trees of all the templates in t by name. Functions are not
// looked at yet: the compiler tells more about them than text/template does.
func (p *Program) parse(t plan.Template) (map[string]*parse.Tree, error) {
	trees := map[string]*parse.Tree{}
	tree := parse.New(root)
	tree.Mode = parse.SkipFuncCheck
	left, right := cmp.Or(t.Left, p.dialect.left), cmp.Or(t.Right, p.dialect.right)
	if _, err := tree.Parse(t.Text, left, right, trees); err != nil {
		return nil, p.parseProblem(err)
	}
	if trees[root] == nil { // a template of white space and definitions only
		trees[root] = tree
	}
	return trees, nil
}

// parseProblem tells a syntax error. Its text quotes the template, which is no
// secret.
func (p *Program) parseProblem(err error) error {
	at, why := "", strings.TrimPrefix(err.Error(), "template: ")
	place := regexp.MustCompile(`^template: \x00:(\d+)(?::(\d+))?: `)
	if m := place.FindStringSubmatch(err.Error()); m != nil {
		at, why = m[1], err.Error()[len(m[0]):]
		if m[2] != "" {
			at += ":" + m[2]
		}
	}
	fix := ""
	switch {
	case strings.Contains(why, "bad character U+002D"):
		fix = p.dialect.dash
	case strings.Contains(why, "unexpected EOF"):
		fix = "is an end missing?"
	case strings.Contains(why, "character constant"):
		fix = "text in an action stands in double quotes"
	}
	return &plan.Problem{Code: plan.CodeData, Origin: p.origin, What: p.what(at, ""), Why: why, Fix: fix}
}

// what names the template, the place in it and the expression there.
func (p *Program) what(at, expr string) string {
	name := p.name
	if name == "" {
		name = "template"
	}
	if at != "" {
		name += ":" + at
	}
	if expr == "" {
		return "template " + name
	}
	return fmt.Sprintf("template %s: %s", name, short(expr))
}

// short keeps an expression to a length that fits in a message.
func short(expr string) string {
	const most = 80
	if r := []rune(expr); len(r) > most {
		expr = string(r[:most]) + "…"
	}
	return "<" + expr + ">"
}

// Reads lists the reads whose path is written out in the template, each once,
// in the order of the text. Reads below an {{if}} are among them: they cost less
// ahead of time than one after another. Writes are not: one that is not needed
// must not be done.
func (p *Program) Reads() []plan.Read { return append([]plan.Read(nil), p.reads...) }

// Writes lists the writes whose path is written out, each path once, without
// what they send; they are done only when the template comes to them.
func (p *Program) Writes() []plan.Read { return append([]plan.Read(nil), p.writes...) }

// Computes reports whether some path is known only when the template runs.
func (p *Program) Computes() bool { return p.open }

// Calls reports whether a function occurs in the template, be it in a branch
// that is never taken.
func (p *Program) Calls(function string) bool { return slices.Contains(p.calls, function) }
