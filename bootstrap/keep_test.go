package bootstrap_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// bubble runs a test by a clock that stands still while anything runs.
func bubble(t *testing.T, name string, f func(t *testing.T, w *world, s *server)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			f(t, w, newServer(w))
		})
	})
}

func onChange(f plan.File, a plan.Action) plan.File {
	f.Refresh.OnChange = plan.Set(a, f.Origin)
	return f
}

func hup() plan.Action { return plan.Action{Kind: plan.ActionSignal, Signal: "HUP"} }

// TestCredentialsAlwaysWork: what is delivered is alive at every second of three
// hours, and no request is made more often than it has to be.
func TestCredentialsAlwaysWork(t *testing.T) {
	const hours = 3 * time.Hour
	tests := []struct {
		name   string
		lease  engine
		token  engine
		events int // at most so many requests for one thing in a minute
	}{
		{"renewed to the max TTL", engine{ttl: 10 * time.Minute, max: time.Hour}, engine{}, 1},
		{"not renewable", engine{ttl: 10 * time.Minute, max: time.Hour, fixed: true}, engine{}, 1},
		{"short", engine{ttl: 30 * time.Second, max: 2 * time.Minute}, engine{}, 5},
		{"a token that is renewed", engine{ttl: 10 * time.Minute, max: 20 * time.Hour}, engine{ttl: 5 * time.Minute, max: 20 * time.Hour}, 1},
		{"a token with a max TTL", engine{ttl: 10 * time.Minute, max: 20 * time.Hour}, engine{ttl: 5 * time.Minute, max: 12 * time.Minute}, 2},
		{"a batch token", engine{ttl: 10 * time.Minute, max: 20 * time.Hour}, engine{ttl: 5 * time.Minute, fixed: true}, 2},
	}
	for _, tt := range tests {
		bubble(t, tt.name, func(t *testing.T, w *world, s *server) {
			tt.lease.kind = "dynamic"
			s.engines["db"], s.tokenAs = &tt.lease, tt.token
			k := keep(t, w, s, plan.Plan{Files: []plan.File{onChange(file("id", "db#id"), hup())}})
			for start := time.Now(); time.Since(start) < hours; time.Sleep(time.Second) {
				if !s.alive(w.read("id")) {
					t.Fatalf("after %v: %q is not alive", time.Since(start), w.read("id"))
				}
			}
			if what, most := s.busiest(); most > tt.events {
				t.Errorf("%d requests in a minute: %s", most, what)
			}
			if switches := w.count("commit"); switches == 0 && tt.lease.max < hours || strings.Count(k.list(), "signal") != switches {
				t.Errorf("%d switches, %s", switches, k.list())
			}
		})
	}
}

// TestRenewalsAreFew counts them for a lease of a minute and a long max TTL.
func TestRenewalsAreFew(t *testing.T) {
	bubble(t, "one", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: time.Minute, max: 24 * time.Hour}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("id", "db#id")}})
		time.Sleep(time.Hour)
		if n := s.count("renew db"); n < 60 || n > 120 {
			t.Errorf("%d renewals in an hour", n)
		}
		if n := s.count("read db"); n != 1 {
			t.Errorf("%d reads", n)
		}
	})
}

// TestPolling: a KV secret is looked at every five minutes, its value is read only
// when its version has moved, and nothing is switched when no byte has changed.
func TestPolling(t *testing.T) {
	sample := plan.Plan{Files: []plan.File{onChange(file("a", "app#pw"), hup()), template("b", `{{ with secret "app" }}x{{ .Data.data.user }}{{ end }}`)}}
	prepare := func(s *server) {
		s.engines["app"] = &engine{kind: "kv2", version: 1, data: map[string]any{"pw": "1", "user": "u"}}
	}
	bubble(t, "unchanged", func(t *testing.T, w *world, s *server) {
		prepare(s)
		k := keep(t, w, s, sample)
		time.Sleep(time.Hour)
		if n := s.count("version app"); n < 10 || n > 12 {
			t.Errorf("looked %d times in an hour", n)
		}
		if s.count("read app") != 1 || w.count("commit") != 0 || w.count("stage a") != 0 || k.list() != "" {
			t.Errorf("%d reads, %q, %s", s.count("read app"), w.events, k.list())
		}
	})
	bubble(t, "changed", func(t *testing.T, w *world, s *server) {
		prepare(s)
		k := keep(t, w, s, sample)
		time.Sleep(time.Minute)
		s.set("app", map[string]any{"pw": "2", "user": "u"})
		time.Sleep(6 * time.Minute)
		if w.read("a") != "2" || w.read("b") != "xu" || w.count("commit") != 1 || k.list() != "signal HUP" {
			t.Errorf("%q, %q, %s", w.files, w.events, k.list())
		}
		time.Sleep(time.Minute)
		if w.count("prune") != 1 {
			t.Error("the generation before was not pruned")
		}
	})
	bubble(t, "written again with the same bytes", func(t *testing.T, w *world, s *server) {
		prepare(s)
		k := keep(t, w, s, sample)
		s.set("app", map[string]any{"pw": "1", "user": "u"})
		time.Sleep(time.Hour)
		if s.count("read app") != 2 || w.count("commit") != 0 || k.list() != "" {
			t.Errorf("%d reads, %q, %s", s.count("read app"), w.events, k.list())
		}
	})
	bubble(t, "only the other file changed", func(t *testing.T, w *world, s *server) {
		prepare(s)
		k := keep(t, w, s, sample)
		s.set("app", map[string]any{"pw": "1", "user": "v"})
		time.Sleep(time.Hour)
		if w.read("b") != "xv" || w.count("commit") != 1 || k.list() != "" {
			t.Errorf("%q, %q, %s", w.files, w.events, k.list())
		}
	})
	bubble(t, "without metadata, and version 1", func(t *testing.T, w *world, s *server) {
		prepare(s)
		s.noMeta = true
		s.engines["old"] = &engine{kind: "kv1", data: map[string]any{"pw": "1"}}
		p := sample
		p.Files = append(p.Files, file("c", "old#pw"))
		keep(t, w, s, p)
		s.set("old", map[string]any{"pw": "2"})
		time.Sleep(time.Hour)
		if n := s.count("read app"); n < 10 || n > 13 || w.read("c") != "2" {
			t.Errorf("%d reads, %q", n, w.files)
		}
	})
	bubble(t, "never", func(t *testing.T, w *world, s *server) {
		prepare(s)
		p := sample
		p.Refresh.Every = plan.Set(time.Duration(0), plan.Origin{})
		keep(t, w, s, p)
		time.Sleep(24 * time.Hour)
		if n := s.count("version app"); n != 0 {
			t.Errorf("looked %d times", n)
		}
	})
}

// TestPollingTouchesNoLease: what would make a credential is not read for its own sake.
func TestPollingTouchesNoLease(t *testing.T) {
	bubble(t, "one", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 20 * time.Hour, max: 100 * time.Hour}
		s.engines["app"] = &engine{kind: "kv1", data: map[string]any{"pw": "1"}}
		p := plan.Plan{Files: []plan.File{template("f", `{{ with secret "db" }}{{ .Data.id }}{{ end }} {{ with secret "app" }}{{ .Data.pw }}{{ end }}`)}}
		keep(t, w, s, p)
		before := w.read("f")
		s.set("app", map[string]any{"pw": "2"})
		time.Sleep(5 * time.Hour)
		if s.count("read db") != 1 || w.read("f") != strings.Replace(before, " 1", " 2", 1) {
			t.Errorf("%d reads, %q", s.count("read db"), w.read("f"))
		}
	})
}

// TestEnds: a certificate and the password of a static role are replaced in time.
func TestEnds(t *testing.T) {
	bubble(t, "certificate", func(t *testing.T, w *world, s *server) {
		s.engines["pki"] = &engine{kind: "cert", ttl: time.Hour}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("c", "pki#certificate"), file("k", "pki#private_key")}})
		time.Sleep(24 * time.Hour)
		if n := s.count("read pki"); n < 27 || n > 34 || w.read("c") != w.read("k") {
			t.Errorf("%d certificates in a day", n)
		}
	})
	bubble(t, "static role", func(t *testing.T, w *world, s *server) {
		s.engines["role"] = &engine{kind: "static", ttl: 10 * time.Minute, rotatedAt: time.Now()}
		k := keep(t, w, s, plan.Plan{Files: []plan.File{onChange(file("pw", "role#password"), hup())}})
		time.Sleep(3 * time.Second) // after the rotations
		for i := range 12 {
			if want := fmt.Sprintf("pw%d", i); w.read("pw") != want {
				t.Fatalf("%q, want %q", w.read("pw"), want)
			}
			time.Sleep(10 * time.Minute)
		}
		if n := strings.Count(k.list(), "signal"); n != 12 {
			t.Errorf("%d signals", n)
		}
	})
}

// TestActions: what follows changes is done once, after the files, with its waits.
func TestActions(t *testing.T) {
	kv := func(s *server, names ...string) {
		for _, name := range names {
			s.engines[name] = &engine{kind: "kv1", data: map[string]any{"v": "1"}}
		}
	}
	exec := plan.Action{Kind: plan.ActionExec, Argv: []string{"reload"}}
	bubble(t, "coalesced and in order", func(t *testing.T, w *world, s *server) {
		kv(s, "a", "b", "c")
		k := keep(t, w, s, plan.Plan{Files: []plan.File{
			onChange(file("a", "a#v"), hup()), onChange(file("b", "b#v"), hup()), onChange(file("c", "c#v"), exec),
		}})
		for _, name := range []string{"a", "b", "c"} {
			s.set(name, map[string]any{"v": "2"})
		}
		time.Sleep(10 * time.Minute)
		if k.list() != "exec reload in /run/secrets; signal HUP" || w.count("commit") != 1 {
			t.Errorf("%s; %q", k.list(), w.events)
		}
	})
	bubble(t, "restart with the new environment", func(t *testing.T, w *world, s *server) {
		kv(s, "a")
		e := variable("A", "a#v")
		e.Refresh.OnChange = plan.Set(plan.Action{Kind: plan.ActionRestart}, e.Origin)
		k := keep(t, w, s, plan.Plan{Env: []plan.Env{e}, Files: []plan.File{onChange(file("a", "a#v"), hup())}})
		s.set("a", map[string]any{"v": "2"})
		time.Sleep(10 * time.Minute)
		if k.list() != "restart" || fmt.Sprint(k.env) != "[A=2]" {
			t.Errorf("%s with %q", k.list(), k.env)
		}
	})
	bubble(t, "a stale environment is told once", func(t *testing.T, w *world, s *server) {
		kv(s, "a")
		k := keep(t, w, s, plan.Plan{Env: []plan.Env{variable("A", "a#v")}})
		for i := range 4 {
			s.set("a", map[string]any{"v": fmt.Sprint(i + 2)})
			time.Sleep(6 * time.Minute)
		}
		if n := strings.Count(w.logged(), "is stale"); n != 1 || k.list() != "" {
			t.Errorf("said %d times; %s", n, k.list())
		}
	})
	bubble(t, "a minimum interval, and a failure", func(t *testing.T, w *world, s *server) {
		kv(s, "a")
		f := onChange(file("a", "a#v"), exec)
		f.Refresh.Every = plan.Set(10*time.Second, f.Origin)
		f.Refresh.MinInterval = plan.Set(5*time.Minute, f.Origin)
		k := keep(t, w, s, plan.Plan{Files: []plan.File{f}})
		k.actor.fails = broken(plan.CodeData, "reload")
		for i := range 60 {
			s.set("a", map[string]any{"v": fmt.Sprint(i + 2)})
			time.Sleep(15 * time.Second)
		}
		if n := strings.Count(k.list(), "exec"); n < 3 || n > 4 || !strings.Contains(w.logged(), "what follows a change failed") {
			t.Errorf("%d times", n)
		}
	})
	bubble(t, "a slow command does not hold what is kept", func(t *testing.T, w *world, s *server) {
		kv(s, "a")
		s.engines["db"] = &engine{kind: "dynamic", ttl: time.Minute, max: 100 * time.Hour}
		k := keep(t, w, s, plan.Plan{Files: []plan.File{onChange(file("a", "a#v"), exec), file("id", "db#id")}})
		k.takes = time.Hour
		s.set("a", map[string]any{"v": "2"})
		time.Sleep(30 * time.Minute)
		if !s.alive(w.read("id")) {
			t.Error("the lease was not renewed")
		}
		time.Sleep(time.Hour)
	})
}

// TestTakeOver: where somebody delivered before, a change is acted on as any other.
func TestTakeOver(t *testing.T) {
	for _, same := range []bool{true, false} {
		bubble(t, fmt.Sprint(same), func(t *testing.T, w *world, s *server) {
			s.engines["a"] = &engine{kind: "kv1", data: map[string]any{"v": "1"}}
			w.inherited, w.adopts = true, same
			k := keep(t, w, s, plan.Plan{Files: []plan.File{onChange(file("a", "a#v"), hup())}})
			time.Sleep(time.Minute)
			if want := map[bool]string{true: "", false: "signal HUP"}[same]; k.list() != want {
				t.Errorf("did %q, want %q", k.list(), want)
			}
		})
	}
}

// TestComputedPathsAreFollowed: what a template stops reading is not kept, and what
// it begins to read is.
func TestComputedPathsAreFollowed(t *testing.T) {
	bubble(t, "one", func(t *testing.T, w *world, s *server) {
		s.engines["which"] = &engine{kind: "kv1", data: map[string]any{"next": "one"}}
		s.engines["one"] = &engine{kind: "kv1", data: map[string]any{"v": "1"}}
		s.engines["two"] = &engine{kind: "kv1", data: map[string]any{"v": "2"}}
		keep(t, w, s, plan.Plan{Files: []plan.File{template("f", `{{ with secret "which" }}{{ with secret .Data.next }}{{ .Data.v }}{{ end }}{{ end }}`)}})
		s.set("which", map[string]any{"next": "two"})
		time.Sleep(20 * time.Minute)
		reads := s.count("read one")
		s.set("two", map[string]any{"v": "3"})
		time.Sleep(20 * time.Minute)
		if w.read("f") != "3" || s.count("read one") != reads {
			t.Errorf("%q; %d and %d reads", w.read("f"), reads, s.count("read one"))
		}
	})
}

// TestKeepEndsAtOnce: also while a command runs.
func TestKeepEndsAtOnce(t *testing.T) {
	bubble(t, "one", func(t *testing.T, w *world, s *server) {
		s.engines["a"] = &engine{kind: "kv1", data: map[string]any{"v": "1"}}
		k := keep(t, w, s, plan.Plan{Files: []plan.File{file("a", "a#v")}})
		time.Sleep(time.Hour)
		before := time.Now()
		if err := k.stop(); err != nil || time.Since(before) > 0 {
			t.Errorf("%v after %v", err, time.Since(before))
		}
		if err := k.held.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if w.count("shred") != 1 || w.count("revoke") != 1 {
			t.Errorf("%q", w.events)
		}
	})
}

// TestNewTokenIsDelivered: a file with the token follows a new login.
func TestNewTokenIsDelivered(t *testing.T) {
	bubble(t, "one", func(t *testing.T, w *world, s *server) {
		s.engines["a"] = &engine{kind: "kv1", data: map[string]any{"v": "1"}}
		s.tokenAs = engine{ttl: 10 * time.Minute, max: 15 * time.Minute}
		f := plan.File{Path: "token", Source: plan.Source{Token: true}, Origin: from("token")}
		keep(t, w, s, plan.Plan{Files: []plan.File{f}})
		for range 60 {
			time.Sleep(time.Minute)
			if !s.alive(w.read("token")) {
				t.Fatalf("%q is not alive", w.read("token"))
			}
		}
		if n := s.count("login"); n < 4 {
			t.Errorf("%d logins", n)
		}
	})
}

// TestExpiryOutlivesASwitch: whoever looks at the folder knows how long it is good,
// also after a switch that had nothing to do with what ends.
func TestExpiryOutlivesASwitch(t *testing.T) {
	bubble(t, "one", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 10 * time.Hour, max: 20 * time.Hour}
		s.engines["app"] = &engine{kind: "kv1", data: map[string]any{"pw": "1"}}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("id", "db#id"), file("kv", "app#pw")}})
		time.Sleep(time.Minute)
		s.set("app", map[string]any{"pw": "2"})
		time.Sleep(6 * time.Minute)
		w.mu.Lock()
		expiry := w.expiry
		w.mu.Unlock()
		if w.count("commit") != 1 || time.Until(expiry) < 9*time.Hour {
			t.Errorf("%d switches; the folder is good until %v", w.count("commit"), expiry)
		}
	})
}
