package bootstrap_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

func pieces(name string, p ...plan.Piece) plan.File {
	return plan.File{Path: name, Source: plan.Source{Pieces: p}, Origin: from(name)}
}

func text(s string, from, to int) plan.Piece {
	return plan.Piece{Text: &plan.Handle{Kind: plan.HandleText, Name: s}, From: from, To: to}
}

func ref(s string) plan.Piece { return plan.Piece{Ref: source(s).Ref} }

// TestPieces: what stands between references comes byte by byte, and what they
// read is read ahead and once.
func TestPieces(t *testing.T) {
	w := newWorld()
	whole := "db://${vault:app#user}:${vault:app#pw}@h"
	p := plan.Plan{
		Files: []plan.File{pieces("url", text(whole, 0, 5), ref("app#user"), text(whole, 22, 23), ref("app#pw"), text(whole, 38, 40))},
		Env:   []plan.Env{{Name: "E", Source: plan.Source{Pieces: []plan.Piece{ref("tls#crt"), text("x", 1, 1)}}, Origin: from("E")}},
	}
	held, err := w.run(t, t.Context(), p)
	if err != nil || w.files["url"] != "db://u:"+canary+"@h" || string(held.Env[0].Value.Reveal()) != "C" {
		t.Errorf("%v, %q", err, w.files)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "read tls", "stage url", "commit")
	reads, computed, err := bootstrap.Reads(p)
	if err != nil || len(reads) != 2 || reads[0].Origin != from("url") || len(computed) != 0 {
		t.Errorf("%v, %v", reads, err)
	}
}

// TestPiecesThatCannotBe: what no reading can mend is told before anything is
// sent; what is missing leaves an optional file out as a whole.
func TestPiecesThatCannotBe(t *testing.T) {
	for name, piece := range map[string]plan.Piece{"short": text("abc", 0, 4), "backwards": text("abc", 2, 1), "below": text("abc", -1, 1)} {
		w := newWorld()
		_, err := bootstrap.New(plan.Plan{Files: []plan.File{pieces("f", ref("app#pw"), piece)}}, w.deps(true))
		if ps := problems(t, err); len(ps) != 1 || ps[0].Code != plan.CodeConfig || ps[0].Origin != from("f") || strings.Contains(err.Error(), "abc") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w := newWorld()
	w.fails["resolve"] = broken(plan.CodeConfig, "variable X")
	_, err := bootstrap.New(plan.Plan{Files: []plan.File{pieces("f", text("abc", 0, 1))}}, w.deps(true))
	if ps := problems(t, err); len(ps) != 1 || ps[0].What != "variable X" {
		t.Errorf("%v", err)
	}

	w = newWorld()
	f := pieces("f", text("abc", 0, 1), ref("none#x"))
	f.Optional = true
	if _, err := w.run(t, t.Context(), plan.Plan{Files: []plan.File{f}}); err != nil || len(w.files) != 0 {
		t.Errorf("%v, %q", err, w.files)
	}
	f.Source.Pieces[1].Ref.Default = &plan.Handle{Kind: plan.HandleText, Name: "d"}
	w = newWorld()
	if _, err := w.run(t, t.Context(), plan.Plan{Files: []plan.File{f}}); err != nil || w.files["f"] != "ad" {
		t.Errorf("%v, %q", err, w.files)
	}
}

// TestToken: it is delivered as it is, and lives on as long as what was delivered.
func TestToken(t *testing.T) {
	p := plan.Plan{
		Files: []plan.File{{Path: "token", Source: plan.Source{Token: true}, Origin: from("token")}},
		Env:   []plan.Env{{Name: "VAULT_TOKEN", Source: plan.Source{Token: true}, Origin: from("env")}},
	}
	w := newWorld()
	w.token = canary
	held, err := w.run(t, t.Context(), p)
	if err != nil || w.files["token"] != canary || string(held.Env[0].Value.Reveal()) != canary {
		t.Fatalf("%v", err)
	}
	w.forget()
	if err := held.Release(t.Context()); err != nil || !strings.Contains(w.log.String(), "the token is kept, because it was delivered") {
		t.Errorf("%v, %s", err, w.log.String())
	}
	w.want(t, "deliver")
	if err := held.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w.want(t, "deliver", "shred", "revoke")

	w = newWorld()
	w.token = canary
	held, err = w.run(t, t.Context(), plan.Plan{Env: p.Env})
	if err != nil || !held.NeedsCare() {
		t.Errorf("nobody would revoke a token in a variable: %v", err)
	}

	w = newWorld()
	w.token, w.fails["stage"] = canary, broken(plan.CodeIO, "disk")
	if _, err = w.run(t, t.Context(), p); plan.CodeOf(err) != plan.CodeIO {
		t.Error(err)
	}
	w.want(t, "prepare", "open", "target", "login", "stage token", "shred", "revoke")

	w = newWorld()
	_, err = w.run(t, t.Context(), p)
	if ps := problems(t, err); ps[0].Code != plan.CodeConfig || ps[0].Origin != from("token") {
		t.Errorf("without a token: %v", err)
	}

	p.Vault.Dev = plan.Set("dev.yaml", plan.Origin{})
	if _, _, err := bootstrap.Reads(p); plan.CodeOf(err) != plan.CodeConfig || !strings.Contains(err.Error(), "a dev file has none") {
		t.Errorf("with a dev file: %v", err)
	}
}

func bundled(p ...plan.Part) *plan.Bundle { return &plan.Bundle{Parts: p} }

func TestBundles(t *testing.T) {
	w := newWorld()
	w.secrets["m"] = map[string]any{"keys": []any{"sub/", "a"}}
	w.secrets["m/sub"] = map[string]any{"keys": []any{"b"}}
	w.secrets["d/a"] = map[string]any{"x": "1"}
	w.secrets["d/sub/b"] = map[string]any{"y": canary}
	find := plan.Part{Find: &plan.Find{List: "m", Read: "d"}, Convert: plan.ConvertDefault, Origin: from("find")}
	p := plan.Plan{
		Sets:    []plan.FileSet{{Dir: "es", Bundle: bundled(plan.Part{Ref: *source("tls").Ref}, find), Origin: from("es")}},
		EnvSets: []plan.EnvSet{{Prefix: "P_", Bundle: bundled(plan.Part{Key: "one", Ref: *source("app#pw").Ref}), Origin: from("env")}},
	}
	held, err := w.run(t, t.Context(), p)
	want := map[string]string{"es/crt": "C", "es/key": "K", "es/a": `{"x":"1"}`, "es/sub_b": `{"y":"` + canary + `"}`}
	if err != nil || !maps.Equal(w.files, want) || len(held.Env) != 1 || held.Env[0].Name != "P_one" {
		t.Fatalf("%v, %q", err, w.files)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "read d/a", "read d/sub/b", "read m", "read m/sub", "read tls",
		"stage es/a", "stage es/crt", "stage es/key", "stage es/sub_b", "commit")
	reads, computed, err := bootstrap.Reads(p)
	if err != nil || len(reads) != 3 || reads[1].Op != plan.OpList || len(computed) != 1 || computed[0] != from("find") {
		t.Errorf("%v, %v, %v", reads, computed, err)
	}
}

// TestBundleFolders: more folders inside one another than a template may compute
// paths one after another, and a template that reads beside it.
func TestBundleFolders(t *testing.T) {
	w := newWorld()
	path := "m"
	for range 30 {
		w.secrets[path] = map[string]any{"keys": []any{"f/"}}
		path += "/f"
	}
	w.secrets[path] = map[string]any{"keys": []any{"end"}}
	w.secrets["d"+path[1:]+"/end"] = map[string]any{"x": "1"}
	w.secrets["s1"] = map[string]any{"next": "app"}
	p := plan.Plan{
		Sets:  []plan.FileSet{{Bundle: bundled(plan.Part{Find: &plan.Find{List: "m", Read: "d"}, Convert: plan.ConvertDefault}), Origin: from("es")}},
		Files: []plan.File{template("t", `{{ with secret "s1" }}{{ with secret .Data.next }}{{ .Data.user }}{{ end }}{{ end }}`)},
	}
	if _, err := w.run(t, t.Context(), p); err != nil || len(w.files) != 2 || w.files["t"] != "u" {
		t.Errorf("%v, %q", err, w.files)
	}
}

func TestBundleProblems(t *testing.T) {
	many := map[string]any{}
	for i := range 10_001 {
		many[fmt.Sprintf("f%d", i)] = "x"
	}
	for _, tt := range []struct {
		name string
		part plan.Part
		code plan.Code
		want string
	}{
		{"missing", plan.Part{Ref: *source("none").Ref}, plan.CodeMissing, "secret none"},
		{"too many", plan.Part{Ref: *source("many").Ref}, plan.CodeData, "more than 10000"},
		{"bad key", plan.Part{Ref: *source("bad").Ref}, plan.CodeData, `key "../x"`},
		{"no list", plan.Part{Find: &plan.Find{List: "none", Read: "x"}}, plan.CodeMissing, "secret none"},
	} {
		w := newWorld()
		w.secrets["many"], w.secrets["bad"] = many, map[string]any{"../x": canary}
		_, err := w.run(t, t.Context(), plan.Plan{Sets: []plan.FileSet{{Dir: "d", Bundle: bundled(tt.part), Origin: from("es")}}})
		if ps := problems(t, err); ps[0].Code != tt.code || !strings.Contains(err.Error(), tt.want) || len(w.files) > 0 || ps[0].Origin != from("es") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	w := newWorld()
	_, err := bootstrap.New(plan.Plan{Sets: []plan.FileSet{{Dir: "d", Bundle: bundled(plan.Part{Find: &plan.Find{List: "m", Read: "d", Name: "("}}), Origin: from("es")}}}, w.deps(true))
	if ps := problems(t, err); ps[0].Code != plan.CodeConfig {
		t.Errorf("%v", err)
	}
	w.want(t, "prepare", "open", "target", "shred")
	w = newWorld()
	part := plan.Part{Ref: *source("none").Ref}
	part.Ref.Read.Optional = true
	if _, err := w.run(t, t.Context(), plan.Plan{Sets: []plan.FileSet{{Dir: "d", Bundle: bundled(part), Origin: from("es")}}}); err != nil || !strings.Contains(w.log.String(), "left out") {
		t.Errorf("%v, %s", err, w.log.String())
	}
}

func withCommand(f plan.File, argv ...string) plan.File {
	f.Command = plan.Action{Kind: plan.ActionExec, Argv: argv}
	return f
}

// TestCommands: each is run once, in the order declared, when everything is in
// place, and only for what was delivered.
func TestCommands(t *testing.T) {
	left := withCommand(file("left", "none#x"), "never")
	left.Optional = true
	p := plan.Plan{Files: []plan.File{
		withCommand(file("a", "app#pw"), "sh", "-c", "reload"), left,
		withCommand(file("b", "app#pw"), "sh", "-c", "reload"), withCommand(file("c", "app#pw"), "sh", "-c", "other"),
	}}
	w := newWorld()
	if _, err := w.run(t, t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "read none", "stage a", "stage b", "stage c", "commit",
		"command sh -c reload in /run/secrets", "command sh -c other in /run/secrets")
	if strings.Contains(w.log.String(), "reload") {
		t.Errorf("the log has the arguments: %s", w.log.String())
	}

	w = newWorld()
	w.fails["command"] = broken(plan.CodeData, "command sh")
	_, err := w.run(t, t.Context(), p)
	if ps := problems(t, err); len(ps) != 1 || ps[0].Origin != from("a") {
		t.Errorf("%v", err)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "read none", "stage a", "stage b", "stage c", "commit",
		"command sh -c reload in /run/secrets", "shred", "revoke")

	w = newWorld()
	ctx, cancel := context.WithCancelCause(t.Context())
	signal := errors.New("signal")
	w.fails["command"] = signal
	w.during = func(_ context.Context, e string) {
		if strings.HasPrefix(e, "command") {
			cancel(signal)
		}
	}
	if _, err := w.run(t, ctx, p); !errors.Is(err, signal) {
		t.Errorf("%v", err)
	}
	if n := len(w.events); w.events[n-2] != "shred" || w.events[n-1] != "revoke" {
		t.Errorf("%q", w.events)
	}
}

// TestCommandsAreChecked before anything is asked of Vault.
func TestCommandsAreChecked(t *testing.T) {
	w := newWorld()
	w.fails["check sh"] = broken(plan.CodeConfig, "command sh")
	restart := file("r", "app#pw")
	restart.Command = plan.Action{Kind: plan.ActionRestart}
	p := plan.Plan{Files: []plan.File{withCommand(file("a", "app#pw"), "sh"), withCommand(file("b", "app#pw")), restart}}
	_, err := bootstrap.New(p, w.deps(true))
	if ps := problems(t, err); len(ps) != 3 || ps[0].Origin != from("a") || ps[1].Origin != from("b") || ps[2].Code != plan.CodeConfig {
		t.Errorf("%v", err)
	}
	w.want(t, "prepare", "open", "target", "shred")
}
