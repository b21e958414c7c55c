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

func samplePlan() plan.Plan {
	return plan.Plan{
		Files: []plan.File{file("pw", "app#pw"), template("conf", `{{ with secret "app" }}u={{ .Data.user }}{{ end }}`)},
		Sets:  []plan.FileSet{setOf("tls", "tls")},
		Env:   []plan.Env{variable("PW", "app#pw")},
	}
}

func TestOrderOfEvents(t *testing.T) {
	w := newWorld()
	held, err := w.run(t, t.Context(), samplePlan())
	if err != nil {
		t.Fatal(err)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "read tls",
		"stage pw", "stage conf", "stage tls/crt", "stage tls/key", "commit")
	want := map[string]string{"pw": canary, "conf": "u=u", "tls/crt": "C", "tls/key": "K"}
	if !maps.Equal(w.files, want) {
		t.Errorf("files %q", w.files)
	}
	if len(held.Env) != 1 || held.Env[0].Name != "PW" || string(held.Env[0].Value.Reveal()) != canary {
		t.Error("the variable is not as declared")
	}
	if held.Dir() != "/run/secrets" || !held.NeedsCare() {
		t.Errorf("dir %q, needs care %v", held.Dir(), held.NeedsCare())
	}
	for path, v := range w.staged {
		if strings.Trim(string(v.Reveal()), "\x00") != "" {
			t.Errorf("the content of %s was not wiped after it was staged", path)
		}
	}
	w.forget()
	for range 2 {
		if err := held.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	w.want(t, "shred", "revoke", "shred", "revoke")
	if strings.Trim(string(held.Env[0].Value.Reveal()), "\x00") != "" {
		t.Error("the variable was not wiped")
	}
}

func TestNothingToDeliver(t *testing.T) {
	w := newWorld()
	held, err := w.run(t, t.Context(), plan.Plan{})
	if err != nil || held.Dir() != "" || held.NeedsCare() {
		t.Fatalf("%v", err)
	}
	if err := errors.Join(held.Release(t.Context()), held.Close(t.Context())); err != nil {
		t.Error(err)
	}
	w.want(t, "target")
}

func TestVariablesOnly(t *testing.T) {
	w := newWorld()
	held, err := w.run(t, t.Context(), plan.Plan{Env: []plan.Env{variable("A", "app#pw")}})
	if err != nil || held.Dir() != "" || held.NeedsCare() {
		t.Fatalf("%v", err)
	}
	w.want(t, "prepare", "target", "login", "read app")
	w.leases = true
	if !held.NeedsCare() {
		t.Error("a lease needs no care")
	}
}

// TestEveryCheckBeforeTheFirstRequest: the problems of all parts come together
// and in order, and nothing is asked of Vault.
func TestEveryCheckBeforeTheFirstRequest(t *testing.T) {
	w := newWorld()
	w.fails["prepare"] = plan.Problems{broken(plan.CodeConfig, "address"), broken(plan.CodeConfig, "login")}
	w.fails["check pw"] = broken(plan.CodeSink, "sink path")
	w.fails["access pw"] = broken(plan.CodeSink, "sink owner")
	w.fails["access tls"] = broken(plan.CodeSink, "sink folder")
	w.fails["target"] = broken(plan.CodeNotFound, "command")
	p := samplePlan()
	p.Files = append(p.Files, file("pw", "app#user"), template("bad", "{{ if }}"), template("worse", "{{ nofunc }}"))
	p.Sets[0].Mode = 0o644
	_, err := bootstrap.New(p, w.deps(true))
	var got []string
	for _, one := range problems(t, err) {
		what, _, _ := strings.Cut(one.Error(), ":")
		got = append(got, what)
	}
	want := `file "pw", template bad, template worse, address, login, sink path, sink owner, sink folder, command`
	if g := strings.Join(got, ", "); !sameButTemplates(g, want) {
		t.Errorf("problems %s, want %s", g, want)
	}
	w.want(t, "prepare", "open", "target", "shred")
	if !strings.Contains(w.log.String(), "mode=0644") {
		t.Error("no warning about a wide mode")
	}
}

// sameButTemplates leaves the wording of templates' problems to package render,
// and does not count how often a sink says the same of two declarations.
func sameButTemplates(got, want string) bool {
	for _, what := range strings.Split(want, ", ") {
		name := strings.TrimPrefix(what, "template ")
		i := strings.Index(got, name)
		if i < 0 {
			return false
		}
		got = got[i:]
	}
	return true
}

func TestSinkCannotBeOpened(t *testing.T) {
	w := newWorld()
	w.fails["open"] = broken(plan.CodeSink, "sink")
	_, err := bootstrap.New(samplePlan(), w.deps(true))
	if ps := problems(t, err); len(ps) != 1 || ps[0].Code != plan.CodeSink {
		t.Errorf("%v", err)
	}
	w.want(t, "prepare", "open", "target")
}

// TestNothingIsLeftAfterAFailure: whatever fails, the last two things are to
// shred and to revoke, and the first cause is what is told.
func TestNothingIsLeftAfterAFailure(t *testing.T) {
	tests := []struct {
		fails  string
		code   plan.Code
		before string // the events between target and shred
	}{
		{"login", plan.CodeDenied, "login"},
		{"read app", plan.CodeDenied, "login, read app, read tls"},
		{"read", plan.CodeMissing, "login, read app, read tls"},
		{"stage pw", plan.CodeIO, "login, read app, read tls, stage pw"},
		{"stage tls/crt", plan.CodeIO, "login, read app, read tls, stage pw, stage conf, stage tls/crt"},
		{"commit", plan.CodeIO, "login, read app, read tls, stage pw, stage conf, stage tls/crt, stage tls/key, commit"},
	}
	for _, tt := range tests {
		for _, cleanup := range []string{"", "shred", "revoke"} {
			w := newWorld()
			w.fails[tt.fails] = broken(tt.code, tt.fails)
			if cleanup != "" {
				w.fails[cleanup] = broken(plan.CodeBug, cleanup)
			}
			held, err := w.run(t, t.Context(), samplePlan())
			if held != nil || plan.CodeOf(err) != tt.code {
				t.Errorf("%s: %v", tt.fails, err)
			}
			problems(t, err)
			shred := "shred"
			if cleanup == "shred" {
				shred = "shred, shred" // what was in the way may have passed
			}
			w.want(t, strings.Split("prepare, open, target, "+tt.before+", "+shred+", revoke", ", ")...)
			if cleanup != "" && !strings.Contains(w.log.String(), cleanup+": broken") {
				t.Errorf("nobody is told that %s failed", cleanup)
			}
		}
	}
}

func TestRenderFailureLeavesNothing(t *testing.T) {
	w := newWorld()
	p := samplePlan()
	p.Files = append(p.Files, template("bad", `{{ with secret "app" }}{{ .Data.none }}{{ .Data.pw }}{{ end }}`), file("none", "app#none"))
	_, err := w.run(t, t.Context(), p)
	if ps := problems(t, err); len(ps) != 2 || ps[0].Code != plan.CodeMissing || ps[1].Code != plan.CodeMissing {
		t.Errorf("%v", err)
	}
	w.want(t, "prepare", "open", "target", "login", "read app", "read tls", "shred", "revoke")
}

func TestStageProblemSaysWhere(t *testing.T) {
	w := newWorld()
	w.fails["stage pw"] = broken(plan.CodeIO, "no space")
	_, err := w.run(t, t.Context(), samplePlan())
	if got := err.Error(); got != "no space: broken (declared at test.yaml: pw)" {
		t.Errorf("%s", got)
	}
}

// TestSignal: a cancelled context ends a job wherever it is, and its cause is
// the error.
func TestSignal(t *testing.T) {
	signal := errors.New("signal terminated")
	for _, when := range []string{"login", "read app", "stage pw", "stage tls/key"} {
		w := newWorld()
		ctx, cancel := context.WithCancelCause(t.Context())
		w.during = func(_ context.Context, e string) {
			if e == when {
				cancel(signal)
			}
		}
		_, err := w.run(t, ctx, samplePlan())
		if !errors.Is(err, signal) {
			t.Errorf("at %s: %v", when, err)
		}
		if n := len(w.events); n < 2 || w.events[n-2] != "shred" || w.events[n-1] != "revoke" || strings.Contains(strings.Join(w.events, " "), "commit") {
			t.Errorf("at %s: %q", when, w.events)
		}
	}
}

// TestDeadline: it is a problem of its own kind, not "context deadline
// exceeded", and clean-up still happens.
func TestDeadline(t *testing.T) {
	for _, when := range []string{"read app", "stage pw", "stage tls/key"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.during = func(_ context.Context, e string) {
				if e == when {
					<-time.After(61 * time.Second)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := w.run(t, ctx, samplePlan())
			if ps := problems(t, err); ps[0].Code != plan.CodeUnavailable || !strings.Contains(err.Error(), "raise --timeout") {
				t.Errorf("at %s: %v", when, err)
			}
			if n := len(w.events); w.events[n-2] != "shred" || w.events[n-1] != "revoke" {
				t.Errorf("at %s: %q", when, w.events)
			}
		})
	}
}

// TestReadsAreParallel: a hundred independent reads take as long as one where so many
// connections are allowed; by default the client is given 64 at once, and decides.
func TestReadsAreParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var p plan.Plan
		for i := range 100 {
			path := fmt.Sprintf("s%d", i)
			w.secrets[path] = map[string]any{"v": "x"}
			p.Env = append(p.Env, variable(fmt.Sprintf("V%d", i), path+"#v"))
		}
		w.during = func(_ context.Context, e string) {
			if strings.HasPrefix(e, "read ") {
				<-time.After(time.Second)
			}
		}
		for connections, want := range map[int]time.Duration{0: 2 * time.Second, 10: 10 * time.Second, 100: time.Second} {
			if connections > 0 {
				p.Vault.Connections = plan.Set(connections, plan.Origin{})
			}
			start := time.Now()
			held, err := w.run(t, t.Context(), p)
			if err != nil || len(held.Env) != 100 || time.Since(start) != want {
				t.Errorf("%d connections: %v after %v, want %v", connections, err, time.Since(start), want)
			}
			p.Vault.Connections = plan.Setting[int]{}
		}
	})
}
