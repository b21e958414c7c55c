package render

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"text/template/parse"
	"time"

	"github.com/Masterminds/semver/v3"
)

// text/template finds a method by its name while a template runs, so that the
// linker has to keep every method of every type in the program: a tenth of our
// binary. We execute with a copy of it that calls no methods (its own tests and
// releases are those of Datadog's agent), and the compiler puts a hook where a
// name may be that of a method. The values that a template can get have a few
// types with methods only; a test finds them all.

// methods gives the methods of a value as functions that take it first. Those
// that fill a value, encode it or give several results are not among them.
func methods(v any) map[string]any {
	switch v.(type) {
	case time.Time:
		return timeMethods()
	case time.Duration:
		return map[string]any{
			"Abs": time.Duration.Abs, "Hours": time.Duration.Hours, "Microseconds": time.Duration.Microseconds,
			"Milliseconds": time.Duration.Milliseconds, "Minutes": time.Duration.Minutes, "Nanoseconds": time.Duration.Nanoseconds,
			"Round": time.Duration.Round, "Seconds": time.Duration.Seconds, "String": time.Duration.String, "Truncate": time.Duration.Truncate,
		}
	case time.Month:
		return map[string]any{"String": time.Month.String}
	case time.Weekday:
		return map[string]any{"String": time.Weekday.String}
	case *time.Location:
		return map[string]any{"String": (*time.Location).String}
	case json.Number:
		return map[string]any{"Float64": json.Number.Float64, "Int64": json.Number.Int64, "String": json.Number.String}
	case *semver.Version:
		return versionMethods()
	case semver.Version:
		return numberedMethods()
	case *scratch:
		return map[string]any{
			"Get": (*scratch).Get, "Key": (*scratch).Key, "MapSet": (*scratch).MapSet, "MapSetX": (*scratch).MapSetX,
			"MapValues": (*scratch).MapValues, "Set": (*scratch).Set, "SetX": (*scratch).SetX,
		}
	}
	return nil
}

func timeMethods() map[string]any {
	return map[string]any{
		"Add": time.Time.Add, "AddDate": time.Time.AddDate, "After": time.Time.After, "Before": time.Time.Before,
		"Compare": time.Time.Compare, "Day": time.Time.Day, "Equal": time.Time.Equal, "Format": time.Time.Format,
		"Hour": time.Time.Hour, "In": time.Time.In, "IsDST": time.Time.IsDST, "IsZero": time.Time.IsZero,
		"Local": time.Time.Local, "Location": time.Time.Location, "Minute": time.Time.Minute, "Month": time.Time.Month,
		"Nanosecond": time.Time.Nanosecond, "Round": time.Time.Round, "Second": time.Time.Second, "String": time.Time.String,
		"Sub": time.Time.Sub, "Truncate": time.Time.Truncate, "UTC": time.Time.UTC, "Unix": time.Time.Unix,
		"UnixMicro": time.Time.UnixMicro, "UnixMilli": time.Time.UnixMilli, "UnixNano": time.Time.UnixNano,
		"Weekday": time.Time.Weekday, "Year": time.Time.Year, "YearDay": time.Time.YearDay,
	}
}

func versionMethods() map[string]any {
	type version = *semver.Version
	return map[string]any{
		"Compare": version.Compare, "Equal": version.Equal, "GreaterThan": version.GreaterThan,
		"GreaterThanEqual": version.GreaterThanEqual, "IncMajor": version.IncMajor, "IncMinor": version.IncMinor,
		"IncPatch": version.IncPatch, "LessThan": version.LessThan, "LessThanEqual": version.LessThanEqual,
		"Major": version.Major, "Metadata": version.Metadata, "Minor": version.Minor, "Original": version.Original,
		"Patch": version.Patch, "Prerelease": version.Prerelease, "SetMetadata": version.SetMetadata,
		"SetPrerelease": version.SetPrerelease, "String": version.String,
	}
}

// numberedMethods are those of the versions that other versions give.
func numberedMethods() map[string]any {
	type version = semver.Version
	return map[string]any{
		"IncMajor": version.IncMajor, "IncMinor": version.IncMinor, "IncPatch": version.IncPatch, "Major": version.Major,
		"Metadata": version.Metadata, "Minor": version.Minor, "Patch": version.Patch, "Prerelease": version.Prerelease,
		"SetMetadata": version.SetMetadata, "SetPrerelease": version.SetPrerelease, "String": version.String,
	}
}

// withMethods has a value of each type that methods knows.
func withMethods() []any {
	return []any{
		time.Time{}, time.Duration(0), time.January, time.Sunday, time.UTC, json.Number(""), &semver.Version{}, semver.Version{}, &scratch{},
	}
}

// methodNames are the names that some value has as a method.
func methodNames() map[string]bool {
	names := map[string]bool{}
	for _, v := range withMethods() {
		for name := range maps.Keys(methods(v)) {
			names[name] = true
		}
	}
	return names
}

// members rewrites a chain of names as the operands of a command: as it is, or
// with a hook from the first name on that may be a method's.
func (c *compiler) members(n parse.Node) []parse.Node {
	base, names := dotted(n)
	methods := c.language.methodNames()
	i := slices.IndexFunc(names, func(name string) bool { return methods[name] })
	if i < 0 {
		return []parse.Node{n}
	}
	name := &parse.StringNode{NodeType: parse.NodeString, Pos: n.Position(), Quoted: strconv.Quote(names[i]), Text: names[i]}
	call := append(hook(hookMember, c.site(n, site{})).Args, undotted(base, names[:i], n.Position()), name)
	if i == len(names)-1 {
		return call
	}
	return c.members(&parse.ChainNode{NodeType: parse.NodeChain, Pos: n.Position(), Node: pipeline(call, n.Position()), Field: names[i+1:]})
}

// dotted gives the names of a chain, and what they are looked up in.
func dotted(n parse.Node) (base parse.Node, names []string) {
	switch n := n.(type) {
	case *parse.FieldNode:
		return &parse.DotNode{NodeType: parse.NodeDot, Pos: n.Pos}, n.Ident
	case *parse.VariableNode:
		return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: n.Pos, Ident: n.Ident[:1]}, n.Ident[1:]
	case *parse.ChainNode:
		return n.Node, n.Field
	}
	return n, nil
}

// undotted is the reverse of dotted.
func undotted(base parse.Node, names []string, at parse.Pos) parse.Node {
	if len(names) == 0 {
		return base
	}
	switch base := base.(type) {
	case *parse.DotNode:
		return &parse.FieldNode{NodeType: parse.NodeField, Pos: at, Ident: names}
	case *parse.VariableNode:
		return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: at, Ident: slices.Concat(base.Ident, names)}
	}
	return &parse.ChainNode{NodeType: parse.NodeChain, Pos: at, Node: base, Field: names}
}

// pipeline makes an operand of a command.
func pipeline(args []parse.Node, at parse.Pos) *parse.PipeNode {
	cmd := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: at, Args: args}
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: at, Cmds: []*parse.CommandNode{cmd}}
}

// member gives what a name stands for on a value: the result of a method, or a
// field as text/template gives it.
func (r *run) member(id int, v any, name string, args []any) (any, error) {
	var out any
	var err error
	if fn, ok := methods(v)[name]; ok {
		out, err = r.method(&function{name: name, fn: fn, lenient: true}, append([]any{v}, args...))
	} else {
		out, err = r.field(v, name, len(args) > 0)
	}
	if err != nil {
		return nil, r.fail(id, err)
	}
	return out, nil
}

// method calls a method with the value that it is of and its arguments.
func (r *run) method(f *function, args []any) (any, error) {
	t := reflect.TypeOf(f.fn)
	if t.NumIn() != len(args) {
		return nil, badData("the method takes other arguments", "")
	}
	for i, arg := range args[1:] {
		if arg == nil && t.In(i+1).Kind() != reflect.Interface {
			return nil, missing("an argument of the method is a value that is missing", "")
		}
		v, err := f.convert(arg, t.In(i+1))
		if err != nil {
			return nil, badData(fmt.Sprintf("argument %d of %s %s", i+1, f.name, err), "")
		}
		args[i+1] = v.Interface()
	}
	return f.call(r, args)
}

// field gives a member of a struct or map. One that a map lacks is a missing
// value, or an error if the dialect or the template says so.
func (r *run) field(v any, name string, called bool) (any, error) {
	rv := reflect.ValueOf(v)
	for rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	noSuch := missing("there is no such value", "")
	switch {
	case rv.Kind() == reflect.Pointer, !rv.IsValid() && r.p.exact:
		return nil, noSuch
	case !rv.IsValid():
		return nil, nil
	case called:
		return nil, badData("a field takes no arguments", "")
	case rv.Kind() == reflect.Struct:
		if f, ok := rv.Type().FieldByName(name); ok && f.IsExported() {
			return rv.FieldByIndex(f.Index).Interface(), nil
		}
	case rv.Kind() == reflect.Map && rv.Type().Key().Kind() == reflect.String:
		elem := rv.MapIndex(reflect.ValueOf(name).Convert(rv.Type().Key()))
		switch {
		case elem.IsValid():
			return elem.Interface(), nil
		case r.p.exact:
			return nil, noSuch
		}
		return nil, nil
	}
	return nil, badData("the value on the left has no such field", "")
}
