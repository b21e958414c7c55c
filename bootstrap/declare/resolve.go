package declare

import "github.com/secretboot/secretboot/bootstrap/plan"

// Resolve fetches the text of a login input, of a header, or of what is sent
// with a write, from the place that h names:
//
//   - a variable: it must be set and not empty;
//   - a file: one newline at its end ("\n" or "\r\n") is not part of the text;
//     it must have at most MaxFile bytes and not be empty;
//   - a key of a configuration file, which is read once more;
//   - text that the declaration shows openly: the text itself, which may be empty.
//
// The error is a *plan.Problem with CodeConfig that names the place and holds
// nothing of the text. The caller owns the bytes.
func Resolve(in Input, h plan.Handle) ([]byte, error) {
	text, why := resolve(in, h)
	if why == "" && len(text) == 0 && h.Kind != plan.HandleText {
		why = "it is empty"
	}
	if why != "" {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: h.Origin, What: "cannot read the input " + placeOf(h), Why: why, Fix: fixOf(h),
		}
	}
	return text, nil
}

func resolve(in Input, h plan.Handle) (text []byte, why string) {
	switch h.Kind {
	case plan.HandleEnv:
		v, ok := in.variable(h.Name)
		if !ok {
			return nil, "the variable is not set or empty"
		}
		return []byte(v), ""
	case plan.HandleFile:
		b, err := in.read(h.Name)
		if err != nil {
			return nil, reason(err)
		}
		return trimNewline(b), ""
	case plan.HandleKey:
		return resolveKey(in, h)
	case plan.HandleText:
		return []byte(h.Name), ""
	}
	return nil, "nothing says where it is"
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
	switch h.Kind {
	case plan.HandleEnv:
		return "set it, or take away what names it"
	case plan.HandleFile:
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
