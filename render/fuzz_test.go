package render

import (
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// FuzzExecute: no template panics, prints a mark of text/template or fmt for a
// missing value, tells data in an error, or goes on for long.
func FuzzExecute(f *testing.F) {
	for _, tc := range examples() {
		f.Add(tc[0])
	}
	f.Add(`{{ $d := dict }}{{ $_ := set $d "x" $d }}{{ $d }}`)
	f.Add(`{{ range $i, $e := list 1 2 }}{{ if $i }}{{ break }}{{ end }}{{ continue }}{{ end }}`)
	in := testData(f)
	in.Answers["read c"] = answersOf(f, `{"c": {"x": "`+canary+`", "n": null}}`)["read c"]
	f.Fuzz(func(t *testing.T, text string) {
		p, err := new(Language).Compile(plan.Template{Text: text}, testOrigin())
		if err != nil {
			return
		}
		start := time.Now()
		out, err := p.Execute(t.Context(), in)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			if strings.Contains(err.Error(), canary) && !strings.Contains(text, canary) {
				t.Errorf("the error holds data: %v", err)
			}
			return
		}
		for _, mark := range []string{"<no value>", "<nil>", "%!"} {
			if strings.Contains(string(out.Bytes.Reveal()), mark) && !strings.ContainsAny(text, "<%") {
				t.Errorf("printed %s: %q", mark, out.Bytes.Reveal())
			}
		}
	})
}
