package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// yamlFields writes a map as one YAML document.
func yamlFields(fields map[string]any) ([]byte, failures) {
	if bad := notUTF8("yaml", fields); len(bad) > 0 {
		return nil, bad
	}
	return alone(yamlValue(fields))
}

func yamlValue(v any) ([]byte, *failure) {
	if !allUTF8(v) {
		return nil, badData("yaml cannot carry "+hasNotUTF8, "deliver the field as a file of its own")
	}
	s, err := toYAML(v)
	var f *failure
	switch {
	case errors.As(err, &f):
		return nil, f
	case err != nil:
		return nil, badData("the value cannot be written as YAML", "")
	}
	return []byte(s + "\n"), nil
}

// toYAML writes v in block style with sorted keys and without a newline at the
// end.
//
// The writer is ours because a wrong quote changes a secret silently, and the
// YAML library that we read with fails to write some texts so that even it reads
// them back. So this one is shy: what a reader of YAML 1.1 or 1.2 could take for
// anything but text stands in double quotes, with the escapes of JSON.
func toYAML(v any) (string, error) {
	// By way of JSON every Go type becomes one of the few that JSON has.
	text, err := encodeJSON(v, "", false)
	if err != nil {
		return "", badData("the value cannot be written as YAML", "")
	}
	tree, err := parseJSON(text)
	if err != nil {
		return "", err
	}
	w := yamlWriter{
		plain:    regexp.MustCompile(`^[A-Za-z/]([A-Za-z0-9 _./+@%=,()<>&"'$;~?-]|:[A-Za-z0-9_./-])*$`),
		reserved: regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`),
	}
	w.value(tree, "")
	if w.ended {
		// Without a newline after it, a block at the very end would lose its own.
		w = yamlWriter{plain: w.plain, reserved: w.reserved, lines: true}
		w.value(tree, "")
	}
	return strings.TrimPrefix(w.out.String(), "\n"), w.err
}

type yamlWriter struct {
	out             strings.Builder
	plain, reserved *regexp.Regexp
	lines           bool // write no block that ends with a newline
	ended           bool // such a block is the last that was written
	err             error
}

// value writes what stands after "key:" or "-" (and begins with the space or
// newline that it needs there); indent is that of the line it is on.
func (w *yamlWriter) value(v any, indent string) {
	switch v := v.(type) {
	case map[string]any:
		w.mapping(v, indent)
	case []any:
		if len(v) == 0 {
			w.after("[]")
		}
		for _, elem := range v {
			w.out.WriteString("\n" + indent + "-")
			w.element(elem, indent+"  ")
		}
	case string:
		w.after(w.text(v, indent+"  "))
	case json.Number:
		w.after(yamlNumber(v.String()))
	case bool:
		w.after(fmt.Sprint(v))
	case nil:
		w.after("null")
	}
}

// after writes a scalar behind its key; there is none at the top.
func (w *yamlWriter) after(s string) {
	w.ended = strings.HasPrefix(s, "|\n")
	if w.out.Len() > 0 {
		s = " " + s
	}
	w.out.WriteString(s)
}

func (w *yamlWriter) mapping(m map[string]any, indent string) {
	if len(m) == 0 {
		w.after("{}")
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		const most = 1000 // of a key without "? ", YAML 1.2 section 8.2.2
		name := w.line(key)
		if len(name) > most {
			w.err = badData("a key is too long for YAML", "")
		}
		w.out.WriteString("\n" + indent + name + ":")
		inner := indent // a list stands right below its key
		if _, ok := m[key].(map[string]any); ok {
			inner += "  "
		}
		w.value(m[key], inner)
	}
}

// element writes what stands behind the dash of a list. A list or map that is
// not empty begins on the same line.
func (w *yamlWriter) element(v any, indent string) {
	inner := &yamlWriter{plain: w.plain, reserved: w.reserved, lines: w.lines}
	switch v := v.(type) {
	case map[string]any, []any:
		inner.value(v, indent)
		w.out.WriteString(" " + strings.TrimLeft(inner.out.String(), "\n "))
		w.ended = inner.ended
		if w.err == nil {
			w.err = inner.err
		}
	default:
		w.value(v, strings.TrimSuffix(indent, "  "))
	}
}

// text writes a text: as a block if it has lines that a block keeps exactly with
// every reader (some drop spaces at the end of a line).
func (w *yamlWriter) text(s, indent string) string {
	body := strings.TrimSuffix(s, "\n")
	block := strings.Contains(s, "\n") && (body == s || !w.lines) && !strings.HasSuffix(body, "\n") &&
		body != "" && !strings.ContainsAny(body[:1], " \n\t") &&
		!strings.Contains(body+"\n", " \n") &&
		!strings.ContainsFunc(s, func(r rune) bool { return r != '\n' && !yamlPrintable(r) })
	if !block {
		return w.line(s)
	}
	var out strings.Builder
	out.WriteString("|")
	if body == s {
		out.WriteString("-")
	}
	for line := range strings.SplitSeq(body, "\n") {
		out.WriteString("\n")
		if line != "" {
			out.WriteString(indent + line)
		}
	}
	return out.String()
}

// line writes a text on one line.
func (w *yamlWriter) line(s string) string {
	if w.plain.MatchString(s) && !strings.HasSuffix(s, " ") && !w.reserved.MatchString(s) {
		return s
	}
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\n`)
		case yamlPrintable(r):
			out.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&out, `\U%08x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// yamlPrintable tells the characters that may stand unescaped. A tab may, too,
// but not everywhere.
func yamlPrintable(r rune) bool { return r == ' ' || unicode.IsPrint(r) && r != '\ufeff' }

// yamlNumber gives a number with an exponent the form that YAML 1.1 needs to see
// a number in it: a point, and the sign of the exponent.
func yamlNumber(s string) string {
	mantissa, exponent, ok := strings.Cut(strings.ToLower(s), "e")
	if !ok {
		return s
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !strings.HasPrefix(exponent, "-") && !strings.HasPrefix(exponent, "+") {
		exponent = "+" + exponent
	}
	return mantissa + "e" + exponent
}
