package declare_test

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestWriteRoundTrip writes the plan of every golden case of every front as our
// own configuration and reads it back.
func TestWriteRoundTrip(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), "bad-") || strings.HasSuffix(path, "patch/several.txtar") { // the latter is no one command
			continue
		}
		name := filepath.Base(filepath.Dir(path)) + "/" + strings.TrimSuffix(filepath.Base(path), ".txtar")
		t.Run(name, func(t *testing.T) { roundTrip(t, declared(t, path)) })
	}
}

// declared gives the plan of a golden case.
func declared(t *testing.T, path string) plan.Plan {
	t.Helper()
	ar, files := parseArchive(t, path), fstest.MapFS{}
	for _, f := range ar.files {
		files[f.name] = &fstest.MapFile{Data: []byte(f.data)}
	}
	var front declare.Front = declare.Config{Path: configPath}
	vars := map[string]string{}
	if filepath.Base(filepath.Dir(path)) != "config" {
		front, vars = caseSettings(t, ar.comment)
	}
	in := declare.Input{Open: open(files), Lookup: lookup(vars), Home: "/home/u", Cwd: "/work"}
	for name, value := range vars {
		in.Environ = append(in.Environ, name+"="+value)
	}
	p, _, err := front.Declare(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// roundTrip fails unless the plan comes back, or holds a text that stands in the
// declaration itself, which is not copied.
func roundTrip(t *testing.T, p plan.Plan) {
	t.Helper()
	var out strings.Builder
	err := declare.Write(&out, p)
	inDeclaration := regexp.MustCompile(`(?m)\.File = "`).MatchString(dump(p))
	if (err != nil) != inDeclaration {
		t.Fatalf("text in the declaration: %v, but %v", inDeclaration, err)
	}
	if err != nil {
		checkFrontProblems(t, err)
		if !strings.Contains(err.Error(), "it is not copied") || out.Len() > 0 {
			t.Errorf("%v, written:\n%s", err, &out)
		}
		return
	}
	files := fstest.MapFS{"etc/new.yaml": {Data: []byte(out.String())}}
	back, found, err := declare.Config{Path: "/etc/new.yaml"}.Declare(declare.Input{Open: open(files), Cwd: "/work"})
	if err != nil || !found {
		t.Fatalf("%v in\n%s", err, &out)
	}
	if got, want := essence(back), essence(p); got != want {
		t.Errorf("got\n%s\nwant\n%s\nwritten\n%s", got, want, &out)
	}
}

// essence is the dump of a plan without places, names of templates, and what is
// found out or said anew: see declare.Write.
func essence(p plan.Plan) string {
	p.Ignored, p.Login.Ambient, p.Vault.HeaderSet = nil, nil, plan.Handle{}
	for i := range p.Sets {
		p.Sets[i].Ref.Format = 0 // a set writes files, whether it says so or not
	}
	p.Login.Inputs, p.Vault.Headers = inFile(p.Login.Inputs), inFile(p.Vault.Headers)
	places := regexp.MustCompile(`^\S*(Origin|Template\.Name) = `)
	all := dump(p)
	var kept []string
	for line := range strings.Lines(all) {
		line = strings.TrimSuffix(line, "\n")
		read, _, isKV := strings.Cut(line, ".KV = ")
		ofWrite := isKV && strings.Contains(all, "\n"+read+".Op = 0x1\n") // which says nothing
		if !ofWrite && !places.MatchString(line) {
			if at := strings.LastIndex(line, " @ "); at > 0 {
				line = line[:at]
			}
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// inFile gives the places of texts that a file shows without the texts: written
// into our configuration, they stand there.
func inFile(handles map[string]plan.Handle) map[string]plan.Handle {
	out := map[string]plan.Handle{}
	for name, h := range handles {
		if h.Kind == plan.HandleText || h.Kind == plan.HandleKey {
			h = plan.Handle{Kind: plan.HandleKey}
		}
		out[name] = h
	}
	return out
}

// everything has what no file of ours said before there were other fronts.
func everything() plan.Plan {
	env := func(name string) *plan.Handle { return &plan.Handle{Kind: plan.HandleEnv, Name: name} }
	every := plan.Refresh{Every: plan.Set(5*time.Minute, plan.Origin{}), OnChange: plan.Set(plan.Action{Kind: plan.ActionExec, Argv: []string{"/bin/x", ""}, Timeout: time.Second}, plan.Origin{})}
	p := plan.Plan{
		Refresh: plan.Refresh{
			Splay: plan.Set(time.Second, plan.Origin{}), Debounce: plan.Set(time.Duration(0), plan.Origin{}), MinInterval: plan.Set(time.Minute, plan.Origin{}),
			OnChange: plan.Set(plan.Action{}, plan.Origin{}),
		},
		Files: []plan.File{
			{Path: "token", Source: plan.Source{Token: true}, Optional: true, Refresh: every},
			{Path: "url", Command: plan.Action{Kind: plan.ActionExec, Argv: []string{"sh", "-c", "a: 'b' # c\n"}, Timeout: time.Minute}, Source: plan.Source{Pieces: []plan.Piece{
				{Text: &plan.Handle{Kind: plan.HandleEnv, Name: "URL", Of: 12}, From: 3, To: 9},
				{Ref: &plan.Ref{Read: plan.Read{Path: "secret/a#b", Version: 2, Optional: true, KV: plan.KVLiteral, Else: []string{"b", "c d"}}, Field: "x#y", Select: plan.SelectPath}},
				{Text: &plan.Handle{Kind: plan.HandleText, Name: "open"}, To: 2},
				{Text: &plan.Handle{Kind: plan.HandleFile, Name: "/run/x", Member: "a.b", Offset: 7}},
				{Ref: &plan.Ref{Read: plan.Read{Path: "secret/a"}, Field: "x", Default: env("D")}},
				{Ref: &plan.Ref{Read: plan.Read{Path: "secret/a", Op: plan.OpWrite, Body: map[string]plan.Handle{"m": {Kind: plan.HandleEnv, Name: "V", Member: "k", Offset: 2, Of: 40}}}}},
			}}},
			{Path: "t", Source: plan.Source{Template: &plan.Template{Text: " {{ a }}\n\tb\r\n", Dialect: plan.DialectBankVaults, Missing: plan.MissingError, Left: "${", Right: "}"}}},
			{Path: "r", Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "vault:odd"}, Level: plan.LevelMetadata, EscapeHTML: true, NullEmpty: true, Format: plan.FormatResponse}}},
			{Path: "l", Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "secret/metadata/a", Op: plan.OpList, KV: plan.KVLiteral}, Field: "keys"}}},
			{Path: "e", Source: plan.Source{Pieces: []plan.Piece{{Text: &plan.Handle{Kind: plan.HandleText}}}}},
			{Path: "o", Optional: true, Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "secret/o"}, Field: "f", Select: plan.SelectTracking, Level: plan.LevelNested}}},
		},
		Sets: []plan.FileSet{
			{Dir: "all", Mode: 0o440, Refresh: every, Bundle: &plan.Bundle{
				Keep: true,
				Parts: []plan.Part{
					{Key: "one", Ref: plan.Ref{Read: plan.Read{Path: "secret/a", Optional: true}, Field: "f", Decode: plan.DecodeAuto}, NUL: true},
					{Ref: plan.Ref{Read: plan.Read{Path: "secret/b"}, Default: env("D")}, Convert: plan.ConvertUnicode, Rename: []plan.Rename{
						{Regexp: &plan.RenameRegexp{Match: "^a(.*)$", Replace: ""}},
						{Transform: "{{ .value | upper }}"},
						{Merge: &plan.RenameMerge{Into: "all", IgnoreConflict: true, Priority: []string{"x", "y"}, IgnoreMissing: true}},
						{Merge: &plan.RenameMerge{}},
					}},
					{Find: &plan.Find{List: "secret/metadata/a", Read: "secret/data/a", Base: "a/", Flat: true, Name: "^x", Tags: map[string]string{"a": "1", "b": ""}}, Ref: plan.Ref{Decode: plan.DecodeBase64}},
				},
				Templates: []plan.KeyTemplate{
					{Key: "c", Template: plan.Template{Text: "{{ .one }}", Dialect: plan.DialectExternalSecrets}},
					{Template: plan.Template{Text: "a: b", Missing: plan.MissingError}, Decode: plan.DecodeBase64},
				},
			}},
		},
		Env: []plan.Env{
			{Name: "A", Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "secret/a"}, Field: "f"}}},
			{Name: "B.c", Optional: true, Refresh: every, Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "secret/a", Optional: true, Version: 3}}}},
		},
		EnvSets: []plan.EnvSet{
			{Prefix: "P_", Refresh: every, Upcase: true, Allow: []string{"a*"}, Take: map[string]string{"A": "a.b", "B": "1"}, Duplicate: plan.DuplicateKeep, Ref: plan.Ref{Read: plan.Read{Path: "secret/a", Else: []string{"secret/b"}}, Level: plan.LevelNested, NullEmpty: true}},
			{Bundle: &plan.Bundle{Parts: []plan.Part{{Ref: plan.Ref{Read: plan.Read{Path: "secret/a"}}}}}},
		},
	}
	p.Login.Inputs = map[string]plan.Handle{"role_id": {Kind: plan.HandleFile, Name: "/run/role"}, "jwt": *env("JWT")}
	p.Login.Params = map[string]plan.Setting[string]{"remove_secret_id_file": plan.Set("true", plan.Origin{}), "audience": plan.Set("true", plan.Origin{})}
	p.Vault.KV = map[string]plan.KVRule{"a/b": plan.KV2, "c": plan.KV1}
	p.Vault.Headers = map[string]plan.Handle{"X-Team": {Kind: plan.HandleFile, Name: "/run/h"}}
	return p
}

func TestWriteEverything(t *testing.T) { roundTrip(t, everything()) }

// TestWriteRefuses: what cannot be said is told, and nothing is written.
func TestWriteRefuses(t *testing.T) {
	at := plan.Origin{Front: "x", At: "decl.yaml:3:1", Key: "k"}
	for want, p := range map[string]plan.Plan{
		`login input token: its text stands in the declaration and may be a secret: it is not copied (declared at decl.yaml:3:1: k); put it into a file or variable, and name that with token_file or token_env`: {
			Login: plan.Login{Inputs: map[string]plan.Handle{"token": {Kind: plan.HandleKey, Name: "k", File: "/decl.yaml", Origin: at}}},
		},
		`login input token: it is part of a longer text`: {
			Login: plan.Login{Inputs: map[string]plan.Handle{"token": {Kind: plan.HandleEnv, Name: "V", Member: "t", Origin: at}}},
		},
		`configuration key "nonce": our configuration cannot say this: the key is unknown`: {
			Login: plan.Login{Params: map[string]plan.Setting[string]{"nonce": plan.Set("x", at)}},
		},
		`file "a": its template is empty`: {Files: []plan.File{{Path: "a", Source: plan.Source{Template: &plan.Template{}}, Origin: at}}},
		`configuration key "path": our configuration cannot say this: the path has an empty, . or .. element`: {
			Files: []plan.File{{Path: "a", Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "s/../a"}}}, Origin: at}},
		},
		`read s/a: nothing is made of it`: {Reads: []plan.Read{{Path: "s/a", Origin: at}}},
	} {
		var out strings.Builder
		err := declare.Write(&out, p)
		var problems plan.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%v, want %s; written:\n%s", err, want, &out)
		}
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken pipe")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteReportsTheWriter(t *testing.T) {
	if err := declare.Write(brokenWriter{}, plan.Plan{}); !errors.Is(err, errBroken) {
		t.Errorf("%v", err)
	}
}

// TestResolvePiece: a piece that is written into the file is found there.
func TestResolvePiece(t *testing.T) {
	files := fstest.MapFS{"etc/c.yaml": {Data: []byte("env: { A: { join: [{ env: X, to: 1 }, \"a b\"] } }\n")}}
	in := declare.Input{Open: open(files), Cwd: "/"}
	p, _, err := declare.Config{Path: "/etc/c.yaml"}.Declare(in)
	if err != nil {
		t.Fatal(err)
	}
	got, err := declare.Resolve(in, *p.Env[0].Source.Pieces[1].Text)
	if err != nil || string(got) != "a b" {
		t.Errorf("%q, %v", got, err)
	}
}
