package bootstrap_test

import (
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// flapping makes a server refuse what it is asked for, but for every nth time, and
// notes when it did.
func flapping(s *server, nth int) (most func() int) {
	asked, refused := map[string]int{}, map[string][]time.Time{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = func(what string) error {
		if asked[what]++; asked[what]%nth == 0 {
			return nil
		}
		refused[what] = append(refused[what], time.Now())
		return broken(plan.CodeUnavailable, "vault")
	}
	return func() (most int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, times := range refused {
			for i := range times {
				n := 0
				for n+i < len(times) && times[i+n].Sub(times[i]) < time.Minute-time.Second {
					n++
				}
				most = max(most, n)
			}
		}
		return most
	}
}

// TestFlapping: what works now and then is not asked more often, while it fails, than
// what never works; and it is kept all the same.
func TestFlapping(t *testing.T) {
	for _, nth := range []int{2, 3, 5} {
		bubble(t, "", func(t *testing.T, w *world, s *server) {
			s.engines["db"] = &engine{kind: "dynamic", ttl: 2 * time.Minute, max: 10 * time.Minute}
			s.engines["app"] = &engine{kind: "kv1", data: map[string]any{"pw": "1"}}
			s.tokenAs = engine{ttl: 2 * time.Minute, max: 20 * time.Minute}
			p := plan.Plan{Files: []plan.File{file("id", "db#id"), file("kv", "app#pw")}}
			p.Refresh.Every = plan.Set(time.Second, plan.Origin{})
			p.OnExpiry = plan.Set(plan.ExpiryKeep, plan.Origin{})
			keep(t, w, s, p)
			most := flapping(s, nth)
			time.Sleep(2 * time.Hour)
			if n := most(); n > 10 || n < 3 {
				t.Errorf("every %d works: %d tries that failed in a minute", nth, n)
			}
			s.mu.Lock()
			s.down = func(string) error { return nil }
			s.mu.Unlock()
			s.set("app", map[string]any{"pw": "2"})
			time.Sleep(2 * time.Minute)
			if !s.alive(w.read("id")) || w.read("kv") != "2" {
				t.Errorf("%q", w.files)
			}
		})
	}
}

// TestLostAllTheTime: a lease that has always ended when it is to be renewed is not
// asked for in a circle.
func TestLostAllTheTime(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *world, s *server) {
		s.engines["db"] = &engine{kind: "dynamic", ttl: time.Second, max: time.Hour}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("id", "db#id")}})
		for range 36_000 {
			time.Sleep(100 * time.Millisecond)
			if id := w.read("id"); id != "" {
				s.revoke(id)
			}
		}
		if what, most := s.busiest(); most > 10 {
			t.Errorf("%d requests in a minute: %s", most, what)
		}
	})
}

// TestLateRotation: a static role that Vault rotates late is stale for as long as
// Vault takes and a few seconds, and nobody is warned of what is usual.
func TestLateRotation(t *testing.T) {
	for _, late := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 4 * time.Second, 5 * time.Second} {
		bubble(t, late.String(), func(t *testing.T, w *world, s *server) {
			e := &engine{kind: "static", ttl: time.Minute, rotatedAt: time.Now()}
			s.engines["role"] = e
			keep(t, w, s, plan.Plan{Files: []plan.File{file("pw", "role#password")}})
			time.Sleep(59 * time.Second)
			s.mu.Lock()
			e.stuck = true
			s.mu.Unlock()
			time.Sleep(time.Second + late)
			s.mu.Lock()
			e.stuck, e.rotatedAt = false, e.rotatedAt.Add(late)
			s.mu.Unlock()
			began := time.Now()
			for w.read("pw") != "pw1" && time.Since(began) < time.Minute {
				time.Sleep(10 * time.Millisecond)
			}
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("stale for %v", d)
			}
			if strings.Contains(w.logged(), "level=WARN") {
				t.Error(w.logged())
			}
		})
	}
}
