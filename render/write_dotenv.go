package render

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// dotenv writes KEY='value' lines.
//
// There is no standard, so the file has only what a POSIX shell that sources it
// and the common readers (of Node, Python, Ruby, Go, Docker Compose) take for
// the same value. A value stands in single quotes, in which newlines and every
// other character are themselves. One that has a single quote stands in double
// quotes if it has nothing that is special there. What no quoting carries to all
// of them is refused:
//
//   - a single quote together with one of " $ ` \ ! or a newline;
//   - \\ , \' and a \ at the end, which some readers undo and others do not;
//   - ${…}, which some readers expand even in single quotes;
//   - a carriage return, which some readers make a newline;
//   - NUL, and bytes that are not UTF-8.
func dotenv() lineFormat {
	return lineFormat{
		badName: plan.NotVariable,
		badText: func(text string) string {
			_, has := dotenvQuote(text)
			return has
		},
		line: func(out *bytes.Buffer, name, text string) *failure {
			quoted, _ := dotenvQuote(text)
			fmt.Fprintf(out, "%s=%s\n", name, quoted)
			return nil
		},
	}
}

// dotenvQuote gives the value in quotes, or what it has that cannot be written.
func dotenvQuote(s string) (quoted, why string) {
	has := func(chars string) bool { return strings.ContainsAny(s, chars) }
	_, afterBrace, expands := strings.Cut(s, "${")
	switch {
	case has("\x00"):
		return "", "a NUL byte"
	case !utf8.ValidString(s):
		return "", "bytes that are not UTF-8 text"
	case has("\r"):
		return "", "a carriage return"
	case !has("'") && (strings.Contains(s, `\\`) || strings.HasSuffix(s, `\`)):
		return "", "two backslashes in a row, or one at the end"
	case expands && strings.Contains(afterBrace, "}"):
		return "", "${…}"
	case !has("'"):
		return "'" + s + "'", ""
	case has("\"$`\\!\n"):
		return "", "a single quote together with one of \" $ ` \\ ! or a newline"
	}
	return `"` + s + `"`, ""
}
