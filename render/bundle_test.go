package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// store answers reads: a secret by its path, a list by its path with a / at the
// end.
type store map[string]any

// bundleStore is what most cases read. kv/data/… are answers of KV version 2.
func bundleStore(t testing.TB) store {
	return store(parseTree(t, `{
		"kv/app": {"user": "u<&>", "port": 5432, "big": 12345678901234567890, "f": 1.50, "on": true, "none": null,
			"list": ["a", "<b>"], "map": {"z": 1, "a": "x"}, "text map": "{\"k\": \"v\", \"n\": 1e3}", "b64": "aGk=", "nul": "a\u0000b"},
		"kv/one": {"A": "1", "B": "1"},
		"kv/two": {"B": "2", "C": "2"},
		"kv/deep": {"x": {"y": {"a": {"b": "<"}, "n": 1.50, "z": null}}},
		"kv/odd": {"a b": "1", "a/b": "2"},
		"kv/first": {"pw": "p", "n": 12345678901234567890},
		"kv/meta/": {"keys": ["dev/", "app1", "app2", "gone"]},
		"kv/meta/dev/": {"keys": ["db", "deep/"]},
		"kv/meta/dev/deep/": {"keys": ["x"]},
		"kv/meta/app1": {"custom_metadata": {"team": "a", "env": "dev"}},
		"kv/meta/app2": {"custom_metadata": {"team": "b"}},
		"kv/meta/dev/db": {"custom_metadata": {"team": "a"}},
		"kv/meta/dev/deep/x": {"custom_metadata": null},
		"kv/data/app1": {"data": {"a": "1"}, "metadata": {"version": 1}},
		"kv/data/app2": {"data": {"b": "<2>", "c": 3.10}, "metadata": {"version": 1}},
		"kv/data/dev/db": {"data": {"pw": "q"}, "metadata": {"version": 1}},
		"kv/data/dev/deep/x": {"data": {"y": "z"}, "metadata": {"version": 1}}
	}`).Reveal())
}

func (s store) answer(r plan.Read) Answer {
	path := r.Path
	if r.Op == plan.OpList {
		path += "/"
	}
	data, ok := s[path].(map[string]any)
	if !ok {
		return Answer{Err: &plan.Problem{Code: plan.CodeMissing, Origin: r.Origin, What: "secret " + r.Path, Why: "there is no such secret"}}
	}
	return Answer{Secret: secret.Secret{Data: secret.NewTree(data), KV2: strings.HasPrefix(path, "kv/data/")}}
}

// executeBundle reads until nothing lacks, and gives how often it had to.
func executeBundle(t testing.TB, s store, b plan.Bundle) (map[string]string, Contents, int, error) {
	t.Helper()
	prog, err := new(Language).CompileBundle(b, testOrigin())
	if err != nil {
		return nil, Contents{}, 0, err
	}
	answers := Answers{}
	rounds := 0
	for needs := prog.Lacking(answers); len(needs) > 0; needs = prog.Lacking(answers) {
		if rounds++; rounds > 100 {
			t.Fatal("it asks without end")
		}
		for _, n := range needs {
			if answers.has(n) {
				t.Fatalf("%s is asked for twice", n.Key())
			}
			answers[n.Key()] = s.answer(n.Read)
		}
	}
	got, err := prog.Execute(t.Context(), answers, Means{})
	out := map[string]string{}
	for key, v := range got.Keys {
		out[key] = string(v.Reveal())
	}
	return out, got, rounds, err
}

func all(path string, change ...func(*plan.Part)) plan.Part {
	p := plan.Part{Ref: plan.Ref{Read: plan.Read{Path: path}, EscapeHTML: true, NullEmpty: true}, Convert: plan.ConvertDefault}
	for _, c := range change {
		c(&p)
	}
	return p
}

func one(key, path, field string) plan.Part {
	return plan.Part{Key: key, Ref: plan.Ref{Read: plan.Read{Path: path}, Field: field}}
}

func finding(f plan.Find, change ...func(*plan.Part)) plan.Part {
	p := plan.Part{Find: &f, Convert: plan.ConvertDefault}
	for _, c := range change {
		c(&p)
	}
	return p
}

func renamed(r ...plan.Rename) func(*plan.Part) { return func(p *plan.Part) { p.Rename = r } }

func byRegexp(match, to string) plan.Rename {
	return plan.Rename{Regexp: &plan.RenameRegexp{Match: match, Replace: to}}
}

func keyed(key, text string) plan.KeyTemplate {
	return plan.KeyTemplate{Key: key, Template: plan.Template{Name: key, Text: text, Dialect: plan.DialectExternalSecrets, Missing: plan.MissingError}}
}

func parts(p ...plan.Part) plan.Bundle { return plan.Bundle{Parts: p} }

func TestBundles(t *testing.T) {
	search := plan.Find{List: "kv/meta", Read: "kv/data"}
	withName := func(expr string) plan.Find { f := search; f.Name = expr; return f }
	tests := []struct {
		name   string
		bundle plan.Bundle
		want   map[string]string
	}{
		{"values of many keys", parts(all("kv/app")), map[string]string{
			"user": "u<&>", "port": "5432", "big": "12345678901234567890", "f": "1.50", "on": "true", "none": "",
			"list": `["a","\u003cb\u003e"]`, "map": `{"a":"x","z":1}`, "text_map": `{"k": "v", "n": 1e3}`, "b64": "aGk=", "nul": "a\x00b",
		}},
		{"of a field that is a map", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field = "map" })), map[string]string{"a": "x", "z": "1"}},
		{"of a field that is the text of one", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field, p.Ref.Select = "text map", plan.SelectPath })), map[string]string{"k": "v", "n": "1e3"}},
		{"of a path that leads to a map", parts(all("kv/deep", func(p *plan.Part) { p.Ref.Field, p.Ref.Select = "x.y", plan.SelectPath })), map[string]string{"a": `{"b":"\u003c"}`, "n": "1.50", "z": ""}},
		{"metadata", parts(all("kv/meta/app1", func(p *plan.Part) { p.Ref.Level = plan.LevelMetadata })), map[string]string{"team": "a", "env": "dev"}},
		{"a later part wins", parts(all("kv/one"), all("kv/two"), one("A", "kv/app", "port")), map[string]string{"A": "5432", "B": "2", "C": "2"}},
		{"unicode", parts(all("kv/odd", func(p *plan.Part) { p.Convert = plan.ConvertUnicode })), map[string]string{"a_U0020_b": "1", "a_U002f_b": "2"}},
		{"renamed, so not converted", parts(all("kv/odd", renamed(byRegexp(`[^a-zA-Z0-9 -]`, "_"), byRegexp(" ", "-")))), map[string]string{"a-b": "1", "a_b": "2"}},
		{"with a group", parts(all("kv/one", renamed(byRegexp(`(.*)`, "x_$1")))), map[string]string{"x_A": "1", "x_B": "1"}},
		{"transformed", parts(all("kv/one", renamed(plan.Rename{Transform: `k.{{ .value | lower }}`}))), map[string]string{"k.a": "1", "k.b": "1"}},
		{"decoded", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field, p.Ref.Decode = "map", plan.DecodeAuto })), map[string]string{"a": "x", "z": "1"}},
		{"found", parts(finding(search)), map[string]string{
			"app1": `{"a":"1"}`, "app2": `{"b":"\u003c2\u003e","c":3.10}`, "dev_db": `{"pw":"q"}`, "dev_deep_x": `{"y":"z"}`,
		}},
		{"the name is not anchored", parts(finding(withName("p1"))), map[string]string{"app1": `{"a":"1"}`}},
		{"the name has the folder", parts(finding(withName("^dev/d.$"))), map[string]string{"dev_db": `{"pw":"q"}`}},
		{"nothing found", parts(finding(withName("^zzz$"))), map[string]string{}},
		{"by tags", parts(finding(plan.Find{List: "kv/meta", Read: "kv/data", Tags: map[string]string{"team": "a"}})), map[string]string{"app1": `{"a":"1"}`, "dev_db": `{"pw":"q"}`}},
		{"by all tags", parts(finding(plan.Find{List: "kv/meta", Read: "kv/data", Tags: map[string]string{"team": "a", "env": "dev"}})), map[string]string{"app1": `{"a":"1"}`}},
		{"flat", parts(finding(plan.Find{List: "kv/meta", Read: "kv/data", Flat: true, Name: "."})), map[string]string{"app1": `{"a":"1"}`, "app2": `{"b":"\u003c2\u003e","c":3.10}`}},
		{"below a folder", parts(finding(plan.Find{List: "kv/meta/dev", Read: "kv/data/dev", Base: "dev/"})), map[string]string{"dev_db": `{"pw":"q"}`, "dev_deep_x": `{"y":"z"}`}},
		{"merged", parts(finding(withName("^app"), renamed(plan.Rename{Merge: &plan.RenameMerge{}}))), map[string]string{"a": "1", "b": "<2>", "c": "3.10"}},
		{
			"merged into one key", parts(finding(withName("^app"), renamed(plan.Rename{Merge: &plan.RenameMerge{Into: "all"}}))),
			map[string]string{"all": `{"a":"1","b":"<2>","c":3.10}`, "app1": `{"a":"1"}`, "app2": `{"b":"\u003c2\u003e","c":3.10}`},
		},
		{"templates replace", plan.Bundle{Parts: []plan.Part{one("u", "kv/app", "user")}, Templates: []plan.KeyTemplate{keyed("url", `x://{{ .u | upper }}@`)}}, map[string]string{"url": "x://U<&>@"}},
		{"or are beside", plan.Bundle{Keep: true, Parts: []plan.Part{one("u", "kv/app", "user")}, Templates: []plan.KeyTemplate{keyed("v", `{{ .u }}!`)}}, map[string]string{"u": "u<&>", "v": "u<&>!"}},
		{"the later template wins", plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "x: from literal\ny: other"), keyed("x", "from data")}}, map[string]string{"x": "from data", "y": "other"}},
		{"keys of a map", plan.Bundle{Parts: []plan.Part{one("u", "kv/one", "A")}, Templates: []plan.KeyTemplate{keyed("", "k{{ .u }}: |\n  a\n  b\n")}}, map[string]string{"k1": "a\nb\n"}},
		{
			"text stays as it stands",
			plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "y: yes\na: 0123\nb: 1e3\nc: 1.50\nd: null\ne: ~\nf: 2024-01-01\ng: \"q\"\nh:\n")}},
			map[string]string{"y": "yes", "a": "0123", "b": "1e3", "c": "1.50", "d": "null", "e": "~", "f": "2024-01-01", "g": "q", "h": ""},
		},
		{"an empty map", plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "# nothing\n")}}, map[string]string{}},
		{"the values decoded", plan.Bundle{Templates: []plan.KeyTemplate{func() plan.KeyTemplate { k := keyed("", "a: aGk="); k.Decode = plan.DecodeBase64; return k }()}}, map[string]string{"a": "hi"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, _, err := executeBundle(t, bundleStore(t), tt.bundle)
			if err != nil || !maps.Equal(got, tt.want) {
				t.Errorf("%v\n got %q\nwant %q", err, got, tt.want)
			}
		})
	}
}

// TestMergeOrder: those with a priority come last, so they win.
func TestMergeOrder(t *testing.T) {
	s := store{"kv/both": parseTree(t, `{"a": "{\"k\": \"a\"}", "b": "{\"k\": \"b\"}", "c": "{\"k\": \"c\"}"}`).Reveal()}
	for priority, want := range map[string]string{"": "c", "a": "a", "a b": "b", "none b a": "a"} {
		m := plan.RenameMerge{IgnoreConflict: true, IgnoreMissing: true, Priority: strings.Fields(priority)}
		got, _, _, err := executeBundle(t, s, parts(all("kv/both", renamed(plan.Rename{Merge: &m}))))
		if err != nil || got["k"] != want {
			t.Errorf("priority %q: %q, %v", priority, got, err)
		}
	}
}

func TestBundleProblems(t *testing.T) {
	nul := func(p *plan.Part) { p.NUL = true }
	merge := func(m plan.RenameMerge) func(*plan.Part) { return renamed(plan.Rename{Merge: &m}) }
	tests := []struct {
		name   string
		bundle plan.Bundle
		code   plan.Code
		want   string
	}{
		{"missing", parts(all("kv/none")), plan.CodeMissing, "secret kv/none: there is no such secret"},
		{"missing key", parts(one("k", "kv/app", "zzz")), plan.CodeMissing, "field zzz"},
		{"nothing to list", parts(finding(plan.Find{List: "kv/void", Read: "x"})), plan.CodeMissing, "secret kv/void"},
		{"null", parts(all("kv/app", func(p *plan.Part) { p.Ref.NullEmpty = false })), plan.CodeMissing, "the field none is null"},
		{"no map", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field, p.Ref.Select = "user", plan.SelectPath })), plan.CodeData, "a map is wanted"},
		{"no map either", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field = "list" })), plan.CodeData, "a map is wanted"},
		{"two keys on one, converted", parts(all("kv/odd")), plan.CodeData, `keys "a b" and "a/b": both would become "a_b"`},
		{"two keys on one, renamed", parts(all("kv/one", renamed(byRegexp(".*", "x")))), plan.CodeData, `keys "A" and "B": both would become "x"`},
		{"not converted", parts(all("kv/odd", func(p *plan.Part) { p.Convert = plan.ConvertNone })), plan.CodeData, `key "a b": a key has only letters, digits, -, _ and .`},
		{"renamed to nothing", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field = "map" }, renamed(byRegexp("^a$", "")))), plan.CodeData, `key "": it is empty`},
		{"climbs", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field = "map" }, renamed(byRegexp("^a$", "..")))), plan.CodeData, `key "..": it is . or begins with ..`},
		{"too long", parts(all("kv/app", func(p *plan.Part) { p.Ref.Field = "map" }, renamed(plan.Rename{Transform: `{{ repeat 254 .value }}`}))), plan.CodeData, "more than 253 characters"},
		{"no text", parts(all("kv/app", nul)), plan.CodeData, `key "nul": its value has a NUL byte`},
		{"not base64", parts(all("kv/one", func(p *plan.Part) { p.Ref.Decode = plan.DecodeBase64 })), plan.CodeData, `key "A": the value is not base64`},
		{"merge conflict", parts(all("kv/two"), all("kv/clash", merge(plan.RenameMerge{}))), plan.CodeData, `member "k": both "a" and "b" have it`},
		{"merge of no JSON", parts(all("kv/one", merge(plan.RenameMerge{}))), plan.CodeData, `key "A": its value is no JSON object`},
		{"merge priority", parts(all("kv/clash", merge(plan.RenameMerge{IgnoreConflict: true, Priority: []string{"zzz"}}))), plan.CodeData, `key "zzz": it has a priority and is not there`},
		{"template", plan.Bundle{Parts: []plan.Part{one("u", "kv/app", "user")}, Templates: []plan.KeyTemplate{keyed("x", "{{ .nope }}")}}, plan.CodeMissing, "template x:1:"},
		{"template's output", plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "just text "+canary)}}, plan.CodeData, "no map in YAML"},
		{"template's list", plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "a: b\nc: ["+canary+"]")}}, plan.CodeData, "at line 2"},
		{"template's key twice", plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "a: "+canary+"\na: c")}}, plan.CodeData, "each once"},
		{"template's documents", plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "a: b\n---\nc: "+canary)}}, plan.CodeData, "more than one YAML document"},
		{"template's key", plan.Bundle{Templates: []plan.KeyTemplate{keyed("", "a b: c")}}, plan.CodeData, `key "a b"`},
		{"bad expression", parts(finding(plan.Find{List: "x", Read: "x", Name: "("})), plan.CodeConfig, "regular expression \"(\": missing closing )"},
		{"bad rename", parts(all("kv/one", renamed(byRegexp("[", "")))), plan.CodeConfig, "regular expression"},
		{"bad transform", parts(all("kv/one", renamed(plan.Rename{Transform: "{{ if }}"}))), plan.CodeData, "template transform"},
		{"no rename", parts(all("kv/one", renamed(plan.Rename{}))), plan.CodeConfig, "not exactly one of"},
		{"bad key", parts(one("a/b", "kv/one", "A")), plan.CodeData, `key "a/b"`},
		{"a default", parts(all("kv/one", func(p *plan.Part) { p.Ref.Default = &plan.Handle{} })), plan.CodeConfig, "has no default"},
		{"one key renamed", parts(func() plan.Part { p := one("k", "kv/one", "A"); p.Rename = []plan.Rename{byRegexp("a", "b")}; return p }()), plan.CodeConfig, "one key cannot"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := bundleStore(t)
			s["kv/clash"] = parseTree(t, `{"a": "{\"k\": \"`+canary+`\"}", "b": "{\"k\": \"`+canary+`\"}"}`).Reveal()
			_, got, _, err := executeBundle(t, s, tt.bundle)
			if err == nil || plan.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) || len(got.Keys) > 0 {
				t.Errorf("%v (code %d)", err, plan.CodeOf(err))
			}
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error holds a value: %v", err)
			}
		})
	}
}

// TestOptionalParts: they are left out, and it is said.
func TestOptionalParts(t *testing.T) {
	optional := func(p *plan.Part) { p.Ref.Read.Optional = true; p.Origin = plan.Origin{At: "here"} }
	got, out, _, err := executeBundle(t, bundleStore(t), parts(all("kv/none", optional), all("kv/one"), finding(plan.Find{List: "kv/void", Read: "x"}, optional)))
	if err != nil || len(got) != 2 || len(out.LeftOut) != 2 || out.LeftOut[0].At != "here" {
		t.Errorf("%q, %v, %v", got, out.LeftOut, err)
	}
	_, _, _, err = executeBundle(t, bundleStore(t), parts(all("kv/odd", optional)))
	if plan.CodeOf(err) != plan.CodeData {
		t.Errorf("optional hides a collision: %v", err)
	}
}

// TestBundleReads: what is known ahead is the references and the first lists; each
// further folder takes one round.
func TestBundleReads(t *testing.T) {
	b := parts(all("kv/one"), finding(plan.Find{List: "kv/meta", Read: "kv/data", Tags: map[string]string{"team": "a"}}))
	prog, err := new(Language).CompileBundle(b, testOrigin())
	if err != nil {
		t.Fatal(err)
	}
	reads := prog.Reads()
	if len(reads) != 2 || reads[0].Path != "kv/one" || reads[1].Key() != "list kv/meta kv=literal" || reads[1].Origin != testOrigin() || len(prog.Computed()) != 1 {
		t.Errorf("%v, %v", reads, prog.Computed())
	}
	if _, _, rounds, err := executeBundle(t, bundleStore(t), b); err != nil || rounds != 4 {
		t.Errorf("%d rounds, %v", rounds, err)
	}
	if _, err := prog.Execute(t.Context(), Answers{}, Means{}); plan.CodeOf(err) != plan.CodeBug {
		t.Errorf("without answers: %v", err)
	}
}

// TestDeepFolders: thirty folders inside one another are found, and a server that
// lists without end is not followed.
func TestDeepFolders(t *testing.T) {
	s, path := store{}, "kv/meta"
	for range 30 {
		s[path+"/"] = map[string]any{"keys": []any{"d/"}}
		path += "/d"
	}
	s[path+"/"] = map[string]any{"keys": []any{"end"}}
	below := strings.TrimPrefix(path, "kv/meta") + "/end"
	s["kv/data"+below] = map[string]any{"data": map[string]any{"a": "1"}, "metadata": map[string]any{}}
	got, _, rounds, err := executeBundle(t, s, parts(finding(plan.Find{List: "kv/meta", Read: "kv/data"})))
	if err != nil || len(got) != 1 || rounds > 33 {
		t.Errorf("%q in %d rounds, %v", got, rounds, err)
	}
}

// endless answers every list the same.
func endless(t *testing.T, keys ...any) error {
	t.Helper()
	prog, err := new(Language).CompileBundle(parts(finding(plan.Find{List: "m", Read: "d", Name: "^$"})), testOrigin())
	if err != nil {
		t.Fatal(err)
	}
	answers := Answers{}
	for needs := prog.Lacking(answers); len(needs) > 0; needs = prog.Lacking(answers) {
		for _, n := range needs {
			answers[n.Key()] = Answer{Secret: secret.Secret{Data: secret.NewTree(map[string]any{"keys": keys})}}
		}
		if len(answers) > 2*maxFound {
			t.Fatal("too many requests")
		}
	}
	_, err = prog.Execute(t.Context(), answers, Means{})
	return err
}

func TestHostileLists(t *testing.T) {
	many := make([]any, maxFound+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for want, keys := range map[string][]any{
		"64 folders inside":      {"d/"},
		"more than 10000":        {"a/", "b/"},
		"10000 secrets":          many,
		"none that a path can":   {".."},
		"none that a path  can":  {"../x"},
		"none that a path can ":  {"a/b"},
		" none that a path can":  {"/"},
		"none that  a path can":  {""},
		"none that a  path can":  {7},
		"none  that a path can":  {"a\nb"},
		"none that a path can  ": {"vault:x"},
	} {
		err := endless(t, keys...)
		if err == nil || !strings.Contains(err.Error(), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("%q: %v", keys[:min(len(keys), 3)], err)
		}
	}
	if err := endless(t, "a", "a", "b"); err != nil {
		t.Errorf("names twice: %v", err)
	}
}

func FuzzYAMLTexts(f *testing.F) {
	for _, s := range []string{"a: b", "a: |\n  x\n", "{a: b}", "a: &x y\nb: *x", "a: !!binary aGk=", "<<: {a: b}", "? a\n: b", "a: [" + canary, "---\n---", "\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, bad := yamlTexts(slices.Clone(text))
		if bad != nil && strings.Contains(bad.why, canary) {
			t.Errorf("%s", bad.why)
		}
		for key := range keys {
			_ = keyProblem(key, testOrigin())
		}
	})
}
