package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
)

// needle is a secret that nothing else on the machine has, so that whoever finds it
// may look everywhere, whatever else runs there.
type needle struct {
	name  string
	forms []needleForm
}

// needleForm is what a needle's core is in one encoding. Those that leave letters and
// digits alone, which are JSON, URL, XML, quotes and shells, have it as it is.
type needleForm struct {
	name string
	text []byte
}

// newNeedle makes a needle of a core of letters and digits.
func newNeedle(name, core string) needle {
	n := needle{name: name}
	add := func(form string, text []byte) {
		if !slices.ContainsFunc(n.forms, func(f needleForm) bool { return bytes.Equal(f.text, text) }) {
			n.forms = append(n.forms, needleForm{form, text})
		}
	}
	add("raw", []byte(core))
	add("hex", []byte(hex.EncodeToString([]byte(core))))
	add("hex", bytes.ToUpper([]byte(hex.EncodeToString([]byte(core)))))
	for before := range 3 { // what does not depend on the neighbours
		padded := append(make([]byte, before), core...)
		first, last := (before*8+5)/6, len(padded)*8/6
		add("base64", []byte(base64.RawStdEncoding.EncodeToString(padded)[first:last]))
		add("base64", []byte(base64.RawURLEncoding.EncodeToString(padded)[first:last]))
	}
	var wide []byte
	for _, c := range utf16.Encode([]rune(core)) {
		wide = append(wide, byte(c), byte(c>>8))
	}
	add("utf16", wide)
	return n
}

// randomCore is made of what no encoding changes.
func randomCore() string { return "cAnArY" + rand.Text() }

// value is a secret with the needle in it and with what encoders change around it.
func valueOf(core string) string { return "<\"é" + core + "'&\\" }

// count tells how many times a text has the needle, in all forms together.
func (n needle) count(text []byte) (total int) {
	for _, f := range n.forms {
		total += bytes.Count(text, f.text)
	}
	return total
}

// found names the forms in which a text has the needle, each with its number; "": none.
func (n needle) found(text []byte) string {
	by := map[string]int{}
	var names []string
	for _, f := range n.forms {
		if c := bytes.Count(text, f.text); c > 0 {
			if by[f.name] == 0 {
				names = append(names, f.name)
			}
			by[f.name] += c
		}
	}
	for i, name := range names {
		names[i] = strconv.Itoa(by[name]) + " " + name
	}
	return strings.Join(names, ", ")
}

// TestNeedle: a secret is found in the encodings that masking knows, or nothing that
// is looked for below could be believed.
func TestNeedle(t *testing.T) {
	core := randomCore()
	n, v := newNeedle("value", core), valueOf(core)
	quoted := strconv.Quote(v)
	for name, text := range map[string]string{
		"raw": v, "json": quoted, "json in json": strconv.Quote(quoted), "ascii": strconv.QuoteToASCII(v), "url": url.QueryEscape(v), "path": url.PathEscape(v),
		"xml": html.EscapeString(v), "shell": "'" + strings.ReplaceAll(v, "'", `'\''`) + "'", "hex": hex.EncodeToString([]byte(v)), "HEX": fmt.Sprintf("%X", v),
		"base64": base64.StdEncoding.EncodeToString([]byte(v)), "base64 url": base64.URLEncoding.EncodeToString([]byte(v)),
		"base64 after 1": base64.StdEncoding.EncodeToString([]byte(":" + v)), "base64 after 2": base64.StdEncoding.EncodeToString([]byte("u:" + v)),
	} {
		if got := n.count([]byte("before " + text + " after")); got != 1 {
			t.Errorf("%s: found %d times", name, got)
		}
	}
	if got := n.found([]byte(newCore(core))); got != "" {
		t.Errorf("another text has it: %s", got)
	}
}

// newCore is the core with another letter in the middle.
func newCore(core string) string {
	other := byte('x')
	if core[len(core)/2] == other {
		other = 'y'
	}
	return core[:len(core)/2] + string(other) + core[len(core)/2+1:]
}
