package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// TestSidecarPage: each command of ours on docs/sidecar.md is one that we have, with
// options that it has.
func TestSidecarPage(t *testing.T) {
	blocks := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(string(read(t, "docs/sidecar.md")), -1)
	var ours [][]string
	for _, b := range blocks {
		var tree any
		if err := yaml.UnmarshalStrict([]byte(b[1]), &tree); err != nil {
			t.Fatalf("%v in\n%s", err, b[1])
		}
		ours = append(ours, commandsIn(tree)...)
	}
	if len(ours) < 3 {
		t.Fatalf("found %q only", ours)
	}
	for _, argv := range ours {
		root := (&app{stdout: &output{to: t.Output()}, stderr: t.Output()}).commands()
		known := slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == argv[1] })
		cmd, args, err := root.Find(argv[1:])
		if !known || err != nil {
			t.Errorf("%q: %v", argv, err)
			continue
		}
		if err := cmd.ParseFlags(args); err != nil || cmd.Flags().NArg() > 0 {
			t.Errorf("%q: %v", argv, err)
		}
	}
}

// commandsIn gives the lists below a key command that begin with our name.
func commandsIn(tree any) (found [][]string) {
	switch v := tree.(type) {
	case []any:
		for _, item := range v {
			found = append(found, commandsIn(item)...)
		}
	case map[string]any:
		for key, value := range v {
			var argv []string
			list, _ := value.([]any)
			for _, item := range list {
				word, _ := item.(string)
				argv = append(argv, word)
			}
			if key == "command" && len(argv) > 1 && strings.HasSuffix(argv[0], "secretboot") {
				found = append(found, argv)
			}
			found = append(found, commandsIn(value)...)
		}
	}
	return found
}
