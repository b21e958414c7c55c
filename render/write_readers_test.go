package render

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// The readers here follow what the consumer of each format is documented to do,
// not what the writers do. Each takes everything that its consumer takes, so a
// writer that lets a value end early is found out.

// readShell reads export NAME=WORD lines as POSIX.1-2024, XCU section 2.2 wants
// it: single quotes, double quotes without anything special, and backslashes.
func readShell(file []byte) (map[string]string, error) {
	return readAssignments(string(file), "export ")
}

// readDotenv reads NAME=WORD lines the same way.
func readDotenv(file []byte) (map[string]string, error) { return readAssignments(string(file), "") }

func readAssignments(rest, keyword string) (map[string]string, error) {
	vars := map[string]string{}
	for rest != "" {
		after, ok := strings.CutPrefix(rest, keyword)
		name, after, found := strings.Cut(after, "=")
		if !ok || !found || strings.ContainsAny(name, " \n'\"\\") {
			return nil, errors.New("no assignment")
		}
		value, after, err := readWord(after)
		if err != nil {
			return nil, err
		}
		vars[name], rest = value, after
	}
	return vars, nil
}

// readWord reads up to the newline that ends a word.
func readWord(s string) (word, rest string, err error) {
	var out strings.Builder
	for s != "" {
		switch s[0] {
		case '\n':
			return out.String(), s[1:], nil
		case '\'':
			inner, after, ok := strings.Cut(s[1:], "'")
			if !ok {
				return "", "", errors.New("a quote without end")
			}
			out.WriteString(inner)
			s = after
		case '"':
			inner, after, ok := strings.Cut(s[1:], `"`)
			if !ok || strings.ContainsAny(inner, "$`\\!") {
				return "", "", errors.New("something special in double quotes")
			}
			out.WriteString(inner)
			s = after
		case '\\':
			if len(s) < 2 || s[1] == '\n' {
				return "", "", errors.New("a line goes on")
			}
			out.WriteByte(s[1])
			s = s[2:]
		default:
			return "", "", fmt.Errorf("%q outside quotes", s[0])
		}
	}
	return "", "", errors.New("no newline at the end")
}

// readDocker reads a file for docker run --env-file as docker 28.2 does.
func readDocker(file []byte) (map[string]string, error) {
	vars := map[string]string{}
	for i, line := range bytes.Split(bytes.TrimSuffix(file, []byte("\n")), []byte("\n")) {
		if len(line) > 65535 || !utf8.Valid(line) {
			return nil, errors.New("the line is too long, or not UTF-8")
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		if i == 0 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		text := strings.TrimLeft(string(line), " \t\v\f\r\u0085\u00a0")
		if text == "" || text[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t\n\v\f\r") || strings.Contains(value, "\x00") {
			return nil, errors.New("no assignment")
		}
		vars[name] = value
	}
	return vars, nil
}

// readSystemd reads an EnvironmentFile as systemd.exec(5) says.
func readSystemd(file []byte) (map[string]string, error) {
	const blank = " \t\n\r"
	vars := map[string]string{}
	var name, value strings.Builder
	end := func() error {
		if plan.NotVariable(name.String()) != "" || !systemdTakes(value.String()) {
			return errors.New("systemd ignores this assignment")
		}
		vars[name.String()] = value.String()
		name.Reset()
		value.Reset()
		return nil
	}
	state := "before name"
	for _, c := range file {
		switch state {
		case "before name":
			switch {
			case c == '#' || c == ';':
				return nil, errors.New("a comment")
			case !strings.ContainsRune(blank, rune(c)):
				name.WriteByte(c)
				state = "name"
			}
		case "name":
			switch c {
			case '=':
				state = "between"
			case '\n', '\r':
				return nil, errors.New("a line without =")
			default:
				name.WriteByte(c)
			}
		case "between":
			switch c {
			case '\n', '\r':
				if err := end(); err != nil {
					return nil, err
				}
				state = "before name"
			case '"':
				state = "quoted"
			default:
				return nil, errors.New("something outside double quotes")
			}
		case "quoted":
			switch c {
			case '"':
				state = "between"
			case '\\':
				state = "escaped"
			default:
				value.WriteByte(c)
			}
		case "escaped":
			if !strings.ContainsRune("\"\\`$", rune(c)) {
				return nil, errors.New("an escape that versions read differently")
			}
			value.WriteByte(c)
			state = "quoted"
		}
	}
	if state != "before name" {
		return nil, errors.New("the last assignment has no end")
	}
	return vars, nil
}

func systemdTakes(value string) bool {
	for _, r := range value {
		noncharacter := r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
		if noncharacter || r == 0x7f || r < 0x20 && r != '\t' && r != '\n' {
			return false
		}
	}
	return utf8.ValidString(value)
}

// readProperties reads what java.util.Properties.load(InputStream) takes, in its
// own words: logical lines, a key up to =, : or white space, escapes.
func readProperties(file []byte) (map[string]string, error) {
	props := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(file), "\n"), "\n") {
		if strings.ContainsAny(line, "\r") || strings.Trim(line, " \t\f") == "" || strings.ContainsRune("#!", rune(strings.TrimLeft(line, " \t\f")[0])) {
			return nil, errors.New("a line that is no property")
		}
		line = strings.TrimLeft(line, " \t\f")
		key, rest := propertyPart(line, "=: \t\f")
		rest = strings.TrimLeft(rest, " \t\f")
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], " \t\f")
		}
		value, left := propertyPart(rest, "")
		if left != "" || strings.HasSuffix(line, `\`) && !strings.HasSuffix(line, `\\`) {
			return nil, errors.New("a line that goes on")
		}
		props[key] = value
	}
	return props, nil
}

// propertyPart undoes the escapes up to one of the characters in end.
func propertyPart(s, end string) (part, rest string) {
	var units []uint16
	for i := 0; i < len(s); i++ {
		c := uint16(s[i]) // ISO 8859-1
		if strings.IndexByte(end, s[i]) >= 0 {
			return string(utf16.Decode(units)), s[i:]
		}
		if c == '\\' && i+1 < len(s) {
			i++
			switch c = uint16(s[i]); c {
			case 't':
				c = '\t'
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 'f':
				c = '\f'
			case 'u':
				_, _ = fmt.Sscanf(s[i+1:i+5], "%04x", &c)
				i += 4
			}
		}
		units = append(units, c)
	}
	return string(utf16.Decode(units)), ""
}

// readGitHub reads what a step appended to $GITHUB_ENV as the runner does: the
// file is UTF-8, the first of = and << decides about a line, a delimiter is a
// line of its own, and the newline before it is no part of the value.
func readGitHub(file []byte) (map[string]string, error) {
	vars := map[string]string{}
	rest := strings.ToValidUTF8(strings.TrimPrefix(string(file), "\ufeff"), "\ufffd")
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line == "" {
			continue
		}
		name, delimiter, ok := strings.Cut(line, "<<")
		if !ok || strings.Contains(name, "=") || name == "" || delimiter == "" {
			return nil, errors.New("a line in the other form")
		}
		var value []string
		for {
			if rest == "" {
				return nil, errors.New("no delimiter")
			}
			line, after, newline := strings.Cut(rest, "\n")
			if rest = after; line == delimiter {
				break
			}
			if !newline {
				return nil, errors.New("no newline after the delimiter")
			}
			value = append(value, line)
		}
		vars[name] = strings.Join(value, "\n")
	}
	return vars, nil
}
