package plan

import (
	"slices"
	"strings"
	"testing"
)

// lines gives the lines of a policy that say something to Vault.
func lines(t *testing.T, p Plan) []string {
	t.Helper()
	var out strings.Builder
	if err := Policy(&out, p); err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "path ") {
			list = append(list, strings.TrimSuffix(line, "\n"))
		}
	}
	return list
}

func TestPolicyPaths(t *testing.T) {
	kv := map[string]KVRule{"kv1": KV1, "team/kv": KV2, "auto": KVAuto}
	for name, tt := range map[string]struct {
		read Read
		want []string
	}{
		"version 2, declared":         {Read{Path: "team/kv/a/b"}, []string{`path "team/kv/data/a/b" { capabilities = ["read"] }`}},
		"version 2, data is there":    {Read{Path: "team/kv/data/a"}, []string{`path "team/kv/data/a" { capabilities = ["read"] }`}},
		"version 2, list":             {Read{Path: "team/kv/a", Op: OpList}, []string{`path "team/kv/metadata/a" { capabilities = ["list"] }`}},
		"version 2, write":            {Read{Path: "team/kv/data/a", Op: OpWrite}, []string{`path "team/kv/data/a" { capabilities = ["create", "update"] }`}},
		"version 1, declared":         {Read{Path: "kv1/a"}, []string{`path "kv1/a" { capabilities = ["read"] }`}},
		"version 1, of the reference": {Read{Path: "x/a", KV: KV1}, []string{`path "x/a" { capabilities = ["read"] }`}},
		"version 2, of the reference": {Read{Path: "x/a", KV: KV2}, []string{`path "x/data/a" { capabilities = ["read"] }`}},
		"literal":                     {Read{Path: "team/kv/a", KV: KVLiteral}, []string{`path "team/kv/a" { capabilities = ["read"] }`}},
		"the path says it":            {Read{Path: "secret/data/a"}, []string{`path "secret/data/a" { capabilities = ["read"] }`}},
		"write to an engine":          {Read{Path: "pki/issue/web", Op: OpWrite}, []string{`path "pki/issue/web" { capabilities = ["update"] }`}},
		"cubbyhole":                   {Read{Path: "cubbyhole/a", Op: OpWrite}, []string{`path "cubbyhole/a" { capabilities = ["create", "update"] }`}},
		"slashes around":              {Read{Path: "/kv1/a/"}, []string{`path "kv1/a" { capabilities = ["read"] }`}},
		"a mount alone":               {Read{Path: "x", Op: OpList}, []string{`path "x" { capabilities = ["list"] }`}},
		"unknown": {Read{Path: "auto/a"}, []string{
			`path "auto/data/a" { capabilities = ["read"] } # optional: needed only if auto is a KV engine of version 2; say which with vault.kv: { auto: 1 } or { auto: 2 }`,
			`path "auto/a" { capabilities = ["read"] } # optional: needed only if auto is anything else; say which with vault.kv: { auto: 1 } or { auto: 2 }`,
		}},
		"or else": {Read{Path: "kv1/a", Else: []string{"team/kv/a"}}, []string{
			`path "kv1/a" { capabilities = ["read"] }`,
			`path "team/kv/data/a" { capabilities = ["read"] } # optional: needed only where kv1/a has no secret or is refused`,
		}},
		"quotes": {Read{Path: "kv1/a\"${b}\\"}, []string{`path "kv1/a\"\u0024{b}\\" { capabilities = ["read"] }`}},
	} {
		p := Plan{Reads: []Read{tt.read}}
		p.Vault.KV, p.Login.Method = kv, Set("none", Origin{})
		if got := lines(t, p); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
		}
	}
}

// TestPolicyOneLinePerPath: the places are told together, and what one needs is
// not optional because another does not.
func TestPolicyOneLinePerPath(t *testing.T) {
	p := Plan{
		Reads: []Read{{Path: "a/data/x", Origin: at("one")}, {Path: "b/data/y", Else: []string{"c/data/z"}, Origin: at("two")}},
		Env:   []Env{{Name: "A", Source: Source{Ref: &Ref{Read: Read{Path: "a/data/x"}}}, Origin: at("three\nEVIL")}, {Name: "B", Source: Source{Ref: &Ref{Read: Read{Path: "c/data/z"}}}, Origin: at("four")}},
	}
	p.Login.Method = Set("none", Origin{})
	var out strings.Builder
	if err := Policy(&out, p); err != nil {
		t.Fatal(err)
	}
	const want = `# The smallest policy for what secretboot is to do.

# one
# three EVIL
path "a/data/x" { capabilities = ["read"] }

# two
path "b/data/y" { capabilities = ["read"] }

# two
# four
path "c/data/z" { capabilities = ["read"] }
`
	if out.String() != want {
		t.Errorf("got\n%s", &out)
	}
}

func TestPolicyNamespaces(t *testing.T) {
	for _, tt := range []struct{ secrets, login, path, note string }{
		{"", "", "a/data/x", ""},
		{"team", "", "a/data/x", "# It belongs into the namespace team."},
		{"team/a", "team", "a/a/data/x", "# It belongs into the namespace of the login, team; the secrets are in team/a."},
		{"team/a", "root", "team/a/a/data/x", "# It belongs into the namespace of the login, root; the secrets are in team/a."},
		{"team", "other", "a/data/x", "# It belongs into the namespace of the login, other; the secrets are in team."},
	} {
		p := Plan{Reads: []Read{{Path: "a/data/x"}}}
		p.Login.Method = Set("none", Origin{})
		if tt.secrets != "" {
			p.Vault.Namespace = Set(tt.secrets, Origin{})
		}
		if tt.login != "" {
			p.Login.Namespace = Set(tt.login, Origin{})
		}
		var out strings.Builder
		if err := Policy(&out, p); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "path \""+tt.path+"\" ") || !strings.Contains(out.String(), tt.note) {
			t.Errorf("%q, %q: got\n%s", tt.secrets, tt.login, &out)
		}
	}
}

// TestPolicyTellsSigns: what Vault reads as a pattern cannot be written so that
// it stands for itself.
func TestPolicyTellsSigns(t *testing.T) {
	for path, want := range map[string]string{
		"a/data/x*": "# the * at the end", "a/data/*": "# the * at the end", "a/data/+/x": "# the + matches", "a/data/{{x}}": "# {{ }} is replaced",
		"a/data/x+y": "", "a/data/*x": "",
	} {
		var out strings.Builder
		if err := Policy(&out, Plan{Reads: []Read{{Path: path}}}); err != nil {
			t.Fatal(err)
		}
		if want == "" && (strings.Contains(out.String(), "# the ") || strings.Contains(out.String(), "# {{")) || !strings.Contains(out.String(), want) {
			t.Errorf("%s: got\n%s", path, &out)
		}
	}
}

// TestPolicySearch: what a search lists is granted with its folders in one line,
// and nothing of it is said to be unknown.
func TestPolicySearch(t *testing.T) {
	find := &Find{List: "secret/metadata/a", Read: "secret/data/a"}
	list := Read{Path: "secret/metadata/a", Op: OpList, KV: KVLiteral, Origin: at("find")}
	p := Plan{
		Reads:    []Read{list, {Path: "secret/metadata/b", Op: OpList, KV: KVLiteral, Origin: at("other")}},
		Sets:     []FileSet{{Bundle: &Bundle{Parts: []Part{{Find: find, Origin: at("find")}}}}},
		Computed: []Origin{at("find"), at("template")},
	}
	p.Login.Method = Set("none", Origin{})
	want := []string{
		`path "secret/metadata/a/*" { capabilities = ["list"] }`,
		`path "secret/metadata/b" { capabilities = ["list"] }`,
		`path "secret/data/a/*" { capabilities = ["read"] }`,
	}
	if got := lines(t, p); !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	var text strings.Builder
	if err := Policy(&text, p); err != nil || strings.Contains(text.String(), "computed at find") || !strings.Contains(text.String(), "computed at template") {
		t.Errorf("%v\n%s", err, &text)
	}
	find.Flat = true
	if got := lines(t, p); got[0] != `path "secret/metadata/a" { capabilities = ["list"] }` {
		t.Errorf("flat: %q", got)
	}
}
