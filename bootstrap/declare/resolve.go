package declare

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Resolve fetches the text of a login input, of a header, or of what is sent
// with a write, from the place that h names:
//
//   - a variable: it must be set and not empty;
//   - a file: one newline at its end ("\n" or "\r\n") is not part of the text;
//     it must have at most MaxFile bytes and not be empty;
//   - a part of one of these, or a member of a JSON object in it; only the text of
//     a member may be empty;
//   - a key of a configuration file, which is read once more;
//   - text that the declaration shows openly: the text itself, which may be empty.
//
// What is to be sent as JSON must be JSON.
//
// The error is a *plan.Problem with CodeConfig that names the place and holds
// nothing of the text. The caller owns the bytes.
func Resolve(in Input, h plan.Handle) ([]byte, error) {
	text, why := resolve(in, h)
	if why == whyChanged {
		whole := h
		whole.Member, whole.Offset, whole.End = "", 0, 0
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: h.Origin, What: "the text at " + placeOf(whole), Why: why,
			Fix: "convert the declaration again, or give the text back as it was",
		}
	}
	if why == "" && h.JSON && !json.Valid(text) {
		why = "it is not JSON"
	}
	if why == "" && len(text) == 0 && h.Kind != plan.HandleText && h.Member == "" {
		why = "it is empty"
	}
	if why != "" {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: h.Origin, What: "cannot read the input " + placeOf(h), Why: why, Fix: fixOf(h),
		}
	}
	return text, nil
}

const whyChanged = "it changed since it was declared, and other bytes than those that were meant would be taken"

func resolve(in Input, h plan.Handle) (text []byte, why string) {
	switch h.Kind {
	case plan.HandleEnv:
		v, ok := in.variable(h.Name)
		if !ok {
			return nil, "the variable is not set or empty"
		}
		return partOf([]byte(v), h)
	case plan.HandleFile:
		b, err := in.read(h.Name)
		if err != nil {
			return nil, reason(err)
		}
		return partOf(trimNewline(b), h)
	case plan.HandleKey:
		return resolveKey(in, h)
	case plan.HandleText:
		return []byte(h.Name), ""
	}
	return nil, "nothing says where it is"
}

// partOf gives the part of a text that h means. The text may have changed since
// the declaration was read, so nothing is taken for granted.
func partOf(text []byte, h plan.Handle) ([]byte, string) {
	if h.Of != 0 && h.Of != len(text) {
		return nil, whyChanged
	}
	end := h.End
	if end == 0 {
		end = len(text)
	}
	if h.Offset < 0 || h.Offset > end || end > len(text) {
		return nil, "its text changed and is too short now"
	}
	text = text[h.Offset:end]
	if h.Member == "" {
		return text, ""
	}
	return memberOf(text, h.Member, h.JSON)
}

// memberOf gives a member of the JSON object that text begins with, as text or as
// JSON. What the decoder itself says would quote the text.
func memberOf(text []byte, name string, asJSON bool) ([]byte, string) {
	var members map[string]json.RawMessage
	if err := json.NewDecoder(strings.NewReader(string(text))).Decode(&members); err != nil {
		return nil, "there is no JSON object"
	}
	member, ok := members[name]
	switch {
	case !ok:
		return nil, "the JSON object has no such member"
	case !utf8.Valid(member):
		return nil, "the member is not valid UTF-8"
	case asJSON || member[0] != '"':
		return member, ""
	}
	var s string
	if err := json.Unmarshal(member, &s); err != nil {
		return nil, "the member cannot be read"
	}
	if strings.ContainsRune(s, utf8.RuneError) && !saysReplacement(string(member)) {
		return nil, "the member has one half of a surrogate pair, which is no text" // it would be replaced
	}
	return []byte(s), ""
}

// saysReplacement reports whether the JSON text itself has U+FFFD.
func saysReplacement(text string) bool {
	return strings.ContainsRune(text, utf8.RuneError) || strings.Contains(strings.ToLower(text), `\ufffd`)
}

// resolveKey reads the configuration file again: its text was not kept.
func resolveKey(in Input, h plan.Handle) (text []byte, why string) {
	src, err := in.read(h.File)
	if err != nil {
		return nil, reason(err)
	}
	n, problems := readYAML(h.File, src)
	if len(problems) > 0 {
		return nil, "the file changed and is no longer valid"
	}
	n = n.below(h.Name)
	if n == nil || n.kind != kindString {
		return nil, "the file changed and the key is no longer there"
	}
	return []byte(n.text), ""
}

// fixOf says what to do where a place holds nothing.
func fixOf(h plan.Handle) string {
	switch {
	case h.Member != "":
		return "check the JSON text there"
	case h.Kind == plan.HandleEnv:
		return "set it, or take away what names it"
	case h.Kind == plan.HandleFile:
		return "check the path and who may read it"
	}
	return ""
}

// placeOf names the place; a text has none that may be shown.
func placeOf(h plan.Handle) string {
	if h.Kind == plan.HandleText || h.Kind == plan.HandleNone {
		return "in the declaration"
	}
	return h.String()
}
