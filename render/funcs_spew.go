package render

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// spewFunctions show values with their types, for whoever debugs a template.
// Those two that print to the standard output are absent: see absentFunctions.
func spewFunctions() []*function {
	return []*function{
		{name: "spew_sdump", fn: dump, deep: true, inside: noNil},
		{name: "spew_sprintf", fn: printf, deep: true, inside: noNil},
	}
}

// dump writes values in the style of github.com/davecgh/go-spew, with the keys
// of maps sorted.
func dump(args ...any) string {
	var b strings.Builder
	for _, arg := range args {
		dumpValue(&b, reflect.ValueOf(arg), "")
		b.WriteByte('\n')
	}
	return b.String()
}

func dumpValue(b *strings.Builder, v reflect.Value, indent string) {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	fmt.Fprintf(b, "(%s) ", v.Type())
	switch v.Kind() {
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		dumpSize(b, len(keys), 0)
		dumpList(b, len(keys), indent, func(i int, inner string) {
			dumpValue(b, keys[i], inner)
			b.WriteString(": ")
			dumpValue(b, v.MapIndex(keys[i]), inner)
		})
	case reflect.Slice:
		dumpSize(b, v.Len(), v.Cap())
		dumpList(b, v.Len(), indent, func(i int, inner string) { dumpValue(b, v.Index(i), inner) })
	case reflect.String:
		dumpSize(b, v.Len(), 0)
		if v.Type() == reflect.TypeFor[string]() {
			fmt.Fprintf(b, "%q", v.String())
			return
		}
		b.WriteString(v.String()) // a json.Number
	default:
		fmt.Fprint(b, v)
	}
}

func dumpSize(b *strings.Builder, n, capacity int) {
	switch {
	case capacity > 0:
		fmt.Fprintf(b, "(len=%d cap=%d) ", n, capacity)
	case n > 0:
		fmt.Fprintf(b, "(len=%d) ", n)
	}
}

func dumpList(b *strings.Builder, n int, indent string, element func(i int, indent string)) {
	b.WriteString("{\n")
	for i := range n {
		b.WriteString(indent + " ")
		element(i, indent+" ")
		if i < n-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString(indent + "}")
}
