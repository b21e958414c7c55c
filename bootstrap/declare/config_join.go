package declare

import "github.com/secretboot/secretboot/bootstrap/plan"

// token reads token: true.
func (s *source) token(v value) {
	s.kind = fromToken
	if set, ok := s.d.flag(v); ok && !set {
		s.d.fail(v, "it says no source", "write token: true, or leave it out")
	}
}

// join reads the pieces of a text.
func (s *source) join(v value) {
	s.kind = fromPieces
	s.d.list(v, func(item value) {
		if p, ok := s.d.piece(item); ok {
			s.pieces = append(s.pieces, p)
		}
	})
	if v.kind == kindList && len(v.items) == 0 {
		s.d.fail(v, "the list is empty", "name what is put together")
	}
}

// piece reads text, which may well be a secret and so stays in the file, or a
// map: with secret a reference, else the place of a text and the bytes of it.
func (d *decoder) piece(v value) (plan.Piece, bool) {
	switch {
	case v.kind == kindString:
		text, ok := d.str(v)
		h := d.handle(v, plan.HandleKey, text)
		return plan.Piece{Text: &h, To: len(text)}, ok
	case v.kind == kindMap && v.child("secret") != nil:
		return d.refPiece(v)
	case v.kind == kindMap:
		return d.textPiece(v)
	}
	d.fail(v, "it must be text, or a map with secret, env, file or text", "")
	return plan.Piece{}, false
}

func (d *decoder) refPiece(v value) (plan.Piece, bool) {
	src, before := &source{d: d}, len(d.problems)
	keys := src.refFields()
	keys["optional"] = func(v value) { src.optional, _ = d.flag(v) }
	d.object(v, keys)
	p := plan.Piece{Ref: src.finish(v).Ref}
	return p, len(d.problems) == before
}

func (d *decoder) textPiece(v value) (plan.Piece, bool) {
	p, before, ends := plan.Piece{To: -1}, len(d.problems), false
	h, ok := d.placeWith(v, fields{
		"from": func(v value) { p.From, _ = d.number(v, 0) },
		"to":   func(v value) { p.To, ends = d.number(v, 0) },
	}, true)
	p.Text = &h
	switch {
	case !ok || len(d.problems) > before:
		return p, false
	case !ends && h.Kind == plan.HandleText:
		p.To = len(h.Name)
	case !ends:
		d.fail(v, "it does not say where the piece ends", "add to: the number of the first byte that is not part of it")
	}
	if ends && p.To < p.From {
		d.fail(v, "it ends before it begins", "")
	}
	return p, len(d.problems) == before
}
