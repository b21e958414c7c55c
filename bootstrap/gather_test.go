package bootstrap_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestEachPathIsReadOnce(t *testing.T) {
	w := newWorld()
	p := plan.Plan{
		Files: []plan.File{
			file("a", "app#pw"), file("b", "app#user"), file("c", "/app/#pw"),
			template("d", `{{ with secret "app" }}{{ .Data.user }}{{ end }}`), template("e", `{{ with secret "app" }}{{ .Data.user }}{{ end }}`),
		},
		Env: []plan.Env{variable("A", "app#pw")},
	}
	if _, err := w.run(t, t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "stage a", "stage b", "stage c", "stage d", "stage e", "commit")
	reads, _, err := bootstrap.Reads(p)
	if err != nil || len(reads) != 1 || reads[0].Path != "app" || reads[0].Origin != from("a") {
		t.Errorf("Reads: %v, %v", reads, err)
	}
	if _, _, err := bootstrap.Reads(plan.Plan{Files: []plan.File{template("x", "{{")}}); err == nil {
		t.Error("Reads of a bad template")
	}
}

// TestComputedPaths: each pass reads what the one before showed to be needed.
func TestComputedPaths(t *testing.T) {
	w := newWorld()
	w.secrets["s1"] = map[string]any{"next": "s2"}
	w.secrets["s2"] = map[string]any{"next": "s3"}
	w.secrets["s3"] = map[string]any{"v": "end"}
	chain := `{{ with secret "s1" }}{{ with secret .Data.next }}{{ with secret .Data.next }}{{ .Data.v }}{{ end }}{{ end }}{{ end }}`
	p := plan.Plan{Files: []plan.File{template("t", chain), file("pw", "app#pw")}}
	if _, err := w.run(t, t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "read s1", "read s2", "read s3", "stage t", "stage pw", "commit")
	if w.files["t"] != "end" || w.files["pw"] != canary {
		t.Errorf("%q", w.files)
	}
}

func TestComputedPathsAreBounded(t *testing.T) {
	w := newWorld()
	text, closing := `{{ with secret "s0" }}`, "{{ end }}"
	for i := range 12 {
		w.secrets[fmt.Sprintf("s%d", i)] = map[string]any{"next": fmt.Sprintf("s%d", i+1)}
		text += `{{ with secret .Data.next }}`
		closing += "{{ end }}"
	}
	_, err := w.run(t, t.Context(), plan.Plan{Files: []plan.File{template("t", text+closing)}})
	if ps := problems(t, err); ps[0].Code != plan.CodeData || !strings.Contains(err.Error(), "asked 8 times") || ps[0].Origin != from("t") {
		t.Errorf("%v", err)
	}
	if n := strings.Count(strings.Join(w.events, " "), "read "); n != 8 {
		t.Errorf("%d reads", n)
	}
	if n := len(w.events); w.events[n-2] != "shred" || w.events[n-1] != "revoke" {
		t.Errorf("%q", w.events)
	}
}

// TestOptionalAndDefault: both are for what is missing, and for nothing else.
func TestOptionalAndDefault(t *testing.T) {
	optional := func(f plan.File) plan.File { f.Optional = true; return f }
	optionalSet := func(s plan.FileSet) plan.FileSet { s.Ref.Read.Optional = true; return s }
	withDefault := func(f plan.File) plan.File {
		f.Source.Ref.Default = &plan.Handle{Kind: plan.HandleText, Name: "fallback"}
		return f
	}
	setDefault := setOf("d", "none")
	setDefault.Ref.Default = &plan.Handle{Kind: plan.HandleText, Name: "x"}
	optionalEnv := variable("E", "none#x")
	optionalEnv.Optional = true
	tests := []struct {
		name  string
		plan  plan.Plan
		fails map[string]error
		files map[string]string
		code  plan.Code
	}{
		{"optional secret", plan.Plan{Files: []plan.File{optional(file("a", "none#x")), file("b", "app#user")}}, nil, map[string]string{"b": "u"}, 0},
		{"optional field", plan.Plan{Files: []plan.File{optional(file("a", "app#none"))}}, nil, map[string]string{}, 0},
		{"optional template", plan.Plan{Files: []plan.File{optional(template("a", `{{ with secret "none" }}x{{ end }}`))}}, nil, map[string]string{}, 0},
		{"optional set", plan.Plan{Sets: []plan.FileSet{optionalSet(setOf("d", "none"))}}, nil, map[string]string{}, 0},
		{"optional variable", plan.Plan{Env: []plan.Env{optionalEnv}}, nil, map[string]string{}, 0},
		{"default for a secret", plan.Plan{Files: []plan.File{withDefault(file("a", "none#x"))}}, nil, map[string]string{"a": "fallback"}, 0},
		{"default for a field", plan.Plan{Files: []plan.File{withDefault(file("a", "app#none"))}}, nil, map[string]string{"a": "fallback"}, 0},
		{"default not needed", plan.Plan{Files: []plan.File{withDefault(file("a", "app#user"))}}, nil, map[string]string{"a": "u"}, 0},
		{"not for a denied one", plan.Plan{Files: []plan.File{optional(withDefault(file("a", "none#x")))}}, map[string]error{"read none": broken(plan.CodeDenied, "none")}, nil, plan.CodeDenied},
		{"not for an unreachable one", plan.Plan{Files: []plan.File{optional(withDefault(file("a", "none#x")))}}, map[string]error{"read none": broken(plan.CodeUnavailable, "none")}, nil, plan.CodeUnavailable},
		{"default cannot be read", plan.Plan{Files: []plan.File{withDefault(file("a", "none#x"))}}, map[string]error{"resolve": broken(plan.CodeConfig, "default")}, nil, plan.CodeConfig},
		{"no default for a set", plan.Plan{Sets: []plan.FileSet{setDefault}}, nil, nil, plan.CodeMissing},
		{"missing", plan.Plan{Files: []plan.File{file("a", "none#x")}}, nil, nil, plan.CodeMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			maps.Copy(w.fails, tt.fails)
			held, err := w.run(t, t.Context(), tt.plan)
			if tt.code != 0 {
				if ps := problems(t, err); ps[0].Code != tt.code || ps[0].Origin == (plan.Origin{}) && tt.fails == nil {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || !maps.Equal(w.files, tt.files) || len(held.Env) != 0 {
				t.Errorf("%v, files %q", err, w.files)
			}
		})
	}
}

// TestSets: names are known only after reading, and are checked then.
func TestSets(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		set    plan.FileSet
		files  []plan.File
		want   string // of the error
	}{
		{"with a file", []string{"a", "b"}, setOf("d", "many"), []plan.File{file("d/a", "app#pw")}, "the same path is declared at"},
		{"with an absolute file", []string{"a"}, setOf("", "many"), []plan.File{file("/run/secrets/a", "app#pw")}, "the same path is declared at"},
		{"below a file", []string{"x/y"}, setOf("d", "many"), []plan.File{file("d/x", "app#pw")}, "its folder is itself a file"},
		{"nested", []string{"x/y"}, setOf("d", "many"), nil, ""},
		{"plain", []string{"a", "b.c", "..."}, setOf("d", "many"), nil, ""},
		{"out of the folder", []string{"../a"}, setOf("d", "many"), nil, "is no path below the folder"},
		{"out of the sink", []string{"../../a"}, setOf("d", "many"), nil, "is no path below the folder"},
		{"dots", []string{".."}, setOf("d", "many"), nil, "is no path below the folder"},
		{"dot", []string{"."}, setOf("d", "many"), nil, "is no path below the folder"},
		{"absolute", []string{"/etc/x"}, setOf("d", "many"), nil, "is no path below the folder"},
		{"empty", []string{""}, setOf("d", "many"), nil, "is no path below the folder"},
		{"trailing slash", []string{"a/"}, setOf("d", "many"), nil, "is no path below the folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			w.secrets["many"] = map[string]any{}
			for _, f := range tt.fields {
				w.secrets["many"][f] = canary
			}
			_, err := w.run(t, t.Context(), plan.Plan{Sets: []plan.FileSet{tt.set}, Files: tt.files})
			if tt.want == "" {
				if err != nil || len(w.files) != len(tt.fields) {
					t.Errorf("%v, files %q", err, w.files)
				}
				return
			}
			ps := problems(t, err)
			if ps[0].Code != plan.CodeConfig || !strings.Contains(err.Error(), tt.want) || len(w.files) > 0 {
				t.Errorf("%v, files %q", err, w.files)
			}
		})
	}
}

func TestEnvSets(t *testing.T) {
	w := newWorld()
	set := plan.EnvSet{Ref: *source("tls").Ref, Prefix: "TLS_", Origin: from("env")}
	held, err := w.run(t, t.Context(), plan.Plan{EnvSets: []plan.EnvSet{set}})
	if err != nil || len(held.Env) != 2 || held.Env[0].Name != "TLS_crt" || held.Env[1].Name != "TLS_key" {
		t.Errorf("%v", err)
	}
	_, err = newWorld().run(t, t.Context(), plan.Plan{EnvSets: []plan.EnvSet{set}, Env: []plan.Env{variable("TLS_crt", "app#pw")}})
	if ps := problems(t, err); ps[0].Code != plan.CodeConfig || !strings.Contains(err.Error(), "the same variable is declared at") {
		t.Errorf("%v", err)
	}
}

// TestAnyName: a set may want names that no shell could use, and what no
// environment can carry is an error still.
func TestAnyName(t *testing.T) {
	for field, why := range map[string]string{"a.b": "", "with-dash": "", "1 x": "", "é": "", "a=b": "makes no name", "": "makes no name", "SECRETBOOT_X": "are ours", "LD_PRELOAD": "which code"} {
		w := newWorld()
		w.secrets["odd"] = map[string]any{field: "v"}
		set := plan.EnvSet{Ref: *source("odd").Ref, AnyName: true, Origin: from("env")}
		held, err := w.run(t, t.Context(), plan.Plan{EnvSets: []plan.EnvSet{set}})
		switch {
		case why != "" && (err == nil || !strings.Contains(err.Error(), why)):
			t.Errorf("%q: %v", field, err)
		case why == "" && (err != nil || len(held.Env) != 1 || held.Env[0].Name != field):
			t.Errorf("%q: %v", field, err)
		}
	}
}

// TestMissingReads: a variable is left out when a read that may be missing is, but
// not when one that may not, nor when its field is.
func TestMissingReads(t *testing.T) {
	ref := func(text string, optional bool) *plan.Ref {
		r := source(text).Ref
		r.Read.Optional = optional
		return r
	}
	pieces := func(refs ...*plan.Ref) (e plan.Env) {
		e = plan.Env{Name: "E", Origin: from("E")}
		for _, r := range refs {
			e.Source.Pieces = append(e.Source.Pieces, plan.Piece{Ref: r})
		}
		return e
	}
	for _, tt := range []struct {
		name string
		env  plan.Env
		code plan.Code
		vars int
	}{
		{"alone", plan.Env{Name: "E", Source: plan.Source{Ref: ref("none#x", true)}, Origin: from("E")}, 0, 0},
		{"there", plan.Env{Name: "E", Source: plan.Source{Ref: ref("app#pw", true)}, Origin: from("E")}, 0, 1},
		{"its field", plan.Env{Name: "E", Source: plan.Source{Ref: ref("app#none", true)}, Origin: from("E")}, plan.CodeMissing, 0},
		{"one of two pieces", pieces(ref("app#pw", true), ref("none#x", true)), 0, 0},
		{"a field beside a missing piece", pieces(ref("app#pw", true), ref("app#none", true)), plan.CodeMissing, 0},
		{"the one that must be there", pieces(ref("app#pw", true), ref("none#x", false)), plan.CodeMissing, 0},
	} {
		held, err := newWorld().run(t, t.Context(), plan.Plan{Env: []plan.Env{tt.env}})
		if tt.code != 0 {
			if plan.CodeOf(err) != tt.code {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err != nil || len(held.Env) != tt.vars {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestProblemsAreCondensed: one unreachable server is one line, two missing
// secrets are two.
func TestProblemsAreCondensed(t *testing.T) {
	w := newWorld()
	w.fails["read a"] = broken(plan.CodeUnavailable, "vault, first try")
	w.fails["read b"] = broken(plan.CodeUnavailable, "vault, second try")
	p := plan.Plan{Files: []plan.File{file("1", "a#x"), file("2", "b#x"), file("3", "c#x"), file("4", "d#x"), file("5", "d#x")}}
	_, err := w.run(t, t.Context(), p)
	var got []string
	for _, one := range problems(t, err) {
		got = append(got, one.What)
	}
	if g := strings.Join(got, ", "); g != "vault, first try, secret c, secret d" {
		t.Errorf("%s", g)
	}
}

func TestRelease(t *testing.T) {
	tests := []struct {
		name   string
		leases bool
		fails  string
		code   plan.Code
		want   []string
	}{
		{"no lease", false, "", 0, []string{"deliver", "revoke"}},
		{"a lease", true, "", 0, []string{"deliver"}},
		{"not delivered", false, "deliver", plan.CodeIO, []string{"deliver", "shred", "revoke"}},
		{"not delivered, a lease", true, "deliver", plan.CodeIO, []string{"deliver", "shred", "revoke"}},
		{"not revoked", false, "revoke", 0, []string{"deliver", "revoke"}},
	}
	for _, tt := range tests {
		w := newWorld()
		held, err := w.run(t, t.Context(), samplePlan())
		if err != nil {
			t.Fatal(err)
		}
		w.forget()
		w.leases = tt.leases
		if tt.fails != "" {
			w.fails[tt.fails] = broken(plan.CodeIO, tt.fails)
		}
		err = held.Release(t.Context())
		if tt.code == 0 && err != nil || tt.code != 0 && plan.CodeOf(err) != tt.code {
			t.Errorf("%s: %v", tt.name, err)
		}
		w.want(t, tt.want...)
		if string(held.Env[0].Value.Reveal()) != canary && tt.code == 0 {
			t.Errorf("%s: the command would start without its variable", tt.name)
		}
	}
}

func TestCloseTellsWhatWasNotShredded(t *testing.T) {
	w := newWorld()
	held, err := w.run(t, t.Context(), samplePlan())
	if err != nil {
		t.Fatal(err)
	}
	w.fails["shred"] = broken(plan.CodeIO, "shred")
	w.fails["revoke"] = errors.New("no answer")
	if err := held.Close(t.Context()); plan.CodeOf(err) != plan.CodeIO {
		t.Errorf("%v", err)
	}
	if !strings.Contains(w.log.String(), "the token was not revoked") {
		t.Error("nobody is told that the token lives")
	}
}

// TestKeystorePassword: it is asked for before the first request, and a keystore
// is made with it.
func TestKeystorePassword(t *testing.T) {
	f := file("a", "app")
	f.Source.Ref.Format = plan.FormatPKCS12
	f.Source.Ref.KeystorePassword = &plan.Handle{Kind: plan.HandleText, Name: "password"}
	p := plan.Plan{Files: []plan.File{f}}

	w := newWorld()
	w.fails["resolve"] = broken(plan.CodeConfig, "password")
	_, err := bootstrap.New(p, w.deps(true))
	if ps := problems(t, err); len(ps) != 1 || ps[0].Code != plan.CodeConfig {
		t.Errorf("%v", err)
	}

	w = newWorld()
	_, err = w.run(t, t.Context(), p)
	ps := problems(t, err)
	if len(ps) != 2 || !strings.Contains(err.Error(), "pkcs12 wants a certificate") || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
}

// TestTooManyFields: whoever writes a secret must not decide how many files or
// variables there are.
func TestTooManyFields(t *testing.T) {
	w := newWorld()
	many := map[string]any{}
	for i := range 10_001 {
		many[fmt.Sprintf("f%d", i)] = "x"
	}
	w.secrets["many"] = many
	job, err := bootstrap.New(plan.Plan{Sets: []plan.FileSet{setOf("d", "many")}}, w.deps(true))
	if err != nil {
		t.Fatal(err)
	}
	_, err = job.Run(t.Context())
	if plan.CodeOf(err) != plan.CodeData || !strings.Contains(err.Error(), "more than 10000 fields") || len(w.files) != 0 {
		t.Errorf("%v, %d files", err, len(w.files))
	}
}

// TestLate: when the time is over, it is told who did not answer, and no template is
// blamed that had no time left.
func TestLate(t *testing.T) {
	silent := &plan.Problem{Code: plan.CodeUnavailable, What: "vault", Why: "no answer"}
	for _, tt := range []struct {
		name  string
		fails error
		want  string
	}{
		{"one read has no answer", silent, "vault: no answer"},
		{"all were answered, too late", nil, "templates: the time was up before they could be executed; raise --timeout"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.secrets["slow"] = map[string]any{"v": "x"}
			w.during = func(ctx context.Context, e string) {
				if e == "read slow" {
					<-ctx.Done()
				}
			}
			if tt.fails != nil {
				w.fails["read slow"] = tt.fails
			}
			p := plan.Plan{Files: []plan.File{
				template("a", `{{ with secret "app" }}{{ .Data.user }}{{ end }}`), template("b", `{{ with secret "slow" }}{{ .Data.v }}{{ end }}`),
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := w.run(t, ctx, p)
			if ps := problems(t, err); len(ps) != 1 || ps[0].Error() != tt.want {
				t.Errorf("%s: told %v", tt.name, err)
			}
		})
	}
}
