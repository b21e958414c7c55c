package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// treeReaders read the formats that have lists and maps with libraries that
// have no part in writing them.
func treeReaders() map[plan.Format]func([]byte, *map[string]any) error {
	return map[plan.Format]func([]byte, *map[string]any) error{
		plan.FormatJSON: func(b []byte, v *map[string]any) error {
			dec := json.NewDecoder(bytes.NewReader(b))
			dec.UseNumber()
			return dec.Decode(v)
		},
		plan.FormatYAML: func(b []byte, v *map[string]any) error { return yaml.Unmarshal(b, v) },
		plan.FormatTOML: func(b []byte, v *map[string]any) error { return toml.Unmarshal(b, v) },
	}
}

// oddTree has every odd text that is UTF-8 as a value, as a key, in a list and
// in a map in a list.
func oddTree() map[string]any {
	tree := map[string]any{}
	for i, text := range oddTexts() {
		if !allUTF8(text) {
			continue
		}
		inner := map[string]any{"text": text, "list": []any{text, map[string]any{"in": text, "n": json.Number(fmt.Sprint(i))}, []any{text}}}
		if len(text) < 200 {
			inner["key"] = map[string]any{text: true}
		}
		tree[fmt.Sprintf("k%d", i)] = inner
	}
	return tree
}

// plainTree gives numbers the same type, whatever reader they come from.
func plainTree(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, elem := range v {
			m[key] = plainTree(elem)
		}
		return m
	case []map[string]any:
		list := make([]any, len(v))
		for i, elem := range v {
			list[i] = plainTree(elem)
		}
		return list
	case []any:
		list := make([]any, len(v))
		for i, elem := range v {
			list[i] = plainTree(elem)
		}
		return list
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		n, _ := v.Float64()
		return n
	case int:
		return int64(v)
	case time.Time:
		return "a time that nobody wrote"
	}
	return v
}

func TestTreesRoundTrip(t *testing.T) {
	for format, read := range treeReaders() {
		tree := oddTree()
		b, bad := Means{}.write(plan.Ref{Format: format}, tree)
		if len(bad) > 0 || len(tree) < 1000 {
			t.Fatalf("%s: %d, %v", format, len(tree), bad)
		}
		var got map[string]any
		if err := read(b, &got); err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		for key, want := range tree {
			if !reflect.DeepEqual(plainTree(got[key]), plainTree(want)) {
				t.Errorf("%s: %.200q became %.200q", format, want, got[key])
			}
		}
	}
}

// TestPythonReadsTrees: json and tomllib are Python's own, yaml is PyYAML, which
// reads YAML 1.1.
func TestPythonReadsTrees(t *testing.T) {
	python := program(t, "python3", false)
	for format, load := range map[plan.Format]string{
		plan.FormatJSON: "import json; load = json.load",
		plan.FormatTOML: "import tomllib; load = tomllib.load",
		plan.FormatYAML: "import yaml; load = yaml.safe_load",
	} {
		t.Run(format.String(), func(t *testing.T) {
			if exec.Command(python, "-c", load).Run() != nil {
				t.Skipf("SKIPPED: this python has no reader for %s: it was NOT checked", format)
			}
			want := oddTree()
			b, bad := Means{}.write(plan.Ref{Format: format}, want)
			if len(bad) > 0 {
				t.Fatal(bad)
			}
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, b, 0o400); err != nil {
				t.Fatal(err)
			}
			out := output(t, nil, python, "-c", load+"; import json, sys; print(json.dumps(load(open(sys.argv[1], 'rb'))))", file)
			var got map[string]any
			if err := treeReaders()[plan.FormatJSON](out, &got); err != nil {
				t.Fatal(err)
			}
			for key := range want {
				if !reflect.DeepEqual(plainTree(got[key]), plainTree(want[key])) {
					t.Errorf("%.200q became %.200q", want[key], got[key])
				}
			}
		})
	}
}

// TestTreeForms: the form, and what is refused with the name of its field.
func TestTreeForms(t *testing.T) {
	for _, tc := range []struct {
		format       plan.Format
		fields, want string
	}{
		{plan.FormatJSON, `{"b": [1.50, null], "a": {"k": "<é>"}}`, `{"a":{"k":"<é>"},"b":[1.50,null]}`},
		{plan.FormatYAML, `{"b": [1.50, null], "a": {"k": "<é>"}}`, "a:\n  k: \"<é>\"\nb:\n- 1.50\n- null\n"},
		{plan.FormatYAML, `{}`, "{}\n"},
		{plan.FormatYAML, `{"last": "x\ny\n"}`, "last: \"x\\ny\\n\"\n"},
		{plan.FormatTOML, `{"b": [1.50, true], "a": {"k": "<é>"}, "n": 9223372036854775807}`, "b = [1.5, true]\nn = 9223372036854775807\n\n[a]\nk = \"<é>\"\n"},
		{plan.FormatTOML, `{}`, ""},
		{plan.FormatTOML, `{"n": null, "m": {"a": [{"b": null}]}}`, "error toml cannot carry the value of m: it has a null; use format: json or a template\ntoml cannot carry the value of n: it has a null; use format: json or a template\n"},
		{plan.FormatTOML, `{"n": 9223372036854775808}`, "error toml cannot carry the value of n: it has a whole number beyond 64 bits; use format: json or a template\n"},
		{plan.FormatTOML, `{"n": [1.00000000000000000001]}`, "error toml cannot carry the value of n: it has a number with more digits than 64 bits hold; use format: json or a template\n"},
		{plan.FormatTOML, `{"n": 1e999}`, "error toml cannot carry the value of n: it has a number with more digits than 64 bits hold; use format: json or a template\n"},
		{plan.FormatTOML, `{"a": 1e3, "b": -0.0, "c": 0.1, "d": 0e-99999999, "e": 1.10E-7}`, "a = 1000.0\nb = -0.0\nc = 0.1\nd = 0.0\ne = 1.1e-07\n"},
		{plan.FormatTOML, `{"n": 1e-9999999}`, "error toml cannot carry the value of n: it has a number with more digits than 64 bits hold; use format: json or a template\n"},
	} {
		b, whys := writeLines(tc.format, parseTree(t, tc.fields).Reveal())
		if whys != "" {
			b = []byte("error " + whys)
		}
		if string(b) != tc.want {
			t.Errorf("%s: %s\n got %q\nwant %q", tc.format, tc.fields, b, tc.want)
		}
	}
	for format := range treeReaders() {
		_, whys := writeLines(format, map[string]any{"a": "CANARY\xff", "b": []any{map[string]any{"k\xff": true}}, "c": "x"})
		want := "NAME cannot carry the value of a: it has bytes that are not UTF-8 text; deliver the field as a file of its own\n" +
			"NAME cannot carry the value of b: it has bytes that are not UTF-8 text; deliver the field as a file of its own\n"
		if whys != strings.ReplaceAll(want, "NAME", format.String()) {
			t.Errorf("%s: %s", format, whys)
		}
	}
}

// FuzzTrees: any JSON object comes back through a reader of its format, or is
// refused without telling what is in it.
func FuzzTrees(f *testing.F) {
	for _, s := range []string{
		`{"a": "x\ny", "b": [1, {"c": "- "}, [true, ""]], "": {}}`, `{"n": -0.0, "m": 1e3, "o": 12345678901234567890}`, `{"y": "no", "z": "1:30", "t": "2024-01-01"}`,
		`{"a": [{"b": 1}, {"b": {"c": []}}], "a.b": {"'": "\"", "\u0000": "\u0085"}}`, `{"k": "|\n  a\n", "l": " \n", "m": "\ufeff"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseJSON(text)
		tree, ok := v.(map[string]any)
		if err != nil || !ok || !readable(tree) {
			return
		}
		for format, read := range treeReaders() {
			b, whys := writeLines(format, tree)
			if whys != "" {
				if format == plan.FormatJSON {
					t.Errorf("json refused %q: %s", text, whys)
				}
				continue
			}
			got := map[string]any{}
			if err := read(b, &got); err != nil {
				t.Errorf("%s: %v: %q from %q", format, err, b, text)
			} else if want := plainTree(tree); !reflect.DeepEqual(plainTree(got), want) {
				t.Errorf("%s: %q became %q by way of %q", format, want, plainTree(got), b)
			}
		}
	})
}

// readable leaves out what the readers cannot read: numbers that a float64 would
// round, but for whole ones of 64 bits; keys that are empty or too long for YAML.
func readable(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, has := tomlNumber(v.String())
		return has == ""
	case []any:
		for _, elem := range v {
			if !readable(elem) {
				return false
			}
		}
	case map[string]any:
		for key, elem := range v {
			if !readable(elem) || len(key) > 200 || key == "" {
				return false
			}
		}
	}
	return true
}
