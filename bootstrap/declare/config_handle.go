package declare

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// place reads { env: NAME } or { file: PATH }: where a text is to be found. With
// member it is that member of a JSON object there, which begins at byte offset; of is
// the length that the whole text had.
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
	member, offset, end, of := "", 0, 0, 0
	keys := fields{
		"env": take(plan.HandleEnv), "file": take(plan.HandleFile), "member": d.into(&member),
		"offset": func(v value) { offset, _ = d.number(v, 0) },
		"end":    func(v value) { end, _ = d.number(v, 1) },
		"of":     func(v value) { of, _ = d.number(v, 1) },
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
	case (member != "" || offset+end+of > 0) && found[0].Kind == plan.HandleText:
		d.fail(v, "member, offset, end and of are about a text in a variable or file", "leave them out")
		return plan.Handle{}, false
	}
	found[0].Member, found[0].Offset, found[0].End, found[0].Of = member, offset, end, of
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

// bodyText reads one member of a body: a text, or what is sent as JSON. A map is
// the place of a text, so that an object is written as JSON itself.
func (d *decoder) bodyText(v value) (plan.Handle, bool) {
	switch v.kind {
	case kindMap:
		isJSON := false
		h, ok := d.placeWith(v, fields{"json": func(v value) { isJSON, _ = d.flag(v) }}, true)
		if h.JSON = isJSON; ok && isJSON && h.Kind == plan.HandleText && !json.Valid([]byte(h.Name)) {
			d.fail(v, "its text is not JSON", "")
			return h, false
		}
		return h, ok
	case kindNull:
		d.noValue(v)
		return plan.Handle{}, false
	case kindString:
		return d.handle(v, plan.HandleText, v.text), true
	case kindInt, kindFloat, kindBool, kindList:
	}
	text, bad := asJSON(v)
	if bad != nil {
		d.fail(*bad, "this is not how the number is written in decimal", "put it in quotes")
		return plan.Handle{}, false
	}
	h := d.handle(v, plan.HandleText, text)
	h.JSON = true
	return h, true
}

// asJSON writes a value as JSON, a number as it stands in the file; bad is a
// number that JSON writes in another way, such as 0x10, 010, 1_000 or .inf.
func asJSON(v value) (text string, bad *value) {
	var parts []string
	add := func(before string, child value) {
		part, worse := asJSON(child)
		if bad == nil {
			bad = worse
		}
		parts = append(parts, before+part)
	}
	switch v.kind {
	case kindNull:
		return "null", nil
	case kindBool:
		return strings.ToLower(v.text), nil
	case kindString:
		return quoteJSON(v.text), nil
	case kindList:
		for i, n := range v.items {
			add("", value{node: n, key: fmt.Sprintf("%s[%d]", v.key, i), at: n.pos})
		}
		return "[" + strings.Join(parts, ",") + "]", bad
	case kindMap:
		for _, p := range v.pairs {
			add(quoteJSON(p.key)+":", v.childAt(p))
		}
		return "{" + strings.Join(parts, ",") + "}", bad
	case kindInt, kindFloat:
	}
	if !json.Valid([]byte(v.text)) {
		return "", &v
	}
	return v.text, nil
}

// quoteJSON writes a text of valid UTF-8, which every text of a file is.
func quoteJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}
