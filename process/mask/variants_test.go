package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func testValues() []string {
	values := []string{
		"hunter2hunter2", "correct horse battery staple", `p&ss'w"rd\<x>/y=z`, "tab\tand\nnewline in it", "pässwörter ✓ 😀",
		"$HOME `id` !bang #hash ~tilde", "a+b/c==a+b/c==", "\x01\x02\x7f\x1b[31m\u2028x", "it's it''s'", "https://u:p@h/x?y=z&w",
		"\"quoted\"", `back\\slash\n`, "100%sure%20%41", "(brackets)[x]{y}*;,:|", "\xff\xfe\x00binary\x80",
	}
	r := rand.New(rand.NewPCG(7, 7))
	for range 100 {
		values = append(values, makeSecret(r))
	}
	return values
}

// encoders are those that programs use; the value must not be seen in what they
// make of it, nor in what can be decoded from it.
func encoders() map[string]func(string) string {
	js := func(html bool) func(string) string {
		return func(v string) string {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(html)
			e.Encode(v)
			return b.String()
		}
	}
	return map[string]func(string) string{
		"nothing":                func(v string) string { return v },
		"hex":                    func(v string) string { return hex.EncodeToString([]byte(v)) },
		"HEX":                    func(v string) string { return fmt.Sprintf("%X", v) },
		"query":                  url.QueryEscape,
		"path":                   url.PathEscape,
		"userinfo":               func(v string) string { return url.UserPassword("u", v).String() },
		"lower query":            func(v string) string { return lowerPercent(url.QueryEscape(v)) },
		"json":                   js(false),
		"json for html":          js(true),
		"json in json, for html": func(v string) string { return js(true)(js(true)(v)) },
		"json in json":           func(v string) string { return js(false)(js(false)(v)) },
		"html":                   html.EscapeString,
		"xml":                    func(v string) string { var b bytes.Buffer; xml.EscapeText(&b, []byte(v)); return b.String() },
		"%q":                     strconv.Quote,
		"%+q":                    strconv.QuoteToASCII,
		"sh":                     func(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" },
		"ash":                    func(v string) string { return "'" + strings.ReplaceAll(v, "'", `'"'"'`) + "'" },
	}
}

func lowerPercent(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == '%' {
			copy(b[i:], bytes.ToLower(b[i:i+3]))
		}
	}
	return string(b)
}

// Apart from the mark nothing of an encoded value is left but its frame.
func TestEncodersAreMasked(t *testing.T) {
	for _, value := range testValues() {
		set, skipped := New(Options{}, Secret{"s", []byte(value)})
		if len(skipped) != 0 {
			continue
		}
		trimmed := strings.Trim(value, " \t\r\n")
		for name, encode := range encoders() {
			if !utf8.ValidString(value) && (strings.Contains(name, "json") || name == "xml") {
				continue // they put another character in its place
			}
			if name == "xml" && strings.ContainsAny(value, "\x00\x01\x02\x1b") {
				continue // the same
			}
			text := encode(trimmed)
			got := masked(t, set, []byte("<"+text+">"))
			frame := strings.Replace(got, "***", "", 1)
			if len(frame) > 16 || strings.Contains(frame, trimmed) || !strings.Contains(got, "***") {
				t.Errorf("%s of %q: %q became %q", name, value, text, got)
			}
		}
	}
}

// Base64 of a text that has the value in it, wherever it stands: what is left of
// it, decoded, has at most the two bytes at each edge.
func TestBase64AtAllAlignments(t *testing.T) {
	encodings := []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding}
	for _, value := range testValues() {
		set, skipped := New(Options{}, Secret{"s", []byte(value)})
		if len(skipped) != 0 {
			continue
		}
		trimmed := strings.Trim(value, " \t\r\n")
		for before := range 7 {
			for after := range 4 {
				for _, e := range encodings {
					text := e.EncodeToString([]byte("prefix:"[:before] + trimmed + "!?."[:after]))
					got := masked(t, set, []byte(text))
					left, right, ok := strings.Cut(got, "***")
					if !ok || strings.Contains(right, "***") {
						t.Fatalf("%q at %d: %q", value, before, got)
					}
					// Of a character that the value's bits share, at most one is left at each edge.
					if len(left) > (before*8+5)/6 || len(right) > (after*8+5)/6+1+2 {
						t.Errorf("%q at %d, then %d: %q", value, before, after, got)
					}
				}
			}
		}
	}
}

func TestBase64InLines(t *testing.T) {
	value := makeLong(300)
	set, _ := New(Options{}, Secret{"s", []byte(value)})
	for _, width := range []int{64, 76} {
		text := base64.StdEncoding.EncodeToString([]byte(value + "\n"))
		var lines []string
		for len(text) > 0 {
			n := min(width, len(text))
			lines = append(lines, text[:n])
			text = text[n:]
		}
		got := masked(t, set, []byte(strings.Join(lines, "\n")))
		left := strings.NewReplacer("***", "", "\n", "").Replace(got)
		if len(left) > 8 {
			t.Errorf("lines of %d: %q", width, got)
		}
	}
}

func makeLong(n int) string {
	r := rand.New(rand.NewPCG(8, 8))
	var b strings.Builder
	for range n {
		b.WriteByte(byte('!' + r.IntN(90)))
	}
	return b.String()
}

// Forms that no package of the standard library makes, spelled out.
func TestFormsSpelledOut(t *testing.T) {
	value := "a<b>&'/\"é=1\x07\x1f x"
	set, _ := New(Options{}, Secret{"s", []byte(value)})
	for name, text := range map[string]string{
		"php":                `a<b>&'\/\"\u00e9=1\u0007\u001f x`,
		"python json":        `a<b>&'/\"\u00e9=1\u0007\u001f x`,
		"gson":               `a\u003cb\u003e\u0026\u0027/\"é\u003d1\u0007\u001f x`,
		"html by python":     "a&lt;b&gt;&amp;&#x27;/&quot;é=1\a\x1f x",
		"html by php":        "a&lt;b&gt;&amp;&#039;/&quot;é=1\a\x1f x",
		"xml":                "a&lt;b&gt;&amp;&apos;/&quot;é=1\a\x1f x",
		"xml, between tags":  "a&lt;b&gt;&amp;'/\"é=1\a\x1f x",
		"encodeURIComponent": "a%3Cb%3E%26'%2F%22%C3%A9%3D1%07%1F%20x",
		"form, lower":        "a%3cb%3e%26%27%2f%22%c3%a9%3d1%07%1f+x",
		"python bytes":       `a<b>&\'/"\xc3\xa9=1\x07\x1f x`,
		"c":                  `a<b>&'/\"\303\251=1\a\037 x`,
		"double quoted":      `a<b>&'/\"é=1` + "\a\x1f x",
	} {
		if got := masked(t, set, []byte("<"+text+">")); got != "<***>" {
			t.Errorf("%s: %q became %q", name, text, got)
		}
	}
}

// What a real shell makes of a value, in a trace and with printf.
func TestShellsOwnQuoting(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	for _, value := range testValues() {
		if strings.ContainsAny(value, "\x00\n\t\x01\x1b") || !utf8.ValidString(value) || value != strings.ToValidUTF8(value, "") {
			continue
		}
		set, skipped := New(Options{}, Secret{"s", []byte(value)})
		if len(skipped) != 0 {
			continue
		}
		cmd := exec.CommandContext(t.Context(), bash, "-c", `set -x; : "$V"; printf %q "$V"; echo; echo "${V@Q}"`)
		cmd.Env = []string{"V=" + strings.TrimSpace(value), "LC_ALL=C.UTF-8"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(masked(t, set, out)) {
			if line != "\n" && !strings.Contains(line, "***") && !strings.Contains(line, "+ echo") {
				t.Errorf("%q: %q", value, line)
			}
		}
	}
}

// The appenders against the standard library, byte by byte.
func TestAppendersAreTheStandardLibrarys(t *testing.T) {
	for _, value := range testValues() {
		v := []byte(value)
		for _, c := range []struct{ name, got, want string }{
			{"Quote", string(quoteForm{quote: '"'}.append(nil, v)), unframe(strconv.Quote(value))},
			{"QuoteToASCII", string(quoteForm{quote: '"', ascii: true}.append(nil, v)), unframe(strconv.QuoteToASCII(value))},
			{"QueryEscape", string(appendURL(nil, v, "-_.~", "0123456789ABCDEF", "+")), url.QueryEscape(value)},
			{"PathEscape", string(appendURL(nil, v, "-_.~$&+:=@", "0123456789ABCDEF", "%20")), url.PathEscape(value)},
			{"EscapeString", string(xmlForm{quote: "&#34;", apostrophe: "&#39;"}.append(nil, v)), html.EscapeString(value)},
		} {
			if c.got != c.want {
				t.Errorf("%s of %q: %q, want %q", c.name, value, c.got, c.want)
			}
		}
		if utf8.Valid(v) {
			for _, f := range []jsonForm{{}, {html: true}, {slash: true}, {ascii: true}, {html: true, gson: true, lines: true}} {
				var back string
				if f.ascii && strings.ContainsFunc(string(f.append(nil, v)), func(r rune) bool { return r > '~' }) {
					t.Errorf("JSON %+v of %q is not ASCII", f, value)
				}
				if err := json.Unmarshal([]byte(`"`+string(f.append(nil, v))+`"`), &back); err != nil || back != value {
					t.Errorf("JSON %+v of %q comes back as %q, %v", f, value, back, err)
				}
			}
		}
	}
}

func unframe(s string) string { return s[1 : len(s)-1] }

// Base64 in lines: what the last one holds is hidden too, however short it is.
func TestShortLastLine(t *testing.T) {
	for n := 40; n < 130; n++ {
		value := strings.Repeat("Q7", n)[:n-3] + "zX9"
		set, _ := New(Options{}, Secret{"a", []byte(value)})
		text := base64.StdEncoding.EncodeToString([]byte(value))
		for _, width := range []int{64, 76} {
			for _, end := range []string{"\n", "\r\n"} {
				var b strings.Builder
				for from := 0; from < len(text); from += width {
					b.WriteString(text[from:min(from+width, len(text))] + end)
				}
				got := strings.NewReplacer("***", "", "=", "", "\n", "", "\r", "").Replace(masked(t, set, []byte(b.String())))
				if len(got) > 1 { // one character, with at most four bits, may stay: see docs/masking.md
					t.Errorf("%d bytes in lines of %d: %q is left", n, width, got)
				}
			}
		}
	}
}
