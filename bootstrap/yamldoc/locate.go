package yamldoc

import (
	"bytes"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// notYAML begins what is wrong with a text that does not follow the grammar. The
// library has two sentences for a tab, one of which it says of other characters too.
const (
	notYAML = "it is not valid YAML"
	aTab    = notYAML + ": there is a tab where YAML wants spaces"
)

// Parts of the library's messages.
const (
	noComma       = "expected ',' or"
	unknownAnchor = "unknown anchor"
)

// message is one of the library's, and what we say in its place.
type message struct {
	part     string // of the library's words
	why, fix string
	opens    bool // the library tells the line of what was begun and is not finished
}

func messages() []message {
	quote := message{why: notYAML + ": a quoted text does not end", fix: "close the quote", opens: true}
	stream, indicator := quote, quote
	stream.part, indicator.part = "unexpected end of stream", "unexpected document indicator"
	return []message{
		stream, indicator,
		{part: noComma, why: notYAML + ": a bracket or brace is not closed, or a comma is missing", opens: true},
		{part: "could not find expected ':'", why: notYAML + ": there is a line without a key", fix: "check the indentation", opens: true},
		{part: "mapping values are not allowed", why: notYAML + `: there is a ": " where no key can be`, fix: "put the text in quotes, or check the indentation"},
		{part: "tab character", why: aTab, fix: "indent with spaces"},
		{part: "unknown escape", why: notYAML + `: a text in double quotes has a \ that begins no escape`, fix: `write \\`},
		{part: "control characters", why: "there is a control character here", fix: `write it as \u and four digits in double quotes`},
		{part: unknownAnchor, why: "the alias has no anchor before it"},
		{part: "", why: notYAML, fix: "check quotes and indentation around this place"},
	}
}

// said splits what the library says into the line, 0 for none, and what is
// wrong, which may quote the text.
func said(err error) (line int, what string) {
	m := regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`).FindStringSubmatch(err.Error())
	if m == nil {
		return 0, ""
	}
	line, _ = strconv.Atoi(m[1])
	return line, m[2]
}

// tabbed reports whether a line is indented with a tab.
func tabbed(text []byte, line int) bool {
	for range line {
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	text = bytes.TrimLeft(text, " ")
	return len(text) > 0 && text[0] == '\t'
}

// locate finds the place of an error: the line that the library tells for what
// is begun and not finished, and else the first one with which the text fails as
// it does, because the library tells the line where a whole map began.
func locate(text []byte, err error) *SyntaxError {
	_, what := said(err)
	var m message
	for _, m = range messages() {
		if strings.Contains(what, m.part) {
			break
		}
	}
	s := search{text: text, what: what}
	line := 0
	if m.opens {
		line = s.opened()
	} else {
		line = s.firstBroken()
	}
	if m.part == "" && tabbed(text, line) {
		m.why, m.fix = aTab, "indent with spaces"
	}
	return &SyntaxError{Line: line + 1, Col: s.column(line) + 1, Why: m.why, Fix: m.fix}
}

// maxSearch bounds the bytes that are read again to find a column.
const maxSearch = 512 << 10

// search finds where a text fails by reading its beginnings.
type search struct {
	text []byte
	what string // the library finds wrong with it
}

// same reports whether the first n bytes alone fail as the whole does.
func (s *search) same(n int) bool {
	_, err := parse(s.text[:n])
	if err == nil {
		return false
	}
	_, what := said(err)
	return what == s.what
}

// opened gives the index of the line that the library tells. It counts from 0 in
// its parser and from 1 in its scanner, and leaves out a 0: so the text gets a
// line before it.
func (s *search) opened() int {
	_, err := parse(append([]byte("\n"), s.text...))
	if err == nil {
		return 0
	}
	line, _ := said(err)
	if !strings.Contains(s.what, noComma) {
		line--
	}
	return min(max(line-1, 0), bytes.Count(s.text, []byte("\n")))
}

// firstBroken gives the index of the first line with which the text fails.
func (s *search) firstBroken() int {
	var ends []int // of the lines
	for line := range bytes.Lines(s.text) {
		end := len(line)
		if len(ends) > 0 {
			end += ends[len(ends)-1]
		}
		ends = append(ends, end)
	}
	return min(sort.Search(len(ends), func(i int) bool { return s.same(ends[i]) }), max(len(ends)-1, 0))
}

// column gives the index of the character in a line from which on the text
// fails, however much of the rest of the line follows. Without it, and where
// that would take too long, it is that of the first one that is no space.
func (s *search) column(line int) int {
	start := 0
	for range line {
		start += bytes.IndexByte(s.text[start:], '\n') + 1
	}
	rest, _, _ := bytes.Cut(s.text[start:], []byte("\n"))
	if _, quoted, ok := strings.Cut(s.what, unknownAnchor+" '"); ok {
		name, _, _ := strings.Cut(quoted, "'")
		return utf8.RuneCount(rest[:max(bytes.Index(rest, []byte("*"+name)), 0)])
	}
	n, budget := len(rest), maxSearch
	for ; n > 0 && budget > 0 && s.same(start+n); budget -= start + n {
		_, size := utf8.DecodeLastRune(rest[:n])
		n -= size
	}
	if n == len(rest) || n > 0 && budget <= 0 {
		n = len(rest) - len(bytes.TrimLeft(rest, " "))
	}
	return utf8.RuneCount(rest[:n])
}
