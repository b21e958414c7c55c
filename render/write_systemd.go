package render

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// systemdEnv writes NAME="value" lines for EnvironmentFile= of systemd.exec(5).
//
// In double quotes everything is itself, newlines too, but for the four
// characters that a shell treats specially there: they take a backslash, which
// every version of systemd undoes. Single quotes are no choice: up to version
// 239 a backslash meant something inside them. Control characters other than tab
// and newline make versions up to 245 ignore the whole assignment, and text that
// is not UTF-8, Unicode's noncharacters included, makes all of them do so: an
// assignment that is ignored is a secret that is silently missing.
func systemdEnv() lineFormat {
	special := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
	return lineFormat{
		badName: plan.NotVariable,
		badText: func(text string) string {
			switch has := notText(text); {
			case has != "":
				return has
			case strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && r != '\n' && r < 0x20 || r == 0x7f }):
				return "a control character other than tab and newline"
			case strings.ContainsFunc(text, isNoncharacter):
				return "a code point that is no character"
			}
			return ""
		},
		line: func(out *bytes.Buffer, name, text string) *failure {
			fmt.Fprintf(out, "%s=\"%s\"\n", name, special.Replace(text))
			return nil
		},
	}
}

// isNoncharacter tells the code points that Unicode will never assign: U+FDD0 to
// U+FDEF and the last two of each plane (Unicode 16, section 23.7).
func isNoncharacter(r rune) bool { return unicode.Is(unicode.Noncharacter_Code_Point, r) }
