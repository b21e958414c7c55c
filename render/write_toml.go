package render

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// tomlFields writes a map as TOML 1.0, which knows no null, and no number that
// does not fit into 64 bits.
func tomlFields(fields map[string]any) ([]byte, failures) {
	bad := notUTF8("toml", fields)
	tree := make(map[string]any, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		v, has := tomlValue(fields[name])
		if has != "" {
			bad = append(bad, cannotCarry("toml", name, "it has "+has, "use format: json or a template"))
		}
		tree[name] = v
	}
	if len(bad) > 0 {
		return nil, bad
	}
	b, err := toml.Marshal(tree)
	if err != nil {
		return nil, failures{badData("the secret cannot be written as TOML", "use format: json or a template")}
	}
	return b, nil
}

// tomlValue gives v with Go's numbers in it, or what it has that TOML cannot
// carry.
func tomlValue(v any) (out any, has string) {
	switch v := v.(type) {
	case nil:
		return nil, "a null"
	case json.Number:
		return tomlNumber(v.String())
	case []any:
		list := make([]any, len(v))
		for i, elem := range v {
			if list[i], has = tomlValue(elem); has != "" {
				return nil, has
			}
		}
		return list, ""
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, elem := range v {
			if m[key], has = tomlValue(elem); has != "" {
				return nil, has
			}
		}
		return m, ""
	}
	return v, ""
}

// tomlNumber gives the number if it can be given exactly: the library would
// round it silently.
func tomlNumber(s string) (any, string) {
	if !strings.ContainsAny(s, ".eE") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, "a whole number beyond 64 bits"
		}
		return n, ""
	}
	f, err := strconv.ParseFloat(s, 64)
	want, wantExponent := significant(s)
	got, gotExponent := significant(strconv.FormatFloat(f, 'e', -1, 64))
	if err != nil || want != got || wantExponent != gotExponent {
		return nil, "a number with more digits than 64 bits hold"
	}
	return f, ""
}

// significant gives the digits of a number without the zeros around them, and
// the power of ten of the last of them. It takes no arithmetic, which would take
// long for an exponent of a million.
func significant(s string) (digits string, exponent int) {
	mantissa, power, _ := strings.Cut(strings.ToLower(s), "e")
	exponent, _ = strconv.Atoi(power) // out of range: out of float64's, too
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := whole + fraction
	digits = strings.TrimRight(all, "0")
	exponent += len(all) - len(digits) - len(fraction)
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		exponent = 0
	}
	if negative {
		digits = "-" + digits
	}
	return digits, exponent
}
