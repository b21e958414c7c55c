package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// scanReport is what a scan found, as --json prints it. Fields may be added, and
// none changes its meaning.
type scanReport struct {
	Found      int           `json:"found"`       // places
	FilesFound int           `json:"files_found"` // files with a secret in their content
	Hits       []scanHit     `json:"hits"`        // the first of the places
	Files      int           `json:"files"`       // that were read
	Bytes      int64         `json:"bytes"`       // in them
	Secrets    int           `json:"secrets"`     // values
	Skipped    []scanSkipped `json:"skipped"`
	Problems   []string      `json:"problems"` // the first of the files that could not be read
}

// scanHit is one place.
type scanHit struct {
	Secret string `json:"secret"`
	Form   string `json:"form"` // see docs/masking.md
	File   string `json:"file"` // "-" for standard input
	In     string `json:"in"`   // content or name
	Offset int64  `json:"offset"`
	Line   int    `json:"line"`
}

// scanSkipped is a value of which not every form is looked for.
type scanSkipped struct {
	Secret string `json:"secret"`
	Why    string `json:"why"`
}

// maxHits bounds what is printed; the rest is counted.
const maxHits = 100

func (r *scanReport) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// text prints one line for each place, and one for all.
func (r *scanReport) text(w io.Writer) error {
	var b strings.Builder
	for _, h := range r.Hits {
		if h.In == "name" {
			fmt.Fprintf(&b, "%s: in the name: %s (%s)\n", legible(h.File), legible(h.Secret), h.Form)
			continue
		}
		fmt.Fprintf(&b, "%s:%d: byte %d: %s (%s)\n", legible(h.File), h.Line, h.Offset, legible(h.Secret), h.Form)
	}
	if more := r.Found - len(r.Hits); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	fmt.Fprintf(&b, "%d found; values looked for: %d, files: %d, bytes: %d\n", r.Found, r.Secrets, r.Files, r.Bytes)
	_, err := io.WriteString(w, b.String())
	return err
}

// legible is a name on one line that changes nothing on a terminal.
func legible(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
