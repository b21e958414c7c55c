package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
)

// platformServer stands in for what a platform asks to prove who we are.
func platformServer(t *testing.T, jwt string) (string, *seen) {
	t.Helper()
	s := &seen{}
	return serve(t, s, func(_ int, w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/token": // GitHub's
			if r.Header.Get("Authorization") != "Bearer "+canary {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"value": jwt})
		case "/computeMetadata/v1/instance/service-accounts/me@x.test/identity":
			w.Header().Set("Metadata-Flavor", "Google")
			_, _ = w.Write([]byte(jwt))
		case "/metadata/instance":
			_, _ = w.Write([]byte(`{"compute":{"subscriptionId":"sub","resourceGroupName":"group","name":"machine"}}`))
		case "/metadata/identity/oauth2/token":
			_ = json.NewEncoder(w).Encode(map[string]string{"access_token": jwt})
		default:
			t.Errorf("asked for %s", r.URL)
		}
		if q := r.URL.Query(); r.URL.Path == "/token" && q.Get("audience") != "aud" || strings.HasSuffix(r.URL.Path, "/identity") && q.Get("audience") != "http://vault/app" {
			t.Errorf("asked for %s", r.URL)
		}
	}), s
}

// ask makes the login one by a platform's proof.
func ask(method, platform string) func(*Options) {
	return func(o *Options) {
		o.Login.Method, o.Login.Inputs = plan.Set(method, plan.Origin{}), nil
		o.Login.Role = plan.Set("app", plan.Origin{})
		text := func(s string) plan.Setting[string] { return plan.Set(s, plan.Origin{}) }
		switch method {
		case "github-actions":
			o.Login.Ambient = map[string]plan.Handle{
				"id_token_request_url":   {Kind: plan.HandleEnv, Name: "URL"},
				"id_token_request_token": {Kind: plan.HandleEnv, Name: "TOKEN"},
			}
			o.Login.Params = map[string]plan.Setting[string]{"audience": text("aud")}
		case "gcp":
			o.Login.Params = map[string]plan.Setting[string]{"metadata_endpoint": text(platform), "service_account": text("me@x.test")}
		case "azure":
			o.Login.Params = map[string]plan.Setting[string]{"metadata_endpoint": text(platform)}
		}
		o.Resolve = func(h plan.Handle) ([]byte, error) {
			return []byte(map[string]string{"URL": platform + "/token?x=y", "TOKEN": canary}[h.Name]), nil
		}
	}
}

// TestPlatformLogins: the platform is asked for a proof, and Vault gets that
// with the role.
func TestPlatformLogins(t *testing.T) {
	jwt := jwtUntil(time.Now().Add(time.Hour))
	for method, tt := range map[string]struct {
		want map[string]string
		from string
	}{
		"github-actions": {map[string]string{"path": "auth/jwt/login"}, `from="env:URL, env:TOKEN"`},
		"gcp":            {map[string]string{"path": "auth/gcp/login"}, "Google's metadata service"},
		"azure":          {map[string]string{"path": "auth/azure/login", "subscription_id": "sub", "resource_group_name": "group", "vm_name": "machine"}, "Azure's metadata service"},
	} {
		address, _ := platformServer(t, jwt)
		var got []map[string]string
		_, s, err := logIn(t, bodies(t, &got), ask(method, address))
		tt.want["jwt"], tt.want["role"] = jwt, "app"
		if err != nil || len(got) != 1 || !maps.Equal(got[0], tt.want) {
			t.Errorf("%s: sent %v, want %v; %v", method, got, tt.want, err)
		}
		if !strings.Contains(s.log.String(), tt.from) || strings.Contains(s.log.String(), jwt) {
			t.Errorf("%s: log %s", method, s.log.String())
		}
	}
}

// TestPlatformRefuses: then Vault is not asked at all.
func TestPlatformRefuses(t *testing.T) {
	for status, code := range map[int]plan.Code{401: plan.CodeDenied, 403: plan.CodeDenied, 404: plan.CodeConfig} {
		platform := serve(t, &seen{}, always(status, canary))
		c, s, err := logIn(t, always(200, loginAnswer), ask("github-actions", platform))
		problem(t, err, code, "login github-actions at auth/jwt/login, role app: the id token of this GitHub Actions job: GitHub ")
		problem(t, err, code, "(declared at env:URL, env:TOKEN); ")
		s.noCanary(t, err)
		want := receipt.Login{Method: "github-actions", Mount: "jwt", Role: "app"}
		if _, login, _ := c.Record(); !reflect.DeepEqual(login, want) {
			t.Errorf("recorded as %+v", login)
		}
		if s.count() != 0 {
			t.Errorf("%d: %q", status, s.all())
		}
	}
}

// TestEveryProblemOfAProof: several are told together, each with the login's
// name, and with where the proof would have come from.
func TestEveryProblemOfAProof(t *testing.T) {
	_, s, err := logIn(t, always(200, loginAnswer), func(o *Options) {
		ask("gcp", "ftp://metadata.test")(o)
		o.Login.Params["service_account"] = plan.Set("a b", plan.Origin{})
	})
	var ps plan.Problems
	if !errors.As(err, &ps) || len(ps) != 2 || s.count() != 0 {
		t.Fatalf("%v after %d requests, want two problems", err, s.count())
	}
	for i, says := range list("the address of Google's metadata service: ", "the Google service account: is neither an email address nor a number") {
		problem(t, ps[i], plan.CodeConfig, "login gcp at auth/gcp/login, role app: "+says)
		problem(t, ps[i], plan.CodeConfig, "(declared at Google's metadata service)")
	}
}

// TestPlatformIsSilent: a signal is the error; the deadline is told as such.
func TestPlatformIsSilent(t *testing.T) {
	platform := serve(t, &seen{}, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	signal := errors.New("signal")
	for name, cause := range map[string]error{"signal": signal, "deadline": context.DeadlineExceeded} {
		s := &seen{}
		c, err := Prepare(options(ask("github-actions", platform)))
		if err != nil {
			t.Fatal(err)
		}
		c.http = memory{asVault(s, always(200, loginAnswer))}
		ctx, cancel := context.WithCancelCause(t.Context())
		signalled := errors.Is(cause, signal)
		if !signalled {
			over, stop := context.WithTimeout(ctx, 100*time.Millisecond)
			defer stop()
			ctx = over
		}
		stop := time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
		err = c.Login(ctx)
		stop.Stop()
		cancel(nil)
		if signalled && !errors.Is(err, signal) || !signalled && plan.CodeOf(err) != plan.CodeUnavailable || s.count() != 0 {
			t.Errorf("%s: %v after %d requests", name, err, s.count())
		}
	}
}

// TestGoogleByIAM: with a service account's key, or the type that says so, a
// signed token is asked for; what is wrong with the key is told without it.
func TestGoogleByIAM(t *testing.T) {
	for _, credentials := range []bool{true, false} {
		_, s, err := logIn(t, always(200, loginAnswer), func(o *Options) {
			ask("gcp", "http://127.0.0.1:1")(o)
			if credentials {
				o.Login.Inputs = variables("credentials")
				o.Resolve = func(plan.Handle) ([]byte, error) { return []byte(canary), nil }
			} else {
				o.Login.Params = map[string]plan.Setting[string]{
					"type": plan.Set("iam", plan.Origin{}), "iam_endpoint": plan.Set("http://"+canary, plan.Origin{}), "metadata_endpoint": plan.Set("http://127.0.0.1:1", plan.Origin{}),
				}
			}
		})
		if plan.CodeOf(err) != plan.CodeConfig || s.count() != 0 {
			t.Errorf("%v after %d requests", err, s.count())
		}
		s.noCanary(t, err)
	}
}

// TestRequestsOnTheWire: one login, one request per secret, at most one
// look-up per mount, one revocation; whatever is asked for twice.
func TestRequestsOnTheWire(t *testing.T) {
	const secrets = 12
	for _, tt := range []struct {
		name    string
		path    func(i int) string
		lookups int
	}{
		{"with data/", func(i int) string { return fmt.Sprintf("kv/data/app%d", i) }, 0},
		{"told by the server", func(i int) string { return fmt.Sprintf("kv/app%d", i) }, 1},
		{"two mounts", func(i int) string { return fmt.Sprintf("%s/app%d", list("kv", "team/kv")[i%2], i) }, 2},
		{"configured", func(i int) string { return fmt.Sprintf("secret/app%d", i) }, 0},
	} {
		server := fakeServer{mounts: map[string]string{"kv/": "kv2", "team/kv/": "kv2"}, secrets: map[string]bool{}}
		for i := range secrets {
			path := tt.path(i)
			if !strings.Contains(path, "/data/") {
				path = path[:strings.LastIndex(path, "/")] + "/data" + path[strings.LastIndex(path, "/"):]
			}
			server.secrets[path] = true
		}
		c, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/login"):
				_, _ = w.Write([]byte(loginAnswer))
			case strings.HasSuffix(r.URL.Path, "/revoke-self"):
				w.WriteHeader(http.StatusNoContent)
			default:
				server.answer(n, w, r)
			}
		}, appRoleOptions)
		if err != nil {
			t.Fatal(err)
		}
		get := c.Generation()
		done := make(chan error)
		for i := range 3 * secrets {
			go func() {
				_, err := get(t.Context(), plan.Read{Path: tt.path(i % secrets)}, nil)
				done <- err
			}()
		}
		for range 3 * secrets {
			if err := <-done; err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		counts := map[string]int{}
		for _, line := range s.all() {
			switch {
			case strings.HasSuffix(line, "/login"), strings.HasSuffix(line, "/revoke-self"):
				counts[line]++
			case strings.Contains(line, "/ui/mounts/"):
				counts["lookup"]++
			default:
				counts["read"]++
			}
		}
		want := map[string]int{"PUT auth/approle/login": 1, "PUT auth/token/revoke-self": 1, "read": secrets}
		if tt.lookups > 0 {
			want["lookup"] = tt.lookups
		}
		if !maps.Equal(counts, want) {
			t.Errorf("%s: %v, want %v", tt.name, counts, want)
		}
	}
}
