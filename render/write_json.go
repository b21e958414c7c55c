package render

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"
)

// jsonFields writes a map as JSON. A text that is not UTF-8 is refused by the
// name of its field: encoding/json would change it silently.
func jsonFields(fields map[string]any, html bool) ([]byte, failures) {
	if bad := notUTF8("json", fields); len(bad) > 0 {
		return nil, bad
	}
	return alone(jsonValue(fields, html))
}

// jsonValue writes JSON with sorted keys, and with escapes for HTML if html.
func jsonValue(v any, html bool) ([]byte, *failure) {
	if !allUTF8(v) {
		return nil, badData("json cannot carry "+hasNotUTF8, "deliver the field as a file of its own")
	}
	s, err := encodeJSON(v, "", html)
	if err != nil {
		return nil, badData("the value cannot be written as JSON", "")
	}
	return []byte(s), nil
}

// notUTF8 finds the fields that a format of Unicode text cannot carry.
func notUTF8(format string, fields map[string]any) failures {
	var bad failures
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !utf8.ValidString(name) || !allUTF8(fields[name]) {
			bad = append(bad, cannotCarry(format, name, "it has "+hasNotUTF8, "deliver the field as a file of its own"))
		}
	}
	return bad
}

func allUTF8(v any) bool {
	switch v := v.(type) {
	case string:
		return utf8.ValidString(v)
	case json.Number:
		return json.Valid([]byte(v))
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !allUTF8(e) })
	case map[string]any:
		for key, elem := range v {
			if !utf8.ValidString(key) || !allUTF8(elem) {
				return false
			}
		}
	}
	return true
}
