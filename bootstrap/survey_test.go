package bootstrap_test

import (
	"testing"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestSurvey: what fails stops nothing else, what is no value by itself is read
// and not given, and nothing is delivered.
func TestSurvey(t *testing.T) {
	w := newWorld()
	p := plan.Plan{
		Files: []plan.File{
			file("absent", "absent#x"), file("pw", "app#pw"),
			template("mixed", `{{ with secret "other" }}{{ .Data.absent }}{{ end }}`),
		},
		Env: []plan.Env{variable("USER_NAME", "app#user")},
	}
	job, err := bootstrap.New(p, w.deps(false))
	if err != nil {
		t.Fatal(err)
	}
	w.forget()
	made, err := job.Survey(t.Context())
	if ps := problems(t, err); len(ps) == 0 || ps[0].Code != plan.CodeMissing {
		t.Errorf("the problems are %v", ps)
	}
	if len(made) != 2 || made[0].Path != "pw" || string(made[0].Content.Reveal()) != canary || made[1].Name != "USER_NAME" {
		t.Errorf("made %+v", made)
	}
	for _, e := range w.events {
		if e == "login" || e == "stage" || e == "commit" || e == "revoke" {
			t.Errorf("it did: %s", e)
		}
	}
}
