package bootstrap_test

import (
	"testing"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestRehearse: all is read and rendered, and nothing else happens.
func TestRehearse(t *testing.T) {
	w := newWorld()
	ref := func(field string) plan.Source {
		return plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "app"}, Field: field}}
	}
	p := plan.Plan{Files: []plan.File{{Path: "pw", Source: ref("pw")}}, Env: []plan.Env{{Name: "USER_NAME", Source: ref("user")}}}
	job, err := bootstrap.New(p, w.deps(false))
	if err != nil {
		t.Fatal(err)
	}
	w.forget()
	made, err := job.Rehearse(t.Context())
	if err != nil || len(made) != 2 {
		t.Fatalf("%d outputs, %v", len(made), err)
	}
	if f := made[0]; f.Path != "pw" || f.Name != "" || string(f.Content.Reveal()) != canary {
		t.Errorf("the file is %+v", f)
	}
	if v := made[1]; v.Name != "USER_NAME" || string(v.Content.Reveal()) != "u" {
		t.Errorf("the variable is %+v", v)
	}
	w.want(t, "read app")
}

func TestRehearseFails(t *testing.T) {
	w := newWorld()
	p := plan.Plan{Files: []plan.File{{Path: "a", Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "absent"}}}}}}
	job, err := bootstrap.New(p, w.deps(false))
	if err != nil {
		t.Fatal(err)
	}
	w.forget()
	if made, err := job.Rehearse(t.Context()); plan.CodeOf(err) != plan.CodeMissing || made != nil {
		t.Errorf("%v, %v", made, err)
	}
	w.want(t, "read absent")
}
