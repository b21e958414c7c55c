package render

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Reference gives the bytes of one field of a secret, or of the whole of it in
// the format that ref asks for. No newline is added to a field or to JSON.
//
// A field that is text is its bytes after decoding, a number or a truth value
// its JSON text, a list or a map JSON with sorted keys and without HTML escapes.
//
// It fails with a *plan.Problem: CodeMissing, with [ErrMissing] in its chain,
// for a field that is absent or null; CodeData for a value that cannot be
// decoded or that the format cannot carry; CodeConfig for what is not supported
// yet. It does not look at ref.Default: the caller does, on ErrMissing.
func Reference(ref plan.Ref, s secret.Secret, origin plan.Origin) (secret.Value, error) {
	b, err := reference(ref, s)
	if err != nil {
		return secret.Value{}, refProblem(ref, origin, err)
	}
	return secret.New(b), nil
}

// Fields gives every field of a secret, or of the map that ref.Field names, by
// name, in the form that Reference gives them. It fails as Reference does.
func Fields(ref plan.Ref, s secret.Secret, origin plan.Origin) (map[string]secret.Value, error) {
	fields, err := wholeMap(ref, s)
	if err != nil {
		return nil, refProblem(ref, origin, err)
	}
	out := make(map[string]secret.Value, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b, err := raw(name, fields[name])
		if err != nil {
			return nil, refProblem(ref, origin, err)
		}
		out[name] = secret.New(b)
	}
	return out, nil
}

// refProblem names the reference that err is about.
func refProblem(ref plan.Ref, origin plan.Origin, f *failure) error {
	what := "secret " + ref.Read.Path
	if ref.Field != "" {
		what += ", field " + ref.Field
	}
	return &plan.Problem{Code: f.code, Origin: origin, What: what, Why: f.why, Fix: f.fix, Err: f.err}
}

func unsupported(why string) *failure { return &failure{code: plan.CodeConfig, why: why} }

func reference(ref plan.Ref, s secret.Secret) ([]byte, *failure) {
	if ref.Field == "" {
		fields, err := wholeMap(ref, s)
		if err != nil {
			return nil, err
		}
		return formatMap(ref.Format, fields)
	}
	v, err := field(ref, s)
	if err != nil {
		return nil, err
	}
	v, err = decode(ref.Decode, v)
	if err != nil {
		return nil, err
	}
	switch ref.Format {
	case plan.FormatAuto, plan.FormatRaw:
		return raw(ref.Field, v)
	case plan.FormatJSON:
		return jsonBytes(v)
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, badData("the format "+ref.Format.String()+" wants a map, but the field is "+kind(v), "")
	}
	return formatMap(ref.Format, fields)
}

// wholeMap gives the fields of the secret, or of the field that is a map,
// decoded.
func wholeMap(ref plan.Ref, s secret.Secret) (map[string]any, *failure) {
	fields := s.Fields().Reveal()
	if ref.Field != "" {
		v, err := field(ref, s)
		if err != nil {
			return nil, err
		}
		m, ok := v.(map[string]any)
		if !ok {
			return nil, badData("a map is wanted, but the field is "+kind(v), "")
		}
		fields = m
	}
	if fields == nil {
		return nil, missing("the secret has no data", "")
	}
	out := make(map[string]any, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		v, err := decode(ref.Decode, fields[name])
		if err != nil {
			err.why = fmt.Sprintf("field %s: %s", name, err.why)
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

// field looks one field up.
func field(ref plan.Ref, s secret.Secret) (any, *failure) {
	if ref.Select != plan.SelectKey {
		return nil, unsupported("looking a field up by path or template is not supported yet")
	}
	fields := s.Fields().Reveal()
	v, ok := fields[ref.Field]
	if v != nil {
		return v, nil
	}
	names := slices.Sorted(maps.Keys(fields))
	switch {
	case ok:
		return nil, missing("the field is null", "")
	case len(names) == 0:
		return nil, missing("there is no such field: the secret has none", "")
	}
	return nil, missing("there is no such field; the secret has "+listNames(names), suggest(ref.Field, names))
}

// listNames keeps a list of names to a length that fits in a message.
func listNames(names []string) string {
	const most = 20
	if n := len(names) - most; n > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
}

// decode undoes an encoding of text. Other values stay as they are.
func decode(d plan.Decode, v any) (any, *failure) {
	s, ok := v.(string)
	if !ok {
		return v, nil
	}
	switch d {
	case plan.DecodeNone:
		return s, nil
	case plan.DecodeBase64:
		return decoded(base64.StdEncoding.DecodeString, s, "base64")
	case plan.DecodeBase64URL:
		return decoded(base64.URLEncoding.DecodeString, s, "base64url")
	case plan.DecodeHex:
		return decoded(hex.DecodeString, s, "hexadecimal")
	case plan.DecodeAuto:
		for _, try := range []func(string) ([]byte, error){
			base64.StdEncoding.DecodeString, base64.URLEncoding.DecodeString,
		} {
			if b, err := try(s); err == nil {
				return string(b), nil
			}
		}
		return s, nil
	}
	return nil, unsupported("this way of decoding is not supported yet")
}

func decoded(with func(string) ([]byte, error), s, name string) (any, *failure) {
	b, err := with(s)
	if err != nil { // the error says where, which tells of the value
		return nil, badData("the value is not "+name, "")
	}
	return string(b), nil
}

// formatMap writes a whole secret.
func formatMap(format plan.Format, fields map[string]any) ([]byte, *failure) {
	switch format {
	case plan.FormatAuto, plan.FormatJSON:
		return jsonBytes(fields)
	case plan.FormatDotenv:
		return dotenv(fields)
	case plan.FormatRaw:
		for name, v := range fields {
			if len(fields) == 1 {
				return raw(name, v)
			}
		}
		return nil, badData(fmt.Sprintf("the format raw wants exactly one field, but the secret has %d", len(fields)),
			"name one as PATH#FIELD, or choose another format")
	case plan.FormatFiles:
		return nil, badData("the format files gives more than one file", "")
	}
	return nil, unsupported("this format is not supported yet")
}

// raw gives a value that stands alone.
func raw(name string, v any) ([]byte, *failure) {
	switch v := v.(type) {
	case nil:
		return nil, missing("the field "+name+" is null", "")
	case string:
		return []byte(v), nil
	}
	return jsonBytes(v)
}

// jsonBytes writes sorted JSON. A text that is not UTF-8 is refused:
// encoding/json would change it silently.
func jsonBytes(v any) ([]byte, *failure) {
	if !allUTF8(v) {
		return nil, badData("JSON cannot carry bytes that are not UTF-8 text", "deliver the field as a file of its own")
	}
	s, err := encodeJSON(v, "", false)
	if err != nil {
		return nil, badData("the value cannot be written as JSON", "")
	}
	return []byte(s), nil
}

func allUTF8(v any) bool {
	switch v := v.(type) {
	case string:
		return utf8.ValidString(v)
	case json.Number:
		return json.Valid([]byte(v))
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !allUTF8(e) })
	case map[string]any:
		for key, elem := range v {
			if !utf8.ValidString(key) || !allUTF8(elem) {
				return false
			}
		}
	}
	return true
}
