package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// maxKey is the longest key of a Kubernetes Secret, in bytes.
const maxKey = 253

// rename is a plan.Rename made ready.
type rename struct {
	origin    plan.Origin
	match     *regexp.Regexp // with to
	to        string
	transform *Program
	merge     *plan.RenameMerge
}

func (l *Language) compileRename(r plan.Rename, origin plan.Origin) (rename, error) {
	out := rename{origin: origin, merge: r.Merge}
	kinds := 0
	for _, has := range []bool{r.Regexp != nil, r.Transform != "", r.Merge != nil} {
		if has {
			kinds++
		}
	}
	if kinds != 1 {
		return out, &plan.Problem{Code: plan.CodeConfig, Origin: origin, What: "rename", Why: "it is not exactly one of regexp, transform and merge"}
	}
	var err error
	switch {
	case r.Regexp != nil:
		out.to = r.Regexp.Replace
		out.match, err = parseRegexp(r.Regexp.Match, origin)
	case r.Transform != "":
		out.transform, err = l.Compile(plan.Template{Name: "transform", Text: r.Transform, Dialect: plan.DialectExternalSecrets, Missing: plan.MissingError}, origin)
	}
	return out, err
}

func parseRegexp(expr string, origin plan.Origin) (*regexp.Regexp, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: origin, What: "regular expression " + strconv.Quote(expr),
			Why: strings.TrimPrefix(err.Error(), "error parsing regexp: "), Fix: "write it as Go's package regexp wants it",
		}
	}
	return re, nil
}

func (r rename) apply(ctx context.Context, in map[string][]byte) (map[string][]byte, error) {
	switch {
	case r.merge != nil:
		return r.merged(in)
	case r.match != nil:
		return rekey(in, r.origin, func(key string) (string, error) { return r.match.ReplaceAllString(key, r.to), nil })
	}
	return rekey(in, r.origin, func(key string) (string, error) {
		v, err := r.transform.ExecuteOver(ctx, map[string]any{"value": key})
		return string(v.Reveal()), err
	})
}

// convertKeys replaces what no key of a Kubernetes Secret may have.
func convertKeys(in map[string][]byte, how plan.Convert, origin plan.Origin) (map[string][]byte, error) {
	return rekey(in, origin, func(key string) (string, error) {
		var b strings.Builder
		for _, r := range key {
			switch {
			case how == plan.ConvertNone, unicode.IsLetter(r), unicode.IsNumber(r), strings.ContainsRune("-._", r):
				b.WriteRune(r)
			case how == plan.ConvertUnicode:
				fmt.Fprintf(&b, "_U%04x_", r)
			default:
				b.WriteByte('_')
			}
		}
		return b.String(), nil
	})
}

// rekey gives every key another name. Two that get the same are an error: which
// of the values would be delivered is anybody's guess.
func rekey(in map[string][]byte, origin plan.Origin, name func(string) (string, error)) (map[string][]byte, error) {
	out := make(map[string][]byte, len(in))
	from := make(map[string]string, len(in))
	var ps plan.Problems
	for _, key := range slices.Sorted(maps.Keys(in)) {
		to, err := name(key)
		if err != nil {
			return nil, err
		}
		if first, twice := from[to]; twice {
			ps.Add(&plan.Problem{
				Code: plan.CodeData, Origin: origin, What: "keys " + quoteKey(first) + " and " + quoteKey(key),
				Why: "both would become " + quoteKey(to), Fix: "rename them so that they stay apart",
			})
			continue
		}
		from[to], out[to] = key, in[key]
	}
	return out, ps.Err()
}

// merged takes the values apart, which must be JSON maps: those of keys without a
// priority first, sorted, then the others in their order; a later one wins.
func (r rename) merged(in map[string][]byte) (map[string][]byte, error) {
	keys, err := r.order(in)
	if err != nil {
		return nil, err
	}
	all, from := map[string]any{}, map[string]string{}
	var ps plan.Problems
	for _, key := range keys {
		members, ok := jsonMap(in[key])
		if !ok {
			ps.Add(r.problem("key "+quoteKey(key), "its value is no JSON object, so it cannot be merged", "leave it out, or merge others"))
		}
		for _, member := range slices.Sorted(maps.Keys(members)) {
			if first, twice := from[member]; twice && !r.merge.IgnoreConflict {
				ps.Add(r.problem("member "+quoteKey(member), "both "+quoteKey(first)+" and "+quoteKey(key)+" have it", "ignore conflicts, with a priority, or leave one of the two out"))
			}
			from[member], all[member] = key, members[member]
		}
	}
	if len(ps) > 0 {
		return nil, ps
	}
	if r.merge.Into != "" {
		text, f := jsonValue(all, false)
		if f != nil {
			return nil, r.problem("key "+quoteKey(r.merge.Into), f.why, f.fix)
		}
		out := maps.Clone(in)
		out[r.merge.Into] = text
		return out, nil
	}
	out := make(map[string][]byte, len(all))
	for member, v := range all {
		text, f := standalone(plan.Ref{EscapeHTML: true, NullEmpty: true}, member, v)
		if f != nil {
			return nil, r.problem("member "+quoteKey(member), f.why, f.fix)
		}
		out[member] = text
	}
	return out, nil
}

// order lists the keys as they are merged.
func (r rename) order(in map[string][]byte) ([]string, error) {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(in)), func(key string) bool { return slices.Contains(r.merge.Priority, key) })
	for _, key := range r.merge.Priority {
		_, ok := in[key]
		switch {
		case ok:
			keys = append(keys, key)
		case !r.merge.IgnoreMissing:
			return nil, r.problem("key "+quoteKey(key), "it has a priority and is not there", "take it out of the priorities, or ignore keys that are not found")
		}
	}
	return keys, nil
}

func (r rename) problem(what, why, fix string) error {
	return &plan.Problem{Code: plan.CodeData, Origin: r.origin, What: what, Why: why, Fix: fix}
}

// checkKeys refuses keys that no Kubernetes Secret can have.
func checkKeys(keys map[string][]byte, origin plan.Origin) error {
	var ps plan.Problems
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		ps.Add(keyProblem(key, origin))
	}
	return ps.Err()
}

// keyProblem says what is wrong with a key, as Kubernetes does
// (https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data);
// nil when nothing is.
func keyProblem(key string, origin plan.Origin) error {
	p := &plan.Problem{Code: plan.CodeData, Origin: origin, What: "key " + quoteKey(key), Fix: "rename it, or convert its characters"}
	odd := func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsNumber(r) && !strings.ContainsRune("-._", r)
	}
	switch {
	case key == "":
		p.Why = "it is empty"
	case len(key) > maxKey:
		p.Why = "it has more than " + strconv.Itoa(maxKey) + " characters"
	case key == "." || strings.HasPrefix(key, ".."):
		p.Why = "it is . or begins with .."
	case strings.ContainsFunc(key, odd):
		p.Why = "a key has only letters, digits, -, _ and ."
	default:
		return nil
	}
	return p
}

// quoteKey quotes a key, cut to what fits in a message.
func quoteKey(key string) string {
	const most = 60
	if r := []rune(key); len(r) > most {
		key = string(r[:most]) + "…"
	}
	return strconv.Quote(key)
}

// decodeAll decodes every value in place.
func decodeAll(keys map[string][]byte, how plan.Decode, origin plan.Origin) error {
	var ps plan.Problems
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		v, f := decode(how, string(keys[key]))
		if f != nil {
			ps.Add(&plan.Problem{Code: f.code, Origin: origin, What: "key " + quoteKey(key), Why: f.why, Fix: f.fix})
			continue
		}
		if text, ok := v.(string); ok && how != plan.DecodeNone {
			keys[key] = []byte(text)
		}
	}
	return ps.Err()
}

// jsonMap reads one JSON object; numbers keep their text.
func jsonMap(text []byte) (map[string]any, bool) {
	v, err := parseJSON(string(text))
	m, ok := v.(map[string]any)
	return m, ok && err == nil && len(text) > 0
}

// yamlTexts reads a map of texts. A value that YAML takes for something else is
// the text that stands there: to read 0123 or 1e3 as a number would change a
// password.
func yamlTexts(text []byte) (map[string][]byte, *failure) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var m map[string]yaml.Node
	err := dec.Decode(&m)
	if errors.Is(err, io.EOF) { // nothing but white space and comments
		return nil, nil
	}
	bad := func(line string) *failure {
		return badData("the output is no map in YAML with a text for each key, each once"+line, "write KEY: VALUE lines; quote values, or write them as a block with |")
	}
	if err != nil { // it quotes what it has read
		return nil, bad(lineOf(err))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, badData("the output is more than one YAML document", "")
	}
	out := make(map[string][]byte, len(m))
	for key, value := range m {
		if value.Kind == yaml.AliasNode {
			value = *value.Alias
		}
		if value.Kind != yaml.ScalarNode || value.ShortTag() == "!!binary" {
			return nil, bad(", at line " + strconv.Itoa(value.Line))
		}
		out[key] = []byte(value.Value)
	}
	return out, nil
}

// lineOf gives the line that an error of the YAML library is about.
func lineOf(err error) string {
	if m := regexp.MustCompile(`\bline (\d+): `).FindStringSubmatch(err.Error()); m != nil {
		return ", at line " + m[1]
	}
	return ""
}
