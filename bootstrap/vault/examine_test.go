package vault

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestHealth(t *testing.T) {
	const body = `{"initialized":true,"sealed":false,"standby":true,"performance_standby":false,"replication_dr_mode":"secondary","version":"1.21.1+ent","cluster_name":"c"}`
	for _, status := range []int{200, 429, 472, 473, 501, 503} {
		s := &seen{}
		var header http.Header
		c := prepare(t, s, serve(t, s, func(_ int, w http.ResponseWriter, r *http.Request) {
			header = r.Header
			refuse(w, status, body)
		}), func(o *Options) { o.Vault.Namespace = plan.Set("team", plan.Origin{}) })
		h, err := c.Health(t.Context())
		if err != nil || !h.Initialized || h.Sealed || !h.Standby || !h.Secondary || h.Version != "1.21.1+ent" || h.Cluster != "c" {
			t.Errorf("status %d: %+v, %v", status, h, err)
		}
		if d := h.At.Sub(h.Now).Abs(); d > 5*time.Second {
			t.Errorf("the clocks differ by %v", d)
		}
		if header.Get(headerToken) != "" || header.Get(headerNamespace) != "" {
			t.Errorf("it was sent with %v", header)
		}
		if got := s.all(); !slices.Equal(got, []string{"GET sys/health"}) {
			t.Errorf("asked %q", got)
		}
	}
}

// TestHealthForeign: only Vault's own answer counts, and nothing is tried twice.
func TestHealthForeign(t *testing.T) {
	for name, h := range map[string]handler{
		"no JSON":        always(200, "<html>"+canary),
		"another's JSON": always(200, `{"status":"UP","secret":"`+canary+`"}`),
		"a bad gateway":  always(502, `{"error":"`+canary+`"}`),
		"too large":      func(_ int, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxHealth+1)) },
		"a redirect": func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/")
			w.WriteHeader(307)
		},
		"another type": func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(`{"initialized":true,"sealed":false}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := overNetwork(t, h)
			_, err := c.Health(t.Context())
			problem(t, err, plan.CodeProtocol, "vault "+c.name)
			s.noCanary(t, err)
			if s.count() != 1 {
				t.Errorf("%d requests", s.count())
			}
		})
	}
	s := &seen{}
	_, err := prepare(t, s, "http://127.0.0.1:1", nil).Health(t.Context())
	problem(t, err, plan.CodeUnavailable, "connection refused")
}

func TestWay(t *testing.T) {
	proxy := func(to string) func(*Options) {
		return func(o *Options) { o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(to) } }
	}
	for _, c := range []struct {
		address string
		change  func(*Options)
		want    Way
		name    string // of the server in TLS
	}{
		{"http://vault.test", nil, Way{Network: "tcp", Address: "vault.test:80", Server: "vault.test:80"}, ""},
		{"https://vault.test/base", nil, Way{Network: "tcp", Address: "vault.test:443", Server: "vault.test:443"}, "vault.test"},
		{"https://[::1]:8200", nil, Way{Network: "tcp", Address: "[::1]:8200", Server: "[::1]:8200"}, "::1"},
		{"unix:///run/vault.sock", nil, Way{Network: "unix", Address: "/run/vault.sock", Server: "/run/vault.sock"}, ""},
		{"https://vault.test", proxy("http://proxy.test:3128"), Way{Network: "tcp", Address: "proxy.test:3128", Server: "vault.test:443", Proxied: true}, "vault.test"},
		{"https://vault.test", func(o *Options) { o.Vault.TLS.ServerName = plan.Set("other.test", plan.Origin{}) }, Way{Network: "tcp", Address: "vault.test:443", Server: "vault.test:443"}, "other.test"},
	} {
		got, err := prepare(t, &seen{}, c.address, c.change).Way()
		name := ""
		if got.TLS != nil {
			name, got.TLS = got.TLS.ServerName, nil
		}
		if err != nil || got != c.want || name != c.name {
			t.Errorf("%s: %+v, TLS name %q, %v", c.address, got, name, err)
		}
	}
	_, err := prepare(t, &seen{}, "https://vault.test", func(o *Options) {
		o.Proxy = func(*http.Request) (*url.URL, error) { return nil, &url.Error{URL: canary, Err: http.ErrAbortHandler} }
	}).Way()
	problem(t, err, plan.CodeConfig, "the proxy")
}

func TestUsesUp(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"token"}, ""},
		{[]string{"token_wrapped"}, "a wrapped token"},
		{[]string{"role_id"}, ""},
		{[]string{"role_id", "secret_id"}, "one use of the secret id, if its uses are limited"},
		{[]string{"role_id", "secret_id_wrapped"}, "a wrapped secret id"},
		{[]string{"username", "password"}, ""},
	} {
		o := Options{
			Vault: plan.Vault{Address: plan.Set("http://vault.test", plan.Origin{})}, Login: plan.Login{Inputs: variables(c.names...)},
			Resolve: func(plan.Handle) ([]byte, error) { return []byte("x"), nil }, Log: logTo(&seen{}),
		}
		if slices.Contains(c.names, "username") {
			o.Login.Method = plan.Set("userpass", plan.Origin{})
		}
		client, err := Prepare(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := client.UsesUp(); got != c.want {
			t.Errorf("%v: %q", c.names, got)
		}
	}
}

func TestWhoami(t *testing.T) {
	c, _ := overNetwork(t, always(200, `{"data":{"display_name":"approle","accessor":"a","type":"service","policies":["default","p"],"identity_policies":["q"],"ttl":60,"num_uses":3,"id":"`+canary+`"}}`))
	id, err := c.Whoami(t.Context())
	if err != nil || id.DisplayName != "approle" || id.TTL != time.Minute || id.Uses != 3 || !id.Given || !slices.Equal(id.Policies, []string{"default", "p", "q"}) {
		t.Errorf("%+v, %v", id, err)
	}
	c, _ = overNetwork(t, always(403, badToken))
	_, err = c.Whoami(t.Context())
	problem(t, err, plan.CodeDenied, "not valid")
	if !TokenRefused(err) {
		t.Error("a token that is over counts as one that may not")
	}
	c, _ = overNetwork(t, always(403, deniedAnswer))
	if _, err = c.Whoami(t.Context()); TokenRefused(err) || plan.CodeOf(err) != plan.CodeDenied {
		t.Error("a token that may not counts as one that is over")
	}
}

// TestLocate: what the server says of a mount is believed before what a path
// looks like.
func TestLocate(t *testing.T) {
	const kv2 = `{"data":{"path":"kv/","type":"kv","options":{"version":"2"}}}`
	const other = `{"data":{"path":"odd/data/","type":"pki","options":null}}`
	for _, c := range []struct {
		path, answer string
		rule         plan.KVRule
		want         Kind
		asked        string
	}{
		{"kv/app", kv2, plan.KVAuto, KindKV, "kv/data/app"},
		{"odd/data/cert/ca", other, plan.KVAuto, KindOther, "odd/data/cert/ca"},
		{"secret/app", "", plan.KVAuto, KindKV, "secret/data/app"}, // configured
		{"kv/data/app", "", plan.KVAuto, KindKV, "kv/data/app"},
		{"kv/app", "", plan.KVAuto, KindUnknown, "kv/data/app"},
		{"kv/app", "", plan.KV2, KindKV, "kv/data/app"},
		{"database/creds/app", "", plan.KV1, KindUnknown, "database/creds/app"},
	} {
		status := map[bool]int{true: 403, false: 200}[c.answer == ""]
		answer := c.answer
		if answer == "" {
			answer = deniedAnswer
		}
		client, _ := overNetwork(t, always(status, answer))
		place, err := client.Locate(t.Context(), plan.Read{Path: c.path, KV: c.rule})
		if err != nil || place.Kind != c.want || place.Paths[0] != c.asked {
			t.Errorf("%s %v: %+v, %v", c.path, c.rule, place, err)
		}
	}
	client, _ := overNetwork(t, always(200, "<html>"))
	_, err := client.Locate(t.Context(), plan.Read{Path: "kv/app"})
	problem(t, err, plan.CodeProtocol, "not Vault's")
}

func TestCapabilities(t *testing.T) {
	c, s := overNetwork(t, always(200, `{"data":{"a":["read","list"],"b":["deny"],"capabilities":["read"]}}`))
	may, err := c.Capabilities(t.Context(), []string{"a", "b", "c"})
	if err != nil || len(may) != 2 || !slices.Equal(may["a"], []string{"read", "list"}) || !slices.Equal(may["b"], []string{"deny"}) {
		t.Errorf("%v, %v", may, err)
	}
	if got := s.all(); !slices.Equal(got, []string{"PUT sys/capabilities-self"}) {
		t.Errorf("asked %q", got)
	}
}
