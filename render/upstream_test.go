package render

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template/parse"
	"time"
)

// TestAgainstConsulTemplate gives the rows of docs/templates.md to the real
// consul-template (built by `make peers` into ../bin) and compares. Left out is what
// needs a Vault, and what differs on purpose.
func TestAgainstConsulTemplate(t *testing.T) {
	binary, err := filepath.Abs("../bin/consul-template")
	if err == nil {
		_, err = os.Stat(binary)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no bin/consul-template: `make peers` builds it")
		}
		t.Skip("NOT COMPARED WITH CONSUL-TEMPLATE: no bin/consul-template (make peers builds it)")
	}
	const separator = "\n\x1e\n"
	_, rows := readDocs(t)
	var text strings.Builder
	var compared []row
	for _, r := range rows {
		theirs, ok := asUpstream(t, r.example)
		if !ok {
			continue
		}
		compared = append(compared, r)
		text.WriteString(theirs + separator)
	}
	if len(compared) < 230 {
		t.Errorf("only %d rows", len(compared))
	}
	got := strings.Split(upstream(t, binary, text.String()), separator)
	for i, r := range compared {
		want := strings.ReplaceAll(strings.Trim(r.result, "`"), `\|`, "|")
		if r.result == "nothing is printed" {
			want = ""
		}
		if i < len(got) && strings.ReplaceAll(got[i], "\n", "⏎") != want {
			t.Errorf("%s\nconsul-template %q\n     secretboot %q", r.example, got[i], want)
		}
	}
}

// asUpstream gives functions of sprig the only name that they have there; not ok
// if the row cannot be compared.
func asUpstream(t *testing.T, text string) (string, bool) {
	known := append(consulTemplateNames(), strings.Fields(
		"and or not print println printf html js urlquery index slice len eq ne lt le gt ge call")...)
	incomparable := strings.Fields("secret secrets pkiCert file writeToFile mustEnv fail " + // no Vault, no file
		" timestamp ago" + // the clock
		" explode byKey" + // pairs come from Consul there
		" keys values" + // in any order there
		" duration" + // sprig takes any int for 0
		" toYAML") // other quotes and spaces, of equal meaning
	trees := map[string]*parse.Tree{}
	tree := parse.New(root)
	tree.Mode = parse.SkipFuncCheck
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		t.Fatal(err)
	}
	var places []int
	ok := true
	for _, tree := range trees {
		identifiers(tree.Root, func(id *parse.IdentifierNode) {
			ok = ok && !slices.Contains(incomparable, id.Ident)
			if !slices.Contains(known, id.Ident) && !strings.HasPrefix(id.Ident, "sprig_") {
				places = append(places, int(id.Pos))
			}
		})
	}
	slices.Sort(places)
	for _, at := range slices.Backward(places) {
		text = text[:at] + "sprig_" + text[at:]
	}
	return text, ok
}

// identifiers visits the names of functions below a node.
func identifiers(n parse.Node, visit func(*parse.IdentifierNode)) {
	var nodes []parse.Node
	branch := func(b *parse.BranchNode) {
		nodes = append(nodes, b.Pipe, b.List)
		if b.ElseList != nil {
			nodes = append(nodes, b.ElseList)
		}
	}
	switch n := n.(type) {
	case *parse.IdentifierNode:
		visit(n)
	case *parse.ListNode:
		nodes = n.Nodes
	case *parse.ActionNode:
		nodes = []parse.Node{n.Pipe}
	case *parse.TemplateNode:
		if n.Pipe != nil {
			nodes = []parse.Node{n.Pipe}
		}
	case *parse.PipeNode:
		for _, cmd := range n.Cmds {
			nodes = append(nodes, cmd)
		}
	case *parse.CommandNode:
		nodes = n.Args
	case *parse.ChainNode:
		nodes = []parse.Node{n.Node}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	}
	for _, inner := range nodes {
		identifiers(inner, visit)
	}
}

// upstream renders a template once with consul-template.
func upstream(t *testing.T, binary, text string) string {
	t.Helper()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-once", "-template", in+":"+out)
	var log bytes.Buffer
	cmd.Env, cmd.Stderr = []string{"HOME=/home/app"}, &log
	if err := cmd.Run(); err != nil {
		t.Fatalf("consul-template: %v\n%s", err, &log)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
