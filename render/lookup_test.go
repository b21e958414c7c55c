package render

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// checkReference wants a result, or "error CODE: part of the message".
func checkReference(t *testing.T, ref plan.Ref, s secret.Secret, want string) {
	t.Helper()
	ref.Read.Path = "secret/app"
	v, err := Reference(t.Context(), ref, s, Means{Random: &counter{}}, testOrigin())
	message, fails := strings.CutPrefix(want, "error ")
	switch {
	case fails:
		checkError(t, err, message)
	case err != nil:
		t.Errorf("%+v: %v", ref, err)
	case string(v.Reveal()) != want:
		t.Errorf("%+v\n got %q\nwant %q", ref, v.Reveal(), want)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("%+v: the error holds a value: %v", ref, err)
	}
}

// TestPath: what the External Secrets Operator makes of a property, but that
// numbers keep their text.
func TestPath(t *testing.T) {
	const fields = `{"user": "app", "pw": "p<&>", "port": 5432, "big": 12345678901234567890, "f": 1.50, "on": true, "nul": null, "empty": "",
		"nested": {"foo": "oof", "bar": {"bang": "gnab<", "num": 7, "rate": 2.50, "none": null}}, "nested.bar": "exact", "list": ["one", "two"],
		"mixed": [1, "a", {"k": "v"}], "a/b c": "odd", "b64": "aGVsbG8=", "json": "{\"k\":\"v<\"}"}`
	for field, want := range map[string]string{
		"user":                                  "app",
		"pw":                                    "p<&>",
		"port":                                  "5432",
		"big":                                   "12345678901234567890",
		"f":                                     "1.50",
		"on":                                    "true",
		"empty":                                 "",
		"a/b c":                                 "odd",
		"nested.foo":                            "oof",
		"nested.bar":                            "exact",
		"nested.bar.bang":                       "gnab<",
		"nested.bar.num":                        "7",
		"nested.bar.rate":                       "2.50",
		"list":                                  `["one","two"]`,
		"list.1":                                "two",
		"list.#":                                "2",
		"mixed.#.k":                             `["v"]`,
		`mixed.#(k=="v").k`:                     "v",
		"list|@reverse":                         `["two","one"]`,
		"nested.@keys":                          `["bar","foo"]`,
		"nested.bar|@this":                      `{"bang":"gnab\u003c","none":null,"num":7,"rate":2.50}`,
		"{user,port}":                           `{"user":"app","port":5432}`,
		"list|@pretty":                          "[\"one\", \"two\"]\n",
		"nested|@pretty":                        "{\n  \"bar\": {\n    \"bang\": \"gnab\\u003c\",\n    \"none\": null,\n    \"num\": 7,\n    \"rate\": 2.50\n  },\n  \"foo\": \"oof\"\n}\n",
		"nul":                                   "error 66: the field is null",
		"nested.bar.none":                       "error 66: the field is null",
		"nested.zzz":                            "error 66: the path leads to nothing; the secret has a/b c, b64, big, empty, f, json, list, mixed, nested, nested.bar, nul, on, port, pw, user",
		"list.9":                                "error 66: leads to nothing",
		"@tostr|@fromstr|user":                  "app",
		strings.Repeat("@tostr|", 30) + "@this": "error 65: more than 16 MiB",
		strings.Repeat("[@this,@this]|", 20) + "@this": "error 65: more than 16 MiB",
		strings.Repeat("@pretty|", 9) + "@this":        "error 65: more than 16 MiB",
	} {
		checkReference(t, plan.Ref{Field: field, Select: plan.SelectPath, EscapeHTML: true}, kv2(t, fields), want)
	}
	for _, tc := range []struct {
		ref  plan.Ref
		want string
	}{
		{plan.Ref{Field: "nul", NullEmpty: true}, ""},
		{plan.Ref{Field: "nested.bar.none", NullEmpty: true}, ""},
		{plan.Ref{Field: "nested.bar|@this"}, `{"bang":"gnab<","none":null,"num":7,"rate":2.50}`},
		{plan.Ref{Field: "b64", Decode: plan.DecodeBase64}, "hello"},
		{plan.Ref{Field: "list.0", Decode: plan.DecodeBase64}, "error 65: the value is not base64"},
		{plan.Ref{Field: "nested.bar|@this", Format: plan.FormatYAML}, "bang: gnab<\nnone: null\nnum: 7\nrate: 2.50\n"},
		{plan.Ref{Field: "nested|@pretty", Format: plan.FormatJSON}, `{"bar":{"bang":"gnab<","none":null,"num":7,"rate":2.50},"foo":"oof"}`},
	} {
		tc.ref.Select = plan.SelectPath
		checkReference(t, tc.ref, kv2(t, fields), tc.want)
	}
	checkReference(t, plan.Ref{Field: "x.y", Select: plan.SelectPath}, kv2(t, `{}`), "error 66: the secret has none")
	checkReference(t, plan.Ref{EscapeHTML: true}, kv2(t, `{"pw": "p<&>", "n": 1.50, "nul": null}`), `{"n":1.50,"nul":null,"pw":"p\u003c\u0026\u003e"}`)
}

// TestPathFields: the fields of what a path leads to, which may be JSON in a text.
func TestPathFields(t *testing.T) {
	s := kv2(t, `{"m": {"in": {"a": "x", "l": ["<", 1.50], "n": null, "t": true}}, "json": "{\"k\":\"v\",\"m\":{\"z\":1}}", "text": "`+canary+`"}`)
	for field, want := range map[string]string{
		"m.in": `a=x l=["\u003c",1.50] n= t=true `,
		"json": `k=v m={"z":1} `,
		"":     `json={"k":"v","m":{"z":1}} m={"in":{"a":"x","l":["\u003c",1.50],"n":null,"t":true}} text=` + canary + " ",
	} {
		got, err := Fields(t.Context(), plan.Ref{Field: field, Select: plan.SelectPath, EscapeHTML: true, NullEmpty: true}, s, testOrigin())
		if err != nil {
			t.Errorf("%s: %v", field, err)
		}
		if text := joined(got); text != want {
			t.Errorf("%s: got %s, want %s", field, text, want)
		}
	}
	for field, want := range map[string]string{"text": "65: a map is wanted, but the field is text", "m.in.l": "65: a map is wanted, but the field is a list"} {
		_, err := Fields(t.Context(), plan.Ref{Field: field, Select: plan.SelectPath}, s, testOrigin())
		checkError(t, err, want)
	}
	_, err := Fields(t.Context(), plan.Ref{Field: "m.in", Select: plan.SelectPath}, s, testOrigin())
	checkError(t, err, "66: the field n is null")
}

func TestFieldByTemplate(t *testing.T) {
	s := kv2(t, `{"user": "app", "pw": "`+canary+`", "n": 5432}`)
	for field, want := range map[string]string{
		"${ .user }:${ .n }": "app:5432",
		"${ . | toJson }":    `{"n":5432,"pw":"` + canary + `","user":"app"}`,
		"${ .nope }":         "error 66: the value is missing (declared at secretboot.yaml:3:5); the data have n, pw, user",
		"${ .pw":             "error 65: unclosed action",
		"${ fail .pw }":      "error 65: the template calls fail",
	} {
		checkReference(t, plan.Ref{Field: field, Select: plan.SelectTemplate}, s, want)
	}
	var l Language
	err := l.Check(plan.Ref{Field: "${ nope . }", Select: plan.SelectTemplate}, testOrigin())
	checkError(t, err, "65: there is no function nope")
	for _, ref := range []plan.Ref{{Field: "${ .a }", Select: plan.SelectTemplate}, {Field: "${ nope"}} {
		if err := l.Check(ref, testOrigin()); err != nil {
			t.Error(err)
		}
	}
}

func TestLevels(t *testing.T) {
	nested := func(text string) secret.Secret { return secret.Secret{Data: parseTree(t, text)} }
	for _, tc := range []struct {
		ref  plan.Ref
		s    secret.Secret
		want string
	}{
		{plan.Ref{Field: "pw"}, kv2(t, `{"pw": "x"}`), "x"},
		{plan.Ref{Field: "pw"}, nested(`{"pw": "v1"}`), "v1"},
		{plan.Ref{Field: "pw"}, nested(`{"data": {"pw": "v2"}, "pw": "v1"}`), "v2"},
		{plan.Ref{Field: "data"}, nested(`{"data": "text", "pw": "v1"}`), "text"},
		{plan.Ref{Field: "data"}, kv2(t, `{"pw": "x"}`), "error 66: there is no such field; the secret has pw"},
		{plan.Ref{Field: "nul"}, kv2(t, `{"nul": null}`), "null"},
		{plan.Ref{Field: "nul", NullEmpty: true}, kv2(t, `{"nul": null}`), ""},
		{plan.Ref{Field: "obj", EscapeHTML: true}, kv2(t, `{"obj": {"b": 2, "a": "<"}}`), `{"a":"\u003c","b":2}`},
		{plan.Ref{Field: "big"}, kv2(t, `{"big": 12345678901234567890}`), "12345678901234567890"},
		{plan.Ref{Field: "nope"}, secret.Secret{}, "error 66: the secret has none"},
	} {
		tc.ref.Level = plan.LevelNested
		checkReference(t, tc.ref, tc.s, tc.want)
	}
	meta := nested(`{"created_time": "2024-01-01T00:00:00Z", "current_version": 2, "oldest_version": 0, "delete_version_after": "0s", "versions": {},
		"custom_metadata": {"owner": "team-a", "delete_version_after": "mine"}}`)
	for field, want := range map[string]string{
		"":                `{"created_time":"2024-01-01T00:00:00Z","current_version":"2","delete_version_after":"mine","owner":"team-a"}`,
		"current_version": "2",
		"owner":           "team-a",
		"versions":        "error 66: no such field",
	} {
		checkReference(t, plan.Ref{Field: field, Level: plan.LevelMetadata}, meta, want)
	}
	checkReference(t, plan.Ref{Field: "owner", Level: plan.LevelMetadata}, nested(`{"created_time": "x", "custom_metadata": null}`), "error 66: the secret has created_time")
	checkReference(t, plan.Ref{Level: plan.LevelMetadata}, secret.Secret{}, "error 66: the secret has no data")
}

// TestResponse: the bytes are those of Vault's Go client, measured with
// hashicorp/vault/api 1.23.
func TestResponse(t *testing.T) {
	lease := secret.Secret{
		RequestID: "r1", LeaseID: "database/creds/r/1", Lease: time.Hour, Renewable: true, MountType: "database",
		Data: parseTree(t, `{"username": "u<", "n": 12345678901234567890, "f": 1.50, "nul": null}`), Warnings: []string{"ttl & more"},
	}
	token := secret.Secret{
		Auth: &secret.Auth{
			ClientToken: secret.New([]byte("hvs.x")), Accessor: "a", Policies: []string{"default"}, TokenPolicies: []string{"default"},
			Metadata: map[string]string{"k": "v"}, Orphan: true, EntityID: "e", Lease: time.Minute, Renewable: true,
		},
		Wrap: &secret.Wrap{
			Token: secret.New([]byte("hvs.w")), Accessor: "b", TTL: time.Minute, CreationTime: time.Date(2024, 1, 2, 3, 4, 5, 600, time.UTC),
			CreationPath: "auth/token/create", WrappedAccessor: "c",
		},
	}
	ref := plan.Ref{Format: plan.FormatResponse}
	checkReference(t, ref, lease, `{"request_id":"r1","lease_id":"database/creds/r/1","lease_duration":3600,"renewable":true,`+
		`"data":{"f":1.50,"n":12345678901234567890,"nul":null,"username":"u\u003c"},"warnings":["ttl \u0026 more"],"mount_type":"database"}`)
	checkReference(t, ref, secret.Secret{Data: parseTree(t, `{"the-key": "x"}`)},
		`{"request_id":"","lease_id":"","lease_duration":0,"renewable":false,"data":{"the-key":"x"},"warnings":null}`)
	checkReference(t, ref, token, `{"request_id":"","lease_id":"","lease_duration":0,"renewable":false,"data":null,"warnings":null,`+
		`"auth":{"client_token":"hvs.x","accessor":"a","policies":["default"],"token_policies":["default"],"identity_policies":null,`+
		`"metadata":{"k":"v"},"orphan":true,"entity_id":"e","lease_duration":60,"renewable":true,"mfa_requirement":null},`+
		`"wrap_info":{"token":"hvs.w","accessor":"b","ttl":60,"creation_time":"2024-01-02T03:04:05.0000006Z","creation_path":"auth/token/create","wrapped_accessor":"c"}}`)
	ref.Field = "x"
	checkReference(t, ref, lease, "error 65: for a whole answer")
}

func joined(fields map[string]secret.Value) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b.WriteString(name + "=" + string(fields[name].Reveal()) + " ")
	}
	return b.String()
}

// TestPathDeep: gjson cannot be stopped, so what would take it very long over a
// hostile secret is refused before.
func TestPathDeep(t *testing.T) {
	const deep = 400_000
	text := strings.Repeat("[", deep) + strings.Repeat("]", deep)
	s := secret.Secret{Data: parseTree(t, `{"y": "`+text+`"}`)}
	for field, want := range map[string]string{
		`y|@fromstr|@flatten:{"deep":true}`:                    "error 65: 16 MiB",
		"y" + strings.Repeat("|@this", 3000):                   "error 65: too many times",
		"y|@fromstr" + strings.Repeat("|@fromstr.@valid", 900): "error 65: too many times",
	} {
		checkReference(t, plan.Ref{Field: field, Select: plan.SelectPath}, s, want)
	}
}
