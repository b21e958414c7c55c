package render

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// readBack reads what toTOML wrote with a library that has no part in writing it,
// and compares the two.
func readBack(t *testing.T, tree map[string]any) {
	t.Helper()
	text, err := encodeTOML(tree)
	if err != nil {
		t.Errorf("%q: %v", tree, err)
		return
	}
	got := map[string]any{}
	if err := toml.Unmarshal([]byte(text), &got); err != nil {
		t.Errorf("%v: %q from %q", err, text, tree)
	} else if want := plainTree(tree); !reflect.DeepEqual(plainTree(got), want) {
		t.Errorf("%q became %q by way of %q", want, plainTree(got), text)
	}
}

// TestToTOMLReadBack: nothing that toTOML writes is lost or changed.
func TestToTOMLReadBack(t *testing.T) {
	readBack(t, oddTree())
	readBack(t, map[string]any{"n": []any{json.Number("9223372036854775807"), json.Number("-1e-7"), json.Number("1.50"), true}})
	readBack(t, map[string]any{"": map[string]any{"": "x"}, "a.b": map[string]any{"c d": []any{map[string]any{"": "y"}, map[string]any{}}}})
	readBack(t, map[string]any{"none": map[string]any{}, "list": []any{}, "lists": []any{[]any{}, []any{map[string]any{"a": []any{map[string]any{"b": "c"}}}}}})
}

func FuzzToTOML(f *testing.F) {
	f.Add(`{"a": 1.50, "b": [1, {"c": "\n\u0000'\""}], "d": {"e": [{"f": "g"}, {"h": {}}]}}`)
	f.Add(`{"": [[{}], "x"], "é ☃": {"": 12345678901234567890}}`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseJSON(text)
		tree, ok := v.(map[string]any)
		if err != nil || !ok || len(notUTF8("toml", tree)) > 0 {
			return
		}
		if _, has := tomlValue(tree); has == "" {
			readBack(t, tree)
		}
	})
}
