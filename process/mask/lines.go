package mask

import (
	"bytes"
	"unicode/utf8"
)

// Lines gives what a masker that looks at single lines of text, as that of a CI
// system, is to be told of a value: each of its lines that says something, without
// the space around it. The lines share the value's memory. Without any, why says
// what keeps the value from being masked; it never holds a part of it.
func Lines(value []byte) (lines [][]byte, why string) {
	value = bytes.TrimSpace(value)
	one := !bytes.ContainsAny(value, "\r\n")
	s := Set{min: defaultMin}
	if why, nothing := s.doubt(value); nothing {
		return nil, why
	}
	if !utf8.Valid(value) {
		return nil, "it is not text"
	}
	for line := range bytes.FieldsFuncSeq(value, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = bytes.TrimSpace(line)
		if one || tells(line) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		why = "it has no line that could not be in any text"
	}
	return lines, why
}
