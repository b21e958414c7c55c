package render

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/BurntSushi/toml"
	"go.yaml.in/yaml/v3"

	"github.com/secretboot/secretboot/bootstrap/yamldoc"
)

// encodingFunctions change the form of a value: base64, JSON, YAML, hashes.
func encodingFunctions() []*function {
	std, urlSafe := base64.StdEncoding, base64.URLEncoding
	toJSON := func(indent string, html bool) func(any) (string, error) {
		return func(v any) (string, error) { return encodeJSON(v, indent, html) }
	}
	return []*function{
		{name: "base64Decode", fn: func(s string) (string, error) { return decode64(std, s) }},
		{name: "base64Encode", fn: func(s string) string { return std.EncodeToString([]byte(s)) }},
		{name: "base64URLDecode", fn: func(s string) (string, error) { return decode64(urlSafe, s) }},
		{name: "base64URLEncode", fn: func(s string) string { return urlSafe.EncodeToString([]byte(s)) }},

		{name: "toJSON", fn: toJSON("", true), deep: true, inside: mustUTF},
		{name: "toJSONPretty", fn: toJSON("  ", true), deep: true, inside: mustUTF},
		{name: "toUnescapedJSON", fn: toJSON("", false), deep: true, inside: mustUTF},
		{name: "toUnescapedJSONPretty", fn: toJSON("  ", false), deep: true, inside: mustUTF},
		{name: "toYAML", fn: toYAML, deep: true, inside: mustUTF},
		{name: "toTOML", fn: encodeTOML, deep: true, inside: noNil | mustUTF},
		{name: "parseJSON", fn: parseJSON},
		{name: "parseYAML", fn: parseYAML},

		{name: "sha256Hex", fn: func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }},
		{name: "md5sum", fn: func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }},
		{name: "hmacSHA256Hex", fn: func(message, key string) string {
			h := hmac.New(sha256.New, []byte(key))
			_, _ = h.Write([]byte(message))
			return hex.EncodeToString(h.Sum(nil))
		}},
	}
}

func decode64(e *base64.Encoding, s string) (string, error) {
	b, err := e.DecodeString(s)
	if err != nil {
		return "", badData("the value is not base64", "")
	}
	return string(b), nil
}

// encodeJSON writes v with sorted keys and without a newline at the end.
func encodeJSON(v any, indent string, html bool) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return "", badData("the value cannot be written as JSON", "")
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// encodeTOML writes a map as TOML 1.0, without white space at its ends. The
// encoder is the one that consul-template has, so that the text is the same: quotes,
// and the indentation of what is nested. It would round a number beyond 64 bits;
// tomlValue refuses that.
func encodeTOML(m map[string]any) (string, error) {
	tree, has := tomlValue(m)
	if has != "" {
		return "", badData("TOML cannot carry "+has, "")
	}
	b, err := toml.Marshal(tree)
	if err != nil {
		return "", badData("the value cannot be written as TOML", "")
	}
	return strings.TrimSpace(string(b)), nil
}

// parseJSON reads one JSON value and keeps the text of numbers. Empty text is
// an empty map, as upstream.
func parseJSON(s string) (any, error) {
	if s == "" {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, badData("the value is not JSON", "")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, badData("something follows after the JSON value", "")
	}
	return v, nil
}

// The bounds of what parseYAML reads: aliases are copies, so that a short text
// can be a very large value.
const (
	maxYAML    = 1 << 20
	maxAliases = 16
)

// parseYAML reads one YAML document. Empty text is an empty map, as upstream.
func parseYAML(r *run, s string) (any, error) {
	if s == "" {
		return map[string]any{}, nil
	}
	if len(s) > maxYAML {
		return nil, tooMuch("the YAML text is larger than 1 MiB")
	}
	if nestedYAML(s) {
		return nil, tooMuch("the YAML text is nested more than 200 levels deep")
	}
	docs, err := yamldoc.Parse([]byte(s))
	if err != nil {
		return nil, badData("the value is not YAML", "")
	}
	if len(docs) == 0 {
		return nil, nil
	}
	if simplify(docs[0]) > maxAliases {
		return nil, tooMuch("the YAML text has more than 16 aliases")
	}
	var v any
	if err := docs[0].Decode(&v); err != nil {
		return nil, badData("the value is not YAML", "")
	}
	return v, r.inspect(v, 0)
}

// simplify makes text of keys, as JSON has them, and of what would not come back
// as it was written: dates, 08, 1e3, more digits than 64 bits hold. It counts the
// aliases.
func simplify(n *yaml.Node) (aliases int) {
	if n.Kind == yaml.AliasNode {
		return 1
	}
	for i, child := range n.Content {
		aliases += simplify(child)
		if child.Kind != yaml.ScalarNode {
			continue
		}
		tag := child.ShortTag()
		isKey := n.Kind == yaml.MappingNode && i%2 == 0 && tag != "!!merge"
		if isKey || tag == "!!timestamp" || tag == "!!float" && !strings.Contains(child.Value, ".") {
			child.Tag = "!!str"
		}
	}
	return aliases
}

// nestedYAML reports whether a text may be nested deeper than the parser, which
// calls itself for each level and copies what it has, could bear. It looks at
// brackets and at what a line begins with, and sees rather too much than too
// little: a bracket in a text counts.
func nestedYAML(s string) bool {
	const most = 200
	depth := 0
	for line := range strings.Lines(s) {
		lead := 0
		for rest := strings.TrimLeft(line, " "); len(rest) > 1 && (rest[0] == '-' || rest[0] == '?' || rest[0] == ':') && rest[1] == ' '; lead++ {
			rest = strings.TrimLeft(rest[2:], " ")
		}
		if lead > most || len(line)-len(strings.TrimLeft(line, " ")) > 10*most {
			return true
		}
		for i := range len(line) {
			switch line[i] {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
			if depth > most {
				return true
			}
		}
		depth = max(depth, 0)
	}
	return false
}
