package render

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// properties writes key=value lines for java.util.Properties.load. That method
// reads ISO 8859-1 from a stream and anything from a Reader, so what is not
// printable ASCII is escaped as \uXXXX in UTF-16, and both read the same (Java SE
// API, java.util.Properties, load). Every Unicode text has a form, NUL included.
func properties() lineFormat {
	return lineFormat{
		badName: func(name string) string { return onlyUTF8(name, "its name has ") },
		badText: func(text string) string { return onlyUTF8(text, "") },
		line: func(out *bytes.Buffer, name, text string) *failure {
			propertiesText(out, name, " :=#!")
			out.WriteByte('=')
			// The spaces before a value are skipped, those inside it are not.
			if inner := strings.TrimLeft(text, " "); inner != text {
				out.WriteByte('\\')
			}
			propertiesText(out, text, "")
			out.WriteByte('\n')
			return nil
		},
	}
}

func onlyUTF8(s, why string) string {
	if utf8.ValidString(s) {
		return ""
	}
	return why + hasNotUTF8
}

// propertiesText escapes what the format does not take as it is, and what it
// would take for the end of a key.
func propertiesText(out *bytes.Buffer, s, special string) {
	short := map[rune]string{'\t': `\t`, '\n': `\n`, '\r': `\r`, '\f': `\f`, '\\': `\\`}
	for _, r := range s {
		switch escape, ok := short[r]; {
		case ok:
			out.WriteString(escape)
		case strings.ContainsRune(special, r):
			out.WriteString(`\` + string(r))
		case ' ' <= r && r <= '~':
			out.WriteRune(r)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(out, `\u%04x`, unit)
			}
		}
	}
}
