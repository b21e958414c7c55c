package render

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// shellExport writes export NAME='value' lines for a shell to source. In single
// quotes every byte but NUL is itself (POSIX.1-2024, XCU section 2.2.2); a single
// quote ends them, stands escaped, and begins them anew. So sh, dash and bash
// read any other value back exactly, whatever the locale.
func shellExport() lineFormat {
	return lineFormat{
		badName: func(name string) string {
			if why := plan.NotVariable(name); why != "" {
				return why
			}
			if shellOwns(name) {
				return "a shell keeps this variable for itself"
			}
			return ""
		},
		badText: func(text string) string {
			if strings.Contains(text, "\x00") {
				return hasNUL
			}
			return ""
		},
		line: func(out *bytes.Buffer, name, text string) *failure {
			fmt.Fprintf(out, "export %s='%s'\n", name, strings.ReplaceAll(text, "'", `'\''`))
			return nil
		},
	}
}

// shellOwns tells the variables that dash or bash does not let a file set: the
// assignment is an error, ends the shell, or has no effect. They were found by
// trying all that bash 5.2 has (bash(1), "Shell Variables").
func shellOwns(name string) bool {
	return strings.HasPrefix(name, "BASH") || slices.Contains([]string{
		"DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND",
		"PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS", "SHLVL", "SRANDOM", "UID", "_",
	}, name)
}
