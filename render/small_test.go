package render

import (
	"errors"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TestSmall: a program that keeps no trees does what one with trees does: its reads are
// known, chance gives the same again, and errors have their place.
func TestSmall(t *testing.T) {
	l := Language{Small: true}
	p, err := l.Compile(plan.Template{Name: "t", Text: `{{ bcrypt "x" }} {{ with secret "a" }}{{ .Data.v }}{{ end }}`}, testOrigin())
	if err != nil {
		t.Fatal(err)
	}
	if p.body != nil {
		t.Error("it keeps its trees")
	}
	if reads := p.Reads(); len(reads) != 1 || reads[0].Path != "a" || !p.Calls("bcrypt") {
		t.Errorf("it reads %v", reads)
	}
	in := Input{Memory: &Memory{}, Answers: Answers{}}
	out, err := p.Execute(t.Context(), in)
	if err != nil || len(out.Lacking) != 1 {
		t.Fatalf("it lacks %v, %v", out.Lacking, err)
	}
	in.Answers[out.Lacking[0].Key()] = Answer{Secret: secret.Secret{Data: secret.NewTree(map[string]any{"v": "V"})}}
	first, err := p.Execute(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Execute(t.Context(), in)
	if got := string(first.Bytes.Reveal()); err != nil || got != string(again.Bytes.Reveal()) || len(got) != 62 {
		t.Errorf("%q, then %q, %v", got, again.Bytes.Reveal(), err)
	}
	in.Answers[p.reads[0].Key()] = Answer{Secret: secret.Secret{Data: secret.NewTree(map[string]any{})}}
	_, err = p.Execute(t.Context(), in)
	var told *plan.Problem
	if !errors.As(err, &told) || told.What != "template t:1:41: <.Data.v>" || told.Code != plan.CodeMissing {
		t.Errorf("told: %v", err)
	}
}
