package declare

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// object is one Kubernetes object on its way into a plan.
type object struct {
	document
	front    string
	in       Input
	plan     plan.Plan
	problems plan.Problems
	told     map[string]bool // keys that have a problem
}

// at is the place of a key of the object.
func (o *object) at(key string) plan.Origin { return o.origin(o.front, key) }

// fail adds a problem with a key, unless there is one with it or with what it is
// in: one mistake is told once. why must not repeat a value.
func (o *object) fail(key, why, fix string) {
	for i := range len(key) {
		if (key[i] == '.' || key[i] == '[') && o.told[key[:i]] {
			return
		}
	}
	if o.told[key] {
		return
	}
	o.told = put(o.told, key, true)
	o.problems.Add(&plan.Problem{
		Code: plan.CodeConfig, Origin: o.at(key), What: fmt.Sprintf("field %q", lastKey(key)), Why: why, Fix: fix,
	})
}

// ignore notes what has no meaning here.
func (o *object) ignore(key, why string) {
	o.plan.Ignored = append(o.plan.Ignored, plan.Ignored{What: lastKey(key), Why: why, Origin: o.at(key)})
}

// unknown notes a field that is not known. One that is nearly another is a slip: what
// it says is missed.
func (o *object) unknown(key, why string, known []string) {
	near := plan.Nearest(lastKey(key), known)
	if near != "" {
		why += fmt.Sprintf("; did you mean %q?", near)
	}
	o.plan.Ignored = append(o.plan.Ignored, plan.Ignored{What: lastKey(key), Why: why, Origin: o.at(key), Mistyped: near != ""})
}

// unusedField is a field that is known and has no meaning here.
type unusedField struct {
	name  string
	value any
}

// ignoreAll notes those fields below prefix that are there.
func (o *object) ignoreAll(prefix, why string, unused []unusedField) {
	for _, f := range unused {
		if f.value != nil && f.value != "" {
			o.ignore(prefix+f.name, why)
		}
	}
}

// lastKey gives the last element of spec.data[0].secretKey.
func lastKey(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// result gives what was made of the object, or all that is wrong with it.
func (o *object) result() (plan.Plan, error) {
	if err := o.problems.Err(); err != nil {
		return plan.Plan{}, err
	}
	return o.plan, nil
}

// fill puts a part of the object into a Go value as the API server takes it:
// struct fields go by their json tag, case counts, and a null is as good as
// nothing. The tag enum lists the words that a text may be, with | between them;
// required:"true" says what must be there. A value of another kind is a problem.
// A field that is not known is pruned by the API server, and ignored here.
func (o *object) fill(raw any, to reflect.Value, key string) {
	switch v := raw.(type) {
	case nil:
		return
	case string:
		if to.Kind() == reflect.String {
			to.SetString(v)
			return
		}
	case bool:
		if to.Kind() == reflect.Bool {
			to.SetBool(v)
			return
		}
	case json.Number:
		if n, err := v.Int64(); err == nil && to.Kind() == reflect.Int64 {
			to.SetInt(n)
			return
		}
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		o.fill(raw, to.Elem(), key)
	case reflect.Interface:
		to.Set(reflect.ValueOf(raw))
	case reflect.Slice, reflect.Map, reflect.Struct:
		o.fillMany(raw, to, key)
	default:
		o.wrongKind(raw, to.Kind(), key)
	}
}

func (o *object) fillMany(raw any, to reflect.Value, key string) {
	list, isList := raw.([]any)
	members, isMap := raw.(map[string]any)
	switch {
	case to.Kind() == reflect.Slice && isList:
		to.Set(reflect.MakeSlice(to.Type(), len(list), len(list)))
		for i, item := range list {
			o.fill(item, to.Index(i), fmt.Sprintf("%s[%d]", key, i))
		}
	case to.Kind() == reflect.Map && isMap:
		to.Set(reflect.MakeMap(to.Type()))
		for _, name := range slices.Sorted(maps.Keys(members)) {
			value := reflect.New(to.Type().Elem()).Elem()
			o.fill(members[name], value, key+"."+name)
			to.SetMapIndex(reflect.ValueOf(name), value)
		}
	case to.Kind() == reflect.Struct && isMap:
		o.fillStruct(members, to, key)
	default:
		o.wrongKind(raw, to.Kind(), key)
	}
}

func (o *object) fillStruct(members map[string]any, to reflect.Value, key string) {
	known := map[string]int{}
	for i := range to.NumField() {
		known[to.Type().Field(i).Tag.Get("json")] = i
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		i, ok := known[name]
		if !ok {
			o.unknown(key+"."+name, "the field is unknown, and the API server drops it", slices.Sorted(maps.Keys(known)))
			continue
		}
		o.fill(members[name], to.Field(i), key+"."+name)
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		tag := to.Type().Field(known[name]).Tag
		if tag.Get("required") == "true" && members[name] == nil {
			o.fail(key+"."+name, "it is missing", "")
		}
		if word, ok := members[name].(string); ok && tag.Get("enum") != "" {
			o.oneOf(word, strings.Split(tag.Get("enum"), "|"), key+"."+name)
		}
	}
}

// oneOf refuses a word that is none of those known.
func (o *object) oneOf(word string, words []string, key string) {
	if slices.Contains(words, word) {
		return
	}
	fix := ""
	if near := plan.Nearest(word, words); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	o.fail(key, "it must be one of "+strings.Join(words, ", "), fix)
}

func (o *object) wrongKind(raw any, want reflect.Kind, key string) {
	names := map[reflect.Kind]string{
		reflect.String: "text", reflect.Bool: "true or false", reflect.Int64: "a whole number",
		reflect.Slice: "a list", reflect.Map: "a map of keys", reflect.Struct: "a map of keys",
	}
	fix := ""
	switch raw.(type) {
	case bool, json.Number:
		if want == reflect.String {
			fix = "put it in quotes"
		}
	}
	o.fail(key, "it must be "+names[want], fix)
}

// objectPath takes PATH or PATH#NAME apart. The last # counts.
func objectPath(s string) (path, name string, named bool) {
	if i := strings.LastIndexByte(s, '#'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// objectsOf reads a manifest and gives all of its documents, and those of some
// kinds: the one with the name where PATH#NAME says so. That there is none is a
// problem.
func objectsOf(in Input, front, arg string, from plan.Origin, kinds ...string) (docs, chosen []document, err error) {
	path, name, named := objectPath(arg)
	docs, err = in.manifest(front, path, from)
	if err != nil {
		return nil, nil, err
	}
	chosen = ofKind(docs, kinds...)
	why := "there is no " + kinds[0] + " in it"
	if named && len(chosen) > 0 {
		why = fmt.Sprintf("there is no %s %q in it", kinds[0], name)
		fix := "it has " + strings.Join(namesOf(chosen), ", ")
		chosen = slices.DeleteFunc(chosen, func(d document) bool { return d.name != name })
		if len(chosen) == 0 {
			return nil, nil, manifestProblem(from, path, why, fix)
		}
	}
	if len(chosen) == 0 {
		return nil, nil, manifestProblem(from, path, why, "check the file and the kind of --from")
	}
	return docs, chosen, nil
}

func manifestProblem(from plan.Origin, path, why, fix string) error {
	return plan.Problems{{Code: plan.CodeConfig, Origin: from, What: fmt.Sprintf("manifest %q", path), Why: why, Fix: fix}}
}

func namesOf(docs []document) []string {
	var names []string
	for _, d := range docs {
		names = append(names, d.name)
	}
	return names
}

// named finds the object of a kind by its name, in the namespace of the object
// that asks for it. Most files name no namespace, which is any.
func named(docs []document, kind, name, namespace string) (document, bool) {
	var found []document
	for _, d := range docs {
		switch {
		case d.kind != kind || d.name != name:
		case d.namespace == namespace:
			return d, true
		case d.namespace == "" || namespace == "":
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return document{}, false
	}
	return found[0], true
}

// vaultPath checks a path as it is sent, without the slashes around it. why is
// what is wrong with it.
func vaultPath(s string) (path, why string) {
	ref, err := plan.ParseRef("vault:" + s)
	switch {
	case strings.Contains(s, "#"):
		return "", "the path has a # in it"
	case err != nil:
		return "", err.Error()
	}
	return ref.Read.Path, ""
}

// mount fills the mount of a login. The originals put auth/ before it, so one
// that has it already would be asked for below auth/auth/.
func (o *object) mount(value, key string) {
	mount := plan.SplitPath(value)
	if rest, ok := strings.CutPrefix(mount, "auth/"); ok {
		o.fail(key, "auth/ is put before it, and it has it already", fmt.Sprintf("write %q", rest))
		return
	}
	if mount != "" {
		o.plan.Login.Mount = plan.Set(mount, o.at(key))
	}
}
