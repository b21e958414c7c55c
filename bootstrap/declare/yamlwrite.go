package declare

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The encoder of the YAML library does not give every text back as it was (one
// with a carriage return or a tab, for example), and a template that changes on
// its way would be worse than none. So what we write is a small part of YAML:
// block maps, lists, literal blocks and quoted text.

// mapping is a map whose keys keep their order.
type mapping struct{ entries []written }

// written is one key, or with no key one item of a list.
type written struct {
	key     string
	value   any // string, raw, []any, []string or *mapping
	comment string
}

// raw is a scalar that is no text: a number, true, a word.
type raw string

// put adds a key.
func (m *mapping) put(key string, value any) {
	m.entries = append(m.entries, written{key: key, value: value})
}

// text adds a text that is not empty.
func (m *mapping) text(key, s string) {
	if s != "" {
		m.put(key, s)
	}
}

// flag adds a truth value that is true.
func (m *mapping) flag(key string, set bool) {
	if set {
		m.put(key, raw("true"))
	}
}

// texts adds a list that is not empty.
func (m *mapping) texts(key string, list []string) {
	if len(list) > 0 {
		m.put(key, list)
	}
}

// below adds a map that is not empty.
func (m *mapping) below(key string, child *mapping) {
	if len(child.entries) > 0 {
		m.put(key, child)
	}
}

// list adds a list of maps and texts that is not empty.
func (m *mapping) list(key string, items []any) {
	if len(items) > 0 {
		m.put(key, items)
	}
}

// commented is a map with a line above it.
type commented struct {
	*mapping
	comment string
}

type yamlWriter struct{ strings.Builder }

func (w *yamlWriter) indent(depth int) { w.WriteString(strings.Repeat("  ", depth)) }

// comment writes a line for people.
func (w *yamlWriter) comment(depth int, text string) {
	if text == "" {
		return
	}
	w.indent(depth)
	w.WriteString("# " + strings.Map(func(r rune) rune {
		if unprintable(r) || r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?")) + "\n")
}

// keys writes the entries of a map. The first one is on a line that has begun
// already when the map is an item of a list.
func (w *yamlWriter) keys(m *mapping, depth int, begun bool) {
	for i, e := range m.entries {
		if i > 0 || !begun {
			w.comment(depth, e.comment)
			w.indent(depth)
		}
		const most = 1000 // of a key without "? ", YAML 1.2 section 8.2.2
		name := scalarText(e.key)
		if len(name) > most {
			w.WriteString("? " + name + "\n")
			w.indent(depth)
			name = ""
		}
		w.WriteString(name + ":")
		w.value(e.value, depth)
	}
}

// value writes what follows a colon, to the end of the line or lines.
func (w *yamlWriter) value(v any, depth int) {
	switch v := v.(type) {
	case *mapping:
		if len(v.entries) == 0 {
			w.WriteString(" {}\n")
			return
		}
		w.WriteString("\n")
		w.keys(v, depth+1, false)
	case []string:
		texts := make([]string, len(v))
		for i, s := range v {
			texts[i] = scalarText(s)
		}
		w.WriteString(" [" + strings.Join(texts, ", ") + "]\n")
	case []any:
		w.WriteString("\n")
		w.items(v, depth+1)
	case raw:
		w.WriteString(" " + string(v) + "\n")
	case string:
		w.WriteString(" ")
		w.scalar(v, depth+1)
	}
}

func (w *yamlWriter) items(list []any, depth int) {
	for _, item := range list {
		if c, ok := item.(commented); ok {
			w.comment(depth, c.comment)
			item = c.mapping
		}
		w.indent(depth)
		w.WriteString("- ")
		switch item := item.(type) {
		case *mapping:
			w.keys(item, depth+1, true)
		case string:
			w.scalar(item, depth+1)
		}
	}
}

// scalar writes a text and ends its line; depth is that of its own lines.
func (w *yamlWriter) scalar(s string, depth int) {
	if !isLiteral(s) {
		w.WriteString(scalarText(s) + "\n")
		return
	}
	body, newline := strings.CutSuffix(s, "\n")
	if w.WriteString("|"); !newline {
		w.WriteString("-")
	}
	w.WriteString("\n")
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" {
			w.indent(depth)
		}
		w.WriteString(line + "\n")
	}
}

// isLiteral reports whether a text of several lines is safe as a literal block:
// it has neither white space where YAML or its readers would change it nor a
// second newline at the end.
func isLiteral(s string) bool {
	body := strings.TrimSuffix(s, "\n")
	if !strings.Contains(body, "\n") || strings.HasSuffix(body, "\n") || strings.HasPrefix(body, "\n") || strings.HasPrefix(body, " ") {
		return false
	}
	for line := range strings.SplitSeq(body, "\n") {
		if strings.HasSuffix(line, " ") || strings.Contains(line, "\t") || strings.ContainsFunc(line, unprintable) {
			return false
		}
	}
	return utf8.ValidString(s)
}

// unprintable are the characters that are only written as an escape: those that YAML
// refuses as they are (c-printable, YAML 1.2.2, 5.1), and those that end a line or mark
// an order of bytes for some readers.
func unprintable(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff
}

// isPlain reports whether no reader takes a text without quotes for anything
// else.
func isPlain(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_/"
	if s == "" || !strings.Contains(letters, s[:1]) || strings.Trim(s, letters+"0123456789.#-") != "" {
		return false
	}
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null":
		return false
	}
	return true
}

// scalarText gives a text as it stands in one line.
func scalarText(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unprintable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
