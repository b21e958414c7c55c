package render

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// githubEnv writes what a step of a GitHub Actions job appends to the file that
// $GITHUB_ENV names, so that later steps have the variables. The names that the
// runner keeps for itself are refused: it sets GITHUB_* and RUNNER_* over whatever
// a step wrote, and fails for NODE_OPTIONS in any spelling (docs.github.com,
// "Workflow commands for GitHub Actions", "Setting an environment variable").
func githubEnv(random io.Reader) lineFormat {
	l := githubFile(random)
	l.badName = func(name string) string {
		if strings.HasPrefix(name, "GITHUB_") || strings.HasPrefix(name, "RUNNER_") || strings.EqualFold(name, "NODE_OPTIONS") {
			return "the runner does not let a step set this variable"
		}
		return plan.NotVariable(name)
	}
	return l
}

// githubOutput writes what a step appends to the file that $GITHUB_OUTPUT names.
// An output's name may have a dash in it.
func githubOutput(random io.Reader) lineFormat {
	l := githubFile(random)
	l.badName = func(name string) string {
		if why := plan.NotVariable(strings.ReplaceAll(name, "-", "_")); why != "" || name[0] == '-' {
			return "the name of an output has only letters, digits, _ and -, and begins with a letter or _"
		}
		return ""
	}
	return l
}

// githubFile gives every value the form with a delimiter:
//
//	NAME<<DELIMITER
//	value
//	DELIMITER
//
// Whoever could foresee the delimiter could put a variable of their own behind
// it, so it is drawn at random, 128 bits for each value, and drawn again if the
// value should have it. The runner replaces what is not UTF-8 by U+FFFD, so that
// is refused; it wants no NUL in a variable.
func githubFile(random io.Reader) lineFormat {
	return lineFormat{
		badText: notText,
		line: func(out *bytes.Buffer, name, text string) *failure {
			delimiter, f := githubDelimiter(random, text)
			if f != nil {
				return f
			}
			fmt.Fprintf(out, "%s<<%s\n%s\n%s\n", name, delimiter, text, delimiter)
			return nil
		},
	}
}

func githubDelimiter(random io.Reader, text string) (string, *failure) {
	const tries = 4
	var bits [16]byte
	for range tries {
		if _, err := io.ReadFull(random, bits[:]); err != nil {
			break
		}
		if delimiter := "secretboot_" + hex.EncodeToString(bits[:]); !strings.Contains(text, delimiter) {
			return delimiter, nil
		}
	}
	return "", &failure{code: plan.CodeBug, why: "the source of randomness gives no delimiter that is not in the value"}
}
