package declare

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// The bounds of a file. The parser's time grows with the square of the tokens
// (20000 take it 0.1 s), and it recurses once per level.
const (
	maxTokens = 20_000
	maxNodes  = 20_000 // aliases counted with all that they stand for
	maxDepth  = 32
)

// kind is what a YAML value is.
type kind uint8

const (
	kindNull kind = iota
	kindString
	kindInt
	kindFloat
	kindBool
	kindMap
	kindList
)

// node is one value with its place. Aliases and merge keys are resolved; nodes
// are shared between an anchor and its aliases and never changed once built.
type node struct {
	kind  kind
	text  string // of a scalar: a string's value, else the text as written
	pairs []pair // of a map, in the order of the file, no key twice
	items []*node
	pos   pos
	size  int // the nodes in it, itself included
	depth int // the levels in it, itself included
}

type pair struct {
	key   string
	pos   pos
	value *node
}

// pos is a place in the file, both from 1; the column counts characters.
type pos struct{ line, col int }

func posOf(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// child gives the value of a key, or nil. KEY[N] is an item of a list.
func (n *node) child(key string) *node {
	if n == nil {
		return nil
	}
	for _, p := range n.pairs {
		if p.key == key {
			return p.value
		}
	}
	if open := strings.LastIndexByte(key, '['); open > 0 && strings.HasSuffix(key, "]") {
		i, err := strconv.Atoi(key[open+1 : len(key)-1])
		if list := n.child(key[:open]); err == nil && list != nil && i >= 0 && i < len(list.items) {
			return list.items[i]
		}
	}
	return nil
}

// has reports whether a map has the key.
func (n *node) has(key string) bool {
	return slices.ContainsFunc(n.pairs, func(p pair) bool { return p.key == key })
}

// below follows a dotted path of keys; nil when it leads nowhere. A key may
// have dots in it itself, as the name of a header may.
func (n *node) below(path string) *node {
	if found := n.child(path); found != nil || n == nil {
		return found
	}
	for i, c := range path {
		if c != '.' {
			continue
		}
		if found := n.child(path[:i]).below(path[i+1:]); found != nil {
			return found
		}
	}
	return nil
}

// yamlReader builds nodes and collects what is wrong.
type yamlReader struct {
	file     string
	problems plan.Problems
	anchors  map[string]*node
	broken   bool // what was built is not what the file says
}

// fail adds a problem after which the values are not worth a look.
func (r *yamlReader) fail(at pos, why, fix string) {
	r.broken = true
	r.note(at, why, fix)
}

func (r *yamlReader) note(at pos, why, fix string) {
	r.problems = append(r.problems, &plan.Problem{
		Code:   plan.CodeConfig,
		Origin: plan.Origin{Front: configName, At: fmt.Sprintf("%s:%d:%d", r.file, at.line, at.col)},
		What:   "configuration file", Why: why, Fix: fix,
	})
}

// readYAML gives the one document of a file; nil when it is empty or broken. A
// key that is there twice is a problem, but the rest can be judged. The parser's
// own messages show the lines around an error, and so perhaps a secret: only
// their places are taken.
func readYAML(file string, src []byte) (*node, plan.Problems) {
	r := &yamlReader{file: file, anchors: map[string]*node{}}
	src = []byte(strings.TrimPrefix(string(src), "\ufeff"))
	if at, ok := firstBadByte(src); ok {
		r.fail(at, "there is a byte here that is no text in UTF-8 or a control character", "")
		return nil, r.problems
	}
	tokens := lexer.Tokenize(string(src))
	if !r.withinBounds(tokens) {
		return nil, r.problems
	}
	// Duplicate keys are looked for here and not in the parser, which stops at the first.
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil, r.problems
	}
	var root *node
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil:
		case root != nil:
			r.fail(r.build(doc.Body).pos, "a second document starts here", "keep one document in the file")
		default:
			root = r.build(doc.Body)
		}
	}
	if r.broken {
		return nil, r.problems
	}
	return root, r.problems
}

// firstBadByte finds what YAML 1.2 (5.1 Character Set) does not allow and the
// parser lets through.
func firstBadByte(src []byte) (pos, bool) {
	at := pos{1, 1}
	for len(src) > 0 {
		c, n := utf8.DecodeRune(src)
		switch {
		case c == utf8.RuneError && n == 1, c < 0x20 && c != '\n' && c != '\r' && c != '\t', c == 0x7f:
			return at, true
		case c == '\n':
			at = pos{at.line + 1, 1}
		default:
			at.col++
		}
		src = src[n:]
	}
	return pos{}, false
}

// withinBounds refuses what would cost the parser too much time or stack: an
// overflown stack cannot be recovered from.
func (r *yamlReader) withinBounds(tokens token.Tokens) bool {
	if len(tokens) > maxTokens {
		r.fail(posOf(tokens[maxTokens]), fmt.Sprintf("the file has more than %d words and signs", maxTokens), "split it")
		return false
	}
	depth, inLine, line := 0, 0, 0
	for _, t := range tokens {
		if p := posOf(t); p.line != line {
			line, inLine = p.line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			inLine++
		}
		if depth > maxDepth || inLine > maxDepth {
			r.fail(posOf(t), "it is nested too deeply", "")
			return false
		}
	}
	return true
}

func (r *yamlReader) syntax(err error) {
	var yamlErr yaml.Error
	if !errors.As(err, &yamlErr) {
		r.fail(pos{1, 1}, "it is not valid YAML", "")
		return
	}
	why, fix := explainSyntax(yamlErr.GetMessage())
	r.fail(posOf(yamlErr.GetToken()), why, fix)
}

// explainSyntax says in our own words what the parser means: its own may
// repeat parts of the file.
func explainSyntax(message string) (why, fix string) {
	for _, known := range [][3]string{
		{"tab character", "there is a tab where YAML wants spaces", "indent with spaces"},
		{"could not find end character", "a quoted text does not end", "close the quote"},
		{"mapping value is not allowed", "there is a second \": \" in one line", "put the text in quotes"},
		{"end token", "a bracket or brace is not closed", ""},
		{"must be specified", "a bracket or brace is not closed, or a comma is missing", ""},
		{"non-map value", "there is a line without a key", "check the indentation"},
	} {
		if strings.Contains(message, known[0]) {
			return "it is not valid YAML: " + known[1], known[2]
		}
	}
	return "it is not valid YAML", "check quotes and indentation around this place"
}

// build makes a node of a syntax tree. A nil tree is a null.
func (r *yamlReader) build(n ast.Node) *node {
	switch n := n.(type) {
	case nil:
		return &node{size: 1, depth: 1, pos: pos{1, 1}}
	case *ast.MappingNode:
		return r.buildMap(n.Values, posOf(n.GetToken()))
	case *ast.MappingValueNode:
		return r.buildMap([]*ast.MappingValueNode{n}, posOf(n.GetToken()))
	case *ast.SequenceNode:
		return r.buildList(n)
	case *ast.AnchorNode:
		built := r.build(n.Value)
		r.anchors[nameOf(n.Name)] = built
		return built
	case *ast.AliasNode:
		return r.alias(n)
	case *ast.LiteralNode:
		return scalar(kindString, n.Value.Value, n)
	case *ast.StringNode:
		return scalar(kindString, n.Value, n)
	case *ast.IntegerNode:
		return scalar(kindInt, n.Token.Value, n)
	case *ast.BoolNode:
		return scalar(kindBool, n.Token.Value, n)
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar(kindFloat, n.GetToken().Value, n)
	case *ast.NullNode:
		return scalar(kindNull, "", n)
	}
	r.fail(posOf(n.GetToken()), "this kind of YAML value is not used here", "write plain text, lists and maps without tags")
	return scalar(kindNull, "", n)
}

func scalar(k kind, text string, n ast.Node) *node {
	return &node{kind: k, text: text, pos: posOf(n.GetToken()), size: 1, depth: 1}
}

// nameOf gives the name of an anchor or alias.
func nameOf(n ast.Node) string {
	if n == nil || n.GetToken() == nil {
		return ""
	}
	return n.GetToken().Value
}

// alias gives what was anchored. An anchor is known only once its value is
// complete, so no node can hold itself.
func (r *yamlReader) alias(n *ast.AliasNode) *node {
	if built, ok := r.anchors[nameOf(n.Value)]; ok {
		return built
	}
	r.fail(posOf(n.GetToken()), "the alias has no anchor before it", "")
	return scalar(kindNull, "", n)
}

func (r *yamlReader) buildList(n *ast.SequenceNode) *node {
	list := &node{kind: kindList, pos: posOf(n.GetToken()), size: 1, depth: 1}
	for _, item := range n.Values {
		built := r.build(item)
		if !r.grow(list, built, built.pos) {
			break
		}
		list.items = append(list.items, built)
	}
	return list
}

func (r *yamlReader) buildMap(values []*ast.MappingValueNode, at pos) *node {
	m := &node{kind: kindMap, pos: at, size: 1, depth: 1}
	if len(values) > 0 {
		m.pos = posOf(values[0].Key.GetToken())
	}
	var merged []*node
	for _, v := range values {
		built, keyPos := r.build(v.Value), posOf(v.Key.GetToken())
		if !r.grow(m, built, keyPos) {
			break
		}
		key, ok := r.key(v.Key)
		switch {
		case !ok:
		case v.Key.IsMergeKey():
			merged = append(merged, r.mergeSources(built, keyPos)...)
		case m.has(key):
			r.note(keyPos, fmt.Sprintf("the key %q is there twice", key), "keep one of the two")
		default:
			m.pairs = append(m.pairs, pair{key, keyPos, built})
		}
	}
	r.addMerged(m, merged)
	return m
}

// key gives the text of a key.
func (r *yamlReader) key(k ast.MapKeyNode) (string, bool) {
	switch k := k.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.MergeKeyNode:
		return "", true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return k.GetToken().Value, true
	}
	r.fail(posOf(k.GetToken()), "a key must be plain text", "")
	return "", false
}

// mergeSources gives the maps that a merge key (<<) names.
func (r *yamlReader) mergeSources(n *node, at pos) []*node {
	sources := []*node{n}
	if n.kind == kindList {
		sources = n.items
	}
	if slices.ContainsFunc(sources, func(s *node) bool { return s.kind != kindMap }) {
		r.fail(at, "<< merges maps only", "")
		return nil
	}
	return sources
}

// addMerged adds the keys that m does not have itself; the first source wins.
func (r *yamlReader) addMerged(m *node, sources []*node) {
	for _, s := range sources {
		for _, p := range s.pairs {
			if !m.has(p.key) {
				m.pairs = append(m.pairs, p)
			}
		}
	}
}

// grow counts what n stands for, so that aliases of aliases stay within bounds.
func (r *yamlReader) grow(parent, n *node, at pos) bool {
	parent.size += n.size
	parent.depth = max(parent.depth, n.depth+1)
	if parent.size <= maxNodes && parent.depth <= maxDepth {
		return true
	}
	if !slices.ContainsFunc(r.problems, func(p *plan.Problem) bool { return p.Why == tooBig }) {
		r.fail(at, tooBig, "")
	}
	return false
}

const tooBig = "it is too deep or, with its aliases written out, too large"
