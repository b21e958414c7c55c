package render

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

func kv2(t testing.TB, fields string) secret.Secret {
	return secret.Secret{KV2: true, Data: parseTree(t, `{"metadata": {"version": 1}, "data": `+fields+`}`)}
}

func TestReference(t *testing.T) {
	const fields = `{"password": "p<&>\n", "port": 5432, "big": 12345678901234567890, "fraction": 1.50, "on": true, "none": null,
		"list": ["x", 1], "map": {"b": "<", "a": null}, "b64": "AP/+", "url": "_-8=", "unpadded": "_-8", "hex": "00ff", "text": "plain!", "a.b": "dot"}`
	for _, tc := range []struct {
		ref  plan.Ref
		want string
	}{
		{plan.Ref{Field: "password"}, "p<&>\n"},
		{plan.Ref{Field: "a.b"}, "dot"},
		{plan.Ref{Field: "port"}, "5432"},
		{plan.Ref{Field: "big"}, "12345678901234567890"},
		{plan.Ref{Field: "fraction"}, "1.50"},
		{plan.Ref{Field: "on", Decode: plan.DecodeBase64}, "true"},
		{plan.Ref{Field: "list"}, `["x",1]`},
		{plan.Ref{Field: "map"}, `{"a":null,"b":"<"}`},
		{plan.Ref{Field: "b64", Decode: plan.DecodeBase64}, "\x00\xff\xfe"},
		{plan.Ref{Field: "url", Decode: plan.DecodeBase64URL}, "\xff\xef"},
		{plan.Ref{Field: "unpadded", Decode: plan.DecodeBase64URL}, "\xff\xef"},
		{plan.Ref{Field: "hex", Decode: plan.DecodeHex}, "\x00\xff"},
		{plan.Ref{Field: "url", Decode: plan.DecodeAuto}, "\xff\xef"},
		{plan.Ref{Field: "text", Decode: plan.DecodeAuto}, "plain!"},
		{plan.Ref{Field: "password", Format: plan.FormatJSON}, `"p<&>\n"`},
		{plan.Ref{Field: "text", Decode: plan.DecodeBase64}, "error 65: the value is not base64"},
		{plan.Ref{Field: "b64", Decode: plan.DecodeBase64, Format: plan.FormatJSON}, "error 65: json cannot carry"},
		{plan.Ref{Field: "none"}, "error 66: the field is null"},
		{plan.Ref{Field: "Password"}, "error 66: there is no such field; the secret has a.b, b64, big, fraction, hex, list, map, none, on, password, port, text, unpadded, url (declared at secretboot.yaml:3:5); did you mean password?"},
		{plan.Ref{Field: "password", Format: plan.FormatDotenv}, "error 65: wants a map, but the field is text"},
		{plan.Ref{Field: "password", Select: plan.Select(99)}, "error 78: not supported yet"},
		{plan.Ref{Field: "list", Format: plan.FormatYAML}, "- x\n- 1\n"},
		{plan.Ref{Field: "password", Format: plan.FormatYAML}, "\"p<&>\\n\"\n"},
		{plan.Ref{Field: "b64", Decode: plan.DecodeBase64, Format: plan.FormatYAML}, "error 65: yaml cannot carry"},
		{plan.Ref{Field: "list", Format: plan.FormatTOML}, "error 65: wants a map, but the field is a list"},
		{plan.Ref{Format: plan.Format(99)}, "error 78: not supported"},
		{plan.Ref{Format: plan.FormatFiles}, "error 65: more than one file"},
		{plan.Ref{Format: plan.FormatRaw}, "error 65: exactly one field, but the secret has 14"},
	} {
		tc.ref.Read.Path = "secret/db"
		v, err := Reference(t.Context(), tc.ref, kv2(t, fields), Means{Random: &counter{}}, testOrigin())
		if message, ok := strings.CutPrefix(tc.want, "error "); ok {
			checkError(t, err, message)
		} else if err != nil {
			t.Errorf("%+v: %v", tc.ref, err)
		} else if got := string(v.Reveal()); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.ref, got, tc.want)
		}
	}
}

// checkError wants "CODE: part of the message".
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	code, message, _ := strings.Cut(want, ": ")
	var p *plan.Problem
	if !errors.As(err, &p) || !strings.Contains(err.Error(), message) || strconv.Itoa(int(p.Code)) != code {
		t.Errorf("got %v, want %s", err, want)
		return
	}
	if errors.Is(err, ErrMissing) != (code == "66") {
		t.Errorf("%v: ErrMissing is %v", err, errors.Is(err, ErrMissing))
	}
	if p.Origin != testOrigin() {
		t.Errorf("%v: origin %v", err, p.Origin)
	}
}

func TestReferenceWhole(t *testing.T) {
	for _, tc := range []struct {
		format plan.Format
		fields string
		want   string
	}{
		{plan.FormatAuto, `{"b": "<", "a": 1.50, "c": null}`, `{"a":1.50,"b":"<","c":null}`},
		{plan.FormatJSON, `{}`, `{}`},
		{plan.FormatRaw, `{"value": "x"}`, "x"},
		{plan.FormatRaw, `{"value": null}`, "error 66: the field value is null"},
		{plan.FormatDotenv, `{"B": "b c", "A": 1.50}`, "A='1.50'\nB='b c'\n"},
		{plan.FormatDotenv, `{"M": {"k": "v"}}`, "error 65: the value of M: it is a map, not a text (declared at secretboot.yaml:3:5); use format: json or a template"},
		{plan.FormatDotenv, `{"Q": "it's"}`, "Q=\"it's\"\n"},
		{plan.FormatDotenv, `{"a-b": "x"}`, `error 65: dotenv cannot carry the field "a-b"`},
		{plan.FormatDotenv, `{"A": "x\u0000"}`, "error 65: the value of A: it has a NUL byte"},
		{plan.FormatDotenv, `{"A": "x\r\n"}`, "error 65: a carriage return"},
		{plan.FormatDotenv, `{"A": "C:\\"}`, "error 65: two backslashes in a row, or one at the end"},
		{plan.FormatDotenv, `{"A": "${x}"}`, "error 65: ${…}"},
		{plan.FormatDotenv, `{"A": "it's $5"}`, "error 65: a single quote together"},
		{plan.FormatDotenv, `{"A": null}`, "error 66: the field A is null"},
	} {
		ref := plan.Ref{Read: plan.Read{Path: "p"}, Format: tc.format}
		v, err := Reference(t.Context(), ref, kv2(t, tc.fields), Means{Random: &counter{}}, testOrigin())
		if message, ok := strings.CutPrefix(tc.want, "error "); ok {
			checkError(t, err, message)
		} else if err != nil || string(v.Reveal()) != tc.want {
			t.Errorf("%s %s: got %q, %v", tc.format, tc.fields, v.Reveal(), err)
		}
	}
}

func TestFields(t *testing.T) {
	ref := plan.Ref{Read: plan.Read{Path: "p"}, Decode: plan.DecodeAuto}
	got, err := Fields(t.Context(), ref, kv2(t, `{"a": "AP8=", "n": 1.50, "m": {"k": ["<"]}}`), testOrigin())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a": "\x00\xff", "n": "1.50", "m": `{"k":["<"]}`}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Fatalf("names %v", slices.Sorted(maps.Keys(got)))
	}
	for name, v := range got {
		if string(v.Reveal()) != want[name] {
			t.Errorf("%s: got %q", name, v.Reveal())
		}
	}
	_, err = Fields(t.Context(), ref, kv2(t, `{"a": null}`), testOrigin())
	checkError(t, err, "66: the field a is null")
	_, err = Fields(t.Context(), ref, secret.Secret{}, testOrigin())
	checkError(t, err, "66: the secret has no data")
}
