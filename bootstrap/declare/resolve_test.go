package declare_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestResolve(t *testing.T) {
	big := strings.Repeat("CANARY", declare.MaxFile/6+1)
	in := declare.Input{
		Cwd:    "/work",
		Lookup: lookup(map[string]string{"SET": "value\n", "EMPTY": "", "JSON": `x{"s":"t\u00e9\n","n":1.50,"e":"","o":{"a": [1]},"half":"\ud800CANARY","mark":"\uFFFD","z":null}}y`, "RAW": "{\"a\":\"CANARY\xff\"}"}),
		Open: open(fstest.MapFS{
			"work/lf": {Data: []byte("a\n")}, "work/crlf": {Data: []byte("a\r\n")}, "work/two": {Data: []byte("a\n\n")},
			"work/cr": {Data: []byte("a\r")}, "work/none": {Data: []byte("a")}, "work/empty": {}, "work/newline": {Data: []byte("\n")},
			"work/json": {Data: []byte("{\"a\":\"b\"}\n")},
			"work/big":  {Data: []byte(big)}, "work/full": {Data: []byte(big[:declare.MaxFile])},
			"work/c.yaml":   {Data: []byte("vault: { auth: { secret_id: s3, jwt: [CANARY] }, headers: { X.Y.Z: h4, X.Y: h5 } }\n")},
			"work/bad.yaml": {Data: []byte("vault: 'CANARY\n")},
		}),
	}
	key := func(file, name string) plan.Handle {
		return plan.Handle{Kind: plan.HandleKey, File: file, Name: name}
	}
	file := func(name string) plan.Handle { return plan.Handle{Kind: plan.HandleFile, Name: name} }
	env := func(name string) plan.Handle { return plan.Handle{Kind: plan.HandleEnv, Name: name} }
	member := func(h plan.Handle, at int, name string) plan.Handle {
		h.Offset, h.Member = at, name
		return h
	}
	inJSON := func(h plan.Handle) plan.Handle { h.JSON = true; return h }
	for _, tt := range []struct {
		h         plan.Handle
		want, why string
	}{
		{env("SET"), "value\n", ""},
		{env("EMPTY"), "", "env:EMPTY: the variable is not set or empty"},
		{env("UNSET"), "", "env:UNSET: the variable is not set or empty"},
		{file("lf"), "a", ""},
		{file("/work/crlf"), "a", ""},
		{file("two"), "a\n", ""},
		{file("cr"), "a\r", ""},
		{file("none"), "a", ""},
		{file("full"), big[:declare.MaxFile], ""},
		{member(env("JSON"), 1, "s"), "té\n", ""},
		{member(env("JSON"), 1, "n"), "1.50", ""},
		{member(env("JSON"), 1, "e"), "", ""},
		{member(env("JSON"), 1, "o"), `{"a": [1]}`, ""},
		{member(env("JSON"), 1, "z"), "null", ""},
		{member(env("JSON"), 1, "mark"), "\uFFFD", ""},
		{member(env("JSON"), 1, "half"), "", "env:JSON@1#half: the member has one half of a surrogate pair"},
		{member(env("JSON"), 1, "gone"), "", "env:JSON@1#gone: the JSON object has no such member"},
		{member(env("JSON"), 0, "s"), "", "env:JSON#s: there is no JSON object"},
		{member(env("JSON"), 1000, "s"), "", "its text changed and is too short now"},
		{member(env("SET"), -1, "s"), "", "its text changed and is too short now"},
		{member(env("RAW"), 0, "a"), "", "env:RAW#a: the member is not valid UTF-8"},
		{member(env("UNSET"), 1, "s"), "", "env:UNSET@1#s: the variable is not set or empty"},
		{member(file("json"), 0, "a"), "b", ""},
		{inJSON(member(file("json"), 0, "a")), `"b"`, ""},
		{inJSON(member(env("JSON"), 1, "o")), `{"a": [1]}`, ""},
		{inJSON(env("SET")), "", "env:SET: it is not JSON"},
		{plan.Handle{Kind: plan.HandleEnv, Name: "SET", Offset: 1, End: 3}, "al", ""},
		{plan.Handle{Kind: plan.HandleFile, Name: "two", Offset: 1}, "\n", ""},
		{plan.Handle{Kind: plan.HandleEnv, Name: "SET", Offset: 2, End: 2}, "", "env:SET@2-2: it is empty"},
		{plan.Handle{Kind: plan.HandleEnv, Name: "SET", Offset: 3, End: 2}, "", "too short now"},
		{plan.Handle{Kind: plan.HandleEnv, Name: "SET", End: 7}, "", "env:SET@0-7: its text changed and is too short now"},
		{plan.Handle{Kind: plan.HandleEnv, Name: "SET", Offset: 1, End: 3, Of: 6}, "al", ""},
		{plan.Handle{Kind: plan.HandleEnv, Name: "SET", Offset: 1, End: 3, Of: 5}, "", "the text at env:SET: it changed since it was declared"},
		{plan.Handle{Kind: plan.HandleEnv, Name: "JSON", Offset: 1, Member: "s", Of: 3}, "", "the text at env:JSON: it changed since it was declared"},
		{plan.Handle{Kind: plan.HandleFile, Name: "newline", Of: 1}, "", "the text at file:newline: it changed since it was declared"},
		{file("empty"), "", "file:empty: it is empty"},
		{file("newline"), "", "file:newline: it is empty"},
		{file("absent"), "", "file:absent: there is no such file"},
		{file("big"), "", "file:big: the file is larger than 4194304 bytes"},
		{key("c.yaml", "vault.auth.secret_id"), "s3", ""},
		{key("c.yaml", "vault.headers.X.Y.Z"), "h4", ""},
		{key("c.yaml", "vault.headers.X.Y"), "h5", ""},
		{key("c.yaml", "vault.headers.X.Z"), "", "the key is no longer there"},
		{key("c.yaml", "vault.auth.jwt"), "", "the key is no longer there"},
		{key("c.yaml", "vault.auth.token"), "", "the key is no longer there"},
		{key("bad.yaml", "vault.auth.token"), "", "no longer valid"},
		{key("gone.yaml", "vault.auth.token"), "", "there is no such file"},
		{plan.Handle{Kind: plan.HandleText, Name: "open"}, "open", ""},
		{plan.Handle{Kind: plan.HandleText}, "", ""},
		{plan.Handle{}, "", "nothing says where it is"},
	} {
		got, err := declare.Resolve(in, tt.h)
		if string(got) != tt.want || (err == nil) != (tt.why == "") {
			t.Errorf("%s: %.40q, %v", tt.h, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.why) || strings.Contains(err.Error(), "CANARY") || plan.CodeOf(err) != plan.CodeConfig) {
			t.Errorf("%s: %v", tt.h, err)
		}
	}
}
