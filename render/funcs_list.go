package render

import (
	"reflect"
	"strconv"
	"strings"
)

// listFunctions work on lists and maps.
func listFunctions() []*function {
	some := func(name string, ifFound, ifNone, wanted bool) *function {
		return &function{name: name, fn: func(values []any, in any) (bool, error) {
			for _, v := range values {
				found, err := holds(in, v)
				if err != nil {
					return false, err
				}
				if found == wanted {
					return ifFound, nil
				}
			}
			return ifNone, nil
		}, guard: guardPairs(0, 1)}
	}
	return []*function{
		{name: "in", fn: holds},
		{name: "contains", fn: func(v, in any) (bool, error) { return holds(in, v) }},
		some("containsAll", false, true, false),
		some("containsAny", true, false, true),
		some("containsNone", false, true, true),
		some("containsNotAll", true, false, false),
		{name: "loop", fn: loop, numbers: true},
	}
}

// holds reports whether text has the part v, a list the element v, or a map the
// key v.
func holds(in, v any) (bool, error) {
	if s, ok := in.(string); ok {
		part, ok := v.(string)
		return ok && strings.Contains(s, part), nil
	}
	rv := reflect.ValueOf(in)
	switch rv.Kind() {
	case reflect.Map:
		for _, key := range rv.MapKeys() {
			if same, err := equal(key.Interface(), v); err == nil && same {
				return true, nil
			}
		}
		return false, nil
	case reflect.Slice, reflect.Array:
		for i := range rv.Len() {
			if same, err := equal(rv.Index(i).Interface(), v); err == nil && same {
				return true, nil
			}
		}
		return false, nil
	}
	return false, badData("what is searched in must be a list, a map or text", "")
}

// loop gives the numbers from start (0 when not given) up to end, without end.
func loop(bounds ...any) ([]int64, error) {
	if len(bounds) < 1 || len(bounds) > 2 {
		return nil, badData("loop wants an end, or a start and an end", "")
	}
	ends := []int64{0}
	for _, b := range bounds {
		if s, ok := b.(string); ok {
			n, err := parseNumber(s, func() (int64, error) { return strconv.ParseInt(s, 10, 64) })
			if err != nil {
				return nil, err
			}
			b = n
		}
		x, ok := rational(b)
		if !ok || !x.IsInt() || !x.Num().IsInt64() {
			return nil, badData("loop wants whole numbers", "")
		}
		ends = append(ends, x.Num().Int64())
	}
	start, end := ends[len(ends)-2], ends[len(ends)-1]
	if start >= end {
		return nil, nil
	}
	if n := uint64(end) - uint64(start); n > maxSteps {
		return nil, tooMuch("the loop has more than a million steps")
	}
	list := make([]int64, 0, end-start)
	for i := start; i < end; i++ {
		list = append(list, i)
	}
	return list, nil
}

// listLen is the length of a list or map for a guard; others have none.
func listLen(v any) int {
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return rv.Len()
	}
	return 0
}

// guardPairs bounds a function that compares each of one list with each of
// another.
func guardPairs(i, j int) func([]any) int {
	return func(args []any) int {
		return times(listLen(args[i])+1, listLen(args[j])+1)
	}
}
