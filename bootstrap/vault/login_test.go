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

func TestChooseLogin(t *testing.T) {
	tests := []struct {
		inputs, method string
		want           string // the method, or what the error says
	}{
		{"token", "", "token"},
		{"token", "auto", "token"},
		{"token", "token", "token"},
		{"token_helper", "", "token"},
		{"token_helper", "token", "token"},
		{"token token_helper", "", "token"},
		{"role_id", "", "approle"},
		{"role_id secret_id", "", "approle"},
		{"role_id secret_id token_helper", "", "approle"}, // a token that lies about is not meant
		{"role_id secret_id token", "approle", "approle"},
		{"role_id secret_id token", "token", "token"},
		{"role_id token", "", "ambiguous: token from env:TOKEN, approle from env:ROLE_ID; set vault.auth.method (SECRETBOOT_AUTH_METHOD) to one of token, approle"},
		{"", "", "no token and no role id was given"},
		{"secret_id", "", "only secret_id was given, which is not enough"},
		{"role_id", "token", "token is missing"},
		{"token", "approle", "role_id is missing"},
		{"token", "kerberos", "login method kerberos: not known (declared at here); use one of token, approle"},
	}
	for _, tt := range tests {
		l := plan.Login{Inputs: map[string]plan.Handle{}}
		for _, name := range strings.Fields(tt.inputs) {
			l.Inputs[name] = plan.Handle{Kind: plan.HandleEnv, Name: strings.ToUpper(name)}
		}
		if tt.method != "" {
			l.Method = plan.Set(tt.method, plan.Origin{At: "here"})
		}
		var asked []string
		got, err := chooseLogin(l, func(h plan.Handle) ([]byte, error) {
			asked = append(asked, h.Name)
			return []byte(canary), nil
		})
		switch how := got.(type) {
		case tokenLogin:
			if tt.want != "token" || len(asked) != 1 || how.from != "env:"+asked[0] || string(how.token.Reveal()) != canary {
				t.Errorf("%q as %q: a token from %v", tt.inputs, tt.method, asked)
			}
		case appRole:
			if tt.want != "approle" || strings.Contains(how.from, "TOKEN") {
				t.Errorf("%q as %q: an AppRole from %s", tt.inputs, tt.method, how.from)
			}
		default:
			problem(t, err, plan.CodeConfig, tt.want)
		}
	}
}

func TestChooseLoginTellsAll(t *testing.T) {
	_, err := Prepare(Options{
		Vault: plan.Vault{Address: plan.Set("ftp://x", plan.Origin{At: "VAULT_ADDR"})},
		Login: plan.Login{Inputs: map[string]plan.Handle{"role_id": {Name: "r"}, "secret_id": {Name: "s"}}},
		Resolve: func(h plan.Handle) ([]byte, error) {
			return nil, &plan.Problem{Code: plan.CodeConfig, What: "input " + h.Name, Why: "not there"}
		},
	})
	var ps plan.Problems
	if !errors.As(err, &ps) || len(ps) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
	for i, want := range []string{"the scheme must be", "input r", "input s"} {
		problem(t, ps[i], plan.CodeConfig, want)
	}
}

// TestUnusedSettings: what a configuration file says for another login is not
// dropped in silence; a variable may be there for others.
func TestUnusedSettings(t *testing.T) {
	tests := []struct {
		inputs, method string
		role, param    bool
		want           []string // what is refused
	}{
		{"token", "", false, false, nil},
		{"role_id secret_id", "", false, false, nil},
		{"token token_helper", "token", false, false, nil},
		{"token role_id secret_id", "token", false, false, list("role_id", "secret_id")},
		{"token role_id secret_id", "approle", false, false, list("token")},
		{"token password jwt", "", false, false, list("jwt", "password")},
		{"role_id jwt", "", true, true, list("jwt", "audience", "role")},
	}
	for _, tt := range tests {
		for _, front := range list("config", "environment") {
			from := plan.Origin{Front: front, At: "here"}
			l := plan.Login{Inputs: map[string]plan.Handle{}}
			for _, name := range strings.Fields(tt.inputs) {
				l.Inputs[name] = plan.Handle{Kind: plan.HandleEnv, Name: name, Origin: from}
			}
			if tt.method != "" {
				l.Method = plan.Set(tt.method, from)
			}
			if tt.role {
				l.Role = plan.Set("app", from)
			}
			if tt.param {
				l.Params = map[string]plan.Setting[string]{"audience": plan.Set(canary, from)}
			}
			_, err := chooseLogin(l, func(plan.Handle) ([]byte, error) { return []byte(canary), nil })
			for _, err := range []error{err, CheckLogin(l)} {
				var ps plan.Problems
				ps.Add(err)
				want := tt.want
				if front != "config" {
					want = nil
				}
				if len(ps) != len(want) {
					t.Fatalf("%+v from %s: %v, want %q", tt, front, err, want)
				}
				for i, name := range want {
					problem(t, ps[i], plan.CodeConfig, "vault.auth: "+name+" means nothing to the login ")
					problem(t, ps[i], plan.CodeConfig, "(declared at here)")
				}
				if err != nil && strings.Contains(err.Error(), canary) {
					t.Errorf("the error holds a value: %v", err)
				}
			}
		}
	}
}

// TestCheckLogin: nothing given is no problem, half a login is.
func TestCheckLogin(t *testing.T) {
	given := func(names ...string) plan.Login {
		l := plan.Login{Inputs: map[string]plan.Handle{}}
		for _, name := range names {
			l.Inputs[name] = plan.Handle{Kind: plan.HandleEnv, Name: name}
		}
		return l
	}
	named := func(l plan.Login, method string) plan.Login {
		l.Method = plan.Set(method, plan.Origin{At: "here"})
		return l
	}
	tests := []struct {
		l    plan.Login
		want string
	}{
		{plan.Login{}, ""},
		{named(given(), "auto"), ""},
		{given("token"), ""},
		{given("role_id", "secret_id"), ""},
		{named(given("token", "role_id"), "token"), ""},
		{given("secret_id"), "only secret_id was given"},
		{given("token", "role_id"), "login: ambiguous: token from"},
		{named(given(), "approle"), "role_id is missing (declared at here)"},
		{named(given("token"), "kerberos"), "login method kerberos: not known (declared at here)"},
	}
	for _, tt := range tests {
		err := CheckLogin(tt.l)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.l, err)
			}
			continue
		}
		problem(t, err, plan.CodeConfig, tt.want)
	}
}

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
		{403, `{"errors":["permission denied"]}`, plan.CodeDenied, "check vault.auth.mount, VAULT_NAMESPACE"},
		{400, echo, plan.CodeConfig, "Vault refused the request"},
		{200, `{"data":{}}`, plan.CodeProtocol, "the answer holds no token"},
		{200, `{"auth":null}`, plan.CodeProtocol, "the answer holds no token"},
		{200, `{"auth":{"accessor":"a"}}`, plan.CodeProtocol, "the answer holds no token"},
		{200, `{"auth":{"client_token":"a\nX-Evil: 1"}}`, plan.CodeConfig, "the Vault token: has a space, a line break"},
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
