package render

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// dotenv writes KEY='value' lines, sorted by key, each with a newline.
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
func dotenv(fields map[string]any) ([]byte, *failure) {
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	var out bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !name.MatchString(key) {
			return nil, badData(fmt.Sprintf("dotenv cannot carry the field %q: the name of a variable has only letters, digits and _", key),
				"use the format json or files")
		}
		value, err := raw(key, fields[key])
		if err != nil {
			return nil, err
		}
		quoted, why := dotenvQuote(string(value))
		if why != "" {
			return nil, badData(fmt.Sprintf("dotenv cannot carry the value of %s: it has %s", key, why),
				"use the format json or files")
		}
		fmt.Fprintf(&out, "%s=%s\n", key, quoted)
	}
	return out.Bytes(), nil
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
