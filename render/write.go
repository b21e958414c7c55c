package render

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// write writes a whole secret down in the format that ref asks for.
func (m Means) write(ref plan.Ref, fields map[string]any) ([]byte, failures) {
	switch ref.Format {
	case plan.FormatAuto, plan.FormatJSON:
		return jsonFields(fields, ref.EscapeHTML)
	case plan.FormatYAML:
		return yamlFields(fields)
	case plan.FormatTOML:
		return tomlFields(fields)
	case plan.FormatRaw:
		return rawField(fields)
	case plan.FormatPEMBundle:
		return pemBundle(fields)
	case plan.FormatPKCS12:
		return m.keystore(fields)
	case plan.FormatFiles:
		return nil, failures{badData("the format files gives more than one file", "")}
	}
	lines, ok := m.lines(ref.Format)
	if !ok {
		return nil, failures{unsupported("this format is not supported")}
	}
	return lines.write(ref.Format.String(), fields)
}

// lines gives the formats that consist of names with texts.
func (m Means) lines(format plan.Format) (lineFormat, bool) {
	switch format {
	case plan.FormatDotenv:
		return dotenv(), true
	case plan.FormatDockerEnv:
		return dockerEnv(), true
	case plan.FormatSystemdEnv:
		return systemdEnv(), true
	case plan.FormatExport:
		return shellExport(), true
	case plan.FormatProperties:
		return properties(), true
	case plan.FormatGitHubEnv:
		return githubEnv(m.Random), true
	case plan.FormatGitHubOutput:
		return githubOutput(m.Random), true
	}
	return lineFormat{}, false
}

// lineFormat is a format that gives each field a line, or a few: a name and a
// text. It has no lists and no maps.
type lineFormat struct {
	// badName and badText say why the format cannot carry a name, and what a
	// text has in it that the format cannot carry; "" is good.
	badName, badText func(string) string
	// line writes one field that both accept.
	line func(out *bytes.Buffer, name, text string) *failure
}

// write writes the fields, sorted by name.
func (l lineFormat) write(format string, fields map[string]any) ([]byte, failures) {
	var out bytes.Buffer
	var bad failures
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if f := l.field(&out, format, name, fields[name]); f != nil {
			bad = append(bad, f)
		}
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return out.Bytes(), nil
}

func (l lineFormat) field(out *bytes.Buffer, format, name string, v any) *failure {
	if why := l.badName(name); why != "" {
		return badData(fmt.Sprintf("%s cannot carry the field %q: %s", format, name, why), "use the format json or files")
	}
	switch v.(type) {
	case []any, map[string]any:
		return cannotCarry(format, name, "it is "+kind(v)+", not a text", "use format: json or a template")
	}
	text, f := raw(name, v)
	if f != nil {
		return f
	}
	if has := l.badText(string(text)); has != "" {
		return cannotCarry(format, name, "it has "+has, "use the format json or files")
	}
	return l.line(out, name, string(text))
}

func cannotCarry(format, name, why, fix string) *failure {
	return badData(fmt.Sprintf("%s cannot carry the value of %s: %s", format, name, why), fix)
}

const (
	hasNUL     = "a NUL byte"
	hasNotUTF8 = "bytes that are not UTF-8 text"
)

// notText says what keeps a text out of a variable whose reader wants UTF-8.
func notText(text string) string {
	switch {
	case strings.Contains(text, "\x00"):
		return hasNUL
	case !utf8.ValidString(text):
		return hasNotUTF8
	}
	return ""
}

// rawField gives the only field.
func rawField(fields map[string]any) ([]byte, failures) {
	for name, v := range fields {
		if len(fields) == 1 {
			return alone(raw(name, v))
		}
	}
	return nil, failures{badData(fmt.Sprintf("the format raw wants exactly one field, but the secret has %d", len(fields)),
		"name one as PATH#FIELD, or choose another format")}
}

// raw gives a value that stands alone.
func raw(name string, v any) ([]byte, *failure) {
	switch v := v.(type) {
	case nil:
		return nil, missing("the field "+name+" is null", "")
	case string:
		return []byte(v), nil
	}
	return jsonValue(v, false)
}
