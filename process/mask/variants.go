package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
)

const (
	// The shortest line of a multi-line value that is looked for by itself.
	lineMin = 8

	// Longer values are keys and documents, of which each form takes memory; of
	// these only the usual URL encodings are looked for.
	usualMax = 1024
)

// generator makes the patterns of secrets. Each form is made in scratch, which is
// never grown while it holds something and is overwritten afterwards, so that no
// copies are left behind.
type generator struct {
	min      int
	patterns []pattern
	secret   int
	first    int // of the patterns of this secret
	scratch  []byte
}

func (g *generator) generate(secret int, value []byte) {
	g.secret, g.first = secret, len(g.patterns)
	g.scratch = make([]byte, 0, scratchSize(len(value)))
	g.add("literal", value)
	if bytes.IndexByte(value, '\n') >= 0 {
		g.lines(value)
	}
	if len(value) <= encodedMax {
		g.base64(value)
		g.add("hex", hex.AppendEncode(g.scratch, value))
		g.add("hex", bytes.ToUpper(hex.AppendEncode(g.scratch, value)))
		g.url(value)
		g.json(value)
		g.xml(value)
		g.quoted(value)
		g.shell(value)
	}
	clear(g.scratch[:cap(g.scratch)])
}

// scratchSize is enough for the longest form: JSON of six bytes for one, and
// behind it the same in JSON again.
func scratchSize(n int) int { return 16*n + 16 }

// add adds a form, unless this secret has it already or it is so short that it
// would be found anywhere.
func (g *generator) add(kind string, text []byte) {
	if len(text) < g.min {
		return
	}
	for _, p := range g.patterns[g.first:] {
		if bytes.Equal(p.text, text) {
			return
		}
	}
	g.patterns = append(g.patterns, pattern{bytes.Clone(text), []owner{{g.secret, kind}}})
}

// lines adds the whole value with either kind of line end, and each line that
// says something. The frame of a PEM block says nothing, see tells: every key has it.
func (g *generator) lines(value []byte) {
	unix := bytes.ReplaceAll(value, []byte("\r\n"), []byte("\n"))
	g.add("literal", unix)
	dos := bytes.ReplaceAll(unix, []byte("\n"), []byte("\r\n"))
	g.add("literal", dos)
	clear(dos)
	for line := range bytes.SplitSeq(unix, []byte("\n")) {
		line = bytes.Trim(line, " \t\r")
		if tells(line) {
			g.add("line", line)
		}
	}
	clear(unix)
}

// tells reports whether a line of a value says something by itself.
func tells(line []byte) bool {
	frame := bytes.HasPrefix(line, []byte("-----")) && bytes.HasSuffix(line, []byte("-----"))
	return len(line) >= lineMin && !frame && !common(line)
}

// base64 adds what the value is inside of longer encoded text, for each of the
// three ways its bytes can fall into groups. The characters at the edges, which
// depend on the neighbours too, are not part of it.
//
// Programs break long text into lines of 76 characters (RFC 2045) or 64 (RFC
// 7468), so these lines count too, for text that begins with the value.
func (g *generator) base64(value []byte) {
	for before := range 3 {
		padded := append(g.scratch[:before], value...)
		clear(padded[:before])
		first := (before*8 + 5) / 6
		last := len(padded) * 8 / 6
		room := g.scratch[len(padded):len(padded)] // behind padded, in the same memory
		g.add("base64", base64.RawStdEncoding.AppendEncode(room, padded)[first:last])
		g.add("base64", base64.RawURLEncoding.AppendEncode(room, padded)[first:last])
	}
	text := base64.RawStdEncoding.AppendEncode(g.scratch, value)[:len(value)*8/6]
	for _, width := range []int{64, 76} {
		for from := 0; len(text) > width && from < len(text); from += width {
			line := text[from:min(from+width, len(text))]
			g.add("base64", line)
			if from > 0 && len(line) < g.min { // too short by itself, but it holds up to three bytes
				g.joined(text[from-width:from], line)
			}
		}
	}
}

// joined adds two lines with either kind of line end between them.
func (g *generator) joined(line, next []byte) {
	for _, end := range []string{"\n", "\r\n"} {
		both := slices.Concat(line, []byte(end), next)
		g.add("base64", both)
		clear(both)
	}
}

// url adds the percent encodings: what is kept as it is differs from encoder to
// encoder, and so do the case of the digits and the space.
func (g *generator) url(value []byte) {
	keeps := []string{
		"-_.~",           // RFC 3986, curl, Go's QueryEscape
		"-_.~!'()*",      // JavaScript's encodeURIComponent
		"-_.~/",          // Python's quote
		"-_.*",           // the HTML form, Java
		"-_.~$&+:=@",     // Go's PathEscape
		"-_.~$&+,;=",     // the password in a URL, by Go
		"-_.~!'()*$&,;=", // the same by RFC 3986, without the plus
		"-_.~!'()*$&+,;=:@/?#",
	}
	if len(value) > usualMax {
		keeps = keeps[:3]
	}
	for _, keep := range keeps {
		for _, digits := range []string{"0123456789ABCDEF", "0123456789abcdef"} {
			for _, space := range []string{"%20", "+"} {
				g.add("url", appendURL(g.scratch, value, keep, digits, space))
			}
		}
	}
}

func (g *generator) json(value []byte) {
	for _, f := range []jsonForm{
		{},
		{lines: true},
		{html: true, lines: true},
		{slash: true},
		{slash: true, lines: true},
		{slash: true, ascii: true},
		{ascii: true},
		{ascii: true, html: true},
		{html: true, gson: true, lines: true},
	} {
		g.add("json", f.append(g.scratch, value))
	}
	// A log in JSON that quotes JSON.
	for _, f := range []jsonForm{{}, {lines: true}, {html: true, lines: true}} {
		once := f.append(g.scratch, value)
		g.add("json", f.append(g.scratch[len(once):len(once)], once))
	}
}

func (g *generator) xml(value []byte) {
	for _, f := range []xmlForm{
		{quote: `"`, apostrophe: `'`},
		{quote: "&quot;", apostrophe: "&apos;"},
		{quote: "&quot;", apostrophe: "'"},
		{quote: "&quot;", apostrophe: "&#39;"},
		{quote: "&quot;", apostrophe: "&#x27;"},
		{quote: "&quot;", apostrophe: "&#039;"},
		{quote: "&#34;", apostrophe: "&#39;"},
		{quote: "&#34;", apostrophe: "&#39;", blanks: true},
	} {
		g.add("xml", f.append(g.scratch, value))
	}
}

// quoted adds what stands between the quotes of a string literal.
func (g *generator) quoted(value []byte) {
	for _, f := range []quoteForm{
		{quote: '"'},              // Go's %q
		{quote: '"', ascii: true}, // Go's %+q
		{quote: '"', bytes: hexBytes},
		{quote: '"', bytes: octalBytes},  // C
		{quote: '\'', bytes: hexBytes},   // Python's repr of bytes
		{quote: '\'', raw: true},         // Python's repr of text
		{quote: '\'', bytes: octalBytes}, // $'…' of a shell
	} {
		g.add("quoted", f.append(g.scratch, value))
	}
}

// shell adds what stands inside the quotes of a command line, as set -x, printf
// %q and those who build commands write it.
func (g *generator) shell(value []byte) {
	g.add("shell", appendReplaced(g.scratch, value, '\'', `'\''`))
	g.add("shell", appendReplaced(g.scratch, value, '\'', `'"'"'`))
	g.add("shell", appendBackslashed(g.scratch, value, func(c byte) bool { return contains("$`\"\\", c) }))
	g.add("shell", appendBackslashed(g.scratch, value, func(c byte) bool { return contains("$`\"\\!", c) }))
	g.add("shell", appendBackslashed(g.scratch, value, func(c byte) bool {
		return c < 0x80 && !alphanumeric(c) && !contains("_%+-./:=@,", c)
	}))
}
