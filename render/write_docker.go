package render

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
)

// dockerEnv writes NAME=value lines for `docker run --env-file`.
//
// Docker knows no quotes and no escapes there: a value is what stands between
// the first = and the end of the line, spaces and quotes included
// (docs.docker.com, "docker container run", section "Set environment
// variables"). So a newline has no way in. What is not in that page was found
// out with docker 28.2: a carriage return at the end of a line is dropped, text
// that is not UTF-8 refused, and so is a line longer than 65,535 bytes, which is
// why the length is bounded with the name.
func dockerEnv() lineFormat {
	return lineFormat{
		badName: func(name string) string {
			switch {
			case name == "":
				return "its name is empty"
			case strings.HasPrefix(name, "#"):
				return "a line that begins with # is a comment"
			case strings.ContainsFunc(name, notInDockerName) || notText(name) != "":
				return "the name of a variable has no =, white space or control character in it"
			}
			return ""
		},
		badText: func(text string) string {
			switch {
			case strings.Contains(text, "\n"):
				return "a newline"
			case strings.HasSuffix(text, "\r"):
				return "a carriage return at its end"
			}
			return notText(text)
		},
		line: func(out *bytes.Buffer, name, text string) *failure {
			const most = 64<<10 - 1
			if n := len(name) + len("=") + len(text); n > most {
				return cannotCarry("docker-env", name, fmt.Sprintf("its line would be longer than %d bytes", most), "use the format json or files")
			}
			fmt.Fprintf(out, "%s=%s\n", name, text)
			return nil
		},
	}
}

func notInDockerName(r rune) bool {
	const byteOrderMark = '\ufeff' // dropped at the start of the file
	return r == '=' || r == byteOrderMark || unicode.IsSpace(r) || unicode.IsControl(r)
}
