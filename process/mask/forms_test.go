package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzForms checks the forms that are looked for, in both directions. Each of them
// is one that a decoder of that format reads as the value: no form is one that
// nobody writes. And what the encoders of the standard library make of the value,
// wherever it stands in what they encode, is found.
func FuzzForms(f *testing.F) {
	for _, value := range testValues()[:20] {
		f.Add([]byte(value), uint8(0), uint8(1))
		f.Add([]byte(value+value), uint8(2), uint8(0))
	}
	f.Fuzz(func(t *testing.T, value []byte, before, after uint8) {
		if len(value) < 6 || len(value) > 600 {
			t.Skip("too short to look for, or slow")
		}
		g := generator{min: 4}
		g.generate(0, value)
		for _, p := range g.patterns {
			if kind := p.owners[0].kind; !decodes(kind, p.text, value) {
				t.Fatalf("%s: %q does not stand for %q", kind, p.text, value)
			}
		}
		checkAligned(t, g.patterns, value, int(before%8), int(after%8))
		checkEncoded(t, string(value))
	})
}

// decodes reports whether a form of a kind stands for value, or for a part of it
// where that is what the kind is.
func decodes(kind string, form, value []byte) bool {
	is := func(text string, err error) bool { return err == nil && text == string(value) }
	s := string(form)
	switch kind {
	case "literal":
		unix := func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }
		// A carriage return of the value's own may stand before one that is left out.
		return bytes.Equal(form, unix(value)) || bytes.Equal(unix(form), unix(value))
	case "line":
		return !bytes.Contains(form, []byte("\n")) && bytes.Contains(value, form)
	case "hex":
		b, err := hex.DecodeString(s)
		return is(string(b), err)
	case "base64":
		return isPiece(form, value)
	case "json":
		return jsonReads(s, value)
	case "xml":
		return is(html.UnescapeString(s), nil)
	case "url":
		return urlReads(s, string(value))
	case "quoted":
		return is(unquote(s, '"')) || is(unquote(s, '\''))
	case "shell":
		return is(strings.ReplaceAll(s, `'\''`, "'"), nil) || is(strings.ReplaceAll(s, `'"'"'`, "'"), nil) || is(unbackslash(s), nil)
	}
	return false
}

// isPiece reports whether base64 text is cut out of that of something with value in it.
func isPiece(form, value []byte) bool {
	text := strings.NewReplacer("-", "+", "_", "/").Replace(string(form))
	return slices.ContainsFunc([]int{0, 1, 2, 3}, func(from int) bool {
		if len(text) <= from {
			return false
		}
		b, err := base64.RawStdEncoding.DecodeString(text[from:][:(len(text)-from)/4*4])
		return err == nil && bytes.Contains(value, b)
	})
}

// jsonReads reads JSON, or JSON in JSON. What is not UTF-8 cannot be in either.
func jsonReads(form string, value []byte) bool {
	for range 2 {
		if json.Unmarshal([]byte(`"`+form+`"`), &form) != nil {
			return false
		}
		if form == string(value) || !utf8.Valid(value) {
			return true
		}
	}
	return false
}

// urlReads takes a plus for itself and for a space, and as either when the value has both.
func urlReads(form, value string) bool {
	path, err := url.PathUnescape(form)
	query, otherErr := url.QueryUnescape(form)
	plain := strings.NewReplacer("+", " ")
	both := strings.Contains(value, " ") && strings.Contains(value, "+") && plain.Replace(path) == plain.Replace(value)
	return err == nil && otherErr == nil && (path == value || query == value || both)
}

// unquote reads the inside of a string literal, and leaves bytes that are no text alone.
func unquote(s string, quote byte) (string, error) {
	var out []byte
	for s != "" {
		if s[0] != '\\' {
			out, s = append(out, s[0]), s[1:]
			continue
		}
		r, wide, rest, err := strconv.UnquoteChar(s, quote)
		if err != nil {
			return "", err
		}
		if s = rest; wide {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, byte(r))
		}
	}
	return string(out), nil
}

// unbackslash is what a shell does with backslashes.
func unbackslash(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}

// checkAligned looks for the value in base64 of a text that has it in the middle:
// what is found leaves at most the characters that its neighbours share.
func checkAligned(t *testing.T, patterns []pattern, value []byte, before, after int) {
	t.Helper()
	whole := slices.Concat(bytes.Repeat([]byte("\xff"), before), value, bytes.Repeat([]byte("\x00"), after))
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		text := []byte(e.EncodeToString(whole))
		first, last := (before*8+5)/6, (before+len(value))*8/6 // characters with bits of the value alone
		if !slices.ContainsFunc(patterns, func(p pattern) bool { return bytes.Equal(p.text, text[first:last]) }) {
			t.Fatalf("%q after %d bytes: %q of %q is not looked for", value, before, text[first:last], text)
		}
	}
}

// checkEncoded masks what encoders make of a value, and wants nothing left but the
// frame that they put around it.
func checkEncoded(t *testing.T, value string) {
	t.Helper()
	value = strings.Trim(value, " \t\r\n")
	set, skipped := New(Options{Min: 6}, Secret{"s", []byte(value)})
	if len(skipped) > 0 || strings.Contains(value, "*") || !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
		return // as TestEncodersAreMasked, which has some of these
	}
	for name, encode := range encoders() {
		if got := masked(t, set, []byte(encode(value))); !strings.Contains(got, "***") || len(strings.Replace(got, "***", "", 1)) > 16 {
			t.Fatalf("%s of %q: %q became %q", name, value, encode(value), got)
		}
	}
}
