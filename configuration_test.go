package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// configurationPage has a table of keys between <!-- keys: WHAT --> and <!-- end -->,
// made of the schema, which a test of package declare holds to the parser, and of the
// options. The words between the tables are written by hand.
const configurationPage, configurationSchema = "docs/configuration.md", "docs/config.schema.json"

// TestConfigurationPage holds the tables of keys to the program.
func TestConfigurationPage(t *testing.T) {
	page := string(read(t, configurationPage))
	made := page
	for _, table := range keyTables(t) {
		before, rest, ok := strings.Cut(made, "<!-- keys: "+table.what+" -->\n")
		_, after, ended := strings.Cut(rest, "<!-- end -->\n")
		if !ok || !ended {
			t.Errorf("%s has no <!-- keys: %s --> with an <!-- end -->", configurationPage, table.what)
			continue
		}
		made = before + "<!-- keys: " + table.what + " -->\n" + table.text(page) + "<!-- end -->\n" + after
	}
	if n := strings.Count(page, "<!-- keys: "); n != len(keyTables(t)) {
		t.Errorf("%s has %d tables of keys, want %d", configurationPage, n, len(keyTables(t)))
	}
	if *update {
		if err := os.WriteFile(configurationPage, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if made != page {
		t.Errorf("%s is stale; run go test -run TestConfigurationPage -update .", configurationPage)
	}
}

// jsonSchema is as much of JSON Schema as ours has.
type jsonSchema struct {
	Type, Const, Default any
	Description, Pattern string
	Ref                  string `json:"$ref"`
	Enum                 []any
	Minimum, Maximum     *int64
	Properties           orderedSchemas
	AnyOf                []*jsonSchema
	Items                *jsonSchema
	AdditionalProperties json.RawMessage
	Defs                 map[string]*jsonSchema `json:"$defs"`
}

// orderedSchemas are the keys of a map in the order of the file.
type orderedSchemas struct {
	names []string
	of    map[string]*jsonSchema
}

func (o *orderedSchemas) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, &o.of); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	_, err := d.Token()
	for err == nil && d.More() {
		var name json.Token
		var skip json.RawMessage
		if name, err = d.Token(); err == nil {
			o.names = append(o.names, name.(string))
			err = d.Decode(&skip)
		}
	}
	return err
}

// keyTable is one of the page. Keys that have the very meaning that they have for a file
// are only named.
type keyTable struct {
	t          *testing.T
	what, path string // path is before the names of keys, as in a message
	from       []orderedSchemas
	files      orderedSchemas // empty: all keys have a row
	flags      map[string][]option
	defs       map[string]*jsonSchema
}

func keyTables(t *testing.T) []keyTable {
	t.Helper()
	var root, sent jsonSchema
	if err := json.Unmarshal(read(t, configurationSchema), &root); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(root.Defs["write"].AdditionalProperties, &sent); err != nil {
		t.Fatal(err)
	}
	var variable jsonSchema
	if err := json.Unmarshal(root.Properties.of["env"].AdditionalProperties, &variable); err != nil {
		t.Fatal(err)
	}
	vault, bundle := root.Properties.of["vault"].Properties, root.Defs["bundle"].Properties
	part := bundle.of["parts"].Items.Properties
	rename := part.of["rename"].Items.Properties
	refresh := root.Defs["refresh"].Properties
	files := root.Properties.of["files"].Items.Properties
	of := func(what, path string, from ...orderedSchemas) keyTable {
		return keyTable{t: t, what: what, path: path, from: from, flags: flagsByKey(t), defs: root.Defs}
	}
	besideFiles := func(k keyTable) keyTable { k.files = files; return k }
	return []keyTable{
		of("the top", "", root.Properties),
		of("vault", "vault.", vault),
		of("vault.tls", "vault.tls.", vault.of["tls"].Properties),
		of("vault.auth", "vault.auth.", vault.of["auth"].Properties),
		of("files", "files[].", files),
		of("secret", "files[].secret.", root.Defs["secret"].AnyOf[1].Properties),
		of("places", "files[].join[].", root.Defs["join"].Items.AnyOf[2].Properties, sent.AnyOf[1].Properties),
		of("bundle", "files[].bundle.", bundle),
		besideFiles(of("bundle.parts", "files[].bundle.parts[].", part)),
		of("find", "files[].bundle.parts[].find.", part.of["find"].Properties),
		of("rename", "files[].bundle.parts[].rename[].", rename, rename.of["regexp"].Properties, rename.of["merge"].Properties),
		besideFiles(of("bundle.templates", "files[].bundle.templates[].", bundle.of["templates"].Items.Properties)),
		of("refresh", "refresh.", refresh),
		of("refresh.on_change", "refresh.on_change.", refresh.of["on_change"].AnyOf[1].Properties),
		besideFiles(of("env", "env{}.", variable.AnyOf[1].Properties)),
		besideFiles(of("env_from", "env_from[].", root.Properties.of["env_from"].Items.Properties)),
		of("run", "run.", root.Properties.of["run"].Properties),
	}
}

// flagSample is a value that each kind of option takes.
func flagSample(kind string) string {
	return map[string]string{
		"": "true", "DURATION": "7s", "N": "7", "FILE": "/a", "DIR": "/a", "PATH": "/a", "MODE": "private", "METHOD": "approle", "MOUNT": "a",
		"ROLE": "a", "KEY=VALUE": "audience=a", "PATH=REF": "a=secret/a#b", "SRC:PATH": "/a.tpl:a", "NAME=REF": "A=secret/a#b",
		"[PREFIX=]REF": "secret/a", "SYSTEM": "github", "WHERE": "env", "WHEN": "on", "GLOB": "A*", "USER[:GROUP]": "a", "NAME": "NET_RAW",
		"ACTION": "restart", "WHAT": "stop", "ADDRESS": "127.0.0.1:9", "PID/PATH": "/a", "LEVEL": "debug", "FORMAT": "json", "KIND[:PATH]": "externalsecret:a",
	}[kind]
}

// flagsByKey asks the program what each option does: it is applied, what it made is written
// as a configuration file, and the keys that are in there are its own.
func flagsByKey(t *testing.T) map[string][]option {
	t.Helper()
	all := map[string][]option{}
	var without []string
	for _, o := range options() {
		b := &builder{in: declare.Input{Cwd: "/", Open: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("a template")), nil }}}
		if err := o.apply(b, flagSample(o.kind), plan.Origin{Front: "flag", At: "--" + o.name}); err != nil {
			t.Fatalf("--%s %s: %v", o.name, flagSample(o.kind), err)
		}
		var text bytes.Buffer
		if err := declare.Write(&text, b.plan); err != nil {
			t.Fatalf("--%s: %v", o.name, err)
		}
		var tree map[string]any
		if err := yaml.Unmarshal(text.Bytes(), &tree); err != nil {
			t.Fatal(err)
		}
		delete(tree, "version")
		keys := leaves("", tree)
		if len(keys) == 0 {
			without = append(without, o.name)
		}
		for _, key := range keys {
			if o.name != "auth" { // it stands for any key of vault.auth, as the page says
				all[key] = append(all[key], o)
			}
		}
	}
	if want := []string{"config", "from", "log-level", "log-format"}; !slices.Equal(without, want) {
		t.Fatalf("options without a key: %q, want %q", without, want)
	}
	return all
}

// leaves are the keys with a value; a list, and a map of variables, is one.
func leaves(path string, tree map[string]any) (keys []string) {
	for name, value := range tree {
		if below, ok := value.(map[string]any); ok && path+name != "env" {
			keys = append(keys, leaves(path+name+".", below)...)
			continue
		}
		keys = append(keys, path+name)
	}
	return keys
}

// text is the table, and the names of the keys that have no row.
func (k keyTable) text(page string) string {
	var rows [][]string
	var same []string
	seen := map[string]bool{}
	for _, keys := range k.from {
		for _, name := range keys.names {
			key := keys.of[name]
			file := k.files.of[name]
			switch {
			case seen[name]:
			case file != nil && file.Description == key.Description:
				same = append(same, "`"+name+"`")
			default:
				rows = append(rows, k.row(page, name, key))
			}
			seen[name] = true
		}
	}
	var b strings.Builder
	writeTable(&b, []string{"Key", "Value", "Default", "Flag and variable", "Meaning"}, rows)
	if len(same) > 0 {
		if len(rows) > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "These are as for a [file](#files): %s.\n", strings.Join(same, ", "))
	}
	return b.String()
}

// writeTable leaves out the columns that have nothing in them.
func writeTable(b *strings.Builder, head []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	used := func(column int) bool {
		return slices.ContainsFunc(rows, func(row []string) bool { return row[column] != "" })
	}
	for i, row := range slices.Concat([][]string{head, slices.Repeat([]string{"---"}, len(head))}, rows) {
		b.WriteString("|")
		for column, cell := range row {
			if space := map[bool]string{true: "", false: " "}[i == 1]; used(column) {
				b.WriteString(space + cell + space + "|")
			}
		}
		b.WriteString("\n")
	}
}

func (k keyTable) row(page, name string, key *jsonSchema) []string {
	value, def := key.value(k.defs), key.Default
	var flags []string
	for _, o := range k.flags[k.path+name] {
		flags = append(flags, "`--"+o.name+"`, `"+o.variable()+"`")
		if m := regexp.MustCompile(`\(default ([^)]+)\)`).FindStringSubmatch(o.help); m != nil && def == nil {
			def = m[1]
		} else if m != nil && m[1] != fmt.Sprint(def) {
			k.t.Errorf("--%s has the default %s, and the schema says %v of %s%s", o.name, m[1], def, k.path, name)
		}
	}
	standard := ""
	if def != nil {
		standard = fmt.Sprintf("`%v`", def)
	}
	if len(key.Enum) > 8 {
		value = fmt.Sprintf("see [%ss](#%[1]ss)", name)
	}
	meaning := regexp.MustCompile(`\b([a-z-]+\.md)\b`).ReplaceAllString(key.Description, "[$1]($1)")
	if at := strings.TrimSuffix(k.path, ".") + "." + name; !strings.Contains(value, "text") && !strings.Contains(value, "`") {
		for _, heading := range []string{strings.TrimPrefix(at, "."), name} {
			if regexp.MustCompile(`(?m)^##+ ` + regexp.QuoteMeta(heading) + `$`).MatchString(page) {
				meaning += " See [" + heading + "](#" + strings.ReplaceAll(heading, ".", "") + ")."
				break
			}
		}
	}
	return []string{"`" + name + "`", value, standard, strings.Join(flags, "; "), strings.ReplaceAll(meaning, "|", `\|`)}
}

// value says what a key takes.
func (s *jsonSchema) value(defs map[string]*jsonSchema) string {
	if s.Ref != "" {
		return defs[strings.TrimPrefix(s.Ref, "#/$defs/")].value(defs)
	}
	var words []string
	for _, e := range slices.Concat(s.Enum, map[bool][]any{true: {s.Const}}[s.Const != nil]) {
		if word := fmt.Sprintf("`%v`", e); !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	switch {
	case len(words) > 0:
		return strings.Join(words, ", ")
	case slices.ContainsFunc(append(s.AnyOf, s), func(a *jsonSchema) bool { return strings.HasSuffix(a.Pattern, "(ns|us|µs|ms|s|m|h)") }):
		return "duration"
	case len(s.AnyOf) > 0:
		for _, a := range s.AnyOf {
			if v := a.value(defs); !slices.Contains(words, v) {
				words = append(words, v)
			}
		}
		return strings.Join(words, " or ")
	}
	return s.plainValue()
}

func (s *jsonSchema) plainValue() string {
	if several, ok := s.Type.([]any); ok {
		var words []string
		for _, one := range several {
			if v := (&jsonSchema{Type: one}).plainValue(); !slices.Contains(words, v) {
				words = append(words, v)
			}
		}
		return strings.Join(words, " or ")
	}
	switch s.Type {
	case "integer", "number":
		if s.Minimum != nil && *s.Minimum > 0 && s.Maximum == nil {
			return fmt.Sprintf("number from %d", *s.Minimum)
		}
		return "number"
	case "boolean":
		return "`true`, `false`"
	case "array":
		return "list"
	case "object":
		return "map"
	}
	return "text"
}
