package main

import (
	"fmt"
	"os"
	"strings"
)

// The marks of a part of the report in a Markdown file, which are comments there.
const (
	partBegin = "<!-- figures: %s -->\n"
	partEnd   = "<!-- end of figures -->\n"
)

// replacePart puts text between the marks of a part of a file. A file without
// exactly one such part is an error.
func replacePart(path, part, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin := fmt.Sprintf(partBegin, part)
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, partEnd)
	if !ok || !closed || strings.Contains(rest, begin) {
		return fmt.Errorf("%s: there must be one part from %q to %q", path, strings.TrimSpace(begin), strings.TrimSpace(partEnd))
	}
	return os.WriteFile(path, []byte(before+begin+text+partEnd+after), 0o644)
}
