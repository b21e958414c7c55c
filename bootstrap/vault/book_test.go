package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
)

// leasing is a server whose dynamic secrets have leases.
type leasing struct {
	token        string // its type
	selfStatus   int    // of revoke-self; 0: good
	leasesStatus int    // of leases/revoke
	mu           sync.Mutex
	revoked      []string
}

func (l *leasing) answer(n int, w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	switch {
	case strings.HasSuffix(path, "/login"):
		_, _ = fmt.Fprintf(w, `{"request_id":"login-id","auth":{"client_token":"%s","accessor":"acc","entity_id":"ent","policies":["a","b"],"metadata":{"role_name":"app"},"lease_duration":60,"token_type":%q}}`, canary, l.token)
	case path == "auth/token/revoke-self" && l.selfStatus != 0:
		refuse(w, l.selfStatus, deniedAnswer)
	case path == "sys/leases/revoke" && l.leasesStatus != 0:
		refuse(w, l.leasesStatus, deniedAnswer)
	case path == "auth/token/revoke-self" || path == "sys/leases/revoke":
		var body struct {
			ID string `json:"lease_id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		l.mu.Lock()
		l.revoked = append(l.revoked, body.ID)
		l.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(path, "database/"):
		_, _ = fmt.Fprintf(w, `{"request_id":"id-%d","lease_id":"%s/%d","lease_duration":3600,"renewable":true,"data":{"password":"%s"}}`, n, path, n, canary)
	case strings.HasPrefix(path, "kv1/"): // its duration is a hint, and no lease
		_, _ = io.WriteString(w, `{"request_id":"r","lease_duration":2764800,"data":{"pw":"`+canary+`"}}`)
	default:
		_, _ = io.WriteString(w, kvAnswer)
	}
}

// TestClose: a login's token is revoked and with it all leases; where that is
// not possible or not ours to do, each lease by itself.
func TestClose(t *testing.T) {
	const self, lease = "PUT auth/token/revoke-self", "PUT sys/leases/revoke"
	tests := []struct {
		name         string
		server       *leasing
		given        bool
		reads        int // with a lease
		sent         []string
		code         plan.Code // 0: no error
		want         string
		tokenRevoked bool
		revoked      int    // leases
		why          string // the token is not revoked, as the record has it
	}{
		{"owned", &leasing{token: "service"}, false, 2, list(self), 0, "", true, 2, ""},
		{"owned, no lease", &leasing{token: "service"}, false, 0, list(self), 0, "", true, 0, ""},
		{"owned, denied", &leasing{token: "service", selfStatus: 403}, false, 2, list(self, lease, lease), plan.CodeDenied, "revoke our token: permission denied; it ends by itself when its TTL is over", false, 2, "permission denied"},
		{"owned, gone", &leasing{token: "service", selfStatus: 500}, false, 2, list(self), plan.CodeUnavailable, "revoke our token: Vault failed (status 500); not repeated", false, 0, "Vault failed (status 500); not repeated, because the server may have carried it out"},
		{"batch", &leasing{token: "batch"}, false, 2, list(lease, lease), 0, "", false, 2, ""},
		{"batch, no lease", &leasing{token: "batch"}, false, 0, nil, 0, "", false, 0, ""},
		{"given", &leasing{}, true, 3, list(lease, lease, lease), 0, "", false, 3, ""},
		{"given, no lease", &leasing{}, true, 0, nil, 0, "", false, 0, ""},
		{"given, denied", &leasing{leasesStatus: 403}, true, 1, list(lease), plan.CodeDenied, `revoke the lease database/creds/0/1: permission denied; it ends by itself; to let us end it: path "sys/leases/revoke" { capabilities = ["update"] }`, false, 0, ""},
		{"all denied", &leasing{token: "service", selfStatus: 403, leasesStatus: 403}, false, 2, list(self, lease, lease), plan.CodeDenied, "revoke our token", false, 0, "permission denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s, err := logIn(t, tt.server.answer, func(o *Options) {
				if !tt.given {
					o.Login.Inputs = variables("role_id")
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			get := c.Generation()
			for i := range tt.reads {
				if _, err := get(t.Context(), plan.Read{Path: fmt.Sprintf("database/creds/%d", i), KV: plan.KVLiteral}, nil); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := get(t.Context(), plan.Read{Path: "secret/app"}, nil); err != nil {
				t.Fatal(err)
			}
			if c.HasLeases() != (tt.reads > 0) {
				t.Errorf("leases: %v", c.HasLeases())
			}
			before := s.count()
			err = c.Close(t.Context())
			var ps plan.Problems
			ps.Add(err)
			if tt.code == 0 && err != nil || tt.code != 0 && (len(ps) == 0 || ps[0].Code != tt.code || !strings.Contains(ps[0].Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if sent := s.all()[before:]; !slices.Equal(sent, tt.sent) {
				t.Errorf("sent %q, want %q", sent, tt.sent)
			}
			_, login, reads := c.Record()
			gone := 0
			for _, r := range reads {
				if r.Revoked {
					gone++
				}
				if r.Revoked && r.LeaseID == "" {
					t.Errorf("%s has no lease and is revoked", r.Path)
				}
			}
			if login.NotRevoked != tt.why {
				t.Errorf("not revoked because %q", login.NotRevoked)
			}
			if login.Revoked != tt.tokenRevoked || gone != tt.revoked || c.HasLeases() != (gone < tt.reads) {
				t.Errorf("token revoked %v, %d leases revoked, leases left %v", login.Revoked, gone, c.HasLeases())
			}
			if err := c.Close(t.Context()); err != nil || s.count() != before+len(tt.sent) {
				t.Errorf("the second time: %v", err)
			}
			s.noCanary(t, err)
			for _, id := range tt.server.revoked {
				if len(tt.sent) > 1 && !strings.HasPrefix(id, "database/creds/") {
					t.Errorf("revoked %q", id)
				}
			}
		})
	}
}

// TestLeasesAreRevokedInTime: all at once, within three seconds, also when the
// deadline has passed.
func TestLeasesAreRevokedInTime(t *testing.T) {
	for _, slow := range []time.Duration{2 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			server := &leasing{}
			c, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/v1/sys/leases/") {
					select {
					case <-r.Context().Done():
						return
					case <-time.After(slow):
					}
				}
				server.answer(n, w, r)
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			get := c.Generation()
			for i := range 5 {
				if _, err := get(t.Context(), plan.Read{Path: fmt.Sprintf("database/creds/%d", i), KV: plan.KVLiteral}, nil); err != nil {
					t.Fatal(err)
				}
			}
			over, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			<-over.Done()
			start := time.Now()
			err = c.Close(over)
			took := time.Since(start)
			if slow < closeTimeout {
				if err != nil || took != slow || c.HasLeases() {
					t.Errorf("%v after %v", err, took)
				}
				return
			}
			var ps plan.Problems
			if !errors.As(err, &ps) || len(ps) != 5 || took != closeTimeout || len(c.book.leases) != 5 || s.count() != 10 {
				t.Errorf("%v after %v and %d requests", err, took, s.count())
			}
			for _, p := range ps {
				problem(t, p, plan.CodeUnavailable, "revoke the lease database/creds/")
			}
		})
	}
}

// TestRecord: who we were and what was read, sorted, with what an auditor finds
// it again by, and no value.
func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &leasing{token: "service"}
		c, s, err := logIn(t, server.answer, func(o *Options) {
			o.Login.Inputs = variables("role_id")
			o.Vault.Namespace, o.Login.Namespace = plan.Set("team", plan.Origin{}), plan.Set("root", plan.Origin{})
		})
		if err != nil {
			t.Fatal(err)
		}
		get := c.Generation()
		for _, r := range []plan.Read{
			{Path: "secret/z"},
			{Path: "database/creds/b", KV: plan.KVLiteral},
			{Path: "database/creds/a", KV: plan.KVLiteral},
			{Path: "database/issue", Op: plan.OpWrite},
			{Path: "secret/z", Op: plan.OpList},
			{Path: "secret/data/z"}, // the same
			{Path: "kv1/z", KV: plan.KV1},
		} {
			if _, err := get(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
		}
		hour := receipt.At(time.Now().Add(time.Hour))
		wantReads := []receipt.Read{
			{Path: "database/creds/a", Operation: "read", RequestID: "id-4", LeaseID: "database/creds/a/4", Renewable: true, Expires: hour},
			{Path: "database/creds/b", Operation: "read", RequestID: "id-3", LeaseID: "database/creds/b/3", Renewable: true, Expires: hour},
			{Path: "database/issue", Operation: "write", RequestID: "id-5", LeaseID: "database/issue/5", Renewable: true, Expires: hour},
			{Path: "kv1/z", Operation: "read", RequestID: "r"},
			{Path: "secret/data/z", Operation: "read", RequestID: "r", Version: 3},
			{Path: "secret/metadata/z", Operation: "list", RequestID: "r", Version: 3},
		}
		wantLogin := receipt.Login{
			Method: "approle", Mount: "approle", Namespace: "root", RequestID: "login-id", EntityID: "ent", Accessor: "acc",
			Policies: list("a", "b"), TokenType: "service", Expires: receipt.At(time.Now().Add(time.Minute)),
			Metadata: map[string]string{"role_name": "app"},
		}
		gotServer, login, reads := c.Record()
		if !reflect.DeepEqual(reads, wantReads) || !reflect.DeepEqual(login, wantLogin) || gotServer != (receipt.Server{Address: "http://vault.test", Namespace: "team", Correlation: c.correlation}) {
			t.Errorf("got %+v\n%+v\n%+v", gotServer, login, reads)
		}
		reads[0].Path = "changed" // the record is a copy
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, login, reads = c.Record()
		for i := range wantReads {
			wantReads[i].Revoked = wantReads[i].LeaseID != ""
		}
		if wantLogin.Revoked = true; !reflect.DeepEqual(reads, wantReads) || !reflect.DeepEqual(login, wantLogin) {
			t.Errorf("afterwards %+v\n%+v", login, reads)
		}
		text, err := receipt.Receipt{Server: gotServer, Login: login, Reads: reads}.JSON()
		if err != nil || strings.Contains(string(text), canary) {
			t.Errorf("%v, %s", err, text)
		}
		s.noCanary(t, nil)
	})
}

// TestAccount: what a look-up adds for the receipt, and that it is no failure
// when the policy forbids it.
func TestAccount(t *testing.T) {
	good := `{"data":{"display_name":"kubernetes-ns-app","accessor":"looked-up","entity_id":"e","type":"service","policies":["p",1,"q"],"ttl":90,"id":"` + canary + `"}}`
	for _, given := range []bool{true, false} {
		for _, tt := range []struct {
			status int
			body   string
		}{{200, good}, {403, deniedAnswer}} {
			synctest.Test(t, func(t *testing.T) {
				c, s, err := logIn(t, func(_ int, w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/login") {
						_, _ = io.WriteString(w, loginAnswer)
						return
					}
					refuse(w, tt.status, tt.body)
				}, func(o *Options) {
					if !given {
						o.Login.Inputs = variables("role_id")
					}
				})
				if err == nil {
					c.Identify(t.Context())
				}
				if err != nil || s.all()[s.count()-1] != "GET auth/token/lookup-self" {
					t.Fatalf("%v, requests %q", err, s.all())
				}
				_, login, _ := c.Record()
				want := receipt.Login{Method: "token"}
				if !given {
					want = receipt.Login{Method: "approle", Mount: "approle", Accessor: "acc", Policies: list("p"), TokenType: "service", Expires: receipt.At(time.Now().Add(time.Minute))}
				}
				if tt.status == 200 {
					want.DisplayName, want.Accessor, want.EntityID, want.TokenType, want.Policies = "kubernetes-ns-app", "looked-up", "e", "service", list("p", "q")
					want.Expires = receipt.At(time.Now().Add(90 * time.Second))
				} else if !strings.Contains(s.log.String(), `level=WARN msg="the receipt does not say who we are to Vault" why="permission denied"`) {
					t.Errorf("log %s", s.log.String())
				}
				if !reflect.DeepEqual(login, want) {
					t.Errorf("given %v, %d: %+v", given, tt.status, login)
				}
				s.noCanary(t, nil)
			})
		}
	}
}

// TestRecordOfALoginThatFails: who it would have been, and no more.
func TestRecordOfALoginThatFails(t *testing.T) {
	good := wrapServer{path: "auth/roles/role/app/secret-id", held: heldID}
	for name, tt := range map[string]struct {
		serve  handler
		change func(*Options)
		want   receipt.Login
	}{
		"refused":     {always(400, `{"errors":["invalid role or secret ID"]}`), appRoleOptions, receipt.Login{Method: "approle", Mount: "roles"}},
		"with a role": {always(403, deniedAnswer), func(o *Options) { o.Login.Inputs = variables("jwt"); o.Login.Role = plan.Set("app", plan.Origin{}) }, receipt.Login{Method: "jwt", Mount: "roles", Role: "app"}},
		"no token":    {always(200, `{"request_id":"x","auth":{"accessor":"a"}}`), appRoleOptions, receipt.Login{Method: "approle", Mount: "roles"}},
		"not unwrapped": {func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 2 {
				refuse(w, 500, "")
				return
			}
			good.answer(t)(n, w, r)
		}, wrappedOptions("secret_id_wrapped", "hvs.wrapping", nil), receipt.Login{Method: "approle", Mount: "roles"}},
		"wrapped token": {always(403, deniedAnswer), wrappedOptions("token_wrapped", "hvs.wrapping", nil), receipt.Login{Method: "token"}},
	} {
		c, s, err := logIn(t, tt.serve, func(o *Options) {
			tt.change(o)
			o.Login.Namespace = plan.Set("root", plan.Origin{})
			if tt.want.Mount != "" {
				o.Login.Mount = plan.Set("auth/roles/", plan.Origin{})
			}
		})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		asked := s.count()
		if c.Identify(t.Context()); s.count() != asked {
			t.Errorf("%s: nobody was identified: %q", name, s.all())
		}
		tt.want.Namespace = "root"
		if _, login, _ := c.Record(); !reflect.DeepEqual(login, tt.want) {
			t.Errorf("%s: recorded as %+v", name, login)
		}
	}
}

// TestRecordOfReadsThatFail: each is there with the code that it was told with.
func TestRecordOfReadsThatFail(t *testing.T) {
	answers := map[string]struct {
		status int
		body   string
		code   plan.Code
	}{
		"denied":     {403, deniedAnswer, plan.CodeDenied},
		"missing":    {404, missingAnswer, plan.CodeMissing},
		"no-engine":  {404, noHandler, plan.CodeConfig},
		"no-cipher":  {400, `{"errors":["cipher: message authentication failed"]}`, plan.CodeData},
		"no-db":      {500, `{"errors":["failed to find entry for connection with name: x"]}`, plan.CodeConfig},
		"gone":       {500, "", plan.CodeUnavailable},
		"a-redirect": {302, "", plan.CodeProtocol},
		"a-page":     {200, "<html>" + canary, plan.CodeProtocol},
	}
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		a := answers[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
		refuse(w, a.status, a.body)
	}, nil)
	get := c.Generation()
	_, err := get(t.Context(), plan.Read{Path: "engine/denied", Op: plan.OpWrite}, nil)
	problem(t, err, plan.CodeDenied, "permission denied")
	var want []receipt.Read
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		code := answers[name].code
		for range 2 { // the second time nobody is asked
			_, err := get(t.Context(), plan.Read{Path: "engine/" + name, KV: plan.KVLiteral}, nil)
			problem(t, err, code, "")
			s.noCanary(t, err)
		}
		want = append(want, receipt.Read{Path: "engine/" + name, Operation: "read", Code: int(code)})
	}
	want = slices.Insert(want, 3, receipt.Read{Path: "engine/denied", Operation: "write", Code: int(plan.CodeDenied)})
	if _, _, reads := c.Record(); !reflect.DeepEqual(reads, want) {
		t.Errorf("got  %+v\nwant %+v", reads, want)
	}
}
