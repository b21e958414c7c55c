package declare

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// refusal says what is wrong with a declaration. It holds nothing of a value.
type refusal struct{ why, fix string }

// bankVaultsValue reads the value of one variable. A place in it is a number of
// bytes from its beginning.
type bankVaultsValue struct {
	name, text string
	from       plan.Origin
	transit    string
	optional   bool
}

// bankVaultsSource is what a value leads to.
type bankVaultsSource struct {
	plan.Source
	found bool // there is a reference
	left  bool // there is ciphertext, and no key to decrypt it
}

// source reads the whole value.
func (v bankVaultsValue) source() (bankVaultsSource, *refusal) {
	var out bankVaultsSource
	spans, err := v.spans()
	if err != nil {
		return out, err
	}
	if len(spans) == 0 {
		ref, err := v.reference(0, len(v.text))
		out.Ref, out.found, out.left = ref, ref != nil, plan.IsTransitCiphertext(v.text) && ref == nil
		return out, err
	}
	end := 0
	for _, s := range spans {
		ref, err := v.reference(s.from, s.to)
		switch {
		case err != nil:
			return out, err
		case ref == nil:
			out.left = true // it stays as the text that it is
		default:
			out.Pieces = append(v.literal(out.Pieces, end, s.from-len("${")), plan.Piece{Ref: ref})
			end, out.found = s.to+len("}"), true
		}
	}
	if !out.found {
		return out, nil
	}
	out.Pieces = v.literal(out.Pieces, end, len(v.text))
	if len(out.Pieces) == 1 {
		out.Ref, out.Pieces = out.Pieces[0].Ref, nil
	}
	return out, nil
}

// literal adds the text between two references: its place alone, for a
// connection string has passwords in it as often as not.
func (v bankVaultsValue) literal(pieces []plan.Piece, from, to int) []plan.Piece {
	if from == to {
		return pieces
	}
	return append(pieces, plan.Piece{Text: &plan.Handle{Kind: plan.HandleEnv, Name: v.name, Of: len(v.text), Origin: v.from}, From: from, To: to})
}

// span is a reference inside of ${ and }.
type span struct{ from, to int }

// opening is a ${ that is not closed yet.
type opening struct {
	at     int // where what it holds begins
	arrows int // how many > are there
	isRef  bool
	hashes int // seen so far
}

// spans finds the references inside of the text, in one pass. One that is not
// closed in its line is none. A template in a key, and the JSON that is written,
// are part of the reference.
//
// The original takes the first }, and the one after it too if there is one, which
// cuts objects inside of objects and eats a } that follows a reference.
func (v bankVaultsValue) spans() ([]span, *refusal) {
	var found []span
	var open []opening
	for i := 0; i < len(v.text); i++ {
		top := len(open) - 1
		switch {
		case strings.HasPrefix(v.text[i:], "${"):
			open = append(open, opens(v.text, i+len("${")))
			i++
		case v.text[i] == '\n':
			open = nil
		case top < 0:
		case v.text[i] == '#':
			open[top].hashes++
			if open[top].hashes == 2 && open[top].arrows > 0 {
				i += objectLength(v.text[i+1:])
			}
		case v.text[i] == '}':
			last := open[top]
			open = open[:top]
			if !last.isRef {
				continue
			}
			if last.arrows == 1 { // the original takes the braces away and delivers the rest
				return nil, &refusal{"a reference in it begins with one >", "write ${vault:…} to read, or ${>>vault:…} to write"}
			}
			for n := len(found); n > 0 && found[n-1].from > last.at; n-- {
				found = found[:n-1] // it was in the key of this one
			}
			found = append(found, span{last.at, i})
		}
	}
	return found, nil
}

// opens looks at what follows a ${.
func opens(text string, at int) opening {
	rest := text[at:]
	arrows := 0
	for arrows < 2 && strings.HasPrefix(rest[arrows:], ">") {
		arrows++
	}
	return opening{at: at, arrows: arrows, isRef: strings.HasPrefix(rest[arrows:], "vault:")}
}

// objectLength gives the length of the JSON value that s begins with; 0 where it
// begins with none.
func objectLength(s string) int {
	if !strings.HasPrefix(strings.TrimLeft(s, " \t"), "{") {
		return 0
	}
	dec := json.NewDecoder(strings.NewReader(s))
	var object json.RawMessage
	if dec.Decode(&object) != nil {
		return 0
	}
	return int(dec.InputOffset())
}

// reference reads the bytes from up to to; nil where they are none.
func (v bankVaultsValue) reference(from, to int) (*plan.Ref, *refusal) {
	text := v.text[from:to]
	if plan.IsTransitCiphertext(text) {
		return v.decryption(from, to), nil
	}
	text, isWrite := strings.CutPrefix(text, ">>")
	text, ok := strings.CutPrefix(text, "vault:")
	if !ok {
		return nil, nil
	}
	parts := strings.SplitN(text, "#", 3)
	switch {
	case len(parts) < 2:
		return nil, &refusal{"the reference names no key", "write vault:PATH#KEY"}
	case parts[1] == "":
		return nil, &refusal{"the key after # is empty", "write vault:PATH#KEY"}
	}
	ref := &plan.Ref{Field: parts[1], NullEmpty: true}
	if strings.Contains(ref.Field, "${") {
		if !strings.Contains(ref.Field, "}") {
			return nil, &refusal{"the template in its key is not closed", "end each action with }"}
		}
		ref.Select, ref.NullEmpty = plan.SelectTemplate, false
	}
	third := strings.Join(parts[2:], "")
	var err *refusal
	if isWrite {
		ref.Read, err = v.write(parts[0], third, to-len(third))
	} else {
		ref.Read, err = bankVaultsRead(parts[0], third, len(parts) > 2)
		ref.Read.Optional = v.optional
	}
	ref.Read.Origin = v.from
	return ref, err
}

// bankVaultsRead makes a read of a path as it is, and of a version.
func bankVaultsRead(path, version string, pinned bool) (plan.Read, *refusal) {
	ref, err := plan.ParseRef("vault:" + path)
	if err != nil {
		return plan.Read{}, &refusal{"the reference is wrong: " + err.Error(), "write vault:PATH#KEY"}
	}
	read := ref.Read
	read.KV = plan.KVLiteral
	if !pinned {
		return read, nil
	}
	n, err := strconv.Atoi(version)
	if err != nil || n < 1 {
		return plan.Read{}, &refusal{"the version must be a whole number from 1", "leave it out for the newest"}
	}
	read.Version = n
	return read, nil
}

// write makes a write whose body is the JSON object that begins at byte at.
func (v bankVaultsValue) write(path, object string, at int) (plan.Read, *refusal) {
	read, err := bankVaultsRead(path, "", false)
	read.Op = plan.OpWrite
	if err != nil || object == "" {
		return read, err
	}
	sent, why := members(object)
	if why != "" {
		return plan.Read{}, &refusal{why, "write >>vault:PATH#KEY#{\"name\":\"text\"}"}
	}
	at += len(object) - len(strings.TrimLeft(object, " \t\r\n"))
	for name, isText := range sent {
		read.Body = put(read.Body, name, plan.Handle{
			Kind: plan.HandleEnv, Name: v.name, Member: name, Offset: at, Of: len(v.text), JSON: !isText, Origin: v.from,
		})
	}
	return read, nil
}

// members lists the names in a JSON object, and which of its members are texts.
func members(text string) (isText map[string]bool, why string) {
	const notJSON = "what it writes is not one JSON object"
	dec := json.NewDecoder(strings.NewReader(text))
	isText = map[string]bool{}
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return nil, notJSON
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, notJSON
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, notJSON
		}
		name, _ := key.(string)
		_, twice := isText[name]
		switch {
		case name == "":
			return nil, "a member of what it writes has no name"
		case twice:
			return nil, "a member of what it writes is there twice"
		}
		isText[name] = value[0] == '"'
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, notJSON
	}
	return isText, ""
}

// decryption has the transit engine decrypt the bytes from up to to; nil without
// a key.
func (v bankVaultsValue) decryption(from, to int) *plan.Ref {
	if v.transit == "" {
		return nil
	}
	text := plan.Handle{Kind: plan.HandleEnv, Name: v.name, Origin: v.from}
	if to-from < len(v.text) {
		text.Offset, text.End, text.Of = from, to, len(v.text)
	}
	return &plan.Ref{
		Read: plan.Read{
			Path: v.transit, Op: plan.OpWrite, KV: plan.KVLiteral, Body: map[string]plan.Handle{"ciphertext": text}, Origin: v.from,
		},
		Field: "plaintext", Decode: plan.DecodeBase64,
	}
}
