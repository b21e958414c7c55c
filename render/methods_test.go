package render

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestMethodsComplete looks at every type that a function can give, and at what
// its methods and members give in turn, and wants to find each of their methods.
func TestMethodsComplete(t *testing.T) {
	left := []string{ // they fill a value, encode it or give several results
		"Scan", "Value", "MarshalJSON", "MarshalText", "MarshalBinary", "UnmarshalJSON", "UnmarshalText", "GobEncode",
		"AppendBinary", "AppendFormat", "AppendText", "GoString", "Clock", "Date", "ISOWeek", "Zone", "ZoneBounds",
	}
	known := map[reflect.Type]map[string]any{}
	for _, v := range withMethods() {
		known[reflect.TypeOf(v)] = methods(v)
	}
	seen := map[reflect.Type]bool{reflect.TypeFor[error](): true}
	var look func(reflect.Type)
	look = func(typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		for i := range typ.NumMethod() {
			m := typ.Method(i)
			if _, ok := known[typ][m.Name]; !ok && !slices.Contains(left, m.Name) {
				t.Errorf("%v has a method %s, which no template finds", typ, m.Name)
			}
			for j := range m.Type.NumOut() {
				look(m.Type.Out(j))
			}
		}
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			look(typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				if f := typ.Field(i); f.IsExported() {
					look(f.Type)
				}
			}
		}
	}
	// What functions give as any comes from JSON or is one of ours.
	look(reflect.TypeFor[json.Number]())
	look(reflect.TypeFor[*answer]())
	look(reflect.TypeFor[*certificate]())
	for _, functions := range []*table{newTable(), externalTable(), bankTable()} {
		for _, f := range functions.whole() {
			if f.builtin {
				continue
			}
			for i := range reflect.TypeOf(f.fn).NumOut() {
				look(reflect.TypeOf(f.fn).Out(i))
			}
		}
	}
	for typ := range known {
		if !seen[typ] {
			t.Errorf("no template can get a %v", typ)
		}
	}
}

// TestMethodsExact holds that the functions are the methods of their names.
func TestMethodsExact(t *testing.T) {
	for _, v := range withMethods() {
		for name, fn := range methods(v) {
			m, ok := reflect.TypeOf(v).MethodByName(name)
			if !ok || m.Type != reflect.TypeOf(fn) || m.Func.Pointer() != reflect.ValueOf(fn).Pointer() {
				t.Errorf("%T.%s is not the method", v, name)
			}
		}
	}
}

func TestMethods(t *testing.T) {
	at := time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)
	data := map[string]any{
		"t": at, "later": at.Add(time.Hour), "d": 90 * time.Minute, "v": semver.MustParse("1.2.3"), "n": json.Number("7"),
		"m": map[string]any{"Format": "f", "Unix": map[string]any{"Day": "x", "y": map[string]string{"Key": "z"}}, "null": nil, "Year": nil},
		"p": &wrapAnswer{CreationTime: at}, "none": (*wrapAnswer)(nil),
	}
	tests := map[string]string{
		`{{ .t.Format "2006" }} {{ "2006-01" | .t.Format }} {{ $t := .t }}{{ $t.Format "01" }}`:                           "2024 2024-02 02",
		`{{ .t.Month }} {{ .t.Weekday.String | upper }} {{ .t.Location }} {{ (.t.AddDate 0 0 1).Day }}`:                   "February THURSDAY UTC 1",
		`{{ (.later.Sub .t).Minutes }} {{ (.t.Add .d).Hour }} {{ (.t.Add 1000000000).Second }}`:                           "60 2 4",
		`{{ with .t }}{{ .Year }}{{ end }}{{ range list .t }}{{ .Unix }}{{ end }}{{ if .t.IsZero }}y{{ else }}n{{ end }}`: "20241709168523n",
		`{{ .v.Major }}{{ .v.IncMinor }} {{ .v.IncMinor.Minor }} {{ (semver "v2").GreaterThan .v }} {{ .v.Original }}`:    "11.3.0 3 true 1.2.3",
		`{{ .n.Int64 | add 1 }} {{ (fromJson "1").String }}`:                                                              "8 1",
		`{{ .n.Int64 }} {{ .n.String }}`:                                          "7 7",
		`{{ .m.Format }} {{ .m.Unix.Day }} {{ .m.Unix.y.Key }} {{ len .m.Unix }}`: "f x z 2",
		`{{ .p.CreationTime.Year }} {{ .p.CreationTime.UTC.Day }}`:                "2024 29",
		`{{ .none.String }}`:                "error: there is no such value",
		`{{ .m.Unix.Minute }}`:              "error: there is no such value",
		`{{ .m.null.Year }}`:                "error: there is no such value",
		`{{ .m.Year.Day }}`:                 "error: there is no such value",
		`{{ .m.Format.Day }}`:               "error: the value on the left has no such field",
		`{{ .p.Day }}`:                      "error: the value on the left has no such field",
		`{{ .m.Format 1 }}`:                 "error: a field takes no arguments",
		`{{ 1 | .m.Unix.Day }}`:             "error: a field takes no arguments",
		`{{ .t.Format }}`:                   "error: the method takes other arguments",
		`{{ .t.Format "2006" "x" }}`:        "error: the method takes other arguments",
		`{{ .t.Format 1 }}`:                 "error: argument 1 of Format is a whole number, but must be text",
		`{{ .t.Format .m.null }}`:           "error: an argument of the method is a value that is missing",
		`{{ .v.SetPrerelease "_" }}`:        "error: the function cannot handle its argument",
		`{{ .t.Zone }}{{ .t.MarshalText }}`: "error: the value on the left has no such field",
	}
	for text, want := range tests {
		var l Language
		p, err := l.Compile(plan.Template{Name: "t", Text: text, Dialect: plan.DialectExternalSecrets}, plan.Origin{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		out, err := p.ExecuteOver(t.Context(), data)
		got := string(out.Reveal())
		var told *plan.Problem
		if errors.As(err, &told) {
			got = "error: " + told.Why
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}
