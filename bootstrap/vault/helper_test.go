package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// canary is in every secret, token and body of these tests, and must be in no
// error and no log.
const canary = "CANARY-s3cr3t"

// kvAnswer is a good answer to a read of KV version 2.
const kvAnswer = `{"request_id":"r","data":{"data":{"pw":"` + canary + `"},"metadata":{"created_time":"2026-01-01T00:00:00Z","version":3}}}`

// loginAnswer is a good answer to a login.
const loginAnswer = `{"auth":{"client_token":"` + canary + `-token","accessor":"acc","policies":["p"],"lease_duration":60,"token_type":"service"}}`

// Refusals as Vault words them.
const (
	deniedAnswer  = `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`
	missingAnswer = `{"errors":[]}`
	badToken      = `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`
	noHandler     = `{"errors":["no handler for route \"` + canary + `\". route entry not found."]}`
)

// refuse answers with an error status and a body. Where Vault itself would say
// that it cannot now, no body stands for its usual one.
func refuse(w http.ResponseWriter, status int, body string) {
	if body == "" && status >= http.StatusTooManyRequests {
		body = missingAnswer
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// seen is a server's book of requests, and the log of the client.
type seen struct {
	mu       sync.Mutex
	requests []string // METHOD path
	log      strings.Builder
}

func (s *seen) note(r *http.Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1/"))
	return len(s.requests)
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func (s *seen) count() int { return len(s.all()) }

func (s *seen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *seen) noCanary(t *testing.T, err error) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, text := range []string{e.Error(), fmt.Sprintf("%+v %#v", e, e)} {
			var p *plan.Problem
			if errors.As(e, &p) && strings.Contains(e.Error(), canary) {
				t.Errorf("the error holds the canary: %s", text)
			}
		}
	}
	if strings.Contains(s.log.String(), canary) {
		t.Errorf("the log holds the canary: %s", s.log.String())
	}
}

// handler answers the n-th request, counted from 1.
type handler func(n int, w http.ResponseWriter, r *http.Request)

// prepare makes a client for an address, logged in with a given token. change
// may be nil.
func prepare(t *testing.T, s *seen, address string, change func(*Options)) *Client {
	t.Helper()
	o := Options{
		Vault:   plan.Vault{Address: plan.Set(address, plan.Origin{At: "here"}), KV: map[string]plan.KVRule{"secret": plan.KV2}},
		Login:   plan.Login{Inputs: map[string]plan.Handle{"token": {Kind: plan.HandleEnv, Name: "VAULT_TOKEN"}}},
		Resolve: func(h plan.Handle) ([]byte, error) { return []byte(canary + "-" + h.Name), nil },
		Log:     logTo(s),
	}
	if change != nil {
		change(&o)
	}
	c, err := Prepare(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, given := c.login.(*tokenLogin); given {
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// logTo gives a log that is kept whole.
func logTo(s *seen) *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// appRoleOptions makes the login one by AppRole.
func appRoleOptions(o *Options) {
	o.Login.Inputs = map[string]plan.Handle{
		"role_id": {Kind: plan.HandleEnv, Name: "VAULT_ROLE_ID"}, "secret_id": {Kind: plan.HandleEnv, Name: "VAULT_SECRET_ID"},
	}
}

// variables are login inputs, each in a variable with its name in capitals.
func variables(names ...string) map[string]plan.Handle {
	inputs := map[string]plan.Handle{}
	for _, name := range names {
		inputs[name] = plan.Handle{Kind: plan.HandleEnv, Name: strings.ToUpper(name)}
	}
	return inputs
}

// serve gives h a real listener, and its address.
func serve(t *testing.T, s *seen, h handler) string {
	t.Helper()
	server := httptest.NewServer(asVault(s, h))
	t.Cleanup(server.Close)
	return server.URL
}

// asVault notes each request and says, as Vault does, that the answer is JSON.
func asVault(s *seen, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		h(s.note(r), w, r)
	}
}

// overNetwork serves h at a real listener.
func overNetwork(t *testing.T, h handler) (*Client, *seen) {
	t.Helper()
	s := &seen{}
	return prepare(t, s, serve(t, s, h), nil), s
}

// inMemory serves h without a network, so that it can be used with a clock of
// its own (testing/synctest).
func inMemory(t *testing.T, h handler, change func(*Options)) (*Client, *seen) {
	t.Helper()
	s := &seen{}
	c := prepare(t, s, "http://vault.test:8200", change)
	c.http = memory{asVault(s, h)}
	return c, s
}

type memory struct{ serve http.HandlerFunc }

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.WroteHeaders != nil {
		trace.WroteHeaders()
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	m.serve(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// always is a handler that always says the same.
func always(status int, body string) handler {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { refuse(w, status, body) }
}

// read does one read in a generation of its own.
func read(ctx context.Context, c *Client, path string) (secret.Secret, error) {
	return c.Generation()(ctx, plan.Read{Path: path, Origin: plan.Origin{At: "file", Key: "key"}}, nil)
}

// problem checks that err is a Problem with a code and a text in it.
func problem(t *testing.T, err error, code plan.Code, text string) {
	t.Helper()
	if err == nil || plan.CodeOf(err) != code || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v (code %d), want code %d and %q", err, plan.CodeOf(err), code, text)
	}
}
