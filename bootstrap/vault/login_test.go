package vault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestAppRoleLogin(t *testing.T) {
	var body map[string]string
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/login") {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			if r.Header.Get("X-Vault-Token") != "" {
				t.Error("a login with a token")
			}
			_, _ = io.WriteString(w, loginAnswer)
			return
		}
		if r.Header.Get("X-Vault-Token") != canary+"-token" || r.Header.Get("X-Vault-Namespace") != "team/a" {
			t.Errorf("headers %v", r.Header)
		}
		_, _ = io.WriteString(w, kvAnswer)
	}, func(o *Options) {
		appRoleOptions(o)
		o.Login.Mount = plan.Set("/auth/team/roles/", plan.Origin{})
		o.Vault.Namespace = plan.Set("/team/a/", plan.Origin{})
	})
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), c, "secret/app"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"role_id": canary + "-VAULT_ROLE_ID", "secret_id": canary + "-VAULT_SECRET_ID"}
	if !maps.Equal(body, want) {
		t.Errorf("sent %v", body)
	}
	for range 2 {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	got := strings.Join(s.all(), ", ")
	if got != "PUT auth/team/roles/login, GET secret/data/app, PUT auth/token/revoke-self" {
		t.Errorf("requests: %s", got)
	}
	s.noCanary(t, nil)
}

func TestLoginRefused(t *testing.T) {
	tests := []struct {
		status int
		body   string
		code   plan.Code
		want   string
	}{
		{400, `{"errors":["invalid role or secret ID"]}`, plan.CodeDenied, "the role id or the secret id is not valid"},
		{400, `{"errors":["failed to validate credentials: ` + canary + `"]}`, plan.CodeDenied, "the role id or the secret id is not valid"},
		{400, `{"errors":["missing secret_id"]}`, plan.CodeDenied, "the role id or the secret id is not valid"},
		{404, `{"errors":["no handler for route \"auth/x/login\""]}`, plan.CodeDenied, "there is no such login there"},
		{400, `{"errors":["unsupported path"]}`, plan.CodeDenied, "there is no such login there"},
		{403, `{"errors":["permission denied"]}`, plan.CodeDenied, "check vault.auth.mount, VAULT_NAMESPACE, the role, and what it is bound to"},
		{400, echo, plan.CodeDenied, "Vault refused the request (status 400)"},
		{200, `{"data":{}}`, plan.CodeProtocol, "the answer holds no token"},
		{200, `{"auth":null}`, plan.CodeProtocol, "the answer holds no token"},
		{200, `{"auth":{"accessor":"a"}}`, plan.CodeProtocol, "the answer holds no token"},
		{200, `{"auth":{"client_token":"a\nX-Evil: 1"}}`, plan.CodeProtocol, "the answer's token has unprintable characters"},
		{500, echo, plan.CodeUnavailable, "not repeated"},
	}
	for _, tt := range tests {
		c, s := inMemory(t, always(tt.status, tt.body), appRoleOptions)
		err := c.Login(t.Context())
		problem(t, err, tt.code, tt.want)
		s.noCanary(t, err)
		if err := c.Close(t.Context()); err != nil || s.count() != 1 {
			t.Errorf("%v after %d requests: what was not given was revoked", err, s.count())
		}
	}
}

func TestGivenToken(t *testing.T) {
	for token, ok := range map[string]bool{
		"hvs.abc": true, "s.abc": true, "abc\n": false, " abc": false, "a bc": false, "a\tb": false, "a\x00b": false, "tök": false, "a\x7f": false,
	} {
		s := &seen{}
		c, err := Prepare(Options{
			Vault:   plan.Vault{Address: plan.Set("http://vault.test", plan.Origin{})},
			Login:   plan.Login{Inputs: map[string]plan.Handle{"token": {Kind: plan.HandleEnv, Name: "VAULT_TOKEN"}}},
			Resolve: func(plan.Handle) ([]byte, error) { return []byte(token), nil },
			Log:     prepare(t, s, "http://vault.test", nil).log,
		})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Login(t.Context())
		if ok != (err == nil) {
			t.Errorf("%q: %v", token, err)
		}
		if !ok {
			problem(t, err, plan.CodeConfig, "has a space, a line break")
		}
		if err := c.Close(t.Context()); err != nil { // nothing to revoke, nothing sent
			t.Error(err)
		}
	}
}

func TestBatchTokenIsNotRevoked(t *testing.T) {
	c, s := inMemory(t, always(200, strings.Replace(loginAnswer, "service", "batch", 1)), appRoleOptions)
	if err := errors.Join(c.Login(t.Context()), c.Close(t.Context())); err != nil || s.count() != 1 {
		t.Errorf("%v, requests %v", err, s.all())
	}
}

// TestRevokeIsBounded: three seconds, also when the deadline is over.
func TestRevokeIsBounded(t *testing.T) {
	hang := func(r *http.Request, _ http.ResponseWriter) { <-r.Context().Done() }
	full := func(_ *http.Request, w http.ResponseWriter) { w.WriteHeader(429) }
	for _, behave := range []func(*http.Request, http.ResponseWriter){hang, full} {
		synctest.Test(t, func(t *testing.T) {
			c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					_, _ = io.WriteString(w, loginAnswer)
					return
				}
				behave(r, w)
			}, appRoleOptions)
			if err := c.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			over, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			<-over.Done()
			start := time.Now()
			err := c.Close(over)
			problem(t, err, plan.CodeUnavailable, "revoke our token")
			s.noCanary(t, err)
			if took := time.Since(start); took > closeTimeout || s.count() < 2 {
				t.Errorf("took %v and %d requests", took, s.count())
			}
			if err := c.Close(over); err != nil {
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

func TestRevokeAfterTheDeadline(t *testing.T) {
	c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			_, _ = io.WriteString(w, loginAnswer)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}, appRoleOptions)
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Login(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := c.Close(ctx); err != nil || s.count() != 2 {
		t.Errorf("%v, requests %v", err, s.all())
	}
	if whyOf(io.EOF) != "unknown cause" {
		t.Error("a foreign error is shown")
	}
}

// TestLoginLingers: when we are told to end while a login is under way, its
// answer is waited for, so that its token can be revoked.
func TestLoginLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				cancel(errors.New("signal"))
				<-time.After(loginLinger / 2)
				_, _ = io.WriteString(w, loginAnswer)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}, appRoleOptions)
		if err := errors.Join(c.Login(ctx), c.Close(ctx)); err != nil {
			t.Error(err)
		}
		if got := strings.Join(s.all(), ", "); got != "PUT auth/approle/login, PUT auth/token/revoke-self" {
			t.Errorf("requests: %s", got)
		}
	})
}

// TestLoginLingersNotLong: what has not come by then is given up: the platform
// ends us a second later.
func TestLoginLingersNotLong(t *testing.T) {
	const most = 700 * time.Millisecond
	for answers, good := range map[time.Duration]bool{most - time.Millisecond: true, most + time.Millisecond: false} {
		synctest.Test(t, func(t *testing.T) {
			signal := errors.New("signal")
			ctx, cancel := context.WithCancelCause(t.Context())
			c, _ := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				cancel(signal)
				select {
				case <-time.After(answers):
					_, _ = io.WriteString(w, loginAnswer)
				case <-r.Context().Done():
				}
			}, appRoleOptions)
			start := time.Now()
			err := c.Login(ctx)
			took := time.Since(start)
			if good && (err != nil || took != answers) || !good && (!errors.Is(err, signal) || took != most) {
				t.Errorf("an answer after %v: %v after %v", answers, err, took)
			}
		})
	}
}

// TestLoginAgain: a login is nobody's request, also when there is a token.
func TestLoginAgain(t *testing.T) {
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if token := r.Header.Get(headerToken); token != "" {
			t.Error("a login with a token")
		}
		_, _ = io.WriteString(w, loginAnswer)
	}, appRoleOptions)
	if err := errors.Join(c.Login(t.Context()), c.Login(t.Context())); err != nil || s.count() != 2 {
		t.Errorf("%v after %d requests", err, s.count())
	}
}
