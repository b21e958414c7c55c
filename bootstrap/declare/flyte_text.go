package declare

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// protoField is one field of a message in text form.
type protoField struct {
	name   string
	text   string
	quoted bool // a string, not a word or number
}

var errProtoText = errors.New("it is no message in the text form of Protocol Buffers")

// readProtoText reads a message with scalar fields in any order, with any white
// space, comments and separators: the text form promises no more about itself.
//
// https://protobuf.dev/reference/protobuf/textformat-spec/
func readProtoText(s string) ([]protoField, error) {
	r := protoText{rest: s}
	var fields []protoField
	seen := map[string]bool{}
	for r.space(); r.rest != ""; r.space() {
		f := protoField{name: r.word()}
		if f.name == "" || !r.sign(':') {
			return nil, errProtoText
		}
		if seen[f.name] {
			return nil, errors.New("it has a field twice")
		}
		seen[f.name] = true
		var ok bool
		if f.text, f.quoted, ok = r.value(); !ok {
			return nil, errProtoText
		}
		fields = append(fields, f)
		if !r.sign(',') {
			r.sign(';')
		}
	}
	return fields, nil
}

// protoText reads a text from its beginning.
type protoText struct{ rest string }

// space skips white space and comments.
func (r *protoText) space() {
	for {
		r.rest = strings.TrimLeft(r.rest, " \t\r\n\v\f")
		if !strings.HasPrefix(r.rest, "#") {
			return
		}
		_, r.rest, _ = strings.Cut(r.rest, "\n")
	}
}

// word reads a name or a number.
func (r *protoText) word() string {
	end := strings.IndexFunc(r.rest, func(c rune) bool {
		return c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
	if end < 0 {
		end = len(r.rest)
	}
	word := r.rest[:end]
	r.rest = r.rest[end:]
	return word
}

// sign skips one sign, if it is next.
func (r *protoText) sign(c byte) bool {
	r.space()
	ok := strings.HasPrefix(r.rest, string(rune(c)))
	if ok {
		r.rest = r.rest[1:]
	}
	return ok
}

// value reads a word, or strings that stand one after the other and are one.
func (r *protoText) value() (text string, quoted, ok bool) {
	r.space()
	if r.rest == "" || r.rest[0] != '"' && r.rest[0] != '\'' {
		text = r.word()
		return text, false, text != ""
	}
	var b strings.Builder
	for r.rest != "" && (r.rest[0] == '"' || r.rest[0] == '\'') {
		if !r.quoted(&b) {
			return "", true, false
		}
		r.space()
	}
	return b.String(), true, utf8.ValidString(b.String())
}

// quoted reads one string.
func (r *protoText) quoted(b *strings.Builder) bool {
	quote := r.rest[0]
	r.rest = r.rest[1:]
	for r.rest != "" {
		c := r.rest[0]
		r.rest = r.rest[1:]
		switch {
		case c == quote:
			return true
		case c == '\n' || c == 0:
			return false
		case c != '\\':
			b.WriteByte(c)
		case !r.escape(b):
			return false
		}
	}
	return false
}

// escape reads what follows a backslash.
func (r *protoText) escape(b *strings.Builder) bool {
	if r.rest == "" {
		return false
	}
	c := r.rest[0]
	if i := strings.IndexByte(`abfnrtv\'"?`, c); i >= 0 {
		b.WriteByte("\a\b\f\n\r\t\v\\'\"?"[i])
		r.rest = r.rest[1:]
		return true
	}
	switch c {
	case 'x', 'X':
		r.rest = r.rest[1:]
		n, ok := r.digits(16, 1, 2)
		b.WriteByte(byte(n))
		return ok
	case 'u', 'U':
		r.rest = r.rest[1:]
		size := map[byte]int{'u': 4, 'U': 8}[c]
		n, ok := r.digits(16, size, size)
		ok = ok && n <= utf8.MaxRune && utf8.ValidRune(rune(n))
		if ok {
			b.WriteRune(rune(n))
		}
		return ok
	}
	n, ok := r.digits(8, 1, 3)
	b.WriteByte(byte(n))
	return ok && n <= 0o377
}

// digits reads a number of so many digits.
func (r *protoText) digits(base, least, most int) (uint64, bool) {
	count := 0
	for count < most && count < len(r.rest) {
		if _, err := strconv.ParseUint(r.rest[count:count+1], base, 8); err != nil {
			break
		}
		count++
	}
	n, err := strconv.ParseUint("0"+r.rest[:count], base, 64)
	r.rest = r.rest[count:]
	return n, err == nil && count >= least
}
