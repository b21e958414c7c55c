package main

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
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/process/mask"
)

const (
	maskedSecrets = 20
	maskedSplits  = 50
)

// maskedEncodings are 14 of those that docs/masking.md promises, made by other code
// than the masker's.
func maskedEncodings() []struct {
	name   string
	encode func(string) string
} {
	js := func(escape bool) func(string) string {
		return func(v string) string {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(escape)
			_ = e.Encode(v) // a buffer takes everything
			return strings.Trim(strings.TrimSpace(b.String()), `"`)
		}
	}
	lines := func(v string) string { // 64 characters, as PEM has them
		text := base64.StdEncoding.EncodeToString([]byte(v))
		var b strings.Builder
		for len(text) > 64 {
			b.WriteString(text[:64] + "\n")
			text = text[64:]
		}
		return b.String() + text
	}
	return []struct {
		name   string
		encode func(string) string
	}{
		{"literal", func(v string) string { return v }},
		{"base64", func(v string) string { return base64.StdEncoding.EncodeToString([]byte(v)) }},
		{"base64url without padding", func(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }},
		{"base64 in lines", lines},
		{"hexadecimal", func(v string) string { return hex.EncodeToString([]byte(v)) }},
		{"hexadecimal in capitals", func(v string) string { return strings.ToUpper(hex.EncodeToString([]byte(v))) }},
		{"query of a URL", url.QueryEscape},
		{"path of a URL", url.PathEscape},
		{"JSON", js(false)},
		{"JSON for HTML", js(true)},
		{"JSON in JSON", func(v string) string { return js(false)(js(false)(v)) }},
		{"HTML", html.EscapeString},
		{"XML", func(v string) string { var b bytes.Buffer; _ = xml.EscapeText(&b, []byte(v)); return b.String() }},
		{"quoted as Go does", func(v string) string { return strings.Trim(strconv.Quote(v), `"`) }},
	}
}

func maskingNames() (names []string) {
	for _, e := range maskedEncodings() {
		names = append(names, e.name)
	}
	return names
}

// chaosSecrets are as programs have them: letters, digits and what needs escaping.
func chaosSecrets(r *rand.Rand) (all []string) {
	const alphabet = `abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=&<>"'\%$ `
	for range maskedSecrets {
		b := []byte("Q7")
		for range 14 + r.IntN(40) {
			b = append(b, alphabet[r.IntN(len(alphabet))])
		}
		all = append(all, string(append(b, "zX9"...)))
	}
	return all
}

// masking writes each secret in each encoding between ordinary text, cut in two at 50
// places: the secret is gone, and every other byte is there.
func (c *chaos) masking(t *testing.T) (scores []score) {
	r := rand.New(rand.NewPCG(14, 20))
	secrets := chaosSecrets(r)
	var known []mask.Secret
	for i, v := range secrets {
		known = append(known, mask.Secret{Name: fmt.Sprint("secret ", i), Value: []byte(v)})
	}
	set, skipped := mask.New(mask.Options{}, known...)
	if len(skipped) > 0 {
		t.Fatalf("skipped: %v", skipped)
	}
	for _, e := range maskedEncodings() {
		ok := t.Run(e.name, func(t *testing.T) {
			for _, v := range secrets {
				for range maskedSplits {
					maskOnce(t, set, r, e.name, e.encode(v))
				}
			}
		})
		scores = append(scores, score{name: e.name, failed: !ok, count: maskedSecrets * maskedSplits, result: fmt.Sprint(maskedSecrets * maskedSplits), said: "0 leaks, all other bytes as they were"})
	}
	return scores
}

// base64Edge is what may stay of Base64: a character with up to four bits of the value,
// and padding. docs/masking.md says so.
var base64Edge = regexp.MustCompile(`^\*\*\*(\n\*\*\*)?[\w+/-]{0,2}={0,2}$`)

func maskOnce(t *testing.T, set *mask.Set, r *rand.Rand, kind, form string) {
	t.Helper()
	before, after := fmt.Sprintf("line %d: value=[", r.IntN(1000)), "] and more\nnext line\n"
	if kind == "base64 in lines" {
		before = "a file:\n" // there it is found where it begins a line
	}
	text := []byte(before + form + after)
	cut := len(before) + r.IntN(len(form)+1)
	var out bytes.Buffer
	w := set.Writer(&out, nil)
	for _, part := range [][]byte{text[:cut], text[cut:]} {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, found := strings.CutPrefix(out.String(), before)
	got, found2 := strings.CutSuffix(got, after)
	if !found || !found2 || got != "***" && !(strings.HasPrefix(kind, "base64") && base64Edge.MatchString(got)) {
		t.Errorf("cut at %d of %d: %q is left of it", cut, len(text), got)
	}
}
