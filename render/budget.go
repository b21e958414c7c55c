package render

import (
	"reflect"
	"unicode/utf8"
)

// spend takes n steps from what a run may do, and ends it when its time is up.
func (r *run) spend(n int) error {
	if r.ctx.Err() != nil {
		return timeIsUp(r.ctx)
	}
	r.steps += n
	if r.steps > maxSteps {
		return tooMuch("the template does more than a million steps")
	}
	return nil
}

// check is what inspect looks for besides depth and size.
type check uint8

const (
	noNil   check = 1 << iota // nil inside would be printed as <nil>
	mustUTF                   // bytes that are no UTF-8 would be changed silently
	nilGoes                   // with noNil: <nil> is what is wanted inside
)

// inspect walks a value and fails if it contains itself, is nested deeper than
// maxDepth or is too large. Functions of other people that walk values (fmt,
// sprig) do none of these checks, and a stack that overflows cannot be recovered.
func (r *run) inspect(v any, c check) error {
	return r.walk(reflect.ValueOf(v), c, 0)
}

func (r *run) walk(v reflect.Value, c check, depth int) error {
	if depth > maxDepth {
		return badData("the value contains itself or is nested too deeply", "")
	}
	if w, ok := ours(v); ok && c&noNil != 0 {
		name, advice := w.name()
		return badData("this is "+name, advice)
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			if v.Kind() == reflect.Pointer {
				depth++
			}
			return r.walk(v.Elem(), c, depth)
		}
		fallthrough
	case reflect.Invalid:
		if c&noNil != 0 && c&nilGoes == 0 {
			return missing("a value inside the list or map is null", "print its elements, or use toJSON")
		}
	case reflect.String:
		if c&mustUTF != 0 && !utf8.ValidString(v.String()) {
			return badData("the value has bytes that are not UTF-8 text", "encode it with base64Encode")
		}
		return r.spend(v.Len() >> 10)
	case reflect.Struct:
		if a, ok := v.Interface().(answer); ok {
			return r.walk(reflect.ValueOf(a.Data), c, depth+1)
		}
	case reflect.Map:
		return r.walkMap(v, c, depth)
	case reflect.Slice, reflect.Array:
		return r.walkList(v, c, depth)
	}
	return nil
}

// ours reports whether v is a pointer to one of the values that are looked into
// by member only.
func ours(v reflect.Value) (opaque, bool) {
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, false
	}
	w, ok := v.Interface().(opaque)
	return w, ok
}

func (r *run) walkMap(v reflect.Value, c check, depth int) error {
	if err := r.spend(v.Len()); err != nil {
		return err
	}
	for it := v.MapRange(); it.Next(); {
		if err := r.walk(it.Key(), c, depth+1); err != nil {
			return err
		}
		if err := r.walk(it.Value(), c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) walkList(v reflect.Value, c check, depth int) error {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return r.spend(v.Len() >> 10)
	}
	if err := r.spend(v.Len()); err != nil {
		return err
	}
	for i := range v.Len() {
		if err := r.walk(v.Index(i), c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// size is what a value costs to be handed over: not more than a look at its top.
func size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v) >> 10
	case nil, bool, int, int64, float64:
		return 0
	}
	switch rv := reflect.ValueOf(v); rv.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return rv.Len() >> 4
	}
	return 0
}

// times multiplies for a guard; more than maxOutput is all the same.
func times(factors ...int) int {
	n := 1
	for _, f := range factors {
		if f < 0 || f > maxOutput || n*f > maxOutput {
			return maxOutput + 1
		}
		n *= f
	}
	return n
}
