package render

import (
	"context"
	"maps"
	"slices"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Bundle is a plan.Bundle that was checked and can be executed any number of
// times, also at the same time.
//
// What it does with keys and values is what the External Secrets Operator does
// (external-secrets.io, API version v1), but for these: numbers keep their text,
// two keys that are renamed to one are an error, as is an empty key, and a
// value in YAML is the text that stands there, be it yes, 0123 or null.
type Bundle struct {
	keep      bool
	parts     []part
	templates []keyTemplate
}

// part is a plan.Part made ready.
type part struct {
	plan.Part
	name   func(string) bool // of Find
	rename []rename
}

// keyTemplate is a plan.KeyTemplate made ready.
type keyTemplate struct {
	plan.KeyTemplate
	program *Program
}

// Contents are the keys of a bundle with their texts.
type Contents struct {
	Keys    map[string]secret.Value
	LeftOut []plan.Origin // parts that are optional and whose secret is missing
}

// CompileBundle checks a bundle without executing it; origin is that of the parts
// and templates that say none. It fails with [plan.Problems]: CodeConfig for an
// expression, key or member that cannot be used, and those of [Language.Compile].
func (l *Language) CompileBundle(b plan.Bundle, origin plan.Origin) (*Bundle, error) {
	out := &Bundle{keep: b.Keep || len(b.Templates) == 0}
	var ps plan.Problems
	for _, p := range b.Parts {
		one, err := l.compilePart(p, origin)
		ps.Add(err)
		out.parts = append(out.parts, one)
	}
	for _, t := range b.Templates {
		if t.Origin == (plan.Origin{}) {
			t.Origin = origin
		}
		if t.Key != "" {
			ps.Add(keyProblem(t.Key, t.Origin))
		}
		program, err := l.Compile(t.Template, t.Origin)
		ps.Add(err)
		out.templates = append(out.templates, keyTemplate{t, program})
	}
	return out, ps.Err()
}

func (l *Language) compilePart(p plan.Part, origin plan.Origin) (part, error) {
	if p.Origin == (plan.Origin{}) {
		p.Origin = origin
	}
	if p.Ref.Read.Origin == (plan.Origin{}) {
		p.Ref.Read.Origin = p.Origin
	}
	out := part{Part: p, name: func(string) bool { return true }}
	var ps plan.Problems
	fail := func(what, why string) {
		ps.Add(&plan.Problem{Code: plan.CodeConfig, Origin: p.Origin, What: what, Why: why})
	}
	if p.Key != "" {
		ps.Add(keyProblem(p.Key, p.Origin))
		if p.Find != nil || len(p.Rename) > 0 {
			fail("key "+quoteKey(p.Key), "one key cannot stand for many secrets, nor be renamed")
		}
	}
	if p.Ref.Default != nil || p.Ref.KeystorePassword != nil {
		fail("secret "+p.Ref.Read.Path, "a part of several secrets has no default and is no keystore")
	}
	if p.Find != nil && p.Find.Name != "" {
		re, err := parseRegexp(p.Find.Name, p.Origin)
		ps.Add(err)
		if err == nil {
			out.name = re.MatchString
		}
	}
	for _, r := range p.Rename {
		one, err := l.compileRename(r, p.Origin)
		ps.Add(err)
		out.rename = append(out.rename, one)
	}
	return out, ps.Err()
}

// Reads lists the reads that are known without reading, in the order declared:
// those of references, and the first list of each search.
func (b *Bundle) Reads() []plan.Read {
	var reads []plan.Read
	for i := range b.parts {
		if p := &b.parts[i]; p.Find != nil {
			reads = append(reads, p.list("").Read)
		} else {
			reads = append(reads, p.Ref.Read)
		}
	}
	return reads
}

// Computed lists where searches are declared, whose further reads are known only
// when it was listed what there is.
func (b *Bundle) Computed() []plan.Origin {
	var origins []plan.Origin
	for _, p := range b.parts {
		if p.Find != nil {
			origins = append(origins, p.Origin)
		}
	}
	return origins
}

// Lacking gives what has to be read next, given the answers so far; nothing when
// Execute has all that it needs. Each time it was answered it comes one folder
// further, so it comes to an end: see maxFolders and maxFound.
func (b *Bundle) Lacking(answers Answers) []Need {
	var needs []Need
	for i := range b.parts {
		p := &b.parts[i]
		if p.Find == nil {
			if n := (Need{Read: p.Ref.Read}); !answers.has(n) {
				needs = append(needs, n)
			}
			continue
		}
		if s, err := p.search(answers); err == nil { // what is wrong is told by Execute
			needs = append(needs, s.lacking...)
		}
	}
	return needs
}

func (a Answers) has(n Need) bool {
	_, ok := a[n.Key()]
	return ok
}

// Execute makes the keys. The parts come in order, a later one replacing the keys
// of an earlier one, and then the templates over all of them. It fails with
// plan.Problems: those of [Reference] and [Program.Execute], CodeData for keys
// that cannot be used and for values that cannot be decoded, or the code of an
// answer.
func (b *Bundle) Execute(ctx context.Context, answers Answers, m Means) (Contents, error) {
	var out Contents
	var ps plan.Problems
	texts := map[string][]byte{}
	for i := range b.parts {
		p := &b.parts[i]
		keys, err := p.execute(ctx, answers, m)
		if err != nil && p.Ref.Read.Optional && plan.CodeOf(err) == plan.CodeMissing {
			out.LeftOut = append(out.LeftOut, p.Origin)
			continue
		}
		ps.Add(err)
		maps.Copy(texts, keys)
	}
	if len(ps) > 0 {
		return Contents{}, ps
	}
	if err := b.apply(ctx, texts); err != nil {
		return Contents{}, err
	}
	out.Keys = make(map[string]secret.Value, len(texts))
	for key, text := range texts {
		out.Keys[key] = secret.New(text)
	}
	return out, nil
}

// apply executes the templates and leaves in texts what is delivered.
func (b *Bundle) apply(ctx context.Context, texts map[string][]byte) error {
	data := make(map[string]any, len(texts))
	for key, text := range texts {
		data[key] = string(text)
	}
	if !b.keep {
		clear(texts)
	}
	var ps plan.Problems
	for i := range b.templates {
		keys, err := b.templates[i].execute(ctx, data)
		ps.Add(err)
		maps.Copy(texts, keys)
	}
	return ps.Err()
}

func (t *keyTemplate) execute(ctx context.Context, data map[string]any) (map[string][]byte, error) {
	v, err := t.program.ExecuteOver(ctx, data)
	if err != nil {
		return nil, err
	}
	if t.Key != "" {
		return map[string][]byte{t.Key: v.Reveal()}, nil
	}
	defer v.Wipe()
	keys, f := yamlTexts(v.Reveal())
	if f != nil {
		return nil, &plan.Problem{Code: f.code, Origin: t.Origin, What: t.program.what("", ""), Why: f.why, Fix: f.fix}
	}
	if err := checkKeys(keys, t.Origin); err != nil {
		return nil, err
	}
	return keys, decodeAll(keys, t.Decode, t.Origin)
}

// execute makes the keys of one part.
func (p *part) execute(ctx context.Context, answers Answers, m Means) (map[string][]byte, error) {
	keys, err := p.fetch(ctx, answers, m)
	if err != nil || !p.NUL {
		return keys, err
	}
	var ps plan.Problems
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if slices.Contains(keys[key], 0) {
			ps.Add(&plan.Problem{Code: plan.CodeData, Origin: p.Origin, What: "key " + quoteKey(key), Why: "its value has a NUL byte, which is declared to be an error"})
		}
	}
	return keys, ps.Err()
}

func (p *part) fetch(ctx context.Context, answers Answers, m Means) (map[string][]byte, error) {
	var keys map[string][]byte
	var err error
	switch {
	case p.Find != nil:
		keys, err = p.found(ctx, answers)
	case p.Key != "":
		return p.single(ctx, answers, m)
	default:
		keys, err = p.extract(ctx, answers)
	}
	if err != nil {
		return nil, err
	}
	for _, r := range p.rename {
		if keys, err = r.apply(ctx, keys); err != nil {
			return nil, err
		}
	}
	if len(p.rename) == 0 {
		if keys, err = convertKeys(keys, p.Convert, p.Origin); err != nil {
			return nil, err
		}
	}
	if err := checkKeys(keys, p.Origin); err != nil {
		return nil, err
	}
	return keys, decodeAll(keys, p.Ref.Decode, p.Origin)
}

// answer gives what came of a read.
func (p *part) answer(n Need, answers Answers) (secret.Secret, error) {
	a, ok := answers[n.Key()]
	if !ok {
		return secret.Secret{}, &plan.Problem{Code: plan.CodeBug, Origin: p.Origin, What: "secret " + n.Read.Path, Why: "it was not read"}
	}
	return a.Secret, a.Err
}

// single makes the one key of a part that has one.
func (p *part) single(ctx context.Context, answers Answers, m Means) (map[string][]byte, error) {
	s, err := p.answer(Need{Read: p.Ref.Read}, answers)
	if err != nil {
		return nil, err
	}
	v, err := Reference(ctx, p.Ref, s, m, p.Origin)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{p.Key: v.Reveal()}, nil
}

// extract makes a key of each field. They are decoded when they have their names.
func (p *part) extract(ctx context.Context, answers Answers) (map[string][]byte, error) {
	s, err := p.answer(Need{Read: p.Ref.Read}, answers)
	if err != nil {
		return nil, err
	}
	ref := p.Ref
	ref.Decode = plan.DecodeNone
	fields, bad := wholeMap(ctx, ref, s)
	keys := make(map[string][]byte, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text, f := standalone(ref, name, fields[name])
		if f != nil {
			bad = append(bad, f)
			continue
		}
		keys[name] = text
	}
	if len(bad) > 0 {
		return nil, bad.problems(ref, p.Origin)
	}
	return keys, nil
}
