package bootstrap_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestOddAnswers: whatever a renewal answers, no hot loop comes of it.
func TestOddAnswers(t *testing.T) {
	odd := []struct {
		name      string
		ttl       time.Duration
		renewable bool
	}{
		{"zero", 0, true},
		{"zero and fixed", 0, false},
		{"negative", -time.Hour, true},
		{"a nanosecond", 1, true},
		{"a second", time.Second, true},
		{"a tenth", time.Minute, true},
		{"no longer renewable", 10 * time.Minute, false},
		{"huge", math.MaxInt64, true},
		{"less than nothing", math.MinInt64, false},
	}
	for _, tt := range odd {
		bubble(t, tt.name, func(t *testing.T, w *world, s *server) {
			answers := func(time.Duration) (time.Duration, bool) { return tt.ttl, tt.renewable }
			s.engines["db"] = &engine{kind: "dynamic", ttl: 10 * time.Minute, max: time.Hour, answers: answers}
			s.tokenAs = engine{ttl: 10 * time.Minute, max: time.Hour, answers: answers}
			keep(t, w, s, plan.Plan{Files: []plan.File{file("id", "db#id")}})
			time.Sleep(5 * time.Hour)
			if what, most := s.busiest(); most > 10 {
				t.Errorf("%d requests in a minute: %s", most, what)
			}
		})
	}
}

// TestLostBehindOurBack: a revoked lease or token is replaced.
func TestLostBehindOurBack(t *testing.T) {
	sample := plan.Plan{Files: []plan.File{onChange(file("id", "db#id"), hup()), file("kv", "app#pw")}}
	prepare := func(s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 10 * time.Minute, max: 10 * time.Hour}
		s.engines["app"] = &engine{kind: "kv2", data: map[string]any{"pw": "1"}, version: 1}
		s.tokenAs = engine{ttl: 20 * time.Minute, max: 10 * time.Hour}
	}
	bubble(t, "lease", func(t *testing.T, w *world, s *server) {
		prepare(s)
		k := keep(t, w, s, sample)
		time.Sleep(time.Minute)
		s.revoke(w.read("id"))
		time.Sleep(8 * time.Minute)
		if !s.alive(w.read("id")) || k.list() != "signal HUP" {
			t.Errorf("%s alive %v; %s", w.read("id"), s.alive(w.read("id")), k.list())
		}
		if !strings.Contains(w.logged(), "a lease has ended before its time") {
			t.Error(w.logged())
		}
	})
	bubble(t, "token", func(t *testing.T, w *world, s *server) {
		prepare(s)
		k := keep(t, w, s, sample)
		time.Sleep(time.Minute)
		s.revoke("")
		time.Sleep(8 * time.Minute)
		if !s.alive(w.read("id")) || k.list() != "signal HUP" || s.count("login") != 2 {
			t.Errorf("%s; %s; %d logins", w.read("id"), k.list(), s.count("login"))
		}
	})
	bubble(t, "token, and nobody can log in again", func(t *testing.T, w *world, s *server) {
		prepare(s)
		s.forever = true
		p := sample
		p.OnExpiry = plan.Set(plan.ExpiryStop, plan.Origin{})
		k := keep(t, w, s, p)
		time.Sleep(time.Minute)
		s.revoke("")
		time.Sleep(30 * time.Minute)
		if err := k.stop(); plan.CodeOf(err) != plan.CodeUnavailable || !strings.Contains(err.Error(), "expired") {
			t.Errorf("%v", err)
		}
		if !strings.Contains(w.logged(), "nobody can log in again") {
			t.Error(w.logged())
		}
	})
}

// TestLoginDenied: when the token is gone and nobody lets us in, what hung on it
// expires as anything does.
func TestLoginDenied(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 10 * time.Minute, max: 10 * time.Hour}
		s.tokenAs = engine{ttl: 20 * time.Minute, max: 10 * time.Hour}
		p := plan.Plan{Files: []plan.File{file("id", "db#id")}}
		p.OnExpiry = plan.Set(plan.ExpiryStop, plan.Origin{})
		k := keep(t, w, s, p)
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.token.gone = true
		s.down = func(what string) error {
			if what == "login" {
				return broken(plan.CodeDenied, "login")
			}
			return nil
		}
		s.mu.Unlock()
		time.Sleep(30 * time.Minute)
		if err := k.stop(); plan.CodeOf(err) != plan.CodeUnavailable {
			t.Errorf("it did not stop: %v", err)
		}
		if what, most := s.busiest(); most > 10 {
			t.Errorf("%d requests in a minute: %s", most, what)
		}
	})
}

// TestVaultAway: the last good generation stays, and what fails is tried at most
// ten times a minute.
func TestVaultAway(t *testing.T) {
	away := func(s *server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.down = func(string) error { return broken(plan.CodeUnavailable, "vault") }
	}
	back := func(s *server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.down = func(string) error { return nil }
	}
	prepare := func(s *server) plan.Plan {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 10 * time.Minute, max: time.Hour}
		s.engines["app"] = &engine{kind: "kv2", version: 1, data: map[string]any{"pw": "1"}}
		return plan.Plan{Files: []plan.File{file("id", "db#id"), file("kv", "app#pw")}}
	}
	bubble(t, "for a while", func(t *testing.T, w *world, s *server) {
		keep(t, w, s, prepare(s))
		time.Sleep(2 * time.Minute)
		away(s)
		time.Sleep(7 * time.Minute)
		back(s)
		s.set("app", map[string]any{"pw": "2"})
		time.Sleep(3 * time.Minute)
		if !s.alive(w.read("id")) || w.read("kv") != "2" {
			t.Errorf("%q\n%s", w.files, w.logged())
		}
		if strings.Contains(w.logged(), "level=ERROR") || !strings.Contains(w.logged(), "expires_in=") {
			t.Error(w.logged())
		}
	})
	for _, policy := range []plan.Expiry{plan.ExpiryKeep, plan.ExpiryShred, plan.ExpiryStop} {
		bubble(t, "for too long: "+policy.String(), func(t *testing.T, w *world, s *server) {
			p := prepare(s)
			p.OnExpiry = plan.Set(policy, plan.Origin{})
			k := keep(t, w, s, p)
			time.Sleep(time.Minute)
			away(s)
			time.Sleep(2 * time.Hour)
			if what, most := s.busiest(); most > 10 {
				t.Errorf("%d requests in a minute: %s", most, what)
			}
			if n := strings.Count(w.logged(), "msg=expired"); n != 1 {
				t.Errorf("said %d times that it expired", n)
			}
			if shredded := w.count("retract"); shredded != map[plan.Expiry]int{plan.ExpiryShred: 1}[policy] {
				t.Errorf("shredded %d times", shredded)
			}
			if policy == plan.ExpiryStop {
				if err := k.stop(); plan.CodeOf(err) != plan.CodeUnavailable {
					t.Errorf("%v", err)
				}
				return
			}
			back(s)
			time.Sleep(2 * time.Minute)
			if !s.alive(w.read("id")) || w.count("commit") != 1 {
				t.Errorf("not delivered again: %q", w.events)
			}
		})
	}
}

// TestNotMade: a generation that cannot be made leaves the one before, and the
// credential that was got for it is used in the end.
func TestNotMade(t *testing.T) {
	bubble(t, "missing field", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 10 * time.Minute, max: 20 * time.Minute}
		s.engines["app"] = &engine{kind: "kv2", version: 1, data: map[string]any{"pw": "1"}}
		both := `{{ with secret "app" }}{{ .Data.data.pw }}{{ end }} {{ with secret "db" }}{{ .Data.id }}{{ end }}`
		keep(t, w, s, plan.Plan{Files: []plan.File{template("f", both)}})
		before := w.read("f")
		s.set("app", map[string]any{"other": "2"})
		time.Sleep(15 * time.Minute)
		if w.read("f") != before || !strings.Contains(w.logged(), "could not be seen to") {
			t.Errorf("%q", w.read("f"))
		}
		s.set("app", map[string]any{"pw": "3"})
		time.Sleep(10 * time.Minute)
		if f := w.read("f"); !strings.HasPrefix(f, "3 lease") || !s.alive(f[2:]) {
			t.Errorf("%q\n%s", f, w.logged())
		}
		if n := s.count("read db"); n > 3 {
			t.Errorf("%d credentials were made", n)
		}
	})
	bubble(t, "full disk", func(t *testing.T, w *world, s *server) {
		s.engines["app"] = &engine{kind: "kv1", data: map[string]any{"pw": "1"}}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("f", "app#pw")}})
		w.mu.Lock()
		w.fails["stage f"] = broken(plan.CodeIO, "disk")
		w.mu.Unlock()
		s.set("app", map[string]any{"pw": "2"})
		time.Sleep(10 * time.Minute)
		if w.count("discard") == 0 || w.count("commit") != 0 {
			t.Errorf("%q", w.events)
		}
		w.mu.Lock()
		delete(w.fails, "stage f")
		w.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if w.count("commit") != 1 || w.read("f") != "2" {
			t.Errorf("%q", w.events)
		}
	})
	bubble(t, "deleted", func(t *testing.T, w *world, s *server) {
		s.engines["app"] = &engine{kind: "kv1", data: map[string]any{"pw": "1"}}
		optional := file("o", "app#pw")
		optional.Optional = true
		keep(t, w, s, plan.Plan{Files: []plan.File{file("f", "app#pw")}, Env: nil})
		s.mu.Lock()
		s.engines["app"].kind = "missing"
		s.mu.Unlock()
		time.Sleep(time.Hour)
		if w.read("f") != "1" || w.count("commit") != 0 {
			t.Errorf("%q", w.events)
		}
	})
}

// TestStuckRotation: a static role that Vault does not manage to rotate is asked
// about with patience, is not expired, as its password still is the one, and the
// new one is there once it is.
func TestStuckRotation(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *world, s *server) {
		e := &engine{kind: "static", ttl: time.Minute, rotatedAt: time.Now()}
		s.engines["role"] = e
		p := plan.Plan{Files: []plan.File{file("pw", "role#password")}}
		p.OnExpiry = plan.Set(plan.ExpiryStop, plan.Origin{})
		k := keep(t, w, s, p)
		s.mu.Lock()
		e.stuck = true
		s.mu.Unlock()
		time.Sleep(30 * time.Minute)
		if what, most := s.busiest(); most > 10 {
			t.Errorf("%d requests in a minute: %s", most, what)
		}
		s.mu.Lock()
		e.stuck = false
		s.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if pw := w.read("pw"); pw != "pw31" && pw != "pw32" {
			t.Errorf("%q", pw)
		}
		if err := k.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestLeaseOfTheTokenBefore: a lease that was asked for with the token before is
// not kept when another login came in between: it ends with that token.
func TestLeaseOfTheTokenBefore(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 100 * time.Second, max: 200 * time.Second, fixed: true}
		s.tokenAs = engine{ttl: 100 * time.Second, max: 100 * time.Second, fixed: true}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("id", "db#id")}})
		s.mu.Lock()
		s.slow = map[string]time.Duration{"db": 6 * time.Second}
		s.mu.Unlock()
		for range 4000 {
			time.Sleep(time.Second)
			if id := w.read("id"); !s.alive(id) {
				t.Fatalf("%s is delivered and has ended\n%s", id, w.logged())
			}
		}
	})
}

// TestSilentServer: a request that is never answered is given up in time for
// another one.
func TestSilentServer(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: 20 * time.Second, max: time.Hour, fixed: true}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("id", "db#id")}})
		s.mu.Lock()
		s.slow = map[string]time.Duration{"db": time.Hour}
		s.mu.Unlock()
		for s.count("read db") < 2 {
			time.Sleep(100 * time.Millisecond)
		}
		s.mu.Lock()
		s.slow = nil
		s.mu.Unlock()
		for range 20 {
			time.Sleep(time.Second)
			if id := w.read("id"); !s.alive(id) {
				t.Fatalf("%s is delivered and has ended\n%s", id, w.logged())
			}
		}
	})
}
