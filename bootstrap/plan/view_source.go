package plan

import (
	"strconv"
	"strings"
)

// ViewSource says where bytes come from.
type ViewSource struct {
	Template string `json:"template,omitempty"` // its name
	Digest   string `json:"digest,omitempty"`   // of the template's text, see [Template.Digest]
	Secret   string `json:"secret,omitempty"`   // its path
	Field    string `json:"field,omitempty"`
	Format   string `json:"format,omitempty"`
	Decode   string `json:"decode,omitempty"`
	Default  bool   `json:"default,omitempty"` // there is one

	KeystorePassword string `json:"keystore_password,omitempty"` // where it is found

	Dialect    string `json:"dialect,omitempty"` // of a template that is not in consul-template's language
	Missing    string `json:"missing,omitempty"` // of a template that is not strict
	Select     string `json:"select,omitempty"`  // how the field is looked up, unless by its name
	Level      string `json:"level,omitempty"`   // in which of the answer's maps, unless in the fields
	EscapeHTML bool   `json:"escape_html,omitempty"`
	NullEmpty  bool   `json:"null_empty,omitempty"`

	Text   string       `json:"text,omitempty"`   // of a piece: where its text stands
	Bytes  string       `json:"bytes,omitempty"`  // and which bytes of it, as FROM-TO
	Pieces []ViewSource `json:"pieces,omitempty"` // put together in order
	Token  bool         `json:"token,omitempty"`  // the token of our login
	Bundle *ViewBundle  `json:"bundle,omitempty"` // a map that is made of several secrets
}

// ViewBundle is a map of several secrets.
type ViewBundle struct {
	Parts     []ViewPart        `json:"parts"`
	Templates []ViewKeyTemplate `json:"templates"`
	Keep      bool              `json:"keep"` // the keys of parts are delivered beside the templates'
}

// ViewPart gives one key of a bundle, or many.
type ViewPart struct {
	Key     string     `json:"key"` // "": many
	Source  ViewSource `json:"source"`
	Find    *ViewFind  `json:"find,omitempty"`
	Rename  []string   `json:"rename"` // the kinds: regexp, transform or merge
	Convert string     `json:"convert"`
	Origin  string     `json:"origin"`
}

// ViewFind is a search below a path.
type ViewFind struct {
	List string            `json:"list"`
	Read string            `json:"read"`
	Base string            `json:"base"`
	Flat bool              `json:"flat"`
	Name string            `json:"name"` // a regular expression; "" is any
	Tags map[string]string `json:"tags,omitempty"`
}

// ViewKeyTemplate is a template over a bundle.
type ViewKeyTemplate struct {
	Key      string `json:"key"` // "": a map of keys
	Template string `json:"template"`
	Digest   string `json:"digest"` // of the template's text
	Decode   string `json:"decode,omitempty"`
	Origin   string `json:"origin"`
}

func viewSource(s Source) ViewSource {
	v := ViewSource{Token: s.Token}
	if t := s.Template; t != nil {
		v.Template, v.Digest = t.Name, t.Digest()
		if t.Dialect != DialectConsulTemplate {
			v.Dialect = t.Dialect.String()
		}
		if t.Missing != MissingStrict {
			v.Missing = t.Missing.String()
		}
	}
	if s.Ref != nil {
		v.reference(s.Ref)
	}
	for _, piece := range s.Pieces {
		v.Pieces = append(v.Pieces, viewPiece(piece))
	}
	return v
}

func viewPiece(p Piece) ViewSource {
	if p.Text == nil {
		return viewSource(Source{Ref: p.Ref})
	}
	return ViewSource{Text: p.Text.place(), Bytes: strconv.Itoa(p.From) + "-" + strconv.Itoa(p.To)}
}

// reference shows a reference. The field of SelectTemplate is a template, whose
// text is not shown.
func (s *ViewSource) reference(r *Ref) {
	s.Secret, s.Field, s.Default, s.EscapeHTML, s.NullEmpty = r.Read.Path, r.Field, r.Default != nil, r.EscapeHTML, r.NullEmpty
	if r.Select != SelectKey {
		s.Select = r.Select.String()
	}
	if r.Select == SelectTemplate {
		s.Field, s.Digest = "", Template{Text: r.Field}.Digest()
	}
	if r.Level != LevelFields {
		s.Level = r.Level.String()
	}
	if r.Format != FormatAuto {
		s.Format = r.Format.String()
	}
	if r.Decode != DecodeNone {
		s.Decode = r.Decode.String()
	}
	if r.KeystorePassword != nil {
		s.KeystorePassword = r.KeystorePassword.place()
	}
}

// viewSet shows where a set comes from.
func viewSet(r Ref, b *Bundle) ViewSource {
	if b == nil {
		return viewSource(Source{Ref: &r})
	}
	v := ViewBundle{Parts: []ViewPart{}, Templates: []ViewKeyTemplate{}, Keep: b.Keep}
	for i := range b.Parts {
		v.Parts = append(v.Parts, viewPart(&b.Parts[i]))
	}
	for _, t := range b.Templates {
		one := ViewKeyTemplate{Key: t.Key, Template: t.Template.Name, Digest: t.Template.Digest(), Origin: t.Origin.String()}
		if t.Decode != DecodeNone {
			one.Decode = t.Decode.String()
		}
		v.Templates = append(v.Templates, one)
	}
	return ViewSource{Bundle: &v}
}

func viewPart(t *Part) ViewPart {
	v := ViewPart{Key: t.Key, Source: viewSource(Source{Ref: &t.Ref}), Rename: []string{}, Convert: t.Convert.String(), Origin: t.Origin.String()}
	if f := t.Find; f != nil {
		v.Find = &ViewFind{f.List, f.Read, f.Base, f.Flat, f.Name, f.Tags}
	}
	for _, r := range t.Rename {
		switch {
		case r.Regexp != nil:
			v.Rename = append(v.Rename, "regexp")
		case r.Merge != nil:
			v.Rename = append(v.Rename, "merge")
		default:
			v.Rename = append(v.Rename, "transform")
		}
	}
	return v
}

// String gives the source in one line.
func (s ViewSource) String() string {
	switch {
	case s.Token:
		return "the login's token"
	case s.Bundle != nil:
		return s.Bundle.String()
	case s.Text != "":
		return "text of " + s.Text
	case len(s.Pieces) > 0:
		return together(s.Pieces, " + ")
	}
	text := "template " + s.Template
	if s.Template == "" {
		text = s.Secret
	}
	switch {
	case s.Field != "":
		text += "#" + s.Field
	case s.Select == SelectTemplate.String():
		text += "#(a template)"
	}
	return text + s.remarks()
}

// remarks are the further words on a reference.
func (s ViewSource) remarks() string {
	text := ""
	for _, extra := range []struct{ word, value string }{
		{"by", s.Select}, {"in its", levelWord(s.Level)}, {"as", s.Format}, {"with the password in", s.KeystorePassword}, {"decoded from", s.Decode},
	} {
		if extra.value != "" {
			text += " " + extra.word + " " + extra.value
		}
	}
	if s.Default {
		text += " or a default"
	}
	return text
}

// levelWord names what a level is about; the usual two are the fields.
func levelWord(level string) string {
	if level == LevelMetadata.String() {
		return level
	}
	return ""
}

// String gives the bundle in one line.
func (b ViewBundle) String() string {
	var parts []string
	for _, p := range b.Parts {
		text := p.Source.String()
		switch {
		case p.Find != nil:
			text = "all below " + p.Find.Read
		case p.Key != "":
			text += " (" + p.Key + ")"
		}
		parts = append(parts, text)
	}
	for _, t := range b.Templates {
		text := "template " + t.Template
		if t.Key != "" {
			text += " (" + t.Key + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func together(sources []ViewSource, by string) string {
	texts := make([]string, len(sources))
	for i, s := range sources {
		texts[i] = s.String()
	}
	return strings.Join(texts, by)
}
