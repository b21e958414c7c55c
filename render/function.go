package render

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
)

// function is one function of the template language.
type function struct {
	name string
	// fn is a Go function that gives a value, or a value and an error. A first
	// parameter of type *run gets the execution.
	fn any

	lenient bool  // takes missing values
	deep    bool  // walks its arguments, which are inspected first
	inside  check // what is looked for then
	numbers bool  // an any that is a number of Vault becomes an int64 or float64
	varies  bool  // gives another result each time; deep, too
	mutates bool  // changes its first argument, which must not come to contain itself
	cost    int   // steps, for what takes long; then it uses nothing of the run

	// vet refuses what the Go function would turn into a wrong value silently.
	vet func(args []any) error

	// guard gives how many bytes the result may have, or how many comparisons it
	// takes, for a function that can make much out of little.
	guard func(args []any) int

	builtin bool // text/template's own: and, or, not; left to it
}

// asks reports whether the function reads a secret or a list of them.
func (f *function) asks() bool { return f.name == "secret" || f.name == "secrets" }

// call checks the arguments, converts them and calls. A panic is an error.
func (f *function) call(r *run, args []any) (any, error) {
	in, err := f.bind(r, args)
	if err != nil {
		return nil, err
	}
	invoke := f.invoke
	if f.cost > 0 {
		if r.scouting() {
			return nil, nil // the result is dropped anyway
		}
		invoke = f.invokePatiently
	}
	out, err := r.remember(f, args, func() (any, error) { return invoke(r, in) })
	if err != nil {
		return nil, err
	}
	if s, ok := out.(string); ok && len(s) > maxOutput {
		return nil, tooMuch("a value would be larger than 16 MiB")
	}
	if f.mutates {
		if err := r.inspect(out, 0); err != nil {
			return nil, err
		}
	}
	return out, r.spend(1 + size(out) + f.cost)
}

func (f *function) invoke(_ *run, in []reflect.Value) (out any, err error) {
	defer func() {
		if recover() != nil { // what it says may quote a value
			out, err = nil, badData("the function cannot handle its argument", "")
		}
	}()
	results := reflect.ValueOf(f.fn).Call(in)
	if len(results) == 2 {
		if e, _ := results[1].Interface().(error); e != nil {
			return nil, e
		}
	}
	return results[0].Interface(), nil
}

// invokePatiently calls a function that takes long and cannot be interrupted. If
// the time is up before it ends, it goes on alone and its result is dropped.
func (f *function) invokePatiently(r *run, in []reflect.Value) (any, error) {
	type result struct {
		out any
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := f.invoke(r, in)
		done <- result{out, err}
	}()
	select {
	case <-r.ctx.Done():
		return nil, timeIsUp(r.ctx)
	case got := <-done:
		return got.out, got.err
	}
}

// bind makes the arguments of the Go function.
func (f *function) bind(r *run, args []any) ([]reflect.Value, error) {
	if err := f.check(r, args); err != nil {
		return nil, err
	}
	t := reflect.TypeOf(f.fn)
	var in []reflect.Value
	if t.NumIn() > 0 && t.In(0) == reflect.TypeFor[*run]() {
		in = append(in, reflect.ValueOf(r))
	}
	for i, arg := range args {
		n := len(in)
		param := t.In(min(n, t.NumIn()-1))
		if t.IsVariadic() && n >= t.NumIn()-1 {
			param = param.Elem()
		}
		v, err := f.convert(arg, param)
		if err != nil {
			return nil, badData(fmt.Sprintf("argument %d of %s %s", i+1, f.name, err.Error()), "")
		}
		in = append(in, v)
	}
	return in, nil
}

// check looks at the arguments before any function sees them.
func (f *function) check(r *run, args []any) error {
	for i, arg := range args {
		if arg == nil && !f.lenient {
			return missing(fmt.Sprintf("argument %d of %s is missing", i+1, f.name), r.p.dialect.absent)
		}
		if err := r.spend(size(arg)); err != nil {
			return err
		}
		if f.deep {
			if err := r.inspect(arg, f.inside); err != nil {
				return err
			}
		}
	}
	if f.vet != nil {
		if err := f.vet(args); err != nil {
			return err
		}
	}
	if f.guard == nil {
		return nil
	}
	n := f.guard(args)
	if n > maxOutput {
		return tooMuch("the value is, or the result would be, larger than 16 MiB")
	}
	return r.spend(n >> 6)
}

// convert makes v a value of type t. The error goes on after "argument 1 of f".
func (f *function) convert(v any, t reflect.Type) (reflect.Value, error) {
	if v == nil {
		return reflect.Zero(t), nil
	}
	if n, ok := v.(json.Number); ok && t.Kind() != reflect.String {
		if t.Kind() != reflect.Interface || f.numbers {
			v = exact(n)
		}
	}
	rv := reflect.ValueOf(v)
	if rv.Type().AssignableTo(t) {
		return rv, nil
	}
	out := reflect.New(t).Elem()
	switch {
	case t.Kind() == reflect.String && rv.Kind() == reflect.String:
		return rv.Convert(t), nil
	case out.CanInt() && rv.CanInt() && !out.OverflowInt(rv.Int()):
		return rv.Convert(t), nil
	case out.CanUint() && rv.CanInt() && rv.Int() >= 0 && !out.OverflowUint(uint64(rv.Int())):
		return rv.Convert(t), nil
	case out.CanInt() && rv.CanUint() && rv.Uint() <= 1<<62 && !out.OverflowInt(int64(rv.Uint())):
		return rv.Convert(t), nil
	case out.CanFloat() && (rv.CanInt() || rv.CanUint() || rv.CanFloat()):
		return rv.Convert(t), nil
	case t.Kind() == reflect.Slice && rv.Kind() == reflect.Slice:
		return f.convertList(rv, t)
	case t.Kind() == reflect.Map && rv.Kind() == reflect.Map:
		return f.convertMap(rv, t)
	}
	return out, fmt.Errorf("is %s, but must be %s", kind(v), kindOfType(t))
}

func (f *function) convertList(rv reflect.Value, t reflect.Type) (reflect.Value, error) {
	out := reflect.MakeSlice(t, rv.Len(), rv.Len())
	for i := range rv.Len() {
		elem := rv.Index(i).Interface()
		if elem == nil && !f.lenient && t.Elem().Kind() != reflect.Interface {
			return out, fmt.Errorf("has an element that is null")
		}
		v, err := f.convert(elem, t.Elem())
		if err != nil {
			return out, fmt.Errorf("has an element that %w", err)
		}
		out.Index(i).Set(v)
	}
	return out, nil
}

func (f *function) convertMap(rv reflect.Value, t reflect.Type) (reflect.Value, error) {
	out := reflect.MakeMapWithSize(t, rv.Len())
	for it := rv.MapRange(); it.Next(); {
		key, err := f.convert(it.Key().Interface(), t.Key())
		if err != nil {
			return out, fmt.Errorf("has a key that %w", err)
		}
		v, err := f.convert(it.Value().Interface(), t.Elem())
		if err != nil {
			return out, fmt.Errorf("has a value that %w", err)
		}
		out.SetMapIndex(key, v)
	}
	return out, nil
}

// exact gives the number as an int64 if it is one, as a uint64 if it is one of
// those, else as the nearest float64, else (1e999) as it is.
func exact(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	if x, err := n.Float64(); err == nil {
		return x
	}
	return n
}

// kind names what a value is, in the user's words.
func kind(v any) string {
	switch v.(type) {
	case json.Number:
		return "a number"
	case *answer:
		return "a whole secret"
	case nil:
		return "missing"
	}
	return kindOfType(reflect.TypeOf(v))
}

func kindOfType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "a map"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	if v := reflect.New(t).Elem(); v.CanInt() || v.CanUint() {
		return "a whole number"
	}
	return "something else"
}
