package vault

import (
	"net/http"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestElse: the next path is tried where there is nothing for us, and nowhere
// else; the error names all that was tried.
func TestElse(t *testing.T) {
	type reply struct {
		status int
		body   string
	}
	missing, denied, token := reply{404, missingAnswer}, reply{403, deniedAnswer}, reply{403, badToken}
	nowhere, good := reply{404, noHandler}, reply{200, `{"data":{"pw":"` + canary + `"}}`}
	tests := []struct {
		name    string
		a, b, c reply
		code    plan.Code
		want    string // of the error
		asked   int
	}{
		{"the first", good, missing, missing, 0, "", 1},
		{"the second after missing", missing, good, missing, 0, "", 2},
		{"the second after denied", denied, good, missing, 0, "", 2},
		{"the third after no engine", nowhere, denied, good, 0, "", 3},
		{"all missing", missing, missing, missing, plan.CodeMissing, "secret a/x: there is no such secret; also tried: b/x (there is no such secret), c/x (there is no such secret)", 3},
		{"missing says more", denied, missing, nowhere, plan.CodeMissing, "secret b/x: there is no such secret; also tried: a/x (permission denied), c/x (no secrets engine is mounted there)", 3},
		{"denied says more", nowhere, denied, nowhere, plan.CodeDenied, `secret b/x: permission denied; also tried: a/x (no secrets engine is mounted there), c/x (no secrets engine is mounted there)`, 3},
		{"not after a refused token", token, good, good, plan.CodeDenied, "secret a/x", 1},
		{"not after nonsense", reply{200, "nonsense"}, good, good, plan.CodeProtocol, "", 1},
		{"nor in the middle", missing, token, good, plan.CodeDenied, "secret b/x", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			replies := map[string]reply{"/v1/a/x": tt.a, "/v1/b/x": tt.b, "/v1/c/x": tt.c}
			c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				answer := replies[r.URL.Path]
				refuse(w, answer.status, answer.body)
			}, nil)
			r := plan.Read{Path: "a/x", Else: []string{"b/x", "/c/x"}, KV: plan.KVLiteral, Origin: plan.Origin{At: "here"}}
			got, err := c.Generation()(t.Context(), r, nil)
			s.noCanary(t, err)
			if s.count() != tt.asked {
				t.Errorf("asked %q", s.all())
			}
			if tt.code == 0 {
				if err != nil || got.Data.Reveal()["pw"] != canary {
					t.Errorf("%v", err)
				}
				return
			}
			if plan.CodeOf(err) != tt.code || !strings.HasPrefix(err.Error(), tt.want) || !strings.Contains(err.Error(), "here") {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestElseIsReadOnce: a path that two declarations may mean is one request.
func TestElseIsReadOnce(t *testing.T) {
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/b/x" {
			refuse(w, 200, `{"data":{"pw":"1"}}`)
			return
		}
		refuse(w, 404, missingAnswer)
	}, nil)
	get := c.Generation()
	for _, r := range []plan.Read{{Path: "a/x", Else: []string{"b/x"}}, {Path: "b/x"}, {Path: "c/x", Else: []string{"a/x", "b/x"}}} {
		r.KV = plan.KVLiteral
		if _, err := get(t.Context(), r, nil); err != nil {
			t.Error(err)
		}
	}
	if s.count() != 3 {
		t.Errorf("asked %q", s.all())
	}
}

// TestElseWithMounts: each path has the versions of its own mount.
func TestElseWithMounts(t *testing.T) {
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/old/x" {
			refuse(w, 200, `{"data":{"pw":"1"}}`)
			return
		}
		refuse(w, 404, missingAnswer)
	}, func(o *Options) { o.Vault.KV["old"] = plan.KV1 })
	if _, err := c.Generation()(t.Context(), plan.Read{Path: "secret/x", Else: []string{"old/x"}}, nil); err != nil {
		t.Error(err)
	}
	if got := strings.Join(s.all(), ", "); got != "GET secret/data/x, GET old/x" {
		t.Errorf("asked %s", got)
	}
}

func TestDevElse(t *testing.T) {
	d, err := devFile(t, devText, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	get := d.Generation()
	if s, err := get(t.Context(), plan.Read{Path: "secret/data/none", Else: []string{"kv1/old"}}, nil); err != nil || s.Data.Reveal()["user"] != "u" {
		t.Errorf("%v", err)
	}
	_, err = get(t.Context(), plan.Read{Path: "secret/data/none", Else: []string{"kv1/none"}}, nil)
	if plan.CodeOf(err) != plan.CodeMissing || !strings.Contains(err.Error(), "also tried: kv1/none") {
		t.Errorf("%v", err)
	}
	if d.Token().Len() != 0 {
		t.Error("a dev file has a token")
	}
}

// TestTokenIsACopy: whoever wipes what was delivered leaves ours alone.
func TestTokenIsACopy(t *testing.T) {
	c, _ := inMemory(t, always(200, kvAnswer), nil)
	got := c.Token()
	if string(got.Reveal()) != canary+"-VAULT_TOKEN" {
		t.Error("another token")
	}
	got.Wipe()
	if again := c.Token(); string(again.Reveal()) != canary+"-VAULT_TOKEN" {
		t.Error("our own token was wiped")
	}
}
