package render

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/Masterminds/sprig/v3"
)

// table has the functions of the language by name, and what is to be said about
// those that are known from elsewhere and not there.
type table struct {
	functions map[string]*function
	absent    map[string]string

	// rest makes the families that are not in functions yet: most templates call
	// none of sprig's functions, and those cost more to make than a template to
	// compile. nil: there are none.
	rest func() [][]*function
}

// newTable makes the table of our own language, which is consul-template's.
// sprig's functions are there as sprig_NAME, too.
func newTable() *table {
	t := tableOf(
		absentFunctions(), standardFunctions(), secretFunctions(), fileFunctions(), encodingFunctions(), textFunctions(),
		numberFunctions(), listFunctions(), mapFunctions(), spewFunctions(),
	)
	t.rest = func() [][]*function {
		fromSprig := sprigFunctions(sprig.HermeticTxtFuncMap())
		return [][]*function{fromSprig, prefixed(fromSprig)}
	}
	return t
}

// tableOf makes a table. Later families do not replace earlier ones:
// text/template's own names, then the dialect's, then sprig's.
func tableOf(absent map[string]string, families ...[]*function) *table {
	t := &table{functions: map[string]*function{}, absent: absent}
	t.add(families)
	return t
}

func (t *table) add(families [][]*function) {
	for _, family := range families {
		for _, f := range family {
			if t.functions[f.name] == nil && t.absent[f.name] == "" {
				t.functions[f.name] = f
			}
		}
	}
}

// whole gives all functions by name.
func (t *table) whole() map[string]*function {
	if t.rest != nil {
		t.add(t.rest())
		t.rest = nil
	}
	return t.functions
}

// find gives the function for a call with n arguments, or why there is none.
func (t *table) find(name string, n int) (f *function, why, fix string) {
	if why := t.absent[name]; why != "" {
		return nil, why, ""
	}
	if f = t.functions[name]; f == nil {
		f = t.whole()[name]
	}
	if f == nil {
		return nil, fmt.Sprintf("there is no function %s", name),
			suggest(name, slices.Collect(maps.Keys(t.functions)))
	}
	least, most := f.arity()
	switch {
	case n < least && most < 0:
		return nil, fmt.Sprintf("%s wants %d or more arguments, but gets %d", name, least, n), ""
	case n < least || most >= 0 && n > most:
		return nil, fmt.Sprintf("%s wants %d arguments, but gets %d", name, least, n), ""
	}
	return f, "", ""
}

// arity gives the least and the most number of arguments; most is -1 when there
// is no bound.
func (f *function) arity() (least, most int) {
	if f.builtin {
		return 1, -1
	}
	t := reflect.TypeOf(f.fn)
	n := t.NumIn()
	if n > 0 && t.In(0) == reflect.TypeFor[*run]() {
		n--
	}
	if t.IsVariadic() {
		return n - 1, -1
	}
	return n, n
}

// absentFunctions are names of consul-template and text/template that get an
// answer of their own.
func absentFunctions() map[string]string {
	names := map[string][]string{
		"is about Consul or Nomad; secretboot reads Vault": {
			"caLeaf", "caRoots", "connect", "datacenters", "exportedServices", "importedServices", "key", "keyExists",
			"keyOrDefault", "ls", "node", "nodes", "nomadService", "nomadServices", "nomadVar", "nomadVarExists",
			"nomadVarList", "nomadVarListSafe", "partitions", "peerings", "safeLs", "safeTree", "service", "services",
			"tree", "byMeta", "byPort", "byTag",
		},
		"would print to the standard output, which is the command's; use spew_sdump or spew_sprintf":                    {"spew_dump", "spew_printf"},
		"would start a program; secretboot starts none but the command":                                                 {"plugin"},
		"looks at the machine's network interfaces, which are no secret; pass the address in as a variable and use env": {"sockaddr"},
		"has nothing to call: no value of a template is a function":                                                     {"call"},
	}
	out := map[string]string{}
	for why, list := range names {
		leaveOut(out, why, list...)
	}
	return out
}

// leaveOut notes why some functions are not there.
func leaveOut(absent map[string]string, why string, names ...string) {
	for _, name := range names {
		absent[name] = "the function " + name + " " + why
	}
}
