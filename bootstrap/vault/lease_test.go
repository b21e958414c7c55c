package vault

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TestTokenLease: how long the token lives, from our login or from the server.
func TestTokenLease(t *testing.T) {
	const minute = time.Minute
	own := map[string]secret.Lease{ // 20 seconds after the login
		serviceAuth: {TTL: 40 * time.Second, Renewable: true},
		`"lease_duration":60,"renewable":true,"token_type":"batch"`: {TTL: 40 * time.Second},
		`"lease_duration":0,"renewable":false`:                      {},
		`"lease_duration":9223372036854775807,"renewable":true`:     {TTL: 9223372036*time.Second - 20*time.Second, Renewable: true},
	}
	for auth, want := range own {
		synctest.Test(t, func(t *testing.T) {
			c, s := (&fresh{auth: auth}).loggedIn(t, appRoleOptions)
			time.Sleep(20 * time.Second)
			if got, err := c.TokenLease(t.Context()); err != nil || got != want || s.count() != 1 {
				t.Errorf("%s: %+v, %v, %d requests", auth, got, err, s.count())
			}
			time.Sleep(40 * time.Second)
			if _, err := c.TokenLease(t.Context()); errors.Is(err, ErrTokenLost) != (want.TTL == 40*time.Second) {
				t.Errorf("%s at its end: %v", auth, err)
			}
		})
	}
	const ends = `"expire_time":"2026-01-01T00:00:00Z"`
	given := []struct {
		says
		want secret.Lease
		lost bool
		text string // "": no error
	}{
		{says{200, `{"data":{"ttl":60,"renewable":true,"type":"service",` + ends + `}}`}, secret.Lease{TTL: minute, Renewable: true}, false, ""},
		{says{200, `{"data":{"ttl":60,"renewable":true,"type":"batch",` + ends + `}}`}, secret.Lease{TTL: minute}, false, ""},
		{says{200, `{"data":{"ttl":60,"renewable":false,` + ends + `}}`}, secret.Lease{TTL: minute}, false, ""},
		{says{200, `{"data":{"ttl":0,"renewable":false,"expire_time":null}}`}, secret.Lease{}, false, ""},
		{says{200, `{"data":{"ttl":0,` + ends + `}}`}, secret.Lease{}, true, "our token: its time is over"},
		{says{200, `{"data":{"ttl":-5}}`}, secret.Lease{}, true, "our token: its time is over"},
		{says{200, `{"data":{}}`}, secret.Lease{}, false, "look our token up: the answer does not say how long it lives"},
		{says{200, `{"data":{"ttl":"60"}}`}, secret.Lease{}, false, "does not say how long it lives"},
		{says{200, ``}, secret.Lease{}, false, "the answer is empty"},
		{says{403, badToken}, secret.Lease{}, true, "look our token up: the token is not valid"},
		{says{503, ``}, secret.Lease{}, false, "look our token up: Vault is sealed or not ready"},
	}
	for _, tt := range given {
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{}
			c, s := f.loggedIn(t, nil)
			f.say("GET auth/token/lookup-self", tt.status, tt.body)
			got, err := c.TokenLease(t.Context())
			if got != tt.want || errors.Is(err, ErrTokenLost) != tt.lost || (err == nil) != (tt.text == "") || s.count() != 1 {
				t.Errorf("%s: %+v, %v", tt.body, got, err)
			}
			if tt.text != "" {
				problem(t, err, plan.CodeOf(err), tt.text)
			}
			s.noCanary(t, err)
		})
	}
	c, s := (&fresh{}).loggedIn(t, func(o *Options) { o.Login = plan.Login{Method: plan.Set("none", plan.Origin{})} })
	got, err := c.TokenLease(t.Context())
	more, renewErr := c.RenewToken(t.Context(), minute)
	if err != nil || renewErr != nil || got != (secret.Lease{}) || more != got || s.count() != 0 {
		t.Errorf("no token: %+v %+v %v %v, %d requests", got, more, err, renewErr, s.count())
	}
}

// TestDeniedLookup: what the policy lacks is named.
func TestDeniedLookup(t *testing.T) {
	f := &fresh{}
	c, _ := f.loggedIn(t, nil)
	f.say("GET auth/token/lookup-self", 403, deniedAnswer)
	c.doubts.blamed = true
	_, err := c.TokenLease(t.Context())
	problem(t, err, plan.CodeDenied, `look our token up: permission denied; the policy may lack: path "auth/token/lookup-self" { capabilities = ["read"] }`)
}

// oddRenewals are what a server may answer to a renewal, and what is made of it.
// A %s stands for what says how long it lives.
var oddRenewals = []struct {
	says
	want secret.Lease
	lost bool
	code plan.Code
	text string
}{
	{says{200, `"lease_duration":60,"renewable":true`}, secret.Lease{TTL: time.Minute, Renewable: true}, false, 0, ""},
	{says{200, `"lease_duration":5,"renewable":true`}, secret.Lease{TTL: 5 * time.Second, Renewable: true}, false, 0, ""},
	{says{200, `"lease_duration":60,"renewable":false`}, secret.Lease{TTL: time.Minute}, false, 0, ""},
	{says{200, `"lease_duration":60`}, secret.Lease{TTL: time.Minute}, false, 0, ""},
	{says{200, `"lease_duration":9223372036854775807,"renewable":true`}, secret.Lease{TTL: 9223372036 * time.Second, Renewable: true}, false, 0, ""},
	{says{200, `"lease_duration":0,"renewable":true`}, secret.Lease{}, true, plan.CodeDenied, "the server gave it no more time"},
	{says{200, `"lease_duration":-3600,"renewable":true`}, secret.Lease{}, true, plan.CodeDenied, "the server gave it no more time"},
	{says{200, `"lease_duration":-9223372036854775808`}, secret.Lease{}, true, plan.CodeDenied, "the server gave it no more time"},
	{says{200, `"lease_duration":9223372036854775808`}, secret.Lease{}, false, plan.CodeProtocol, "the answer is not Vault's: it is not JSON"},
	{says{200, `"lease_duration":1e400`}, secret.Lease{}, false, plan.CodeProtocol, "the answer is not Vault's: it is not JSON"},
	{says{200, `"lease_duration":"` + canary + `"`}, secret.Lease{}, false, plan.CodeProtocol, "the answer is not Vault's: it is not JSON"},
}

// wholeAnswers are those that are no renewal at all.
var wholeAnswers = []struct {
	says
	code plan.Code
	text string
}{
	{says{200, ``}, plan.CodeProtocol, "the answer is empty"},
	{says{204, ``}, plan.CodeProtocol, "the answer is empty"},
	{says{200, `null`}, plan.CodeProtocol, "it is not JSON"},
	{says{200, `{}`}, plan.CodeProtocol, "the answer "},
	{says{200, `{"auth":null,"lease_id":"","data":{"a":"` + canary + `"}}`}, plan.CodeProtocol, "the answer "},
	{says{200, `{"warnings":["` + canary + `"]}`}, plan.CodeProtocol, "the answer "},
	{says{301, ``}, plan.CodeProtocol, "redirected to another place"},
	{says{429, ``}, plan.CodeUnavailable, "a request quota is used up"},
	{says{500, echo}, plan.CodeUnavailable, "Vault failed (status 500)"},
	{says{503, ``}, plan.CodeUnavailable, "Vault is sealed or not ready"},
	{says{400, `{"errors":["lease is not renewable"]}`}, plan.CodeConfig, "it cannot be renewed"},
	{says{400, `{"errors":["batch tokens cannot be renewed"]}`}, plan.CodeConfig, "it cannot be renewed"},
	{says{400, echo}, plan.CodeConfig, "Vault refused the request (status 400)"},
}

// TestRenewToken is the table of what a server may answer.
func TestRenewToken(t *testing.T) {
	renew := func(t *testing.T, s says, text string, code plan.Code, lost bool, want secret.Lease) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{}
			c, seen := f.loggedIn(t, appRoleOptions)
			f.say("PUT auth/token/renew-self", s.status, s.body)
			time.Sleep(20 * time.Second)
			before := *c.session
			got, err := c.RenewToken(t.Context(), 90*time.Second)
			if got != want || errors.Is(err, ErrTokenLost) != lost || errors.Is(err, ErrLeaseLost) || seen.count() != 2 {
				t.Errorf("%s: %+v, %v, %q", s.body, got, err, seen.all())
			}
			if seen.noCanary(t, err); err != nil {
				problem(t, err, code, text)
				if c.session.lease != before.lease || c.session.since != before.since {
					t.Errorf("%s: what was known has changed", s.body)
				}
				return
			}
			time.Sleep(2 * time.Second)
			left, err := c.TokenLease(t.Context())
			_, login, _ := c.Record()
			if want.TTL -= 2 * time.Second; err != nil || left != want || login.Expires.Before(time.Now()) {
				t.Errorf("%s: left %+v, %v, expires %v", s.body, left, err, login.Expires)
			}
			if sent := f.bodies["auth/token/renew-self"]["increment"]; sent != "90s" {
				t.Errorf("asked for %v", sent)
			}
		})
	}
	for _, tt := range oddRenewals {
		answer := says{tt.status, `{"auth":{"client_token":"` + canary + `","token_type":"service",` + tt.body + `}}`}
		renew(t, answer, tt.text, tt.code, tt.lost, tt.want)
	}
	for _, tt := range wholeAnswers {
		renew(t, tt.says, "renew our token: ", tt.code, false, secret.Lease{})
		renew(t, tt.says, tt.text, tt.code, false, secret.Lease{})
	}
	renew(t, says{200, `{"auth":{"token_type":"batch","lease_duration":60,"renewable":true}}`}, "", 0, false, secret.Lease{TTL: time.Minute})
	renew(t, says{403, badToken}, "renew our token: the token is not valid", plan.CodeDenied, true, secret.Lease{})
	renew(t, says{400, `{"errors":["lease expired"]}`}, "renew our token: it has expired or was revoked", plan.CodeConfig, true, secret.Lease{})
}

// TestRenewTokenDenied: a policy that forbids it is no lost token.
func TestRenewTokenDenied(t *testing.T) {
	f := &fresh{}
	c, s := f.loggedIn(t, appRoleOptions)
	f.say("PUT auth/token/renew-self", 403, deniedAnswer)
	f.say("GET auth/token/lookup-self", 200, `{"data":{"ttl":60}}`)
	_, err := c.RenewToken(t.Context(), 0)
	problem(t, err, plan.CodeDenied, `renew our token: permission denied; the policy may lack: path "auth/token/renew-self" { capabilities = ["update"] }`)
	if errors.Is(err, ErrTokenLost) || s.count() != 3 {
		t.Errorf("%v, requests %q", err, s.all())
	}
}

// TestRenewLease is the same table for a lease, whose name may be odd as well.
func TestRenewLease(t *testing.T) {
	renew := func(t *testing.T, id string, s says, text string, code plan.Code, lost error, want secret.Lease) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{}
			c, seen := f.loggedIn(t, appRoleOptions)
			f.say("GET database/creds/app", 200, fmt.Sprintf(`{"lease_id":%q,"lease_duration":60,"renewable":true,"data":{"a":"b"}}`, id))
			dynamic(t, c, "database/creds/app")
			f.say("PUT sys/leases/renew", s.status, s.body)
			got, err := c.RenewLease(t.Context(), id, 90*time.Second)
			for _, kind := range []error{ErrLeaseLost, ErrTokenLost} {
				if errors.Is(err, kind) != errors.Is(lost, kind) {
					t.Errorf("%s: %v", s.body, err)
				}
			}
			if got != want || (err == nil) != (code == 0) || seen.count() != 3 {
				t.Errorf("%s: %+v, %v, %q", s.body, got, err, seen.all())
			}
			if f.bodies["sys/leases/renew"]["lease_id"] != id || f.bodies["sys/leases/renew"]["increment"] != "90s" {
				t.Errorf("sent %v", f.bodies["sys/leases/renew"])
			}
			gone := errors.Is(lost, ErrTokenLost) || lost != nil && s.status == 400 && !strings.Contains(s.body, "max TTL")
			if c.HasLeases() == gone { // one that gets no more time has what is left of it
				t.Errorf("%s: leases %v", s.body, c.HasLeases())
			}
			if seen.noCanary(t, err); err != nil {
				problem(t, err, code, text)
				return
			}
			_, _, reads := c.Record()
			if line := reads[0]; line.Renewable != want.Renewable || !line.Expires.Equal(time.Now().Add(want.TTL)) {
				t.Errorf("%s: the record has %+v", s.body, line)
			}
		})
	}
	for _, id := range list("database/creds/app/abc", "database/creds/a b/ä/日本/%2f?#"+`"\\`) {
		member := fmt.Sprintf(`"lease_id":%q,`, id)
		for _, tt := range oddRenewals {
			var lost error
			if tt.lost {
				lost = ErrLeaseLost
			}
			tt.want.ID = id
			if tt.want.TTL == 0 {
				tt.want.ID = ""
			}
			renew(t, id, says{tt.status, "{" + member + tt.body + "}"}, tt.text, tt.code, lost, tt.want)
		}
	}
	const id = "database/creds/app/abc"
	for _, tt := range wholeAnswers {
		renew(t, id, tt.says, "renew the lease "+id+": ", tt.code, nil, secret.Lease{})
		renew(t, id, tt.says, tt.text, tt.code, nil, secret.Lease{})
	}
	renew(t, id, says{200, `{"lease_id":"` + id + `d","lease_duration":60}`}, "the answer is about another lease, or none", plan.CodeProtocol, nil, secret.Lease{})
	for _, sentence := range list("lease not found", "lease expired", "invalid lease") {
		renew(t, id, says{400, `{"errors":["` + sentence + `"]}`}, "renew the lease "+id+": it has expired or was revoked", plan.CodeConfig, ErrLeaseLost, secret.Lease{})
	}
	renew(t, id, says{400, `{"errors":["failed to renew entry: err: past the max TTL, cannot renew"]}`}, "it has come to its end: no more time is allowed", plan.CodeConfig, ErrLeaseLost, secret.Lease{})
	renew(t, id, says{403, badToken}, "renew the lease "+id+": the token is not valid", plan.CodeDenied, ErrTokenLost, secret.Lease{})
}

// TestRenewLeaseDenied: a bare refusal is the policy's, and the lease's once the
// policy is known to allow renewals.
func TestRenewLeaseDenied(t *testing.T) {
	f := &fresh{}
	c, _ := f.loggedIn(t, appRoleOptions)
	id := dynamic(t, c, "database/creds/app")
	f.say("GET auth/token/lookup-self", 200, `{"data":{"ttl":60}}`)
	f.say("PUT sys/leases/renew", 403, deniedAnswer)
	_, err := c.RenewLease(t.Context(), id, 0)
	problem(t, err, plan.CodeDenied, `: permission denied; the policy may lack: path "sys/leases/renew" { capabilities = ["update"] }`)
	if errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrTokenLost) || !c.HasLeases() {
		t.Error(err)
	}
	f.say("PUT sys/leases/renew", 200, `{"lease_id":"`+id+`","lease_duration":60}`)
	if _, err := c.RenewLease(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.bodies["sys/leases/renew"]["increment"]; ok {
		t.Error("an increment was sent for 0")
	}
	f.say("PUT sys/leases/renew", 403, deniedAnswer)
	_, err = c.RenewLease(t.Context(), id, 0)
	problem(t, err, plan.CodeDenied, "renew the lease "+id+": it has expired or was revoked")
	if !errors.Is(err, ErrLeaseLost) || c.HasLeases() {
		t.Error(err)
	}
}

// TestIncrement: whole seconds, rounded up.
func TestIncrement(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: `{}`, 0: `{}`, 1: `{"increment":"1s"}`, time.Second: `{"increment":"1s"}`, time.Second + 1: `{"increment":"2s"}`,
		1<<63 - 1: `{"increment":"9223372037s"}`, time.Hour: `{"increment":"3600s"}`,
	} {
		if got, err := more(d, "")(t.Context()); err != nil || string(got) != want {
			t.Errorf("%v: %s, %v", d, got, err)
		}
	}
}

// TestSlowRenewal: what was given counts from when it was asked for.
func TestSlowRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fresh{}
		delay := 5 * time.Second
		c, _ := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "renew-self") {
				time.Sleep(delay)
				_, _ = io.WriteString(w, `{"auth":{"lease_duration":10}}`)
				return
			}
			f.answer(n, w, r)
		}, appRoleOptions)
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := c.RenewToken(t.Context(), 0); err != nil || got.TTL != 5*time.Second {
			t.Errorf("%+v, %v", got, err)
		}
		delay = 11 * time.Second
		if _, err := c.RenewToken(t.Context(), 0); !errors.Is(err, ErrTokenLost) {
			t.Error(err)
		}
	})
}

// TestRenewalsFollowNoRedirect: not to another host, with a token in hand.
func TestRenewalsFollowNoRedirect(t *testing.T) {
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://evil.test:8200"+r.URL.Path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}, nil)
	_, token := c.RenewToken(t.Context(), 0)
	_, lease := c.RenewLease(t.Context(), "a/b", 0)
	_, _, version := c.CurrentVersion(t.Context(), plan.Read{Path: "secret/app"})
	for _, err := range []error{token, lease, version} {
		problem(t, err, plan.CodeProtocol, "redirected to evil.test:8200, which is not followed with a token")
	}
	if s.count() != 3 {
		t.Errorf("requests %q", s.all())
	}
}

// TestNamespaces: a token is renewed where it was made, and a lease where it is.
func TestNamespaces(t *testing.T) {
	var got []string
	c, _ := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get(headerNamespace)+" "+strings.TrimPrefix(r.URL.Path, "/v1/"))
		_, _ = io.WriteString(w, `{"lease_id":"a/b","lease_duration":60,"auth":{"client_token":"t","lease_duration":60},"data":{"ttl":60,"current_version":1}}`)
	}, func(o *Options) {
		appRoleOptions(o)
		o.Vault.Namespace, o.Login.Namespace = plan.Set("team", plan.Origin{}), plan.Set("logins", plan.Origin{})
	})
	err := errors.Join(c.Login(t.Context()), c.Relogin(t.Context()))
	_, token := c.RenewToken(t.Context(), 0)
	_, lease := c.RenewLease(t.Context(), "a/b", 0)
	_, _, version := c.CurrentVersion(t.Context(), plan.Read{Path: "secret/app"})
	if err := errors.Join(err, token, lease, version, c.Close(t.Context())); err != nil {
		t.Error(err)
	}
	want := list("logins auth/approle/login", "logins auth/approle/login", "logins auth/token/renew-self", "team sys/leases/renew",
		"team secret/metadata/app", "logins auth/token/revoke-self", "logins auth/token/revoke-self")
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
