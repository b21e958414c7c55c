package render

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/Masterminds/sprig/v3"
)

// mapFunctions make maps of maps, of lists of pairs and of text.
func mapFunctions() []*function {
	return []*function{
		{name: "explode", fn: explode, deep: true},
		{name: "explodeMap", fn: explodeMap, deep: true},
		{name: "byKey", fn: byKey, deep: true},
		{name: "mergeMap", fn: merger("mustMerge"), deep: true},
		{name: "mergeMapWithOverride", fn: merger("mustMergeOverwrite"), deep: true},
		{name: "splitToMap", fn: splitToMap},
	}
}

// merger gives a function that lays src over dst, map by map. With mustMerge the
// values of dst win, with mustMergeOverwrite those of src; empty ones never do.
// It is sprig's work, upon a copy: consul-template changes dst itself.
func merger(name string) func(dst, src map[string]any) (any, error) {
	return func(dst, src map[string]any) (any, error) {
		merge, ok := sprig.HermeticTxtFuncMap()[name].(func(map[string]any, ...map[string]any) (any, error))
		if !ok {
			return nil, fmt.Errorf("sprig has no %s of this type", name)
		}
		return merge(clone(dst).(map[string]any), clone(src).(map[string]any))
	}
}

// explodeMap makes {"a/b": 1} the nested {"a": {"b": 1}}.
func explodeMap(flat map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(flat)) {
		if err := put(out, key, flat[key]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// put sets the value of a key with slashes.
func put(m map[string]any, key string, v any) error {
	parts := strings.Split(key, "/")
	last := len(parts) - 1
	for _, part := range parts[:last] {
		if m[part] == nil {
			m[part] = map[string]any{}
		}
		next, ok := m[part].(map[string]any)
		if !ok {
			return badData("a key is below one that has a value itself", "")
		}
		m = next
	}
	if parts[last] != "" {
		m[parts[last]] = clone(v)
	}
	return nil
}

// explode does for a list of pairs, maps with Key and Value, what explodeMap does
// for a map.
func explode(pairs []map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for _, pair := range pairs {
		key, err := keyOf(pair)
		if err != nil {
			return nil, err
		}
		if err := put(out, key, pair["Value"]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// byKey groups pairs by the part of their Key before the first slash; in the
// groups the Key is what follows it. A pair without a slash is left out.
func byKey(pairs []map[string]any) (map[string]map[string]map[string]any, error) {
	out := map[string]map[string]map[string]any{}
	for _, pair := range pairs {
		key, err := keyOf(pair)
		if err != nil {
			return nil, err
		}
		top, rest, _ := strings.Cut(key, "/")
		if rest == "" {
			continue
		}
		if out[top] == nil {
			out[top] = map[string]map[string]any{}
		}
		inner := maps.Clone(pair)
		inner["Key"] = rest
		out[top][rest] = inner
	}
	return out, nil
}

func keyOf(pair map[string]any) (string, error) {
	if v := reflect.ValueOf(pair["Key"]); v.Kind() == reflect.String {
		return v.String(), nil
	}
	return "", badData(`a pair is a map with "Key" (text) and "Value"`, `as in list (dict "Key" "a/b" "Value" 1)`)
}

// splitToMap reads "k=v,k=v" (splitToMap "," "=" TEXT). As upstream, what has no
// second separator is left out, and the last of two equal keys counts.
func splitToMap(between, inside, s string) map[string]string {
	out := map[string]string{}
	if s = strings.TrimSpace(s); s == "" {
		return out
	}
	for part := range strings.SplitSeq(s, between) {
		if key, value, ok := strings.Cut(part, inside); ok {
			out[key] = value
		}
	}
	return out
}
