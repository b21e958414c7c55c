package declare

import (
	"encoding/json"
	"maps"
	"net/textproto"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// place reads { env: NAME } or { file: PATH }: where a text is to be found. With
// member it is that member of a JSON object there, which begins at byte offset.
func (d *decoder) place(v value) (plan.Handle, bool) { return d.placeWith(v, nil, false) }

// placeWith reads a place that has further keys; open allows text: TEXT, which
// is no secret.
func (d *decoder) placeWith(v value, further fields, open bool) (plan.Handle, bool) {
	var found []plan.Handle
	take := func(k plan.HandleKind) func(value) {
		return func(v value) {
			if s, ok := d.str(v); ok {
				found = append(found, d.handle(v, k, s))
			}
		}
	}
	member, offset, end := "", 0, 0
	keys := fields{
		"env": take(plan.HandleEnv), "file": take(plan.HandleFile), "member": d.into(&member),
		"offset": func(v value) { offset, _ = d.number(v, 0) },
		"end":    func(v value) { end, _ = d.number(v, 1) },
	}
	if open {
		keys["text"] = func(v value) {
			var text string
			d.anyText(&text)(v)
			found = append(found, d.handle(v, plan.HandleText, text))
		}
	}
	maps.Copy(keys, further)
	before := len(d.problems)
	d.object(v, keys)
	switch {
	case len(d.problems) > before:
		return plan.Handle{}, false
	case len(found) != 1:
		d.fail(v, "it must have one of env and file", "write { env: NAME } or { file: PATH }")
		return plan.Handle{}, false
	case (member != "" || offset+end > 0) && found[0].Kind == plan.HandleText:
		d.fail(v, "member, offset and end are about a text in a variable or file", "leave them out")
		return plan.Handle{}, false
	}
	found[0].Member, found[0].Offset, found[0].End = member, offset, end
	return found[0], true
}

// headers reads what is sent with every request. The names are kept as they go
// over the wire, so that a name in two spellings is found.
func (d *decoder) headers(v value) {
	if !d.expect(v, kindMap, "a map of headers, such as { X-Team: a }") {
		return
	}
	headers := map[string]plan.Handle{}
	for _, p := range v.pairs {
		child, name := v.childAt(p), textproto.CanonicalMIMEHeaderKey(p.key)
		_, twice := headers[name]
		switch err := plan.CheckHeader(p.key); {
		case err != nil:
			child.at = p.pos
			d.fail(child, err.Error(), "")
		case twice:
			child.at = p.pos
			d.fail(child, "the same header is there twice, in another spelling", "keep one of the two")
		default:
			if h, ok := d.header(child); ok {
				headers[name] = h
			}
		}
	}
	d.plan.Vault.Headers = headers
}

// header leaves a handle to the text of one header: it may well be a password.
func (d *decoder) header(v value) (plan.Handle, bool) {
	switch v.kind {
	case kindMap:
		return d.place(v)
	case kindNull:
		d.noValue(v)
		return plan.Handle{}, false
	}
	s, ok := d.str(v)
	if ok && strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }) {
		d.fail(v, "a header cannot have a line break or another control character in it", "")
		return plan.Handle{}, false
	}
	return d.handle(v, plan.HandleKey, s), ok
}

// write reads the body of a write, by name.
func (s *source) write(v value) {
	s.isWrite, s.body = true, map[string]plan.Handle{}
	if !s.d.expect(v, kindMap, "a map of what is sent, such as { common_name: a.example }") {
		return
	}
	for _, p := range v.pairs {
		child := v.childAt(p)
		if h, ok := s.d.bodyText(child); ok {
			s.body[p.key] = h
		}
	}
}

// bodyText reads one member of a body. Vault takes numbers and truth values as
// text too, and text keeps what was written.
func (d *decoder) bodyText(v value) (plan.Handle, bool) {
	switch {
	case v.kind == kindMap:
		return d.place(v)
	case v.kind == kindList:
		d.fail(v, "a list is not sent", "write one text; where Vault takes a list, it splits a text at the commas")
	case v.kind == kindNull:
		d.noValue(v)
	case v.kind == kindBool:
		return d.handle(v, plan.HandleText, strings.ToLower(v.text)), true
	case v.kind != kindString && !json.Valid([]byte(v.text)): // 0x10, 010, 1_000, .inf
		d.fail(v, "this is not how the number is written in decimal", "put it in quotes")
	default:
		return d.handle(v, plan.HandleText, v.text), true
	}
	return plan.Handle{}, false
}
