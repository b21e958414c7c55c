package vault

import (
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// devFile writes a dev file and prepares it.
func devFile(t *testing.T, text string, mode fs.FileMode) (*Dev, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dev.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return PrepareDev(plan.Set(path, plan.Origin{At: "--dev"}), slog.New(slog.DiscardHandler))
}

const devText = `
secret/data/app:
  pw: ` + canary + `
  port: 5432
  big: 12345678901234567890
  frac: 1.10
  hex: 0x1F
  plus: +7
  on: true
  none: null
  text: |
    a
    b
  list: [1, {deep: 2.50}]
  "quoted key": '5'
kv1/old: {user: u}
secret/data/team/one: {a: b}
secret/data/team/two: {a: b}
/slashed/: {a: b}
`

func TestDevReads(t *testing.T) {
	d, err := devFile(t, devText, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	get := d.Generation()
	for _, path := range []string{"secret/app", "secret/data/app", "/secret/app/"} {
		s, err := get(t.Context(), plan.Read{Path: path}, nil)
		if err != nil || !s.KV2 || s.Version != 1 {
			t.Fatalf("%s: %+v, %v", path, s, err)
		}
		want := map[string]any{
			"pw": canary, "port": json.Number("5432"), "big": json.Number("12345678901234567890"), "frac": json.Number("1.10"),
			"hex": json.Number("31"), "plus": json.Number("7"), "on": true, "none": nil, "text": "a\nb\n", "quoted key": "5",
			"list": []any{json.Number("1"), map[string]any{"deep": json.Number("2.50")}},
		}
		if got := s.Fields().Reveal(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v", path, got)
		}
	}
	s, err := get(t.Context(), plan.Read{Path: "kv1/old"}, nil)
	if err != nil || s.KV2 || s.Fields().Reveal()["user"] != "u" {
		t.Errorf("kv1: %+v, %v", s, err)
	}
	if _, err := get(t.Context(), plan.Read{Path: "slashed"}, nil); err != nil {
		t.Error(err)
	}
	for _, r := range []plan.Read{
		{Path: "secret/none"},
		{Path: "kv1/data/old"},
		{Path: "secret/app", Version: 2},
		{Path: "none", Op: plan.OpList},
		{Path: "secret/app", KV: plan.KV1},
		{Path: "secret/app", KV: plan.KVLiteral},
	} {
		_, err := get(t.Context(), r, nil)
		problem(t, err, plan.CodeMissing, "dev file")
	}
	_, err = get(t.Context(), plan.Read{Path: "kv1/old", Version: 1}, nil)
	problem(t, err, plan.CodeConfig, "secret kv1/old: version 1 was asked for, and only KV version 2 has versions")
	if s, err := get(t.Context(), plan.Read{Path: "secret/app", Version: 1}, nil); err != nil || s.Version != 1 {
		t.Errorf("version 1: %+v, %v", s, err)
	}
}

func TestDevList(t *testing.T) {
	d, err := devFile(t, devText, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Generation()(t.Context(), plan.Read{Path: "secret/metadata", Op: plan.OpList}, nil)
	if err != nil || !reflect.DeepEqual(s.Data.Reveal()["keys"], []any{"app", "team/"}) {
		t.Errorf("%v, %v", s.Data.Reveal(), err)
	}
	if d.Login(t.Context()) != nil || d.HasLeases() || d.Close(t.Context()) != nil {
		t.Error("a file has no login and no leases")
	}
	server, login, reads := d.Record()
	if server.Address != "dev file "+d.file || login.Method != "none" || reads != nil {
		t.Errorf("recorded as %+v, %+v, %+v", server, login, reads)
	}
}

func TestDevFileModes(t *testing.T) {
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o700: true, 0o640: false, 0o604: false, 0o620: false, 0o666: false} {
		_, err := devFile(t, devText, mode)
		if ok != (err == nil) {
			t.Errorf("%o: %v", mode, err)
		}
		if !ok {
			problem(t, err, plan.CodeConfig, "others may read or write it")
		}
	}
}

func TestDevFileBad(t *testing.T) {
	tests := map[string]string{
		"a: {b: c}\n/a/: {b: " + canary + "}": "the path \"a\" is there twice",
		"":                                    "the file is empty",
		"- a":                                 "the top level must be a mapping of paths",
		canary:                                "the top level must be a mapping of paths",
		"a: " + canary:                        "the value of \"a\" must be a mapping of fields",
		"a: {b: " + canary + "\n":             "not YAML at line 1 (declared at --dev)",
		"a:\n\t- " + canary:                   "not YAML at line 2 (declared at --dev)",
		"a:\n  b: c\n  d: [" + canary + "\n":  "not YAML at line 3 (declared at --dev)",
		"a: {b: " + canary + "}\n---\nc: {}":  "not one YAML document",
		"a: {b: " + canary + ", b: x}":        "",
		"a: &x {b: " + canary + "}\nc: *x":    "anchors, aliases, tags and merges",
		"a:\n  b: !!binary " + canary:         "line 2: anchors",
		"a:\n  b: .inf":                       "line 2: ",
		"a:\n  ? [b]\n  : " + canary:          "",
		"a: {l: [1, *" + canary + "]}":        "not YAML at line 1 (declared at --dev)",
		"a: &x {b: " + canary + ", c: *x}":    "line 1: anchors",
		"a:\n  <<: {b: " + canary + "}":       "line 2: anchors",
		"a: {b: " + canary + "\xff}":          "not valid UTF-8",
		strings.Repeat("a", maxDevFile+1):     "larger than 1 MiB",
	}
	for text, want := range tests {
		_, err := devFile(t, text, 0o600)
		problem(t, err, plan.CodeConfig, want)
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error holds the canary: %v", err)
		}
	}
	for path, want := range map[string]string{t.TempDir(): "not a regular file", t.TempDir() + "/none": "no such file or directory"} {
		_, err := PrepareDev(plan.Set(path, plan.Origin{At: "--dev"}), slog.New(slog.DiscardHandler))
		problem(t, err, plan.CodeConfig, want)
	}
}
