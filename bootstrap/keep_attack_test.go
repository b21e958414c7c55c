package bootstrap_test

import (
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestTokensThatAreGoodForNothing: a server that lets us log in and then refuses the
// token is not asked in a circle.
func TestTokensThatAreGoodForNothing(t *testing.T) {
	for _, what := range []string{"read", "version", "renew", "token's lease"} {
		bubble(t, "for "+what, func(t *testing.T, w *world, s *server) {
			s.engines["db"] = &engine{kind: "dynamic", ttl: 10 * time.Minute, max: time.Hour}
			s.engines["app"] = &engine{kind: "kv2", version: 1, data: map[string]any{"pw": "1"}}
			s.tokenAs = engine{ttl: 20 * time.Minute, max: 10 * time.Hour}
			keep(t, w, s, plan.Plan{Files: []plan.File{file("id", "db#id"), file("kv", "app#pw")}})
			time.Sleep(time.Second)
			s.mu.Lock()
			s.down = func(asked string) error {
				if strings.HasPrefix(asked, what) {
					return tokenGone()
				}
				return nil
			}
			s.mu.Unlock()
			time.Sleep(time.Hour)
			if what, most := s.busiest(); most > 10 {
				t.Errorf("%d requests in a minute: %s", most, what)
			}
		})
	}
}

// TestTokenThatSaysNothing: a token that may not look itself up is not asked again
// and again.
func TestTokenThatSaysNothing(t *testing.T) {
	bubble(t, "denied", func(t *testing.T, w *world, s *server) {
		s.engines["app"] = &engine{kind: "kv2", version: 1, data: map[string]any{"pw": "1"}}
		s.down = func(asked string) error {
			if asked == "token's lease" {
				return broken(plan.CodeDenied, "look our token up")
			}
			return nil
		}
		keep(t, w, s, plan.Plan{Files: []plan.File{file("kv", "app#pw")}})
		time.Sleep(time.Hour)
		if n := s.count("token's lease"); n != 1 || s.count("login") != 1 {
			t.Errorf("asked %d times, %d logins", n, s.count("login"))
		}
	})
}

// TestTokenLostOftenIsReplacedSoon: tokens that did their work are replaced soon
// after they are lost, however often that happens.
func TestTokenLostOftenIsReplacedSoon(t *testing.T) {
	bubble(t, "one", func(t *testing.T, w *world, s *server) {
		s.engines["app"] = &engine{kind: "kv1", data: map[string]any{"pw": "1"}}
		s.tokenAs = engine{ttl: 30 * time.Second, max: 10 * time.Hour}
		f := file("f", "app#pw")
		f.Refresh.Every = plan.Set(time.Second, f.Origin)
		keep(t, w, s, plan.Plan{Files: []plan.File{f}})
		for i := range 20 {
			time.Sleep(20 * time.Second)
			s.revoke("")
			time.Sleep(9 * time.Second) // a poll notices
			if n := s.count("login"); n != i+2 {
				t.Fatalf("%d logins after %d lost tokens", n, i+1)
			}
		}
	})
}
