package declare_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

type schema struct {
	Type                 any                `json:"type"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	AnyOf                []*schema          `json:"anyOf"`
	Enum                 []any              `json:"enum"`
	Description          string             `json:"description"`
}

func readSchema(t *testing.T) *schema {
	t.Helper()
	raw, err := os.ReadFile("../../docs/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// knownKeys asks the parser for the keys of a map: a key that is like none of
// them makes it list them all. frame has the map's content at %.
func knownKeys(t *testing.T, frame string) []string {
	t.Helper()
	in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{"c.yaml": {Data: []byte(strings.ReplaceAll(frame, "%", "qqqqqqqqqqqqqqqq: 1"))}})}
	_, _, err := declare.Config{Path: "/c.yaml"}.Declare(in)
	if err == nil {
		t.Fatalf("%s: an unknown key is accepted", frame)
	}
	_, list, ok := strings.Cut(err.Error(), "known keys: ")
	if !ok {
		t.Fatalf("%s: no list of keys in %v", frame, err)
	}
	line, _, _ := strings.Cut(list, "\n")
	return strings.Split(line, ", ")
}

// TestSchemaHasTheParsersKeys holds the published schema and the page for
// people against the parser, in both directions.
func TestSchemaHasTheParsersKeys(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	root := readSchema(t)
	var variable struct {
		AnyOf []*schema `json:"anyOf"`
	}
	if err := json.Unmarshal(root.Properties["env"].AdditionalProperties, &variable); err != nil || len(variable.AnyOf) != 2 {
		t.Fatalf("env: %v", err)
	}
	vault := root.Properties["vault"]
	for frame, s := range map[string]*schema{
		"{ % }":                     root,
		"{ vault: { % } }":          vault,
		"{ vault: { tls: { % } } }": vault.Properties["tls"],
		"{ vault: { auth: { % }}}":  vault.Properties["auth"],
		"{ files: [ { % } ] }":      root.Properties["files"].Items,
		"{ env: { A: { % } } }":     variable.AnyOf[1],
		"{ env_from: [ { % } ] }":   root.Properties["env_from"].Items,
		"{ run: { % } }":            root.Properties["run"],
	} {
		var inSchema []string
		for key, p := range s.Properties {
			inSchema = append(inSchema, key)
			if p.Description == "" {
				t.Errorf("%s: %s has no description", frame, key)
			}
			if !strings.Contains(string(page), "| `"+key+"` |") {
				t.Errorf("docs/configuration.md has no row for %s", key)
			}
		}
		slices.Sort(inSchema)
		if known := knownKeys(t, frame); !slices.Equal(inSchema, known) {
			t.Errorf("%s:\nschema %q\nparser %q", frame, inSchema, known)
		}
		if string(s.AdditionalProperties) != "false" {
			t.Errorf("%s: the schema lets unknown keys pass", frame)
		}
	}
}

// TestSchemaHasTheParsersWords does the same for the words of an enumeration.
func TestSchemaHasTheParsersWords(t *testing.T) {
	root := readSchema(t)
	file := root.Properties["files"].Items.Properties
	for frame, s := range map[string]*schema{
		"files: [{path: a, secret: s/a, format: %}]": file["format"],
		"files: [{path: a, secret: s/a, decode: %}]": file["decode"],
		"vault: {auth: {type: %}}":                   root.Properties["vault"].Properties["auth"].Properties["type"],
		"env_from: [{secret: s/a, duplicate: %}]":    root.Properties["env_from"].Items.Properties["duplicate"],
		"run: {mode: %}":                             root.Properties["run"].Properties["mode"],
	} {
		in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{"c.yaml": {Data: []byte(strings.ReplaceAll(frame, "%", "qqq"))}})}
		_, _, err := declare.Config{Path: "/c.yaml"}.Declare(in)
		if err == nil {
			t.Errorf("%s: an unknown word is accepted", frame)
			continue
		}
		_, list, _ := strings.Cut(err.Error(), "one of ")
		list, _, _ = strings.Cut(list, " (")
		var words []string
		for _, w := range s.Enum {
			words = append(words, w.(string))
		}
		if got := strings.Join(words, ", "); got != list {
			t.Errorf("%s: schema %q, parser %q", frame, got, list)
		}
	}
}

// TestPageHasEveryFormat: what each is for, and what it refuses.
func TestPageHasEveryFormat(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range plan.FormatNames() {
		if !strings.Contains(string(page), "\n| `"+name+"` | ") {
			t.Errorf("docs/configuration.md has no row for the format %s", name)
		}
	}
}

// TestPagesExamples reads every configuration on the page for people, and
// wants one for each method of logging in that the page's table names.
func TestPagesExamples(t *testing.T) {
	raw, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	shown, page := map[string]bool{}, string(raw)
	for _, m := range regexp.MustCompile(`(?m)^    (?:vault|files):\n(?:    .*\n)+`).FindAllString(page, -1) {
		in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{"c.yaml": {Data: []byte(m)}})}
		p, _, err := declare.Config{Path: "/c.yaml"}.Declare(in)
		if err != nil {
			t.Errorf("%v in\n%s", err, m)
		}
		shown[p.Login.Method.Value] = true
		if files := p.Files; len(files) == 2 && files[0].Source.Ref.Read.Key() != files[1].Source.Ref.Read.Key() {
			t.Errorf("these are two requests:\n%s", m)
		}
	}
	shown["userpass"] = shown["ldap"] // one section
	_, table, _ := strings.Cut(page, "| Method | Default mount |")
	table, _, _ = strings.Cut(table, "\n\n")
	methods := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(table, -1)
	if len(methods) != 12 {
		t.Errorf("%d methods", len(methods))
	}
	for _, m := range methods {
		if !shown[m[1]] {
			t.Errorf("no example shows method: %s", m[1])
		}
	}
}
