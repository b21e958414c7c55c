package secret_test

import (
	"bytes"
	"encoding"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"text/template"

	"github.com/secretboot/secretboot/bootstrap/secret"
)

const canary = "CANARY-s3cr3t"

// shows reports whether text has the canary in it, as it is, as hexadecimal
// digits, or as a list of decimal bytes.
func shows(text string) bool {
	decimal := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), decimal, "[" + strings.ReplaceAll(decimal, " ", ", ") + "]"} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

type hidden struct {
	value  secret.Value
	tree   secret.Tree
	whole  secret.Secret
	values []secret.Value
	ptr    *secret.Value
	any    any
}

// holders gives values that hold the canary in every way that a program could
// come to print.
func holders() map[string]any {
	v := secret.New([]byte(canary))
	tree := secret.NewTree(map[string]any{"pw": canary, "deep": []any{map[string]any{"pw": canary}}})
	s := secret.Secret{Data: tree, Version: 1}
	kv2 := secret.Secret{Data: secret.NewTree(map[string]any{"data": map[string]any{"pw": canary}}), KV2: true}
	h := hidden{v, tree, s, []secret.Value{v}, &v, v}
	pv := &v
	return map[string]any{
		"value": v, "pointer": &v, "pointer to pointer": &pv, "tree": tree, "tree pointer": &tree, "secret": s, "secret pointer": &s, "kv2": kv2, "fields": kv2.Fields(),
		"slice": []secret.Value{v}, "array": [1]secret.Tree{tree}, "map": map[string]secret.Value{"k": v}, "map of any": map[string]any{"k": v, "t": tree},
		"hidden": h, "hidden pointer": &h, "hidden in hidden": struct{ h hidden }{h}, "map of hidden": map[string]hidden{"k": h}, "any": []any{v, &tree, h},
	}
}

func TestFormatShowsNothing(t *testing.T) {
	verbs := "vTtbcdoOqxXUeEfFgGspw!z"
	for name, x := range holders() {
		for _, flags := range []string{"", "+", "#", " ", "0", "-", "+#", "# ", "20", "-20", ".3", "#20.3"} {
			for _, verb := range verbs {
				if got := fmt.Sprintf("%"+flags+string(verb), x); shows(got) {
					t.Errorf("%%%s%c of %s: %s", flags, verb, name, got)
				}
			}
		}
		for _, got := range []string{fmt.Sprint(x), fmt.Sprintln(x), fmt.Errorf("%w %v", errors.New("x"), x).Error(), fmt.Sprintf("%d", []any{x}), fmt.Sprintf("%[2]*[1]v", x, 9)} {
			if shows(got) {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	v := secret.New([]byte(canary))
	for _, got := range []string{v.String(), fmt.Sprintf("%s", v), fmt.Sprintf("%x", v), secret.NewTree(nil).String(), fmt.Sprintf("%q", secret.Tree{})} {
		if got != secret.Redacted {
			t.Errorf("got %q", got)
		}
	}
}

func TestLogShowsNothing(t *testing.T) {
	for name, x := range holders() {
		var b bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
			log := slog.New(h).With(slog.Any("with", x)).WithGroup("g")
			log.Info("m", slog.Any("a", x), slog.Group("b", slog.Any("c", x)), slog.String("s", fmt.Sprint(x)))
		}
		if shows(b.String()) {
			t.Errorf("%s: %s", name, b.String())
		}
	}
}

func TestMarshalFails(t *testing.T) {
	for name, x := range holders() {
		got, err := json.Marshal(x)
		if shows(string(got)) {
			t.Errorf("json of %s: %s", name, got)
		}
		if name == "value" || name == "tree" || name == "secret" || name == "map" || name == "pointer" {
			if !errors.Is(err, secret.ErrMarshal) {
				t.Errorf("json of %s: %v", name, err)
			}
		}
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(x); shows(b.String()) || err != nil && shows(err.Error()) {
			t.Errorf("gob of %s shows it", name)
		}
		b.Reset()
		if err := xml.NewEncoder(&b).Encode(x); shows(b.String()) || err != nil && shows(err.Error()) {
			t.Errorf("xml of %s shows it", name)
		}
	}
	for _, x := range []encoding.TextMarshaler{secret.New([]byte(canary)), secret.NewTree(nil)} {
		if got, err := x.MarshalText(); got != nil || !errors.Is(err, secret.ErrMarshal) {
			t.Errorf("%s, %v", got, err)
		}
	}
}

func TestTemplateShowsNothing(t *testing.T) {
	text := template.Must(template.New("").Parse(`{{ . }} {{ print . }} {{ printf "%v %x %#v" . . . }} {{ html . }} {{ js . }} {{ urlquery . }}`))
	for name, x := range holders() {
		var b bytes.Buffer
		if err := text.Execute(&b, x); shows(b.String()) || err != nil && shows(err.Error()) {
			t.Errorf("%s: %s %v", name, b.String(), err)
		}
	}
}

// TestReflectionShowsNothing: the bytes are behind a closure, so a walk over
// everything that reflection reaches does not find them.
func TestReflectionShowsNothing(t *testing.T) {
	var walk func(v reflect.Value, depth int)
	walk = func(v reflect.Value, depth int) {
		if depth > 8 || !v.IsValid() {
			return
		}
		switch v.Kind() {
		case reflect.String:
			if shows(v.String()) {
				t.Errorf("found in a %s", v.Type())
			}
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.Uint8 && shows(string(v.Bytes())) {
				t.Errorf("found in a %s", v.Type())
			}
			for i := range v.Len() {
				walk(v.Index(i), depth+1)
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				walk(v.MapIndex(k), depth+1)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), depth+1)
			}
		case reflect.Pointer, reflect.Interface:
			walk(v.Elem(), depth+1)
		}
	}
	for _, x := range holders() {
		walk(reflect.ValueOf(x), 0)
	}
}

// TestNotComparable: == on secrets would tell how long they are the same.
func TestNotComparable(t *testing.T) {
	for _, x := range []any{secret.Value{}, secret.Tree{}, secret.Secret{}} {
		if reflect.TypeOf(x).Comparable() {
			t.Errorf("%T can be compared", x)
		}
	}
}

func TestRevealAndWipe(t *testing.T) {
	b := []byte(canary)
	v := secret.New(b)
	copied := v
	if string(v.Reveal()) != canary || v.Len() != len(canary) {
		t.Error("Reveal gives something else")
	}
	v.Wipe()
	if string(b) != strings.Repeat("\x00", len(canary)) || string(copied.Reveal()) != string(b) {
		t.Errorf("after Wipe: %q", b)
	}
	v.Wipe()
	for _, empty := range []secret.Value{{}, secret.New(nil), secret.New([]byte{})} {
		if empty.Len() != 0 || len(empty.Reveal()) != 0 {
			t.Error("an empty value is not empty")
		}
		empty.Wipe()
	}
	if (secret.Tree{}).Reveal() != nil {
		t.Error("an empty tree has something")
	}
}

func TestFields(t *testing.T) {
	inner := map[string]any{"pw": canary}
	tests := []struct {
		s    secret.Secret
		want map[string]any
	}{
		{secret.Secret{Data: secret.NewTree(inner)}, inner},
		{secret.Secret{Data: secret.NewTree(map[string]any{"data": inner, "metadata": map[string]any{}}), KV2: true}, inner},
		{secret.Secret{Data: secret.NewTree(map[string]any{"data": nil}), KV2: true}, nil},
		{secret.Secret{Data: secret.NewTree(map[string]any{"data": inner})}, map[string]any{"data": inner}},
		{secret.Secret{KV2: true}, nil},
		{secret.Secret{}, nil},
	}
	for i, tt := range tests {
		if got := tt.s.Fields().Reveal(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%d: other fields than wanted", i)
		}
	}
}
