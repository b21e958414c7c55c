package render

import (
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestHostileArguments: what a secret's text could make of a template is refused
// before the memory is taken.
func TestHostileArguments(t *testing.T) {
	for _, text := range []string{
		`{{ repeat 10000 "[" | parseYAML }}`,
		`{{ repeat 10000 "- " | parseYAML }}`,
		`{{ repeat 10000 "{a: " | parseYAML }}`,
		`{{ printf (repeat 100 "%[1]s") (repeat 4000000 "x") }}`,
		`{{ printf "%99999999d" 1 }}`,
	} {
		var l Language
		p, err := l.Compile(plan.Template{Name: "t", Text: text}, plan.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Execute(t.Context(), Input{})
		if plan.CodeOf(err) != plan.CodeData || strings.Contains(err.Error(), "xxxx") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, want := range map[string]string{
		`{{ "a: [1, {b: 2}]" | parseYAML | toJSON }}`: `{"a":[1,{"b":2}]}`,
		`{{ printf "%05d|%-8s|%q" 42 "ab" "c" }}`:     `00042|ab      |"c"`,
	} {
		var l Language
		p, err := l.Compile(plan.Template{Name: "t", Text: text}, plan.Origin{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := p.Execute(t.Context(), Input{})
		if err != nil || string(out.Bytes.Reveal()) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
