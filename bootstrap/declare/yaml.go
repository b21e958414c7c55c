package declare

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/yamldoc"
)

// The bounds of a file.
const (
	maxTokens = 20_000 // of the words and signs of HCL
	maxNodes  = 80_000 // enough for 10,000 files; aliases counted with all that they stand for
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

func posOf(n *yaml.Node) pos { return pos{max(n.Line, 1), max(n.Column, 1)} }

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
	built    map[*yaml.Node]*node // what has an anchor, once it is complete
	broken   bool                 // what was built is not what the file says
	over     bool                 // it is out of bounds
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
// key that is there twice is a problem, but the rest can be judged.
func readYAML(file string, src []byte) (*node, plan.Problems) {
	r := &yamlReader{file: file, built: map[*yaml.Node]*node{}}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if at, ok := firstBadByte(src); ok {
		r.fail(at, "there is a byte here that is no text in UTF-8, a control character or a line break of YAML 1.1 only", "")
		return nil, r.problems
	}
	docs, err := yamldoc.Parse(src)
	var syntax *yamldoc.SyntaxError
	switch {
	case errors.As(err, &syntax):
		r.fail(pos{syntax.Line, syntax.Col}, syntax.Why, syntax.Fix)
	case len(docs) > 1:
		r.fail(posOf(docs[1]), "a second document starts here", "keep one document in the file")
	case len(docs) == 1:
		if root := r.build(docs[0], 1); !r.broken {
			return root, r.problems
		}
	}
	return nil, r.problems
}

// firstBadByte finds what YAML 1.2 (5.1 Character Set, 5.4 Line Break Characters)
// does not allow, or not as the parser takes it.
func firstBadByte(src []byte) (pos, bool) {
	at := pos{1, 1}
	for len(src) > 0 {
		c, n := utf8.DecodeRune(src)
		switch {
		case c == utf8.RuneError && n == 1, c < 0x20 && c != '\n' && c != '\r' && c != '\t',
			c >= 0x7f && c < 0xa0, c == 0x2028, c == 0x2029:
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

// build makes a node of what is in so many levels.
func (r *yamlReader) build(n *yaml.Node, depth int) *node {
	built := scalar(kindNull, n)
	switch {
	case depth > maxDepth:
		r.tooMuch(posOf(n), "it is nested too deeply")
		return built
	case n.Kind == yaml.AliasNode:
		return r.alias(n)
	case n.Style&yaml.TaggedStyle != 0:
		r.fail(posOf(n), "this kind of YAML value is not used here", "write plain text, lists and maps without tags")
	case n.Kind == yaml.MappingNode:
		built = r.buildMap(n, depth)
	case n.Kind == yaml.SequenceNode:
		built = r.buildList(n, depth)
	default:
		built = scalar(kindOf(n), n)
	}
	if n.Anchor != "" {
		r.built[n] = built
	}
	return built
}

// kindOf tells what a scalar without a tag is. A date is text to us.
func kindOf(n *yaml.Node) kind {
	switch n.ShortTag() {
	case "!!null":
		return kindNull
	case "!!bool":
		return kindBool
	case "!!int":
		return kindInt
	case "!!float":
		return kindFloat
	}
	return kindString
}

func scalar(k kind, n *yaml.Node) *node {
	s := &node{kind: k, pos: posOf(n), size: 1, depth: 1}
	if k != kindNull {
		s.text = n.Value
	}
	return s
}

// alias gives what was anchored. An anchor is known only once its value is
// complete, so no node can hold itself.
func (r *yamlReader) alias(n *yaml.Node) *node {
	if built, ok := r.built[n.Alias]; ok {
		return built
	}
	r.fail(posOf(n), "the alias has no anchor before it", "")
	return scalar(kindNull, n)
}

func (r *yamlReader) buildList(n *yaml.Node, depth int) *node {
	list := &node{kind: kindList, pos: posOf(n), size: 1, depth: 1}
	for _, item := range n.Content {
		built := r.build(item, depth+1)
		if !r.grow(list, built, built.pos) {
			break
		}
		list.items = append(list.items, built)
	}
	return list
}

func (r *yamlReader) buildMap(n *yaml.Node, depth int) *node {
	m := &node{kind: kindMap, pos: posOf(n), size: 1, depth: 1}
	if len(n.Content) > 0 {
		m.pos = posOf(n.Content[0])
	}
	var merged []*node
	met := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		built, keyPos := r.build(n.Content[i+1], depth+1), posOf(k)
		if !r.grow(m, built, keyPos) {
			break
		}
		switch {
		case k.Kind != yaml.ScalarNode || k.Anchor != "" || k.Style&yaml.TaggedStyle != 0:
			r.fail(keyPos, "a key must be plain text", "")
		case k.ShortTag() == "!!merge":
			merged = append(merged, r.mergeSources(built, keyPos)...)
		case met[k.Value]:
			r.note(keyPos, fmt.Sprintf("the key %q is there twice", k.Value), "keep one of the two")
		default:
			met[k.Value] = true
			m.pairs = append(m.pairs, pair{k.Value, keyPos, built})
		}
	}
	r.addMerged(m, merged)
	return m
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
	r.tooMuch(at, "it is too deep or, with its aliases written out, too large")
	return false
}

// tooMuch refuses what is out of bounds, once.
func (r *yamlReader) tooMuch(at pos, why string) {
	if !r.over {
		r.over = true
		r.fail(at, why, "")
	}
}
