package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// files gives an option that takes login inputs out of real files in dir, each
// with its name.
func files(t *testing.T, dir string, names ...string) func(*Options) {
	t.Helper()
	return func(o *Options) {
		o.Login.Inputs = map[string]plan.Handle{}
		for _, name := range names {
			o.Login.Inputs[name] = plan.Handle{Kind: plan.HandleFile, Name: filepath.Join(dir, name)}
		}
		o.Resolve = func(h plan.Handle) ([]byte, error) { return os.ReadFile(h.Name) }
		o.Remove = func(h plan.Handle) error { return os.Remove(h.Name) }
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestReloginReadsInputsAgain: what is in a file may be another one by now; a
// file that is gone or was removed by us leaves what was in it.
func TestReloginReadsInputsAgain(t *testing.T) {
	tests := []struct {
		inputs []string
		login  string
		params map[string]plan.Setting[string]
	}{
		{list("role_id", "secret_id"), "approle/login", nil},
		{list("role_id", "secret_id"), "approle/login", map[string]plan.Setting[string]{"remove_secret_id_file": plan.Set("true", plan.Origin{})}},
		{list("jwt"), "jwt/login", nil},
		{list("username", "password"), "userpass/login/name", nil},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		for _, name := range tt.inputs {
			write(t, dir, name, name+"-1")
		}
		fixed := ""
		if tt.inputs[0] == "username" { // it is part of the path
			fixed = "username"
			write(t, dir, fixed, "name")
		}
		f := &fresh{}
		// The handler knows no login below login/.
		c, _ := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/login/") {
				f.mu.Lock()
				body := map[string]any{}
				_ = json.NewDecoder(r.Body).Decode(&body)
				f.bodies = map[string]map[string]any{"auth/" + tt.login: body}
				f.mu.Unlock()
				_, _ = io.WriteString(w, loginAnswer)
				return
			}
			f.answer(n, w, r)
		}, func(o *Options) {
			files(t, dir, tt.inputs...)(o)
			o.Login.Params = tt.params
			if fixed != "" {
				o.Login.Method = plan.Set("userpass", plan.Origin{})
			}
		})
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		secretInput := tt.inputs[len(tt.inputs)-1]
		for i, text := range list("", secretInput+"-2", "") {
			if text != "" {
				write(t, dir, secretInput, text)
			}
			if i == 2 {
				_ = os.Remove(filepath.Join(dir, secretInput))
			}
			if err := c.Relogin(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := secretInput + []string{"-1", "-2", "-2"}[i]
			if got := f.bodies["auth/"+tt.login][secretInput]; got != want {
				t.Errorf("%v: sent %v, want %q", tt.inputs, got, want)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, secretInput)); tt.params != nil && err == nil {
			t.Error("the second file was not removed")
		}
	}
}

// TestReloginKeepsLeases: leases hang on the token that they were read with. At
// the end all tokens are revoked, the one in use last, and no lease by itself.
func TestReloginKeepsLeases(t *testing.T) {
	f := &fresh{}
	c, s := f.loggedIn(t, appRoleOptions)
	first := c.Token()
	for i := range 3 {
		dynamic(t, c, fmt.Sprintf("database/creds/%d", i))
		if i == 2 {
			break
		}
		if err := c.Relogin(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if string(first.Reveal()) == string(c.Token().Reveal()) || !c.HasLeases() || len(c.book.leases) != 3 {
		t.Errorf("leases %v", c.book.leases)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	self := " auth/token/revoke-self"
	slices.Sort(f.sent[:2])
	if !slices.Equal(f.sent, list(canary+"-1"+self, canary+"-2"+self, canary+"-3"+self)) {
		t.Errorf("sent %q", f.sent)
	}
	_, login, reads := c.Record()
	for _, r := range reads {
		if !r.Revoked {
			t.Errorf("%+v is not revoked", r)
		}
	}
	if login.Accessor != "acc-3" || login.RequestID != "login-3" || !login.Revoked || c.HasLeases() {
		t.Errorf("%+v", login)
	}
	s.noCanary(t, c.Relogin(t.Context()))
	problem(t, c.Relogin(t.Context()), plan.CodeUnavailable, "login: what we own is being revoked")
	if s.count() != 9 {
		t.Errorf("requests %q", s.all())
	}
}

// TestCloseOfManySessions: what is revoked by which token, where there was more
// than one.
func TestCloseOfManySessions(t *testing.T) {
	const self = " auth/token/revoke-self"
	lease := func(token, path string) string { return canary + token + " sys/leases/revoke database/creds/" + path }
	tests := []struct {
		name    string
		auth    string
		prepare func(t *testing.T, f *fresh, c *Client)
		want    []string // the first of them in any order
		failed  string
	}{
		{"batch tokens", `"lease_duration":60,"token_type":"batch"`, nil, list(lease("-2", "a/2"), lease("-2", "b/4")), ""},
		{"the first is over", serviceAuth, func(*testing.T, *fresh, *Client) { time.Sleep(30 * time.Second) }, list(canary + "-2" + self), ""},
		{"the first is gone", serviceAuth, func(t *testing.T, f *fresh, c *Client) {
			c.lose(c.former[0])
			if err := c.Relogin(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, list(canary+"-2"+self, canary+"-3"+self), ""},
		{"none is known", serviceAuth, func(_ *testing.T, f *fresh, _ *Client) {
			f.say("PUT auth/token/revoke-self", 403, badToken)
		}, list(canary+"-1"+self, canary+"-2"+self), ""},
		{"denied", serviceAuth, func(_ *testing.T, f *fresh, _ *Client) {
			f.say("PUT auth/token/revoke-self", 403, deniedAnswer)
		}, list(canary+"-1"+self, lease("-2", "a/2"), canary+"-2"+self, lease("-2", "b/4")), "revoke our token: permission denied"},
		{"superseded", `"lease_duration":60,"token_type":"batch"`, func(_ *testing.T, _ *fresh, c *Client) {
			c.Drop("database/creds/a/2", "never/heard/of/it")
		}, list(lease("-2", "b/4")), ""},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{auth: tt.auth}
			c, s := f.loggedIn(t, appRoleOptions)
			dynamic(t, c, "database/creds/a")
			time.Sleep(30 * time.Second)
			if err := c.Relogin(t.Context()); err != nil {
				t.Fatal(err)
			}
			dynamic(t, c, "database/creds/b")
			if tt.prepare != nil {
				tt.prepare(t, f, c)
			}
			err := c.Close(t.Context())
			s.noCanary(t, err)
			if (err == nil) != (tt.failed == "") || err != nil && !strings.Contains(err.Error(), tt.failed) {
				t.Errorf("%s: %v", tt.name, err)
			}
			if tt.name == "batch tokens" {
				slices.Sort(f.sent)
			}
			if !slices.Equal(f.sent, tt.want) {
				t.Errorf("%s: sent %q, want %q", tt.name, f.sent, tt.want)
			}
		})
	}
}

// TestReloginFails: the token so far stays in use, and in the record; one try.
func TestReloginFails(t *testing.T) {
	for _, answer := range []says{{403, deniedAnswer}, {400, `{"errors":["invalid role or secret ID"]}`}, {503, ""}, {500, echo}, {200, `{"data":{}}`}, {200, `{"auth":{"client_token":"a b"}}`}, {200, ""}} {
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{}
			c, s := f.loggedIn(t, appRoleOptions)
			f.say("PUT auth/approle/login", answer.status, answer.body)
			start := time.Now()
			err := c.Relogin(t.Context())
			problem(t, err, plan.CodeOf(err), "login approle at auth/approle/login")
			s.noCanary(t, err)
			_, login, _ := c.Record()
			if string(c.Token().Reveal()) != canary+"-1" || login.Accessor != "acc-1" || time.Since(start) != 0 || s.count() != 2 {
				t.Errorf("%v: %+v, %q", answer, login, s.all())
			}
			if errors.Is(err, ErrTokenLost) || errors.Is(err, ErrNoRelogin) != (answer.status == 400) {
				t.Errorf("%v: %v", answer, err)
			}
			delete(f.says, "PUT auth/approle/login")
			if err := errors.Join(c.Relogin(t.Context()), c.Close(t.Context())); err != nil || s.count() != 5 {
				t.Errorf("%v, %q", err, s.all())
			}
		})
	}
}

// TestNoRelogin: what cannot be repeated says so, without a request.
func TestNoRelogin(t *testing.T) {
	const wrapped = "secret_id_wrapped"
	dir := t.TempDir()
	write(t, dir, "token", "same")
	tests := []struct {
		name   string
		change func(*Options)
		final  bool
		text   string
	}{
		{"env", nil, true, "another login: the token was given by what does not change while we run"},
		{"none", func(o *Options) { o.Login = plan.Login{Method: plan.Set("none", plan.Origin{})} }, true, "we send no token: who is at the address logs in by itself"},
		{"wrapped", func(o *Options) { o.Login.Inputs = variables("token_wrapped") }, true, "the token came in a wrapped answer, which can be unwrapped once"},
		{"used up", func(o *Options) { o.Login.Inputs = variables("role_id", wrapped) }, true, "the wrapped secret id has no use left"},
		{"same file", files(t, dir, "token"), false, "the file still holds the token that we have"},
	}
	for _, tt := range tests {
		f := &fresh{}
		if tt.name == "wrapped" {
			f.say("PUT sys/wrapping/lookup", 200, `{"data":{"creation_path":"auth/token/create"}}`)
			f.say("PUT sys/wrapping/unwrap", 200, `{"auth":{"client_token":"`+canary+`"}}`)
		} else {
			f.say("PUT sys/wrapping/lookup", 200, `{"data":{"creation_path":"auth/approle/role/app/secret-id"}}`)
			f.say("PUT sys/wrapping/unwrap", 200, `{"data":{"secret_id":"`+canary+`","secret_id_num_uses":1}}`)
		}
		c, s := f.loggedIn(t, tt.change)
		before, token := s.count(), c.using()
		err := c.Relogin(t.Context())
		problem(t, err, plan.CodeDenied, tt.text)
		if s.noCanary(t, err); errors.Is(err, ErrNoRelogin) != tt.final || s.count() != before || c.using() != token {
			t.Errorf("%s: %v, %q", tt.name, err, s.all())
		}
	}
}

// TestWrappedSecretIDAgain: it is unwrapped once, and used as often as it is
// good for; its file may hold another wrapping token by then.
func TestWrappedSecretIDAgain(t *testing.T) {
	for uses, more := range map[string]int{"0": 3, "3": 2, "null": 0} {
		dir := t.TempDir()
		write(t, dir, "role_id", "role")
		write(t, dir, "secret_id_wrapped", "hvs.first")
		f := &fresh{}
		f.say("PUT sys/wrapping/lookup", 200, `{"data":{"creation_path":"auth/approle/role/app/secret-id"}}`)
		f.say("PUT sys/wrapping/unwrap", 200, `{"data":{"secret_id":"`+canary+`","secret_id_num_uses":`+uses+`}}`)
		c, s := f.loggedIn(t, files(t, dir, "role_id", "secret_id_wrapped"))
		for range more {
			if err := c.Relogin(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if s.count() != 3+more {
			t.Errorf("%s uses: %q", uses, s.all())
		}
		if uses != "0" {
			if err := c.Relogin(t.Context()); !errors.Is(err, ErrNoRelogin) {
				t.Errorf("%s uses: %v", uses, err)
			}
		}
		write(t, dir, "secret_id_wrapped", "hvs.second")
		if err := c.Relogin(t.Context()); err != nil || s.count() != 6+more {
			t.Errorf("%s uses: %v, %q", uses, err, s.all())
		}
	}
}

// TestGivenTokenIsReplaced: a token that was given is taken anew from its file,
// and none of them is ever revoked; the leases of all are.
func TestGivenTokenIsReplaced(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "token", canary+"-1")
	f := &fresh{}
	c, _ := f.loggedIn(t, files(t, dir, "token"))
	dynamic(t, c, "database/creds/a")
	write(t, dir, "token", canary+"-2")
	if err := c.Relogin(t.Context()); err != nil {
		t.Fatal(err)
	}
	dynamic(t, c, "database/creds/b")
	write(t, dir, "token", "not sendable")
	problem(t, c.Relogin(t.Context()), plan.CodeConfig, "the Vault token: has a space, a line break")
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(f.sent)
	if !slices.Equal(f.sent, list(canary+"-2 sys/leases/revoke database/creds/a/1", canary+"-2 sys/leases/revoke database/creds/b/2")) {
		t.Errorf("sent %q", f.sent)
	}
}

// TestReloginsAreOne: those who want it at the same time get the same one.
func TestReloginsAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fresh{}
		slow := false
		c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if slow && strings.HasSuffix(r.URL.Path, "/login") {
				time.Sleep(time.Second)
			}
			f.answer(n, w, r)
		}, appRoleOptions)
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		slow = true
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := c.Relogin(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if err := c.Relogin(hasty); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		wg.Wait()
		if s.count() != 2 || len(c.former) != 1 {
			t.Errorf("requests %q", s.all())
		}
	})
}

// TestRefusedInTheMiddle: a request that was refused with the old token is made
// once more with the new one.
func TestRefusedInTheMiddle(t *testing.T) {
	f := &fresh{}
	var c *Client
	c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/secret/") && r.Header.Get(headerToken) == canary+"-1" {
			if err := c.Relogin(t.Context()); err != nil {
				t.Error(err)
			}
			refuse(w, 403, badToken)
			return
		}
		f.answer(n, w, r)
	}, appRoleOptions)
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Attempt()(t.Context(), plan.Read{Path: "secret/app"}, nil); err != nil || s.count() != 4 {
		t.Errorf("%v, %q", err, s.all())
	}
}
