package declare

import (
	"fmt"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// source collects the keys that say where the bytes of a file or variable come
// from. They depend on each other, so they are judged at the end, by finish.
type source struct {
	d        *decoder
	found    []value // template, template_file and secret, as many as there are
	forRef   []value // keys that only go with secret
	forTmpl  []value // keys that only go with a template
	forRead  []value // keys that do not go with write
	optional bool
	isText   bool // a template, not a reference
	template plan.Template
	ref      plan.Ref
	version  int
	kv       plan.KVRule
	isWrite  bool
	body     map[string]plan.Handle
	password *value // keystore_password
}

// fields gives the keys of a source.
func (s *source) fields() fields {
	d := s.d
	main := func(read func(value)) func(value) {
		return func(v value) { s.found = append(s.found, v); read(v) }
	}
	return fields{
		"template":        main(s.inline),
		"template_file":   main(s.file),
		"secret":          main(s.reference),
		"optional":        func(v value) { s.optional, _ = d.flag(v) },
		"left_delimiter":  s.with(&s.forTmpl, d.into(&s.template.Left)),
		"right_delimiter": s.with(&s.forTmpl, d.into(&s.template.Right)),
		"default":         s.with(&s.forRef, s.fallback),
		"write":           s.with(&s.forRef, s.write),
		"kv": s.with(&s.forRef, s.with(&s.forRead, func(v value) {
			d.kvRule(v, func(r plan.KVRule) { s.kv = r })
		})),
		"version": s.with(&s.forRef, s.with(&s.forRead, func(v value) {
			s.version, _ = d.number(v, 1)
		})),
		"format": s.with(&s.forRef, func(v value) {
			s.ref.Format, _ = oneOf(d, v, plan.FormatNames(), plan.ParseFormat)
		}),
		"decode": s.with(&s.forRef, func(v value) {
			s.ref.Decode, _ = oneOf(d, v, plan.DecodeNames(), plan.ParseDecode)
		}),
		"keystore_password": s.with(&s.forRef, func(v value) {
			s.password = &v
			if h, ok := d.place(v); ok {
				s.ref.KeystorePassword = &h
			}
		}),
	}
}

// with notes that a key needs a certain source beside it.
func (s *source) with(needs *[]value, read func(value)) func(value) {
	return func(v value) {
		*needs = append(*needs, v)
		read(v)
	}
}

func (s *source) inline(v value) {
	s.isText, s.template.Name = true, s.d.file+"#"+v.key
	s.d.into(&s.template.Text)(v)
}

// file reads a template now, so that the plan is whole; it is no secret.
func (s *source) file(v value) {
	s.isText = true
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

func (s *source) reference(v value) {
	text, ok := s.d.str(v)
	if !ok {
		return
	}
	ref, err := plan.ParseRef(text)
	if err != nil {
		s.d.fail(v, err.Error(), "write PATH#FIELD, such as secret/app#password")
		return
	}
	s.ref.Read, s.ref.Field = ref.Read, ref.Field
	s.ref.Read.Origin = s.d.origin(v)
}

// fallback takes any text, the empty one too: a default may well be empty.
func (s *source) fallback(v value) {
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
		s.d.fail(v, "it says no source", "add one of secret, template and template_file")
		return plan.Source{}
	case 1:
	default:
		s.d.fail(s.found[1], "there is another source already, "+s.found[0].key, "keep one of them")
		return plan.Source{}
	}
	if s.isText {
		s.refuse(s.forRef, "it goes with secret, not with a template")
		return plan.Source{Template: &s.template}
	}
	s.refuse(s.forTmpl, "it goes with a template, not with secret")
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
	return &s.ref
}

func (s *source) finishWrite() {
	s.refuse(s.forRead, "it goes with a read, not with write")
	if s.ref.Read.Version != 0 && s.version == 0 {
		s.d.fail(s.found[0], "it names a version, and a write has none", "leave the version out")
	}
	s.ref.Read.Op, s.ref.Read.Body = plan.OpWrite, s.body
}
