package vault

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TestRedirectDecision is the table of where a token may be sent on to.
func TestRedirectDecision(t *testing.T) {
	listed := list("standby.test", "node.test:8201", "*.wild.test", "*.port.test:443", "[2001:db8::1]", "UPPER.test")
	tests := []struct {
		from, to string
		follow   bool
	}{
		// A load balancer may be what a standby believes to be the active node:
		// the same place again, a bounded number of times.
		{"https://vault.test:8200/v1/a", "https://vault.test:8200/v1/a", true},
		{"https://vault.test:8200/v1/a", "/v1/a", true},
		{"https://vault.test:8200/v1/a", "", false},

		// The same place by https is better than by http; back is never taken.
		{"http://vault.test:8200/v1/a", "https://vault.test:8200/v1/a", true},
		{"http://vault.test/v1/a", "https://vault.test/v1/a", true},
		{"http://vault.test:80/v1/a", "https://vault.test:443/v1/a", true},
		{"http://VAULT.test/v1/a", "https://vault.TEST/v1/a", true},
		{"http://[::1]/v1/a", "https://[::1]/v1/a", true},
		{"http://vault.test:8200/v1/a", "https://vault.test/v1/a", false},
		{"http://vault.test/v1/a", "https://vault.test:8200/v1/a", false},
		{"http://vault.test/v1/a", "https://other.test/v1/a", false},
		{"https://vault.test/v1/a", "http://vault.test/v1/a", false},
		{"https://vault.test:8200/v1/a", "http://vault.test:8200/v1/a", false},
		{"https://vault.test/v1/a", "http://standby.test/v1/a", false},

		// A name that is dialled as another one than it looks: U+0130 is an i in
		// lower case and no i in DNS.
		{"https://vault.internal:8200/v1/a", "https://vault.\u0130nternal:8200/v1/a", false},
		{"https://vault.internal:8200/v1/a", "https://vault.%C4%B0nternal:8200/v1/a", false},
		{"https://vault.test/v1/a", "https://\uff53tandby.test/v1/a", false},
		{"https://vault.test/v1/a", "https://a.w\u0130ld.test/v1/a", false},

		// Another host must be listed.
		{"https://vault.test/v1/a", "https://other.test/v1/a", false},
		{"https://vault.test/v1/a", "//other.test/v1/a", false},
		{"https://vault.test:8200/v1/a", "https://vault.test:8201/v1/a", false},
		{"https://vault.test/v1/a", "https://vault.test.evil.test/v1/a", false},
		{"https://vault.test/v1/a", "https://standby.test/v1/a", true},
		{"https://vault.test/v1/a", "//standby.test/v1/a", true},
		{"https://vault.test/v1/a", "https://STANDBY.test:8200/v1/a", true},
		{"http://vault.test/v1/a", "http://standby.test/v1/a", true},
		{"http://vault.test/v1/a", "https://standby.test/v1/a", true},
		{"https://vault.test/v1/a", "https://upper.test/v1/a", true},
		{"https://vault.test/v1/a", "https://standby.test.evil.test/v1/a", false},
		{"https://vault.test/v1/a", "https://evilstandby.test/v1/a", false},
		{"https://vault.test/v1/a", "https://standby.test./v1/a", false},
		{"https://vault.test/v1/a", "https://node.test:8201/v1/a", true},
		{"https://vault.test/v1/a", "https://node.test/v1/a", false},
		{"https://vault.test/v1/a", "https://node.test:8200/v1/a", false},
		{"https://vault.test/v1/a", "https://a.wild.test/v1/a", true},
		{"https://vault.test/v1/a", "https://a.b.wild.test:9/v1/a", true},
		{"https://vault.test/v1/a", "https://wild.test/v1/a", false},
		{"https://vault.test/v1/a", "https://.wild.test/v1/a", false},
		{"https://vault.test/v1/a", "https://evilwild.test/v1/a", false},
		{"https://vault.test/v1/a", "https://a.port.test/v1/a", true},
		{"https://vault.test/v1/a", "https://a.port.test:8200/v1/a", false},
		{"https://vault.test/v1/a", "https://[2001:DB8::1]:8200/v1/a", true},
		{"https://vault.test/v1/a", "https://[2001:db8::2]/v1/a", false},

		// Only the same request is sent on.
		{"https://vault.test/v1/a", "https://standby.test/v1/b", false},
		{"https://vault.test/v1/a", "https://standby.test/", false},
		{"https://vault.test/v1/a", "https://standby.test/v1/a/", false},
		{"https://vault.test/v1/a", "https://standby.test/v1/a?x=y", false},
		{"https://vault.test/v1/a?list=true", "https://standby.test/v1/a", false},
		{"https://vault.test/v1/a?list=true", "https://standby.test/v1/a?list=true", true},
		{"https://vault.test/v1/a", "https://vault.test/v1/b", false},
		{"https://vault.test/v1/a", "b", false},

		// What is no address of a server.
		{"https://vault.test/v1/a", "https://user:pw@standby.test/v1/a", false},
		{"https://vault.test/v1/a", "https://standby.test@evil.test/v1/a", false},
		{"https://vault.test/v1/a", `https://standby.test\@evil.test/v1/a`, false},
		{"https://vault.test/v1/a", "ftp://standby.test/v1/a", false},
		{"https://vault.test/v1/a", "unix:///v1/a", false},
		{"https://vault.test/v1/a", "https:///v1/a", false},
		{"https://vault.test/v1/a", "https://standby.test:port/v1/a", false},
		{"https://vault.test/v1/a", "%zz", false},
	}
	c := &Client{redirects: listed}
	for _, tt := range tests {
		from, err := url.Parse(tt.from)
		if err != nil {
			t.Fatal(err)
		}
		for status, follows := range map[int]bool{301: true, 302: true, 307: true, 308: true, 300: false, 303: false, 304: false, 200: false, 503: false} {
			to, got := c.redirect(from, &http.Response{StatusCode: status, Header: http.Header{"Location": {tt.to}}})
			if got != (tt.follow && follows) {
				t.Errorf("%d from %s to %q: followed %v to %v", status, tt.from, tt.to, got, to)
			}
		}
	}
}

// FuzzRedirect: whatever a server says, a token goes by the same path only to
// the same host or a listed one, and never from https to http.
func FuzzRedirect(f *testing.F) {
	for _, seed := range []string{
		"https://standby.test/v1/a?x=1", "http://vault.test/v1/a?x=1", "https://a.wild.test:8200/v1/a?x=1", "/v1/a?x=1", "//evil.test/v1/a?x=1",
		"https://standby.test:9@evil.test/v1/a?x=1", "https://vault.test:443/v1/a?x=1", "https:\\\\standby.test/v1/a?x=1", "https://[::1]/v1/a?x=1",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	c := &Client{redirects: list("standby.test", "*.wild.test:8200")}
	f.Fuzz(func(t *testing.T, location string, secure bool) {
		from := &url.URL{Scheme: "http", Host: "vault.test", Path: "/v1/a", RawQuery: "x=1"}
		if secure {
			from.Scheme = "https"
		}
		to, follow := c.redirect(from, &http.Response{StatusCode: 307, Header: http.Header{"Location": {location}}})
		if !follow {
			return
		}
		// What net/http will connect to, read by another parser.
		host, port, err := net.SplitHostPort(to.Host)
		if err != nil {
			host, port = to.Host, ""
		}
		host = strings.ToLower(host)
		known := host == "vault.test" && (port == "" || to.Scheme == "https" && port == "443" || !secure && port == "80") ||
			host == "standby.test" || strings.HasSuffix(host, ".wild.test") && port == "8200"
		good := to.Scheme == "https" || to.Scheme == "http" && !secure
		if !known || !good || to.User != nil || to.RequestURI() != "/v1/a?x=1" && to.Path != "/v1/a" {
			t.Errorf("from %s %q leads to %s", from, location, to)
		}
	})
}

// TestRedirectNotFollowed: the token is never seen at a host that is not
// listed, nor by a request that the status turns into another one.
func TestRedirectNotFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		other := &seen{}
		thief := serve(t, other, always(200, kvAnswer))
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(thief, "http://"))
		for name, to := range map[string]string{"other host": thief + "/v1/secret/data/app", "loop": "/v1/secret/data/app", "other path": "/v1/secret/data/other"} {
			s := &seen{}
			address := serve(t, s, func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
			c := prepare(t, s, address, func(o *Options) {
				o.Vault.Redirects = plan.Set(list("standby.test", "127.0.0.1:1"+port), plan.Origin{})
			})
			_, err := read(t.Context(), c, "secret/app")
			problem(t, err, plan.CodeProtocol, "redirected to ")
			problem(t, err, plan.CodeProtocol, "which is not followed with a token (declared at file: key); set VAULT_ADDR to the address that answers by itself, or list the hosts of your standby nodes in vault.redirects")
			if name == "other host" {
				problem(t, err, plan.CodeProtocol, "redirected to 127.0.0.1:"+port)
			}
			s.noCanary(t, err)
			want := 1
			if name == "loop" && status != 303 {
				want += maxRedirects
			}
			if other.count() != 0 || s.count() != want {
				t.Errorf("%d %s: %d requests, %d at the other host", status, name, s.count(), other.count())
			}
		}
	}
}

// TestRedirectMessage: only a plain host is repeated.
func TestRedirectMessage(t *testing.T) {
	for to, want := range map[string]string{
		"https://portal.example/login?token=" + canary: "redirected to portal.example, which",
		"/login":            "redirected to another place, which",
		"https://<script>/": "redirected to another place, which",
		"https://" + strings.Repeat("a", maxWord+1) + "/": "redirected to another place, which",
		"%zz": "redirected to another place, which",
	} {
		c, s := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}, nil)
		_, err := read(t.Context(), c, "secret/app")
		problem(t, err, plan.CodeProtocol, want)
		s.noCanary(t, err)
	}
}

// sentTo is what a server was sent.
type sentTo struct{ method, uri, token, namespace, body string }

// keeps answers well and keeps what it was sent.
func keeps(got *[]sentTo, body string) handler {
	return func(_ int, w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		*got = append(*got, sentTo{r.Method, r.RequestURI, r.Header.Get(headerToken), r.Header.Get(headerNamespace), string(text)})
		_, _ = io.WriteString(w, body)
	}
}

// TestRedirectToListed: a standby sends us on, and the active node gets the
// very same request: method, token, namespace and body.
func TestRedirectToListed(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		var got []sentTo
		active := serve(t, &seen{}, keeps(&got, kvAnswer))
		login := serve(t, &seen{}, keeps(&got, loginAnswer))
		s := &seen{}
		standby := serve(t, s, func(_ int, w http.ResponseWriter, r *http.Request) {
			to := active
			if strings.HasSuffix(r.URL.Path, "/login") {
				to = login
			}
			w.Header().Set("Location", to+r.URL.RequestURI())
			w.WriteHeader(status)
		})
		c := prepare(t, s, standby, func(o *Options) {
			appRoleOptions(o)
			o.Vault.Redirects = plan.Set(list("127.0.0.1"), plan.Origin{})
			o.Vault.Namespace = plan.Set("team", plan.Origin{})
		})
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		get := c.Generation()
		for _, r := range []plan.Read{
			{Path: "secret/app", Version: 3},
			{Path: "secret/app", Op: plan.OpList},
			{Path: "pki/issue/web", Op: plan.OpWrite},
			{Path: "database/creds/app", KV: plan.KVLiteral},
		} {
			if _, err := get(t.Context(), r, map[string]secret.Value{"a": secret.New([]byte("b"))}); err != nil {
				t.Errorf("%d %s: %v", status, r.Path, err)
			}
		}
		token := canary + "-token"
		want := []sentTo{
			{"PUT", "/v1/auth/approle/login", "", "team", `{"role_id":"` + canary + `-VAULT_ROLE_ID","secret_id":"` + canary + `-VAULT_SECRET_ID"}`},
			{"GET", "/v1/secret/data/app?version=3", token, "team", ""},
			{"GET", "/v1/secret/metadata/app?list=true", token, "team", ""},
			{"PUT", "/v1/pki/issue/web", token, "team", `{"a":"b"}`},
			{"GET", "/v1/database/creds/app", token, "team", ""},
		}
		if len(got) != len(want) || s.count() != len(want) {
			t.Fatalf("%d: %d requests at the active node, %d at the standby", status, len(got), s.count())
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%d: sent %+v, want %+v", status, got[i], want[i])
			}
		}
	}
}

// TestRedirectsEnd: two nodes that each say it is the other.
func TestRedirectsEnd(t *testing.T) {
	s := &seen{}
	var nodes [2]string
	for i := range nodes {
		nodes[i] = serve(t, s, func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, nodes[1-i]+r.URL.Path, http.StatusTemporaryRedirect)
		})
	}
	c := prepare(t, s, nodes[0], func(o *Options) { o.Vault.Redirects = plan.Set(list("127.0.0.1"), plan.Origin{}) })
	_, err := read(t.Context(), c, "secret/app")
	problem(t, err, plan.CodeProtocol, "redirected to "+strings.TrimPrefix(nodes[0], "http://"))
	if s.count() != 1+maxRedirects {
		t.Errorf("%d requests", s.count())
	}
}

// TestRedirectSchemes: to https it goes, with the certificate checked; from
// https to http it does not, even if the host is listed.
func TestRedirectSchemes(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	now := time.Now().Add(-time.Minute)
	for name, tt := range map[string]struct {
		plain bool // the first server
		by    *authority
		want  string
	}{
		"upgrade":           {true, ours, ""},
		"unknown authority": {true, theirs, "signed by an authority that we do not know"},
		"downgrade":         {false, ours, "which is not followed with a token"},
	} {
		first, second := &seen{}, &seen{}
		var address string
		if tt.plain {
			to := tt.by.server(second, "127.0.0.1", now, nil)
			address = serve(t, first, func(_ int, w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
			})
		} else {
			to := serve(t, second, always(200, kvAnswer))
			address = tt.by.serve("127.0.0.1", now, nil, asVault(first, func(_ int, w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
			}))
		}
		c := prepare(t, first, address, func(o *Options) {
			o.Vault.TLS.CACert = plan.Set(ours.file, plan.Origin{})
			o.Vault.Redirects = plan.Set(list("127.0.0.1"), plan.Origin{})
		})
		_, err := read(t.Context(), c, "secret/app")
		if tt.want == "" {
			if err != nil || first.count() != 1 || second.count() != 1 {
				t.Errorf("%s: %v, %d and %d requests", name, err, first.count(), second.count())
			}
			continue
		}
		problem(t, err, plan.CodeProtocol, tt.want)
		if second.count() != 0 {
			t.Errorf("%s: %d requests at the second", name, second.count())
		}
	}
}

// TestRedirectOutOfTime: the next place is asked within the same try.
func TestRedirectOutOfTime(t *testing.T) {
	slow := serve(t, &seen{}, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := &seen{}
	address := serve(t, s, func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, slow+r.URL.Path, http.StatusTemporaryRedirect)
	})
	c := prepare(t, s, address, func(o *Options) { o.Vault.Redirects = plan.Set(list("127.0.0.1"), plan.Origin{}) })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := read(ctx, c, "secret/app")
	problem(t, err, plan.CodeUnavailable, "no answer in time until the deadline (1 try)")
}

// TestRedirectTargetIsDown: a standby sends us to a node that is no more. What
// must not happen twice has not happened there, and is tried again; a node that
// took the request and broke off may have carried it out.
func TestRedirectTargetIsDown(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	for broken, again := range map[bool]bool{false: true, true: false} {
		at, s := &seen{}, &seen{}
		active := serve(t, at, func(n int, w http.ResponseWriter, _ *http.Request) {
			if broken {
				reset(t, w)
				return
			}
			_, _ = io.WriteString(w, kvAnswer)
		})
		standby := serve(t, s, func(n int, w http.ResponseWriter, r *http.Request) {
			to := active
			if n < 3 {
				to = "http://" + free.Addr().String()
			}
			http.Redirect(w, r, to+r.URL.Path, http.StatusTemporaryRedirect)
		})
		c := prepare(t, s, standby, func(o *Options) { o.Vault.Redirects = plan.Set(list("127.0.0.1"), plan.Origin{}) })
		_, err := c.Generation()(t.Context(), plan.Read{Path: "pki/issue", Op: plan.OpWrite}, map[string]secret.Value{"a": secret.New([]byte("b"))})
		if (err == nil) != again || s.count() != 3 || at.count() != 1 {
			t.Errorf("broken %v: %v after %d requests, %d at the active node", broken, err, s.count(), at.count())
		}
		if !again {
			problem(t, err, plan.CodeUnavailable, "not repeated, because the server may have carried it out")
		}
		s.noCanary(t, err)
	}
}
