package render

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Means is what the writers take beside the secret itself.
type Means struct {
	// Random gives the bits of what nobody may foresee: the delimiters of
	// GitHub's formats, the salts of a keystore. It is crypto/rand.Reader.
	Random io.Reader
	// Password is the one that ref.KeystorePassword names.
	Password secret.Value
}

// Reference gives the bytes of one field of a secret, or of the whole of it in
// the format that ref asks for. Nothing is added to a field, nor to JSON; what
// consists of lines ends with a newline.
//
// A field that is text is its bytes after decoding, a number or a truth value
// its JSON text, a list or a map JSON with sorted keys, without HTML escapes
// unless ref wants them. One that is null is missing, unless ref.NullEmpty; with
// plan.LevelNested it is the text null. What a gjson path gives stays as it is.
//
// It fails with plan.Problems, one for each field that is at fault: CodeMissing,
// with [ErrMissing] in the chain, for a field that is absent or null; CodeData
// for a value that cannot be decoded or that the format cannot carry; CodeConfig
// for a keystore without a password and for what is not supported. It does not
// look at ref.Default: the caller does, on ErrMissing. For plan.SelectTemplate it
// fails as Program.ExecuteOver does.
func Reference(ctx context.Context, ref plan.Ref, s secret.Secret, m Means, origin plan.Origin) (secret.Value, error) {
	b, err := reference(ctx, ref, s, m)
	if len(err) > 0 {
		return secret.Value{}, err.problems(ref, origin)
	}
	return secret.New(b), nil
}

// Fields gives every field of a secret, or of the map that ref.Field names, by
// name, in the form that Reference gives them. It fails as Reference does.
func Fields(ctx context.Context, ref plan.Ref, s secret.Secret, origin plan.Origin) (map[string]secret.Value, error) {
	fields, err := wholeMap(ctx, ref, s)
	out := make(map[string]secret.Value, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b, f := standalone(ref, name, fields[name])
		if f != nil {
			err = append(err, f)
			continue
		}
		out[name] = secret.New(b)
	}
	if len(err) > 0 {
		return nil, err.problems(ref, origin)
	}
	return out, nil
}

// failures is what is wrong with one reference: as a rule one failure per field.
type failures []*failure

// alone makes failures of one, or of none.
func alone(b []byte, f *failure) ([]byte, failures) {
	if f != nil {
		return nil, failures{f}
	}
	return b, nil
}

// problems names the reference that the failures are about. A default helps
// against what is missing and nothing else, so anything else comes first.
func (all failures) problems(ref plan.Ref, origin plan.Origin) plan.Problems {
	what := "secret " + ref.Read.Path
	if ref.Field != "" {
		what += ", field " + ref.Field
	}
	var ps, absent plan.Problems
	for _, f := range all {
		p := &plan.Problem{Code: f.code, Origin: origin, What: what, Why: f.why, Fix: f.fix, Err: f.err}
		if f.code == plan.CodeMissing {
			absent = append(absent, p)
			continue
		}
		ps = append(ps, p)
	}
	return append(ps, absent...)
}

func unsupported(why string) *failure { return &failure{code: plan.CodeConfig, why: why} }

func reference(ctx context.Context, ref plan.Ref, s secret.Secret, m Means) ([]byte, failures) {
	if ref.Format == plan.FormatResponse {
		if ref.Field != "" {
			return nil, failures{badData("the format response is for a whole answer, not for a field", "")}
		}
		return alone(writeResponse(s))
	}
	if ref.Field == "" {
		fields, err := wholeMap(ctx, ref, s)
		if len(err) > 0 {
			return nil, err
		}
		return m.write(ref, fields)
	}
	v, err := field(ctx, ref, s)
	if err == nil {
		v, err = decode(ref.Decode, v)
	}
	if err != nil {
		return nil, failures{err}
	}
	if ref.Format == plan.FormatAuto || ref.Format == plan.FormatRaw {
		return alone(standalone(ref, ref.Field, v))
	}
	if v, err = parsed(v); err != nil {
		return nil, failures{err}
	}
	switch ref.Format {
	case plan.FormatJSON:
		return alone(jsonValue(v, ref.EscapeHTML))
	case plan.FormatYAML:
		return alone(yamlValue(v))
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, failures{badData("the format "+ref.Format.String()+" wants a map, but the field is "+kind(v), "")}
	}
	return m.write(ref, fields)
}

// standalone gives the bytes of a field that stands by itself.
func standalone(ref plan.Ref, name string, v any) ([]byte, *failure) {
	v, f := orNull(ref, v)
	if f != nil {
		return raw(name, v) // it says the name
	}
	switch v := v.(type) {
	case string:
		return []byte(v), nil
	case rawJSON:
		return []byte(v), nil
	}
	return jsonValue(v, ref.EscapeHTML)
}

// wholeMap gives the fields of the secret, or of the field that is a map,
// decoded.
func wholeMap(ctx context.Context, ref plan.Ref, s secret.Secret) (map[string]any, failures) {
	fields := fieldsOf(ref, s)
	if ref.Field != "" {
		v, err := field(ctx, ref, s)
		if err == nil {
			v, err = parsed(v)
		}
		if err != nil {
			return nil, failures{err}
		}
		v = object(ref, v)
		m, ok := v.(map[string]any)
		if !ok {
			return nil, failures{badData("a map is wanted, but the field is "+kind(v), "")}
		}
		fields = m
	}
	if fields == nil {
		return nil, failures{missing("the secret has no data", "")}
	}
	var bad failures
	out := make(map[string]any, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		v, err := decode(ref.Decode, fields[name])
		if err != nil {
			err.why = fmt.Sprintf("field %s: %s", name, err.why)
			bad = append(bad, err)
			continue
		}
		out[name] = v
	}
	return out, bad
}

// object gives the map that a text is in JSON: what a path leads to may be one,
// as the External Secrets Operator takes it. Any other v stays as it is.
func object(ref plan.Ref, v any) any {
	text, ok := v.(string)
	if !ok || ref.Select != plan.SelectPath || text == "" {
		return v
	}
	if m, err := parseJSON(text); err == nil {
		return m
	}
	return v
}

// field looks one field up.
func field(ctx context.Context, ref plan.Ref, s secret.Secret) (any, *failure) {
	fields := fieldsOf(ref, s)
	switch ref.Select {
	case plan.SelectKey:
		return fieldByKey(ref, fields)
	case plan.SelectPath:
		return fieldByPath(ref, fields)
	case plan.SelectTemplate:
		return fieldByTemplate(ctx, ref, fields)
	case plan.SelectTracking:
		return tracking(ref.Field, fields)
	}
	return nil, unsupported("looking a field up in this way is not supported yet")
}

// Check looks at what can be told of a reference without its secret: whether
// the template is one that it looks its field up with. It fails as Compile does.
func (l *Language) Check(ref plan.Ref, origin plan.Origin) error {
	if ref.Select != plan.SelectTemplate {
		return nil
	}
	if _, err := l.Compile(fieldTemplate(ref), origin); err != nil {
		return failures{failureOf(err)}.problems(ref, origin)
	}
	return nil
}

func fieldTemplate(ref plan.Ref) plan.Template {
	return plan.Template{Name: "of the field", Text: ref.Field, Dialect: plan.DialectBankVaults}
}

// fieldByTemplate executes the template that the field is over the secret.
func fieldByTemplate(ctx context.Context, ref plan.Ref, fields map[string]any) (any, *failure) {
	p, err := new(Language).Compile(fieldTemplate(ref), plan.Origin{})
	if err != nil {
		return nil, failureOf(err)
	}
	v, err := p.ExecuteOver(ctx, fields)
	if err != nil {
		return nil, failureOf(err)
	}
	return string(v.Reveal()), nil
}

// failureOf makes a failure of a Problem, which says nothing of values.
func failureOf(err error) *failure {
	var p *plan.Problem
	if !errors.As(err, &p) {
		return badData("the template cannot be used", "")
	}
	return &failure{code: p.Code, why: p.What + ": " + p.Why, fix: p.Fix, err: p.Err}
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
		// Padding is left out as often as not (RFC 7515, section 2).
		return decoded(base64.RawURLEncoding.DecodeString, strings.TrimRight(s, "="), "base64url")
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
