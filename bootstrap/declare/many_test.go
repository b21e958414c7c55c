package declare_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// many declares n files and n variables, and one variable once more.
func many(n int, more string) (plan.Plan, error) {
	var b strings.Builder
	b.WriteString("files:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { path: f%d, secret: secret/app/%d#v }\n", i, i)
	}
	b.WriteString("env:\n")
	for i := range n {
		fmt.Fprintf(&b, "  V%d: secret/app/%d#v\n", i, i)
	}
	files := fstest.MapFS{strings.TrimPrefix(configPath, "/"): {Data: []byte(b.String() + more)}}
	p, _, err := (&declare.Config{Path: configPath}).Declare(declare.Input{Open: open(files), Lookup: lookup(nil)})
	return p, err
}

// Ten thousand files and variables fit into one configuration.
func TestTenThousand(t *testing.T) {
	p, err := many(10_000, "")
	if err != nil || len(p.Files) != 10_000 || len(p.Env) != 10_000 {
		t.Errorf("%d files, %d variables, %v", len(p.Files), len(p.Env), err)
	}
}

func TestTwiceAmongMany(t *testing.T) {
	for _, n := range []int{10, 1000} {
		_, err := many(n, "  V7: secret/app/other#v\n")
		if err == nil || !strings.Contains(err.Error(), `the key "V7" is there twice`) {
			t.Errorf("of %d: %v", n, err)
		}
	}
}
