package render

import (
	"encoding/json"
	"reflect"
	"testing"
)

// TestYAMLRoundTrip writes texts that a YAML reader may take for something else.
func TestYAMLRoundTrip(t *testing.T) {
	for _, s := range []string{
		"", " ", "yes", "no", "on", "Off", "y", "n", "true", "null", "~", "1", "-1", "1e3", "0x1f", "0o7", "012", "1_000", ".5", "1.", "1:30", ".inf",
		"2024-01-01", ": ", "a: b", "a:", "- a", "-", "?", "? a", "#", "a #b", " lead", "trail ", "\t", "\tx", "'", "\"", "@x", "`x`", "%x", "!tag",
		"&a", "*a", "|", ">", "{", "}", "[a]", "a,b", "=", "<<", "---", "...", "--- a", "\\", "\\n", "a\nb", "a\n", "a\n\n", "\na", "\n", " a\nb",
		"a\n b\n", "a\n\tb", "a\r\nb", "a\rb", "\u2028", "\u0085", "ü☃😀", "-----BEGIN X-----\nabc=\n-----END X-----\n", "it's \"q\"", "\x01", "a\x00b", "\ufeff", "# c\nx",
		"a\n#b", "\n\n  x\n", "trail \nb", "a\nb ",
	} {
		v := map[string]any{"k": s, "l": []any{s, map[string]any{"m": s}}, "n": json.Number("1")}
		v["_"+s], v[s+"_"] = true, true // a key, too
		text, err := toYAML(v)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		got, err := parseYAML(&run{ctx: t.Context()}, text)
		if err != nil {
			t.Errorf("%q: %v\n%s", s, err, text)
			continue
		}
		m, ok := got.(map[string]any)
		if !ok || m["k"] != s || m["_"+s] != true || m[s+"_"] != true || !reflect.DeepEqual(m["l"], []any{s, map[string]any{"m": s}}) {
			t.Errorf("%q: got %#v from\n%s", s, got, text)
		}
	}
}

func TestYAMLForm(t *testing.T) {
	for _, tc := range [][2]string{
		{`{}`, "{}"},
		{`{"a": {}, "b": []}`, "a: {}\nb: []"},
		{`{"flag": true, "port": 5432, "url": "https://x:8200/a?b=c"}`, "flag: true\nport: 5432\nurl: https://x:8200/a?b=c"},
		{`{"l": [[1, [2]], {"a": 1, "b": [null]}]}`, "l:\n- - 1\n  - - 2\n- a: 1\n  b:\n  - null"},
		{`{"m": {"n1": "x\ny\n", "z": "n"}}`, "m:\n  n1: |\n    x\n    y\n  z: \"n\""},
		{`{"last": "x\ny\n"}`, `last: "x\ny\n"`},
		{`{"e": 1e3, "f": 1.5E-2}`, "e: 1.0e+3\nf: 1.5e-2"},
	} {
		if got, err := toYAML(parseTree(t, tc[0]).Reveal()); err != nil || got != tc[1] {
			t.Errorf("%s\n got %q\nwant %q, %v", tc[0], got, tc[1], err)
		}
	}
}
