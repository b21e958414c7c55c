package plan

import (
	"sort"
	"strconv"
	"strings"
)

// Key identifies a read: two declarations with one key are one request.
// Origin and Optional are not part of it.
func (r Read) Key() string {
	var b strings.Builder
	b.WriteString([]string{"read", "write", "list"}[r.Op])
	b.WriteByte(' ')
	b.WriteString(r.Path)
	if r.KV != KVAuto {
		b.WriteString(" kv=" + r.KV.String())
	}
	if r.Version != 0 {
		b.WriteString(" version=" + strconv.Itoa(r.Version))
	}
	for _, path := range r.Else {
		b.WriteString(" else=" + strconv.Quote(path))
	}
	names := make([]string, 0, len(r.Body))
	for name := range r.Body {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		h := r.Body[name]
		kind := strconv.Itoa(int(h.Kind)) // the text "env:A" is not the variable A
		if h.JSON {
			kind += "j"
		}
		b.WriteString(" " + strconv.Quote(name) + "=" + kind + ":" + strconv.Quote(h.String()))
	}
	return b.String()
}

// String gives the rule as it is written in a configuration file.
func (k KVRule) String() string {
	switch k {
	case KV1:
		return "1"
	case KV2:
		return "2"
	case KVLiteral:
		return "literal"
	}
	return "auto"
}

// KVRuleNames lists the names that ParseKVRule knows.
func KVRuleNames() []string { return []string{"1", "2", "auto", "literal"} }

// ParseKVRule reads what KVRule.String gives.
func ParseKVRule(s string) (KVRule, bool) {
	switch s {
	case "1":
		return KV1, true
	case "2":
		return KV2, true
	case "auto":
		return KVAuto, true
	case "literal":
		return KVLiteral, true
	}
	return KVAuto, false
}

// SplitPath trims the slashes and white space around a path, as Vault does.
func SplitPath(s string) string { return strings.Trim(strings.TrimSpace(s), "/") }
