package declare_test

import (
	"encoding/json"
	"maps"
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
	Ref                  string             `json:"$ref"`
	Defs                 map[string]*schema `json:"$defs"`
}

// resolve puts what a $ref names in its place; what is said beside it stays.
func (s *schema) resolve(defs map[string]*schema) {
	if s == nil {
		return
	}
	if def := defs[strings.TrimPrefix(s.Ref, "#/$defs/")]; s.Ref != "" && def != nil {
		description := s.Description
		*s = *def
		s.Description = description
	}
	for _, child := range append(slices.Collect(maps.Values(s.Properties)), s.Items) {
		child.resolve(defs)
	}
	for _, child := range s.AnyOf {
		child.resolve(defs)
	}
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
	for _, def := range s.Defs {
		def.resolve(s.Defs)
	}
	s.resolve(s.Defs)
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
	variable.AnyOf[1].resolve(root.Defs)
	var write schema // one member of what is sent
	if err := json.Unmarshal(root.Defs["write"].AdditionalProperties, &write); err != nil || len(write.AnyOf) != 2 {
		t.Fatalf("write: %v", err)
	}
	vault := root.Properties["vault"]
	bundle, piece := root.Defs["bundle"], root.Defs["join"].Items
	part := bundle.Properties["parts"].Items
	for frame, s := range map[string]*schema{
		"{ % }":                     root,
		"{ vault: { % } }":          vault,
		"{ vault: { tls: { % } } }": vault.Properties["tls"],
		"{ vault: { auth: { % }}}":  vault.Properties["auth"],
		"{ files: [ { % } ] }":      root.Properties["files"].Items,
		"{ env: { A: { % } } }":     variable.AnyOf[1],
		"{ env_from: [ { % } ] }":   root.Properties["env_from"].Items,
		"{ run: { % } }":            root.Properties["run"],
		"{ refresh: { % } }":        root.Properties["refresh"],

		"{ files: [ { secret: { % } } ] }":                                            root.Defs["secret"].AnyOf[1],
		"{ files: [ { default: { % } } ] }":                                           root.Defs["default"].AnyOf[1],
		"{ files: [ { write: { a: { % } } } ] }":                                      write.AnyOf[1],
		"{ files: [ { join: [ { secret: a, % } ] } ] }":                               piece.AnyOf[1],
		"{ files: [ { join: [ { text: a, % } ] } ] }":                                 piece.AnyOf[2],
		"{ files: [ { bundle: { % } } ] }":                                            bundle,
		"{ files: [ { bundle: { parts: [ { % } ] } } ] }":                             part,
		"{ files: [ { bundle: { parts: [ { find: { % } } ] } } ] }":                   part.Properties["find"],
		"{ files: [ { bundle: { parts: [ { rename: [ { % } ] } ] } } ] }":             part.Properties["rename"].Items,
		"{ files: [ { bundle: { parts: [ { rename: [ { merge: { % } } ] } ] } } ] }":  part.Properties["rename"].Items.Properties["merge"],
		"{ files: [ { bundle: { parts: [ { rename: [ { regexp: { % } } ] } ] } } ] }": part.Properties["rename"].Items.Properties["regexp"],
		"{ files: [ { bundle: { templates: [ { % } ] } } ] }":                         bundle.Properties["templates"].Items,
		"{ refresh: { on_change: { % } } }":                                           root.Properties["refresh"].Properties["on_change"].AnyOf[1],
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
		"files: [{path: a, secret: s/a, format: %}]":                     file["format"],
		"files: [{path: a, secret: s/a, decode: %}]":                     file["decode"],
		"vault: {auth: {type: %}}":                                       root.Properties["vault"].Properties["auth"].Properties["type"],
		"env_from: [{secret: s/a, duplicate: %}]":                        root.Properties["env_from"].Items.Properties["duplicate"],
		"run: {mode: %}":                                                 root.Properties["run"].Properties["mode"],
		"files: [{path: a, secret: s/a, select: %}]":                     file["select"],
		"files: [{path: a, secret: s/a, level: %}]":                      file["level"],
		"files: [{path: a, template: x, dialect: %}]":                    file["dialect"],
		"files: [{path: a, template: x, missing: %}]":                    file["missing"],
		"files: [{path: a, bundle: {parts: [{secret: a, convert: %}]}}]": root.Defs["bundle"].Properties["parts"].Items.Properties["convert"],
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
		if files := p.Files; len(files) == 2 && files[0].Source.Ref != nil && files[1].Source.Ref != nil && files[0].Source.Ref.Read.Key() != files[1].Source.Ref.Read.Key() {
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
