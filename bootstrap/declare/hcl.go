package declare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/scanner"
	hclstrings "github.com/hashicorp/hcl/hcl/strconv"
	"github.com/hashicorp/hcl/hcl/token"
)

// hclNode is one value of a file in HCL (version 1) or in JSON, with its place.
type hclNode struct {
	kind    kind   // a block and an object are a map
	text    string // of a scalar: a text's value, else as it is written
	members []hclMember
	items   []*hclNode
	pos     pos
	json    bool

	// from and to are where in the file a text stands just as it is, so that a
	// handle can lead to it; both 0: it is written with escapes, or is a heredoc.
	from, to int
}

// hclMember is a key with its value. A key may be there many times: each gives
// one block.
type hclMember struct {
	key    string
	pos    pos
	labels []hclLabel // method "approle" { … } has one
	value  *hclNode
}

type hclLabel struct {
	text string
	pos  pos
}

// hclSyntax is why a file cannot be read. It holds no text of the file.
type hclSyntax struct {
	at       pos
	why, fix string
}

func (e *hclSyntax) Error() string { return e.why }

// readHCL gives the root of a file. As the originals do, it takes what begins
// with a brace for JSON. That is read by encoding/json, because the JSON reader
// of package hcl forgets the places, drops truth values in lists and passes over
// commas that are missing.
func readHCL(src []byte) (*hclNode, *hclSyntax) {
	rest := bytes.TrimPrefix(src, []byte("\ufeff"))
	shift := len(src) - len(rest)
	if !utf8.Valid(rest) || bytes.IndexByte(rest, 0) >= 0 {
		return nil, &hclSyntax{pos{1, 1}, "there is a byte in it that is no text in UTF-8", ""}
	}
	if isJSON := bytes.HasPrefix(bytes.TrimLeftFunc(rest, unicode.IsSpace), []byte("{")); isJSON {
		r := jsonReader{dec: json.NewDecoder(bytes.NewReader(rest)), src: rest, shift: shift, at: pos{1, 1}}
		r.dec.UseNumber()
		return r.file()
	}
	if bad := hclBounds(rest); bad != nil {
		return nil, bad
	}
	file, err := parser.ParseDontErrorOnDuplicateKeys(rest)
	if err != nil {
		return nil, explainHCL(err)
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, &hclSyntax{pos{1, 1}, "it is not valid HCL", ""}
	}
	b := hclBuilder{shift: shift, moved: bytes.Contains(rest, []byte("\r\n"))}
	root := &hclNode{kind: kindMap, members: b.members(list), pos: pos{1, 1}}
	return root, b.bad
}

// hclBounds refuses what would cost too much: nesting so deep that the parser,
// which calls itself for each level, could run out of stack, for nothing can catch
// that; and more words than a configuration has, each of which could be a problem.
func hclBounds(src []byte) *hclSyntax {
	s := scanner.New(src)
	s.Error = func(token.Pos, string) {} // the parser tells
	depth := 0
	for n := 0; ; n++ {
		t := s.Scan()
		switch t.Type {
		case token.EOF, token.ILLEGAL:
			return nil
		case token.LBRACE, token.LBRACK:
			depth++
		case token.RBRACE, token.RBRACK:
			depth--
		}
		switch {
		case depth > maxDepth:
			return &hclSyntax{hclPos(t.Pos), "it is nested too deeply", ""}
		case n >= maxTokens:
			return tooManyWords(hclPos(t.Pos))
		}
	}
}

func tooManyWords(at pos) *hclSyntax {
	return &hclSyntax{at, fmt.Sprintf("the file has more than %d words and signs", maxTokens), "split it"}
}

func hclPos(p token.Pos) pos { return pos{max(p.Line, 1), max(p.Column, 1)} }

// explainHCL takes only the place out of the parser's message, which may repeat
// parts of the file.
func explainHCL(err error) *hclSyntax {
	at := pos{1, 1}
	var where *parser.PosError
	if errors.As(err, &where) {
		at = hclPos(where.Pos)
	}
	for _, known := range [][3]string{
		{"literal not terminated", "a quoted text does not end", "close the quote; a text over several lines is a heredoc, <<EOT"},
		{"heredoc not terminated", "a heredoc does not end", "end it with its marker alone in a line"},
		{"heredoc anchor", "a heredoc has no marker", "begin it with <<EOT and a new line"},
		{"comment not terminated", "a comment does not end", "close it with */"},
		{"expected comma", "a comma is missing in a list", ""},
		{"expected start of object", "a key has neither a value nor a block", "write key = value, or key { … }"},
		{"closing RBRACE", "a brace is not closed", ""},
	} {
		if strings.Contains(err.Error(), known[0]) {
			return &hclSyntax{at, "it is not valid HCL: " + known[1], known[2]}
		}
	}
	return &hclSyntax{at, "it is not valid HCL", "check quotes, braces and = around this place"}
}

// hclBuilder makes nodes of a syntax tree.
type hclBuilder struct {
	bad   *hclSyntax // the first
	shift int        // what stands before the text that was parsed
	moved bool       // the parser saw other offsets than the file has
}

func (b *hclBuilder) members(list *ast.ObjectList) []hclMember {
	var members []hclMember
	for _, item := range list.Items {
		m := hclMember{value: b.node(item.Val)}
		for i, key := range item.Keys {
			name, ok := hclKey(key.Token)
			switch at := hclPos(key.Token.Pos); {
			case !ok:
				b.fail(at, "it is not valid HCL: the escapes in this key are wrong")
			case i == 0:
				m.key, m.pos = name, at
			default:
				m.labels = append(m.labels, hclLabel{name, at})
			}
		}
		members = append(members, m)
	}
	return members
}

func (b *hclBuilder) fail(at pos, why string) {
	if b.bad == nil {
		b.bad = &hclSyntax{at: at, why: why}
	}
}

func hclKey(t token.Token) (string, bool) {
	if t.Type != token.STRING {
		return t.Text, true
	}
	s, err := hclstrings.Unquote(t.Text)
	return s, err == nil
}

func (b *hclBuilder) node(n ast.Node) *hclNode {
	switch n := n.(type) {
	case *ast.ObjectType:
		return &hclNode{kind: kindMap, members: b.members(n.List), pos: hclPos(n.Lbrace)}
	case *ast.ListType:
		list := &hclNode{kind: kindList, pos: hclPos(n.Lbrack)}
		for _, item := range n.List {
			list.items = append(list.items, b.node(item))
		}
		return list
	case *ast.LiteralType:
		return b.literal(n.Token)
	}
	b.fail(pos{1, 1}, "it is not valid HCL")
	return &hclNode{kind: kindNull, pos: pos{1, 1}}
}

func (b *hclBuilder) literal(t token.Token) *hclNode {
	n := &hclNode{text: t.Text, pos: hclPos(t.Pos)}
	switch t.Type {
	case token.BOOL:
		n.kind = kindBool
	case token.NUMBER:
		n.kind = kindInt
	case token.FLOAT:
		n.kind = kindFloat
	case token.HEREDOC:
		n.kind = kindString
		n.text, _ = t.Value().(string)
	default:
		n.kind = kindString
		text, err := hclstrings.Unquote(t.Text)
		if err != nil {
			b.fail(n.pos, "it is not valid HCL: the escapes in this text are wrong")
		}
		if n.text = text; !b.moved && t.Text == `"`+text+`"` {
			n.from = t.Pos.Offset + 1 + b.shift
			n.to = n.from + len(text)
		}
	}
	return n
}

// jsonReader makes nodes of JSON.
type jsonReader struct {
	dec   *json.Decoder
	src   []byte
	shift int
	at    pos // of the byte at done
	done  int
	seen  int // tokens
}

func (r *jsonReader) file() (*hclNode, *hclSyntax) {
	root, err := r.value(0)
	if err == nil {
		if _, more := r.dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more")
		}
	}
	if err == nil {
		return root, nil
	}
	var syntax *hclSyntax
	if !errors.As(err, &syntax) {
		r.advance(int(r.dec.InputOffset()))
		syntax = &hclSyntax{r.at, "it is not valid JSON", "check quotes, commas and braces at and after this place"}
	}
	return nil, syntax
}

// next gives the next token and where it begins.
func (r *jsonReader) next() (json.Token, pos, error) {
	before := int(r.dec.InputOffset())
	t, err := r.dec.Token()
	if err != nil {
		return nil, pos{}, err
	}
	for before < len(r.src) && strings.IndexByte(" \t\r\n,:", r.src[before]) >= 0 {
		before++
	}
	r.advance(before)
	if r.seen++; r.seen > maxTokens {
		return nil, pos{}, tooManyWords(r.at)
	}
	return t, r.at, nil
}

// advance counts lines and characters up to a byte.
func (r *jsonReader) advance(to int) {
	for _, c := range string(r.src[r.done:max(to, r.done)]) {
		if r.at.col++; c == '\n' {
			r.at = pos{r.at.line + 1, 1}
		}
	}
	r.done = max(to, r.done)
}

func (r *jsonReader) value(depth int) (*hclNode, error) {
	t, at, err := r.next()
	if err != nil {
		return nil, err
	}
	return r.rest(t, at, depth)
}

// rest gives the value that begins with t.
func (r *jsonReader) rest(t json.Token, at pos, depth int) (*hclNode, error) {
	n := &hclNode{pos: at, json: true}
	switch t := t.(type) {
	case nil:
		n.kind = kindNull
	case bool:
		n.kind, n.text = kindBool, fmt.Sprint(t)
	case json.Number:
		n.kind, n.text = kindInt, t.String()
		if strings.ContainsAny(n.text, ".eE") {
			n.kind = kindFloat
		}
	case string:
		n.kind, n.text = kindString, t
		if end := int(r.dec.InputOffset()); string(r.src[r.done:end]) == `"`+t+`"` {
			n.from, n.to = r.done+1+r.shift, end-1+r.shift
		}
	case json.Delim:
		if depth >= maxDepth {
			return nil, &hclSyntax{at, "it is nested too deeply", ""}
		}
		if t == '[' {
			return n, r.list(n, depth)
		}
		return n, r.object(n, depth)
	}
	return n, nil
}

func (r *jsonReader) list(n *hclNode, depth int) error {
	n.kind = kindList
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, _, err := r.next()
	return err
}

func (r *jsonReader) object(n *hclNode, depth int) error {
	n.kind = kindMap
	for r.dec.More() {
		key, at, err := r.next()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		value, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.members = append(n.members, hclMember{key: name, pos: at, value: value})
	}
	_, _, err := r.next()
	return err
}
