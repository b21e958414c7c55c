package mask

import (
	"strconv"
	"unicode/utf8"
)

// The encoders of the standard library make strings, which cannot be
// overwritten; these append to a buffer that can. The tests hold them against
// the standard library's.

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func appendURL(dst, value []byte, keep, digits, space string) []byte {
	for _, c := range value {
		switch {
		case alphanumeric(c) || contains(keep, c):
			dst = append(dst, c)
		case c == ' ':
			dst = append(dst, space...)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}

func contains(set string, c byte) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}

// appendBackslashed puts a backslash before what special says.
func appendBackslashed(dst, value []byte, special func(byte) bool) []byte {
	for _, c := range value {
		if special(c) {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst
}

// appendReplaced puts a text in place of each old byte.
func appendReplaced(dst, value []byte, old byte, text string) []byte {
	for _, c := range value {
		if c == old {
			dst = append(dst, text...)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// jsonForm is one way to write the inside of a JSON string. What is not UTF-8
// passes as it is.
type jsonForm struct {
	html  bool // < > & by number, as Go does
	lines bool // the line separators of Unicode too, as Go always does
	gson  bool // = and ' too, as Gson does
	slash bool // \/
	ascii bool // what is not ASCII by number
}

func (f jsonForm) append(dst, value []byte) []byte {
	for len(value) > 0 {
		r, n := utf8.DecodeRune(value)
		dst = f.appendRune(dst, r, value[:n])
		value = value[n:]
	}
	return dst
}

func (f jsonForm) appendRune(dst []byte, r rune, raw []byte) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b', '\f', '\n', '\r', '\t':
		return append(dst, '\\', shortEscape(r))
	case '/':
		if f.slash {
			return append(dst, '\\', '/')
		}
	case '<', '>', '&':
		if f.html {
			return appendUnicode(dst, r)
		}
	case 0x2028, 0x2029:
		if f.lines {
			return appendUnicode(dst, r)
		}
	case '=', '\'':
		if f.gson {
			return appendUnicode(dst, r)
		}
	}
	invalid := r == utf8.RuneError && len(raw) == 1
	if r < ' ' || f.ascii && (r > '~' && !invalid) {
		return appendUnicode(dst, r)
	}
	return append(dst, raw...)
}

// shortEscape is the letter of the escapes that JSON, Go and C have in common,
// or 0.
func shortEscape(r rune) byte {
	switch r {
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}

// appendUnicode writes \uXXXX, or two of them for what is beyond 16 bits.
func appendUnicode(dst []byte, r rune) []byte {
	if r >= 0x10000 {
		r -= 0x10000
		dst = appendUnicode(dst, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	return appendHex(append(dst, '\\', 'u'), uint32(r), 4)
}

func appendHex(dst []byte, v uint32, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		dst = append(dst, "0123456789abcdef"[v>>(4*i)&15])
	}
	return dst
}

// xmlForm is one way to write text in XML or HTML.
type xmlForm struct {
	quote, apostrophe string
	blanks            bool // tab and the line ends by number
}

func (f xmlForm) append(dst, value []byte) []byte {
	for _, c := range value {
		switch {
		case c == '&':
			dst = append(dst, "&amp;"...)
		case c == '<':
			dst = append(dst, "&lt;"...)
		case c == '>':
			dst = append(dst, "&gt;"...)
		case c == '"':
			dst = append(dst, f.quote...)
		case c == '\'':
			dst = append(dst, f.apostrophe...)
		case f.blanks && (c == '\t' || c == '\n' || c == '\r'):
			dst = append(dst, "&#x"...)
			dst = append(dst, "0123456789ABCDEF"[c], ';')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// How a quoteForm writes bytes.
type byteForm int

const (
	asRunes    byteForm = iota // they are text
	hexBytes                   // \xNN
	octalBytes                 // \NNN
)

// quoteForm is one way to write the inside of a string literal.
type quoteForm struct {
	quote byte
	ascii bool     // what is not ASCII by number
	bytes byteForm // what is not printable ASCII, byte by byte
	raw   bool     // no \a, \b, \f, \v
}

func (f quoteForm) append(dst, value []byte) []byte {
	for len(value) > 0 {
		r, n := utf8.DecodeRune(value)
		if f.bytes != asRunes {
			r, n = rune(value[0]), 1
		}
		dst = f.appendRune(dst, r, value[:n])
		value = value[n:]
	}
	return dst
}

func (f quoteForm) appendRune(dst []byte, r rune, raw []byte) []byte {
	invalid := r == utf8.RuneError && len(raw) == 1
	switch {
	case r == rune(f.quote) || r == '\\':
		return append(dst, '\\', byte(r))
	case f.bytes != asRunes && r > '~':
		return f.appendByte(dst, raw[0])
	case !invalid && strconv.IsPrint(r) && (r <= '~' || !f.ascii):
		return append(dst, raw...)
	case r == '\n' || r == '\r' || r == '\t' || !f.raw && f.bytes != hexBytes && shortEscape(r) != 0:
		return append(dst, '\\', shortEscape(r))
	case r == '\a' && !f.raw && f.bytes != hexBytes:
		return append(dst, '\\', 'a')
	case r == '\v' && !f.raw && f.bytes != hexBytes:
		return append(dst, '\\', 'v')
	case invalid || r < ' ' || r == 0x7f:
		return f.appendByte(dst, raw[0])
	case r < 0x10000:
		return appendHex(append(dst, '\\', 'u'), uint32(r), 4)
	}
	return appendHex(append(dst, '\\', 'U'), uint32(r), 8)
}

func (f quoteForm) appendByte(dst []byte, c byte) []byte {
	if f.bytes == octalBytes {
		return append(dst, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
	}
	return appendHex(append(dst, '\\', 'x'), uint32(c), 2)
}
