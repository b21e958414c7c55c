package render

import (
	"encoding/json"
	"fmt"
	"reflect"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
)

// standardFunctions are text/template's own, made strict: theirs print missing
// values and do not know that json.Number is a number. Theirs stay and, or, not.
func standardFunctions() []*function {
	list := []*function{
		{name: "and", builtin: true},
		{name: "or", builtin: true},
		{name: "not", builtin: true},
		{name: "print", fn: func(args ...any) string { return fmt.Sprint(args...) }},
		{name: "println", fn: func(args ...any) string { return fmt.Sprintln(args...) }},
		{name: "printf", guard: guardPrintf, fn: printf},
		{name: "html", fn: template.HTMLEscaper},
		{name: "js", fn: template.JSEscaper},
		{name: "urlquery", fn: template.URLQueryEscaper},
	}
	for _, f := range list {
		f.deep, f.inside = true, noNil
	}
	order := func(name string, ok func(int) bool) *function {
		return &function{name: name, fn: func(a, b any) (bool, error) {
			c, err := compare(a, b)
			return err == nil && ok(c), err
		}}
	}
	return append(
		list,
		&function{name: "index", fn: index},
		&function{name: "slice", fn: slice},
		&function{name: "len", fn: length},
		&function{name: "eq", fn: equalAny},
		&function{name: "ne", fn: func(a, b any) (bool, error) {
			same, err := equal(a, b)
			return !same, err
		}},
		order("lt", func(c int) bool { return c < 0 }),
		order("le", func(c int) bool { return c <= 0 }),
		order("gt", func(c int) bool { return c > 0 }),
		order("ge", func(c int) bool { return c >= 0 }),
	)
}

// index follows the keys into a map or list. An absent key of a map gives a
// missing value, as .key does; an absent element of a list is an error.
func index(v any, keys ...any) (any, error) {
	for _, key := range keys {
		if v == nil {
			return nil, missing("index goes through a value that is missing", "")
		}
		next, err := indexOne(v, key)
		if err != nil {
			return nil, err
		}
		v = next
	}
	return v, nil
}

func indexOne(v, key any) (any, error) {
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Map:
		f := &function{name: "index"}
		k, err := f.convert(key, rv.Type().Key())
		if err != nil {
			return nil, badData("a key of this map cannot be "+kind(key), "")
		}
		if elem := rv.MapIndex(k); elem.IsValid() {
			return elem.Interface(), nil
		}
		return nil, nil
	case reflect.Slice, reflect.Array, reflect.String:
		i, err := position(key, rv.Len()-1)
		if err != nil {
			return nil, err
		}
		return rv.Index(i).Interface(), nil
	}
	return nil, badData("index wants a map or a list, but gets "+kind(v), "")
}

// position reads an index from 0 to last.
func position(v any, last int) (int, error) {
	x, ok := rational(v)
	if !ok || !x.IsInt() {
		return 0, badData("an index must be a whole number", "")
	}
	if x.Sign() < 0 || !x.Num().IsInt64() || x.Num().Int64() > int64(last) {
		return 0, missing("the index is outside the list", "")
	}
	return int(x.Num().Int64()), nil
}

// slice gives v[i:j] of text or a list.
func slice(v any, ends ...any) (any, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.String && rv.Kind() != reflect.Slice || len(ends) > 2 {
		return nil, badData("slice wants text or a list, and two indexes at most", "")
	}
	from, to := 0, rv.Len()
	for i, end := range ends {
		n, err := position(end, rv.Len())
		if err != nil {
			return nil, err
		}
		if i == 0 {
			from = n
		} else {
			to = n
		}
	}
	if from > to {
		return nil, badData("the first index of slice is greater than the second", "")
	}
	return rv.Slice(from, to).Interface(), nil
}

func length(v any) (int, error) {
	if n, ok := v.(json.Number); ok {
		return 0, badData("len wants text, a list or a map, but gets "+kind(n), "")
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.String, reflect.Slice, reflect.Array, reflect.Map:
		return rv.Len(), nil
	}
	return 0, badData("len wants text, a list or a map, but gets "+kind(v), "")
}

// equalAny reports whether the first value equals one of the others.
func equalAny(a, b any, more ...any) (bool, error) {
	for _, other := range append([]any{b}, more...) {
		if same, err := equal(a, other); same || err != nil {
			return same, err
		}
	}
	return false, nil
}

// equal compares truth values, texts and numbers. A number of Vault equals
// another number by value, and a text by its own text, as upstream.
func equal(a, b any) (bool, error) {
	if x, ok := a.(bool); ok {
		if y, ok := b.(bool); ok {
			return x == y, nil
		}
	}
	c, err := compare(a, b)
	return err == nil && c == 0, err
}

// compare orders two texts (by bytes) or two numbers.
func compare(a, b any) (int, error) {
	_, aText := a.(string)
	_, bText := b.(string)
	if !aText && !bText {
		x, ok1 := rational(a)
		y, ok2 := rational(b)
		if ok1 && ok2 {
			return x.Cmp(y), nil
		}
	}
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if va.Kind() == reflect.String && vb.Kind() == reflect.String {
		switch s, t := va.String(), vb.String(); {
		case s < t:
			return -1, nil
		case s > t:
			return 1, nil
		}
		return 0, nil
	}
	return 0, badData(fmt.Sprintf("%s cannot be compared with %s", kind(a), kind(b)), "")
}
