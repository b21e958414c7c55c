package render

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// rawJSON is JSON that is delivered as it stands, white space and all.
type rawJSON string

// fieldsOf gives the map of an answer that a reference looks its field up in.
func fieldsOf(ref plan.Ref, s secret.Secret) map[string]any {
	switch data := s.Data.Reveal(); ref.Level {
	case plan.LevelNested:
		if inner, ok := data["data"].(map[string]any); ok {
			return inner
		}
		return data
	case plan.LevelMetadata:
		return metadataOf(data)
	}
	return s.Fields().Reveal()
}

// metadataOf gives what KV version 2 says about a secret, as texts: the custom
// metadata, and three members of its own under names that no custom one has.
func metadataOf(data map[string]any) map[string]any {
	if data == nil {
		return nil
	}
	out := map[string]any{}
	for _, name := range []string{"created_time", "current_version", "delete_version_after"} {
		if v := data[name]; v != nil {
			out[name] = fmt.Sprint(v)
		}
	}
	custom, _ := data["custom_metadata"].(map[string]any)
	for name, v := range custom {
		out[name] = fmt.Sprint(v) // Vault takes texts only
	}
	return out
}

// fieldByKey takes the name of the field as one key.
func fieldByKey(ref plan.Ref, fields map[string]any) (any, *failure) {
	v, ok := fields[ref.Field]
	names := slices.Sorted(maps.Keys(fields))
	switch {
	case ok:
		return orNull(ref, v)
	case len(names) == 0:
		return nil, missing("there is no such field: the secret has none", "")
	}
	return nil, missing("there is no such field; the secret has "+listNames(names), suggest(ref.Field, names))
}

// orNull gives v unless it is null and ref has no form for that.
func orNull(ref plan.Ref, v any) (any, *failure) {
	switch {
	case v != nil:
		return v, nil
	case ref.NullEmpty:
		return "", nil
	case ref.Level == plan.LevelNested:
		return rawJSON("null"), nil
	}
	return nil, missing("the field is null", "")
}

// fieldByPath takes the field as a key if there is that very one, else as a path
// in gjson's syntax over the JSON of all fields.
func fieldByPath(ref plan.Ref, fields map[string]any) (any, *failure) {
	if _, ok := fields[ref.Field]; ok || len(fields) == 0 {
		return fieldByKey(ref, fields)
	}
	if !allUTF8(fields) {
		return nil, badData("a path goes over JSON, which cannot carry "+hasNotUTF8, "")
	}
	text, err := encodeJSON(fields, "", ref.EscapeHTML)
	if err != nil {
		return nil, badData("the secret cannot be written as JSON", "")
	}
	switch {
	case growth(ref.Field, text) > maxOutput:
		return nil, tooMuch("the path could make more than 16 MiB of this secret")
	case int64(len(text))*steps(ref.Field) > maxScanned:
		return nil, tooMuch("the path goes over this secret too many times")
	}
	got, f := getPath(text, ref.Field)
	switch {
	case f != nil:
		return nil, f
	case !got.Exists():
		names := slices.Sorted(maps.Keys(fields))
		return nil, missing("the path leads to nothing; the secret has "+listNames(names), suggest(ref.Field, names))
	}
	switch got.Type {
	case gjson.Null:
		return orNull(ref, nil)
	case gjson.String:
		return got.String(), nil
	case gjson.Number:
		if got.Raw != "" { // gjson's own text of it goes through a float64
			return json.Number(strings.TrimSpace(got.Raw)), nil
		}
		return rawJSON(got.String()), nil
	}
	return rawJSON(got.Raw), nil
}

// getPath asks gjson. What it does with a path that it was not made for is told
// without a word of the data.
func getPath(text, path string) (got gjson.Result, f *failure) {
	defer func() {
		if recover() != nil {
			f = badData("the path cannot be followed", "")
		}
	}()
	return gjson.Get(text, path), nil
}

// growth bounds what a path can make of a JSON text, in bytes: [a,b] and {a,b}
// copy what they begin with, @tostr may double it, @pretty indents it, and a
// path can do so many times. A deep @flatten makes nothing large, but copies what
// is nested once per level on the way.
func growth(path, text string) int {
	n := len(text) + len(path)
	for range strings.Count(path, "@tostr") {
		n = times(n, 2)
	}
	depth := 2
	for open, i := 0, 0; i < len(text); i++ {
		switch text[i] { // a bracket in a string counts, too: rather too much
		case '[', '{':
			open++
			depth = max(depth, open)
		case ']', '}':
			open--
		}
	}
	for range strings.Count(path, "@pretty") {
		indent := 2
		if strings.Contains(path, "@pretty:") {
			indent = len(path)
		}
		n = times(n, 1+depth*indent)
	}
	for range strings.Count(path, "@dig") + strings.Count(path, "@flatten:") {
		n = times(n, depth)
	}
	for _, commas := range groups(path) {
		n = times(n, commas+1)
	}
	return n
}

// maxScanned bounds what gjson reads for one path, in bytes: it cannot be stopped.
const maxScanned = 1 << 30

// steps bounds how often a path makes gjson read the whole text.
func steps(path string) int64 {
	n := int64(1)
	for i := range len(path) {
		if strings.IndexByte(".|@#,(", path[i]) >= 0 {
			n++
		}
	}
	return n
}

// groups counts the commas of each pair of brackets in a path.
func groups(path string) []int {
	var all, open []int
	for i := range len(path) {
		switch path[i] {
		case '[', '{', '(':
			open = append(open, len(all))
			all = append(all, 0)
		case ']', '}', ')':
			open = open[:max(len(open)-1, 0)]
		case ',':
			if len(open) > 0 {
				all[open[len(open)-1]]++
			}
		}
	}
	return all
}

// parsed gives the value of JSON that stands for itself; any other v as it is.
func parsed(v any) (any, *failure) {
	text, ok := v.(rawJSON)
	if !ok {
		return v, nil
	}
	out, err := parseJSON(string(text))
	if err != nil {
		return nil, badData("what the path leads to is not one JSON value", "")
	}
	return out, nil
}
