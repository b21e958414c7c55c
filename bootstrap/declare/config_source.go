package declare

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// source collects the keys that say where the bytes of a file or variable come
// from. They depend on each other, so they are judged at the end, by finish.
type source struct {
	d        *decoder
	found    []value // template, template_file, secret, …, as many as there are
	forRef   []value // keys that only go with secret
	forTmpl  []value // keys that only go with a template
	forRead  []value // keys that do not go with write
	optional bool
	kind     sourceKind
	template plan.Template
	ref      plan.Ref
	version  int
	kv       plan.KVRule
	isWrite  bool
	isList   bool
	body     map[string]plan.Handle
	password *value // keystore_password

	readOptional *bool // what the reference says for itself
	pieces       []plan.Piece
	bundle       plan.Bundle
}

// sourceKind is what a source is.
type sourceKind uint8

const (
	fromRef sourceKind = iota
	fromTemplate
	fromPieces
	fromToken
	fromBundle
)

// fields gives the keys of a source.
func (s *source) fields() fields {
	d := s.d
	f := s.refFields()
	f["template"] = s.main(s.inline)
	f["template_file"] = s.main(s.file)
	f["join"] = s.main(s.join)
	f["token"] = s.main(s.token)
	f["optional"] = func(v value) { s.optional, _ = d.flag(v) }
	f["left_delimiter"] = s.with(&s.forTmpl, d.into(&s.template.Left))
	f["right_delimiter"] = s.with(&s.forTmpl, d.into(&s.template.Right))
	f["dialect"] = s.with(&s.forTmpl, word(d, &s.template.Dialect, plan.DialectNames(), plan.ParseDialect))
	f["missing"] = s.with(&s.forTmpl, word(d, &s.template.Missing, plan.MissingNames(), plan.ParseMissing))
	return f
}

// refFields gives the keys of a reference.
func (s *source) refFields() fields {
	d, r := s.d, &s.ref
	reads := func(read func(value)) func(value) { return s.with(&s.forRef, s.with(&s.forRead, read)) }
	of := func(read func(value)) func(value) { return s.with(&s.forRef, read) }
	return fields{
		"secret":      s.main(s.reference),
		"default":     of(s.fallback),
		"write":       of(s.write),
		"kv":          reads(func(v value) { d.kvRule(v, func(r plan.KVRule) { s.kv = r }) }),
		"version":     reads(func(v value) { s.version, _ = d.number(v, 1) }),
		"list":        reads(func(v value) { s.isList, _ = d.flag(v) }),
		"else":        reads(func(v value) { r.Read.Else = d.paths(v) }),
		"format":      of(word(d, &r.Format, plan.FormatNames(), plan.ParseFormat)),
		"decode":      of(word(d, &r.Decode, plan.DecodeNames(), plan.ParseDecode)),
		"select":      of(word(d, &r.Select, plan.SelectNames(), plan.ParseSelect)),
		"level":       of(word(d, &r.Level, plan.LevelNames(), plan.ParseLevel)),
		"escape_html": of(func(v value) { r.EscapeHTML, _ = d.flag(v) }),
		"null_empty":  of(func(v value) { r.NullEmpty, _ = d.flag(v) }),
		"keystore_password": of(func(v value) {
			s.password = &v
			if h, ok := d.place(v); ok {
				r.KeystorePassword = &h
			}
		}),
	}
}

// main notes a key that is a source by itself.
func (s *source) main(read func(value)) func(value) {
	return func(v value) { s.found = append(s.found, v); read(v) }
}

// word fills in what parse makes of one of the words.
func word[T any](d *decoder, to *T, words []string, parse func(string) (T, bool)) func(value) {
	return func(v value) { *to, _ = oneOf(d, v, words, parse) }
}

// with notes that a key needs a certain source beside it.
func (s *source) with(needs *[]value, read func(value)) func(value) {
	return func(v value) {
		*needs = append(*needs, v)
		read(v)
	}
}

func (s *source) inline(v value) {
	s.kind, s.template.Name = fromTemplate, s.d.file+"#"+v.key
	s.d.into(&s.template.Text)(v)
	if ext := path.Ext(v.text); slices.Contains([]string{".tmpl", ".ctmpl", ".tpl", ".gotmpl"}, ext) && !strings.ContainsAny(v.text, " \n{") {
		s.d.fail(v, "it is the name of a file, and this key holds the template's text", "write template_file")
	}
}

// file reads a template now, so that the plan is whole; it is no secret.
func (s *source) file(v value) {
	s.kind = fromTemplate
	name, ok := s.d.str(v)
	if !ok {
		return
	}
	s.template.Name = s.d.beside(name)
	text, err := s.d.in.read(s.template.Name)
	if err != nil {
		s.d.fail(v, fmt.Sprintf("cannot read %q: %s", s.template.Name, reason(err)), "")
		return
	}
	s.template.Text = string(text)
}

// reference reads PATH#FIELD#VERSION, or a map for what no such text can say.
func (s *source) reference(v value) {
	if v.kind == kindMap {
		s.referenceMap(v)
		return
	}
	text, ok := s.d.str(v)
	if !ok {
		return
	}
	ref, err := plan.ParseRef(text)
	if err != nil {
		s.d.fail(v, err.Error(), "write PATH#FIELD, such as secret/app#password")
		return
	}
	s.ref.Read.Path, s.ref.Read.Version, s.ref.Field = ref.Read.Path, ref.Read.Version, ref.Field
	s.ref.Read.Origin = s.d.origin(v)
}

func (s *source) referenceMap(v value) {
	var at *value
	r := &s.ref.Read
	s.d.object(v, fields{
		"path":    func(v value) { at = &v; r.Path, _ = s.d.secretPath(v) },
		"field":   s.d.into(&s.ref.Field),
		"version": func(v value) { r.Version, _ = s.d.number(v, 1) },
		"optional": func(v value) {
			set, _ := s.d.flag(v)
			s.readOptional = &set
		},
	})
	r.Origin = s.d.origin(v)
	if at == nil {
		s.d.fail(v, "it names no path", "add path: PATH")
	}
}

// secretPath reads the path of a secret, and nothing else beside it.
func (d *decoder) secretPath(v value) (string, bool) {
	text, ok := d.str(v)
	if !ok {
		return "", false
	}
	if err := plan.CheckPath(text); err != nil {
		d.fail(v, err.Error(), "write a path such as secret/app")
		return "", false
	}
	return text, true
}

// paths reads a list of paths of secrets.
func (d *decoder) paths(v value) []string {
	var list []string
	d.list(v, func(item value) {
		if path, ok := d.secretPath(item); ok {
			list = append(list, path)
		}
	})
	return list
}

// fallback takes any text, the empty one too: a default may well be empty.
func (s *source) fallback(v value) {
	if v.kind == kindMap {
		if h, ok := s.d.place(v); ok {
			s.ref.Default = &h
		}
		return
	}
	if v.kind != kindString {
		s.d.fail(v, "it must be text", "put it in quotes")
		return
	}
	s.ref.Default = &plan.Handle{Kind: plan.HandleText, Name: v.text, Origin: s.d.origin(v)}
}

// finish gives the source, or adds what does not fit together.
func (s *source) finish(v value) plan.Source {
	switch len(s.found) {
	case 0:
		s.d.fail(v, "it says no source", "add one of secret, template, template_file, join and token")
		return plan.Source{}
	case 1:
	default:
		s.d.fail(s.found[1], "there is another source already, "+s.found[0].key, "keep one of them")
		return plan.Source{}
	}
	if s.kind != fromTemplate {
		s.refuse(s.forTmpl, "it goes with a template")
	}
	if s.kind != fromRef {
		s.refuse(s.forRef, "it goes with secret")
	}
	switch s.kind {
	case fromTemplate:
		t := s.template // a copy, which does not hold the decoder and all that it read
		return plan.Source{Template: &t}
	case fromPieces:
		return plan.Source{Pieces: s.pieces}
	case fromToken:
		return plan.Source{Token: true}
	case fromBundle:
		return plan.Source{}
	case fromRef:
	}
	return plan.Source{Ref: s.finishRef()}
}

func (s *source) refuse(keys []value, why string) {
	for _, v := range keys {
		s.d.fail(v, why, "leave it out")
	}
}

func (s *source) finishRef() *plan.Ref {
	if s.version != 0 && s.ref.Read.Version != 0 {
		s.d.fail(s.found[0], "the version is given in the reference and beside it", "keep one of the two")
	}
	if s.version != 0 {
		s.ref.Read.Version = s.version
	}
	s.ref.Read.KV = s.kv
	if s.isList {
		s.ref.Read.Op = plan.OpList
	}
	if s.isWrite {
		s.finishWrite()
	}
	switch isKeystore := s.ref.Format == plan.FormatPKCS12; {
	case isKeystore && s.password == nil:
		s.d.fail(s.found[0], "format: pkcs12 wants a password", "add keystore_password: { env: NAME } or { file: PATH }")
	case !isKeystore && s.password != nil:
		s.d.fail(*s.password, "it goes with format: pkcs12", "leave it out")
	}
	s.ref.Read.Optional = s.optional || s.ref.Default != nil
	if s.readOptional != nil {
		s.ref.Read.Optional = *s.readOptional
	}
	ref := s.ref // a copy, which does not hold the decoder and all that it read
	return &ref
}

func (s *source) finishWrite() {
	s.refuse(s.forRead, "it goes with a read, not with write")
	if s.ref.Read.Version != 0 && s.version == 0 {
		s.d.fail(s.found[0], "it names a version, and a write has none", "leave the version out")
	}
	s.ref.Read.Op, s.ref.Read.Body = plan.OpWrite, s.body
}
