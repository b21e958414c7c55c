package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// says is an answer: a status and a body.
type says struct {
	status int
	body   string
}

// fresh is a server for a client that lives long. Each login gives another
// token, and each read of a dynamic secret another lease.
type fresh struct {
	auth string          // the members of a login's auth beside the token
	says map[string]says // what is answered otherwise, by method and path

	mu     sync.Mutex
	logins int
	sent   []string // of what a test looks at: token, path and lease
	bodies map[string]map[string]any
}

const serviceAuth = `"lease_duration":60,"renewable":true,"token_type":"service"`

func (f *fresh) answer(n int, w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	body := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&body)
	if f.bodies == nil {
		f.bodies = map[string]map[string]any{}
	}
	f.bodies[path] = body
	if strings.Contains(path, "revoke") {
		id, _ := body["lease_id"].(string)
		f.sent = append(f.sent, strings.TrimSpace(r.Header.Get(headerToken)+" "+path+" "+id))
	}
	if s, ok := f.says[r.Method+" "+path]; ok {
		refuse(w, s.status, s.body)
		return
	}
	switch {
	case strings.HasSuffix(path, "/login"):
		f.logins++
		auth := f.auth
		if auth == "" {
			auth = serviceAuth
		}
		_, _ = fmt.Fprintf(w, `{"request_id":"login-%d","auth":{"client_token":"%s-%d","accessor":"acc-%d",%s}}`, f.logins, canary, f.logins, f.logins, auth)
	case strings.HasPrefix(path, "database/"):
		_, _ = fmt.Fprintf(w, `{"request_id":"id-%d","lease_id":"%s/%d","lease_duration":3600,"renewable":true,"data":{"password":"%s"}}`, n, path, n, canary)
	case strings.Contains(path, "revoke"):
		w.WriteHeader(http.StatusNoContent)
	default:
		_, _ = io.WriteString(w, kvAnswer)
	}
}

func (f *fresh) say(path string, status int, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.says == nil {
		f.says = map[string]says{}
	}
	f.says[path] = says{status, body}
}

// loggedIn gives a client of f that has logged in by AppRole, or with a given token.
func (f *fresh) loggedIn(t *testing.T, change func(*Options)) (*Client, *seen) {
	t.Helper()
	c, s, err := logIn(t, f.answer, change)
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// dynamic reads a dynamic secret, and gives its lease.
func dynamic(t *testing.T, c *Client, path string) string {
	t.Helper()
	got, err := c.Attempt()(t.Context(), plan.Read{Path: path, KV: plan.KVLiteral}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got.LeaseID
}

// TestAttemptTriesOnce: what may pass is an error at once, and says how long the
// server wants us to wait.
func TestAttemptTriesOnce(t *testing.T) {
	for _, tt := range statuses {
		for says, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "99999": time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "lookup-self") {
						_, _ = io.WriteString(w, `{"data":{"ttl":60}}`)
						return
					}
					w.Header().Set("Retry-After", says)
					refuse(w, tt.status, echo)
				}, nil)
				start, requests := time.Now(), 1
				_, err := c.Attempt()(t.Context(), plan.Read{Path: "secret/app"}, nil)
				problem(t, err, tt.code, tt.why)
				if tt.code == plan.CodeDenied { // it is asked whether the token is to blame
					requests = 2
				}
				if !tt.passing {
					want = 0
				}
				wait, ok := RetryAfter(err)
				if wait != want || ok != (want > 0) || s.count() != requests || time.Since(start) != 0 {
					t.Errorf("%d %q: wait %v %v, %d requests in %v", tt.status, says, wait, ok, s.count(), time.Since(start))
				}
				s.noCanary(t, err)
			})
		}
	}
	if d, ok := RetryAfter(io.EOF); ok || d != 0 {
		t.Error("a foreign error has a wish")
	}
}

// TestAttemptAfterLogin: a node that lacks what the login wrote is told what it
// has to have seen, and its refusal is an error at once.
func TestAttemptAfterLogin(t *testing.T) {
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/login") {
			w.Header().Set(headerIndex, "index-2")
			_, _ = io.WriteString(w, loginAnswer)
			return
		}
		if r.Header.Get(headerIndex) != "index-2" || r.Header.Get(headerInconsistent) != "forward-active-node" {
			t.Errorf("headers %v", r.Header)
		}
		refuse(w, http.StatusPreconditionFailed, missingAnswer)
	}, appRoleOptions)
	if err := errors.Join(c.Login(t.Context()), c.Relogin(t.Context())); err != nil {
		t.Fatal(err)
	}
	_, err := c.Attempt()(t.Context(), plan.Read{Path: "secret/app"}, nil)
	problem(t, err, plan.CodeUnavailable, "this node cannot serve the request yet (status 412)")
	_, err = c.RenewToken(t.Context(), time.Minute)
	problem(t, err, plan.CodeUnavailable, "renew our token: this node cannot serve the request yet (status 412)")
	if s.count() != 4 {
		t.Errorf("requests %q", s.all())
	}
}

// TestTokenLost: which refusals are the token's. An older server has the same
// words for a token and for a policy, so it is asked, at most once.
func TestTokenLost(t *testing.T) {
	const lookup = "GET auth/token/lookup-self"
	good := says{200, `{"data":{"ttl":60,"expire_time":"2026-01-01T00:00:00Z"}}`}
	tests := []struct {
		name     string
		read     string
		lookups  []says // one for each of the reads
		lost     []bool
		requests int
	}{
		{"it says so", badToken, []says{{}}, []bool{true}, 1},
		{"it says so otherwise", `{"errors":["bad token"]}`, []says{{}}, []bool{true}, 1},
		{"the policy", deniedAnswer, []says{good}, []bool{false}, 2},
		{"lookup says so", deniedAnswer, []says{{403, badToken}}, []bool{true}, 2},
		{"nobody says", deniedAnswer, []says{{403, deniedAnswer}}, []bool{true}, 2},
		{"it was good a moment ago", deniedAnswer, []says{good, {403, deniedAnswer}}, []bool{false, false}, 3},
		{"lookup is away", deniedAnswer, []says{{503, ""}, {503, ""}}, []bool{false, false}, 4},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{}
			c, s := f.loggedIn(t, appRoleOptions)
			f.say("GET secret/data/app", 403, tt.read)
			for i, l := range tt.lookups {
				f.say(lookup, l.status, l.body)
				_, err := c.Attempt()(t.Context(), plan.Read{Path: "secret/app"}, nil)
				problem(t, err, plan.CodeDenied, "secret secret/data/app: ")
				if errors.Is(err, ErrTokenLost) != tt.lost[i] || tokenRefused(err) != tt.lost[i] {
					t.Errorf("%s: lost is not %v: %v", tt.name, tt.lost[i], err)
				}
				if _, err := c.TokenLease(t.Context()); errors.Is(err, ErrTokenLost) != tt.lost[i] {
					t.Errorf("%s: the lease of the token: %v", tt.name, err)
				}
			}
			if s.count() != 1+tt.requests {
				t.Errorf("%s: requests %q", tt.name, s.all())
			}
		})
	}
}

// TestLostIsNotBelievedTwice: where the policy does not allow to ask, a refusal
// is taken for a lost token once. When the new token is refused as well, it was
// the policy.
func TestLostIsNotBelievedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fresh{}
		c, s := f.loggedIn(t, appRoleOptions)
		f.say("GET secret/data/app", 403, deniedAnswer)
		f.say("GET auth/token/lookup-self", 403, deniedAnswer)
		for i, lost := range []bool{true, false, false} {
			_, err := c.Attempt()(t.Context(), plan.Read{Path: "secret/app"}, nil)
			if errors.Is(err, ErrTokenLost) != lost {
				t.Errorf("%d: %v", i, err)
			}
			if lost {
				if err := c.Relogin(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(trusted)
		}
		if s.count() != 2+6 {
			t.Errorf("requests %q", s.all())
		}
	})
}

// TestOutspokenServer: one that names mount types, or has told a token's refusal
// from a path's before, is not asked which of the two it means.
func TestOutspokenServer(t *testing.T) {
	f := &fresh{}
	c, s := f.loggedIn(t, appRoleOptions)
	read := func(path string) error {
		_, err := c.Attempt()(t.Context(), plan.Read{Path: path}, nil)
		return err
	}
	f.say("GET secret/data/app", 403, badToken)
	f.say("GET secret/data/denied", 403, deniedAnswer)
	if err := read("secret/app"); !errors.Is(err, ErrTokenLost) {
		t.Error(err)
	}
	if err := c.Relogin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := read("secret/denied"); errors.Is(err, ErrTokenLost) || s.count() != 4 {
		t.Errorf("%v, requests %q", err, s.all())
	}
	f = &fresh{auth: serviceAuth + `},"mount_type":"approle","x":{"y":1`}
	c, s = f.loggedIn(t, appRoleOptions)
	f.say("GET secret/data/denied", 403, deniedAnswer)
	if err := read("secret/denied"); errors.Is(err, ErrTokenLost) || s.count() != 2 {
		t.Errorf("%v, requests %q", err, s.all())
	}
}

// TestLostAndFound: a token that a node refused and another takes is not lost.
func TestLostAndFound(t *testing.T) {
	f := &fresh{}
	c, _ := f.loggedIn(t, appRoleOptions)
	f.say("GET secret/data/app", 403, badToken)
	if _, err := c.Attempt()(t.Context(), plan.Read{Path: "secret/app"}, nil); !errors.Is(err, ErrTokenLost) {
		t.Error(err)
	}
	if _, err := c.TokenLease(t.Context()); !errors.Is(err, ErrTokenLost) {
		t.Error(err)
	}
	dynamic(t, c, "database/creds/app")
	if l, err := c.TokenLease(t.Context()); err != nil || l.TTL <= 0 || !c.HasLeases() {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestLostIsAskedOnce: a hundred refusals at once are one question, and a token
// that is good for so many requests only is not spent on it.
func TestLostIsAskedOnce(t *testing.T) {
	for auth, want := range map[string]int{serviceAuth: 1, serviceAuth + `,"num_uses":200`: 0} {
		f := &fresh{auth: auth}
		c, s := f.loggedIn(t, appRoleOptions)
		var wg sync.WaitGroup
		for i := range 100 {
			f.say(fmt.Sprintf("GET secret/data/%d", i), 403, deniedAnswer)
		}
		read := c.Attempt()
		for i := range 100 {
			wg.Go(func() {
				_, err := read(t.Context(), plan.Read{Path: fmt.Sprintf("secret/%d", i)}, nil)
				if plan.CodeOf(err) != plan.CodeDenied || errors.Is(err, ErrTokenLost) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		asked := 0
		for _, r := range s.all() {
			if strings.HasSuffix(r, "lookup-self") {
				asked++
			}
		}
		if asked != want {
			t.Errorf("%s: asked %d times", auth, asked)
		}
	}
}
