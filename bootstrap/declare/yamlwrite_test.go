package declare

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// FuzzScalar: every text comes back from the file as it was, wherever it stands.
func FuzzScalar(f *testing.F) {
	signs := strings.Split("a|b| |\n|:|#|-|'|\"|\\|{|}|[|]|>|0|1|true|null|~|\t|\r|é|😀|%|@|`|!|&|*|?|,|\u2028|\x01|\x7f|\u0085|=|<<|.|e|/|\ufeff", "|")
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		s := ""
		for range 1 + random.IntN(7) {
			s += signs[random.IntN(len(signs))]
		}
		f.Add(s)
	}
	f.Add(strings.Repeat("long key ", 200))
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		var w yamlWriter
		inner := &mapping{}
		inner.put("k", s)
		inner.put("after", "z")
		root := &mapping{}
		root.put("list", []any{commented{inner, s}, s})
		root.put("flow", []string{s, "z"})
		root.put(s+"key", s)
		w.keys(root, 0, false)
		n, problems := readYAML("x", []byte(w.String()))
		if len(problems) > 0 {
			t.Fatalf("%q: %v in\n%s", s, problems, &w)
		}
		for _, path := range []string{"list[0].k", "list[1]", "flow[0]"} {
			if got := n.below(path); got == nil || got.kind != kindString || got.text != s {
				t.Fatalf("%q: %s is %+v in\n%s", s, path, got, &w)
			}
		}
		if got := n.child(s + "key"); got == nil || got.text != s {
			t.Fatalf("%q: as a key it is %+v in\n%s", s, got, &w)
		}
		if got := n.below("list[0].after"); got == nil || got.text != "z" {
			t.Fatalf("%q: what follows is %+v in\n%s", s, got, &w)
		}
	})
}
