package plan

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func diff(t *testing.T, old, now Plan) string {
	t.Helper()
	var out strings.Builder
	differ, err := Diff(&out, NewView(old), NewView(now))
	if err != nil || differ != (out.Len() > 0) {
		t.Fatalf("%v, %v with\n%s", differ, err, &out)
	}
	return out.String()
}

// TestDiffEqual: a plan is equal to itself, written down and read again, and to
// itself declared elsewhere.
func TestDiffEqual(t *testing.T) {
	text, err := json.Marshal(NewView(full()))
	if err != nil {
		t.Fatal(err)
	}
	var read View
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	moved := full()
	moved.Files[0].Origin, moved.Timeout.Origin = at("other.yaml:1:1"), at("SECRETBOOT_TIMEOUT")
	var out strings.Builder
	if differ, err := Diff(&out, read, NewView(moved)); differ || err != nil {
		t.Errorf("%v:\n%s", err, &out)
	}
}

func TestDiff(t *testing.T) {
	now := full()
	now.Timeout = Set(time.Minute, Origin{})
	now.Vault.TLS.SkipVerify = Set(false, Origin{})
	now.Files[1].Mode, now.Files[1].Optional = 0o400, false
	now.Files = append(now.Files[:3:3], now.Files[4:]...)
	now.Env = append(now.Env, Env{Name: "USER", Source: Source{Ref: &Ref{Read: Read{Path: "secret/all"}, Field: "user"}}})
	now.Reads = nil
	now.Run.Command = append(now.Run.Command, "more")
	const want = `- setting timeout: value 1m30s
+ setting timeout: value 1m0s
- write pki/issue/web: kv literal, sends[0] key
- file key: mode 0440, optional
+ file key: mode 0400
- file token: mode 0400, source.token, rotation on change exec:/bin/hook within 1s
- command: arguments 1
+ command: arguments 2
+ setting vault.tls.skip_verify: value false
+ variable USER: source.secret secret/all, source.field user, rotation on change exec:/bin/hook within 1s
`
	if got := diff(t, full(), now); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestDiffTemplates: a template is told by its text and not by its name, alone and
// over a bundle, with its delimiters.
func TestDiffTemplates(t *testing.T) {
	of := func(name, text, left string) Plan {
		template := Template{Name: name, Text: text, Left: left}
		return Plan{
			Files: []File{{Path: "a", Source: Source{Template: &template}}},
			Sets:  []FileSet{{Dir: "b", Bundle: &Bundle{Templates: []KeyTemplate{{Key: "k", Template: template}}}}},
			Env:   []Env{{Name: "E", Source: Source{Ref: &Ref{Read: Read{Path: "s/a"}, Field: text, Select: SelectTemplate}}}},
		}
	}
	old := of("a.hcl:1:1", "old", "")
	old.Ignored = []Ignored{{What: "limits", Why: "there is no container"}}
	if got := diff(t, old, of("b.yaml:2:2", "old", "")); got != "" {
		t.Errorf("another name: %s", got)
	}
	const want = `- file a: source.digest cba06b5736fa
+ file a: source.digest 11507a0e2f5e
- folder "b": source.bundle.templates[0].digest cba06b5736fa
+ folder "b": source.bundle.templates[0].digest 11507a0e2f5e
- variable E: source.digest cba06b5736fa
+ variable E: source.digest 11507a0e2f5e
`
	if got := diff(t, old, of("a.hcl:1:1", "new", "")); got != want {
		t.Errorf("another text:\n%s", got)
	}
	if got := diff(t, old, of("a.hcl:1:1", "old", "[[")); strings.Count(got, "\n") != 4 {
		t.Errorf("other delimiters:\n%s", got)
	}
}

// TestDiffSeesEveryField sets every field of every entry of a view alone; but
// for origins, and what is ignored, each must make a difference.
func TestDiffSeesEveryField(t *testing.T) {
	v := reflect.TypeFor[View]()
	for i := range v.NumField() {
		list := v.Field(i)
		if list.Type.Kind() != reflect.Slice || list.Type.Elem().Kind() != reflect.Struct || list.Name == "Ignored" {
			continue
		}
		for j := range list.Type.Elem().NumField() {
			field := list.Type.Elem().Field(j)
			if field.Name == "Origin" {
				continue
			}
			one := reflect.New(list.Type.Elem()).Elem()
			setSomething(one.Field(j))
			var old, now View
			reflect.ValueOf(&old).Elem().Field(i).Set(reflect.Append(reflect.MakeSlice(list.Type, 0, 1), reflect.Zero(list.Type.Elem())))
			reflect.ValueOf(&now).Elem().Field(i).Set(reflect.Append(reflect.MakeSlice(list.Type, 0, 1), one))
			var out strings.Builder
			if differ, err := Diff(&out, old, now); !differ || err != nil {
				t.Errorf("%s.%s makes no difference (%v)", list.Name, field.Name, err)
			}
		}
	}
}

func setSomething(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("something")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setSomething(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "something"}))
	case reflect.Struct:
		field := v.Field(0)
		if digest := v.FieldByName("Digest"); digest.IsValid() { // a template's name is none that counts
			field = digest
		}
		setSomething(field)
	}
}

func TestDiffReportsTheWriter(t *testing.T) {
	if _, err := Diff(brokenWriter{}, View{}, NewView(full())); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}
