package vault

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// headersOf answers well and keeps the headers of each request by its path.
func headersOf(got map[string]http.Header) handler {
	return func(_ int, w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/v1/")
		got[path] = r.Header.Clone()
		body := kvAnswer
		switch {
		case strings.HasSuffix(path, "/login"):
			w.Header().Set("X-Vault-Index", "state-of-login")
			body = loginAnswer
		case strings.HasSuffix(path, "/lookup-self"):
			body = `{"data":{}}`
		default:
			w.Header().Set("X-Vault-Index", "state-of-read")
		}
		_, _ = io.WriteString(w, body)
	}
}

// TestHeaders: what every request carries, what only a write does, and where
// each is made: the login, what asks about its token and what revokes it in the
// login's namespace, the rest where the secrets are.
func TestHeaders(t *testing.T) {
	for _, tt := range []struct {
		login, secrets         string // namespaces
		wantLogin, wantSecrets string
	}{
		{"", "", "", ""},
		{"", "/team/a/", "team/a", "team/a"},
		{"root/", "team", "root", "team"},
		{"root", "", "root", ""},
	} {
		got := map[string]http.Header{}
		c, _ := inMemory(t, headersOf(got), func(o *Options) {
			appRoleOptions(o)
			if tt.secrets != "" {
				o.Vault.Namespace = plan.Set(tt.secrets, plan.Origin{})
			}
			if tt.login != "" {
				o.Login.Namespace = plan.Set(tt.login, plan.Origin{})
			}
			o.Vault.Headers = map[string]plan.Handle{"X-From-File": {Kind: plan.HandleFile, Name: "f"}, "X-Both": {Kind: plan.HandleText, Name: "config"}}
			o.Vault.HeaderSet = plan.Handle{Kind: plan.HandleEnv, Name: "VAULT_HEADERS"}
			inner := o.Resolve
			o.Resolve = func(h plan.Handle) ([]byte, error) {
				if h.Name == "VAULT_HEADERS" {
					return []byte(`{"X-Both": "variable", "X-Set": "a b\té", "X-Empty": ""}`), nil
				}
				return inner(h)
			}
		})
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.Identify(t.Context())
		get := c.Generation()
		_, err := get(t.Context(), plan.Read{Path: "secret/app"}, nil)
		_, writeErr := get(t.Context(), plan.Read{Path: "pki/issue", Op: plan.OpWrite}, map[string]secret.Value{"a": secret.New([]byte("b"))})
		if err := errors.Join(err, writeErr, c.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		paths := slices.Sorted(maps.Keys(got))
		if want := list("auth/approle/login", "auth/token/lookup-self", "auth/token/revoke-self", "pki/issue", "secret/data/app"); !slices.Equal(paths, want) {
			t.Fatalf("requests %q", paths)
		}
		for path, h := range got {
			want := map[string]string{
				"X-Vault-Request": "true", "User-Agent": "secretboot", "X-From-File": canary + "-f", "X-Both": "variable", "X-Set": "a b\té", "X-Empty": "",
				"X-Vault-Namespace": tt.wantSecrets, "X-Vault-Token": canary + "-token", "X-Vault-Index": "state-of-login",
				"X-Vault-Inconsistent": "forward-active-node", "Content-Type": "", "Accept-Encoding": "",
			}
			if strings.HasPrefix(path, "auth/") {
				want["X-Vault-Namespace"] = tt.wantLogin
			}
			if path == "auth/approle/login" {
				want["X-Vault-Token"], want["X-Vault-Index"], want["X-Vault-Inconsistent"] = "", "", ""
			}
			if path == "auth/approle/login" || path == "pki/issue" {
				want["Content-Type"] = "application/json"
			}
			for name, value := range want {
				if h.Get(name) != value {
					t.Errorf("%+v %s: %s is %q, want %q", tt, path, name, h.Get(name), value)
				}
			}
			if _, there := h["X-Empty"]; !there {
				t.Errorf("%s: no X-Empty", path)
			}
		}
	}
}

// TestCorrelation: one id with every request of a client, another for another
// client, and the one of the user where there is one.
func TestCorrelation(t *testing.T) {
	sent := func(change func(*Options)) (ids []string, recorded string) {
		c, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
			ids = append(ids, r.Header.Get("X-Correlation-Id"))
			headersOf(map[string]http.Header{})(n, w, r)
		}, change)
		if err != nil {
			t.Fatal(err)
		}
		get := c.Generation()
		for _, r := range []plan.Read{{Path: "secret/app"}, {Path: "kv/app"}, {Path: "secret/app", Op: plan.OpList}, {Path: "pki/issue", Op: plan.OpWrite}} {
			if _, err := get(t.Context(), r, nil); err != nil {
				t.Error(err)
			}
		}
		c.Identify(t.Context())
		if err := c.Close(t.Context()); err != nil || len(ids) != 8 || s.count() != 8 {
			t.Errorf("%v, requests %q", err, s.all())
		}
		server, _, _ := c.Record()
		return slices.Compact(ids), server.Correlation
	}
	first, recorded := sent(appRoleOptions)
	if len(first) != 1 || first[0] != recorded || len(recorded) < 20 {
		t.Errorf("sent %q, recorded %q", first, recorded)
	}
	if second, recorded := sent(appRoleOptions); len(second) != 1 || second[0] == first[0] || second[0] != recorded {
		t.Errorf("another client sent %q, recorded %q", second, recorded)
	}
	own, _ := sent(func(o *Options) {
		appRoleOptions(o)
		o.Vault.Headers = map[string]plan.Handle{"x-correlation-id": {Kind: plan.HandleText, Name: "x"}}
		o.Resolve = func(plan.Handle) ([]byte, error) { return []byte("of-the-user"), nil }
	})
	if !slices.Equal(own, list("of-the-user")) {
		t.Errorf("the user's is sent as %q", own)
	}
}

// TestHeaderOrder: of two spellings of one header the same one always wins, and
// what is wrong is told in the same order; a User-Agent of the user's stays.
func TestHeaderOrder(t *testing.T) {
	for range 20 { // a map has another order each time
		got := map[string]http.Header{}
		c, _ := inMemory(t, headersOf(got), func(o *Options) {
			o.Vault.Headers = map[string]plan.Handle{"X-SAME": {Name: "1"}, "X-Same": {Name: "2"}, "x-same": {Name: "3"}, "USER-AGENT": {Name: "mine/1.0"}}
			o.Vault.HeaderSet = plan.Handle{Kind: plan.HandleEnv, Name: `{"X-SET": "1", "x-set": "3", "X-Set": "2"}`}
			o.Resolve = func(h plan.Handle) ([]byte, error) { return []byte(h.Name), nil }
			o.Login.Inputs = map[string]plan.Handle{"token": {Kind: plan.HandleEnv, Name: "t"}}
		})
		if _, err := read(t.Context(), c, "secret/app"); err != nil {
			t.Fatal(err)
		}
		if h := got["secret/data/app"]; h.Get("X-Same") != "3" || h.Get("X-Set") != "3" || h.Get("User-Agent") != "mine/1.0" {
			t.Fatalf("sent %v", h)
		}
		_, err := Prepare(options(func(o *Options) {
			o.Vault.Headers = map[string]plan.Handle{"C": {Name: "\n"}, "A": {Name: "\n"}, "B": {Name: "\n"}}
			o.Resolve = func(h plan.Handle) ([]byte, error) { return []byte(h.Name), nil }
		}))
		var ps plan.Problems
		if !errors.As(err, &ps) || len(ps) != 3 || ps[0].What != "header A" || ps[1].What != "header B" || ps[2].What != "header C" {
			t.Fatalf("told as %v", err)
		}
	}
}

// TestBadHeaders: each is told with its name and place, none with its value.
func TestBadHeaders(t *testing.T) {
	tests := []struct {
		set, value string
		want       string
	}{
		{"", canary + "\r\nX-Evil: 1", "header X-Proxy: has a line break or another unprintable character in it (declared at there); give the value alone"},
		{"", "a\x00" + canary, "header X-Proxy: has a line break"},
		{"", canary + "\xff", "header X-Proxy: has a line break or another unprintable character"},
		{"", "a\x7f" + canary, "header X-Proxy: has a line break"},
		{canary, "", `headers: not a JSON object of texts (declared at VAULT_HEADERS); write {"NAME": "VALUE"}`},
		{`["` + canary + `"]`, "", "headers: not a JSON object of texts"},
		{`{"a": ["` + canary + `"]}`, "", "headers: not a JSON object of texts"},
		{`{"a": 1}`, "", "headers: not a JSON object of texts"},
		{`{"a b": "` + canary + `"}`, "", `header "a b": it is no name of a header: letters, digits and !#$%&'*+-.^_` + "`" + `|~ only (declared at VAULT_HEADERS); leave it out`},
		{`{"": "` + canary + `"}`, "", `header "": it is no name of a header`},
		{`{"x-vault-TOKEN": "` + canary + `"}`, "", `header "x-vault-TOKEN": this header is set by secretboot itself (declared at VAULT_HEADERS); leave it out; the token and the namespace have settings of their own`},
		{`{"Host": "` + canary + `"}`, "", `header "Host": this header is set by secretboot itself`},
		{`{"z b": "", "Host": "", "a b": "` + canary + `"}`, "", `header "Host": this header is set`}, // the first of them
		{`{"X-A": "a\n` + canary + `"}`, "", "header X-A: has a line break"},
		{"!", "", "VAULT_HEADERS: not set"},
		{"", "!", "X-Proxy: not set"},
	}
	for _, tt := range tests {
		_, err := Prepare(options(func(o *Options) {
			o.Resolve = func(h plan.Handle) ([]byte, error) {
				text := map[string]string{"TOKEN": "t", "VAULT_HEADERS": tt.set, "X-Proxy": tt.value}[h.Name]
				if text == "!" {
					return nil, &plan.Problem{Code: plan.CodeConfig, What: h.Name, Why: "not set"}
				}
				return []byte(text), nil
			}
			if tt.set != "" {
				o.Vault.HeaderSet = plan.Handle{Kind: plan.HandleEnv, Name: "VAULT_HEADERS", Origin: plan.Origin{At: "VAULT_HEADERS"}}
			} else {
				o.Vault.Headers = map[string]plan.Handle{"X-Proxy": {Kind: plan.HandleEnv, Name: "X-Proxy", Origin: plan.Origin{At: "there"}}}
			}
		}))
		problem(t, err, plan.CodeConfig, tt.want)
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error holds the value: %v", err)
		}
	}
}

// TestStandbyThatLags: a node that has not seen our login yet says 412; the
// request is repeated, with the login's state and nobody else's.
func TestStandbyThatLags(t *testing.T) {
	for _, status := range []int{412, 472, 473} {
		synctest.Test(t, func(t *testing.T) {
			var states []string
			c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
				states = append(states, r.Header.Get("X-Vault-Index"))
				switch {
				case n == 1:
					w.Header().Set("X-Vault-Index", "one")
					_, _ = io.WriteString(w, loginAnswer)
				case n < 4:
					w.Header().Set("X-Vault-Index", "of-a-failure")
					refuse(w, status, `{"errors":["`+canary+`"]}`)
				default:
					w.Header().Set("X-Vault-Index", "of-a-read")
					_, _ = io.WriteString(w, kvAnswer)
				}
			}, appRoleOptions)
			_, loginErr := true, c.Login(t.Context())
			_, err := read(t.Context(), c, "secret/app")
			_, again := read(t.Context(), c, "secret/app")
			if err := errors.Join(loginErr, err, again); err != nil || s.count() != 5 {
				t.Errorf("%d: %v after %d requests", status, err, s.count())
			}
			if !slices.Equal(states, list("", "one", "one", "one", "one")) {
				t.Errorf("%d: sent %q", status, states)
			}
			s.noCanary(t, err)
		})
	}
}

// TestRateLimit: so many at once, then so many a second; tries count too.
func TestRateLimit(t *testing.T) {
	limited := func(rate plan.Rate) func(*Options) {
		return func(o *Options) { o.Vault.RateLimit = plan.Set(rate, plan.Origin{}) }
	}
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Duration
		start := time.Now()
		c, _ := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			at = append(at, time.Since(start).Round(time.Millisecond))
			mu.Unlock()
			_, _ = io.WriteString(w, kvAnswer)
		}, limited(plan.Rate{PerSecond: 2, Burst: 3}))
		get := c.Generation()
		var wg sync.WaitGroup
		for _, name := range list("a", "b", "c", "d", "e", "f") {
			wg.Go(func() { _, _ = get(t.Context(), plan.Read{Path: "secret/" + name}, nil) })
		}
		wg.Wait()
		slices.Sort(at)
		if want := []time.Duration{0, 0, 0, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond}; !slices.Equal(at, want) {
			t.Errorf("sent at %v, want %v", at, want)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a try is a request
		c, s := inMemory(t, always(503, ""), limited(plan.Rate{PerSecond: 0.1, Burst: 1}))
		ctx, cancel := context.WithTimeout(t.Context(), 55*time.Second)
		defer cancel()
		_, err := read(ctx, c, "secret/app")
		if plan.CodeOf(err) != plan.CodeUnavailable || s.count() != 6 {
			t.Errorf("%d requests, %v", s.count(), err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // what cannot be waited for fails at once
		c, s := inMemory(t, always(200, kvAnswer), limited(plan.Rate{PerSecond: 0.1, Burst: 1}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, first := read(ctx, c, "secret/app")
		_, err := read(ctx, c, "secret/app")
		problem(t, err, plan.CodeUnavailable, "vault http://vault.test:8200: the rate limit of our own (vault.rate_limit, VAULT_RATE_LIMIT) left no time for a request until the deadline (1 try) (declared at here)")
		if first != nil || s.count() != 1 || time.Since(start) != 0 {
			t.Errorf("%v, %d requests in %v", first, s.count(), time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) { // and with what Vault said last, if it said something
		c, s := inMemory(t, always(503, ""), limited(plan.Rate{PerSecond: 0.1, Burst: 1}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := read(ctx, c, "secret/app")
		problem(t, err, plan.CodeUnavailable, "vault http://vault.test:8200: Vault is sealed or not ready until the deadline")
		if s.count() != 1 || time.Since(start) > firstWait {
			t.Errorf("%d requests in %v", s.count(), time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) { // a signal ends the wait
		c, _ := inMemory(t, always(200, kvAnswer), limited(plan.Rate{PerSecond: 0.001, Burst: 1}))
		signal := errors.New("signal")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(signal) })
		_, first := read(ctx, c, "secret/app")
		_, err := read(ctx, c, "secret/app")
		if first != nil || !errors.Is(err, signal) {
			t.Errorf("%v, %v", first, err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // and so does the deadline, while all slots are taken
		c, _ := inMemory(t, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(o *Options) { o.Vault.Connections = plan.Set(1, plan.Origin{}) })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		get := c.Generation()
		var wg sync.WaitGroup
		for _, name := range list("a", "b") {
			wg.Go(func() {
				_, err := get(ctx, plan.Read{Path: "secret/" + name}, nil)
				problem(t, err, plan.CodeUnavailable, "until the deadline (1 try)")
			})
		}
		wg.Wait()
	})
}

// TestNotUTF8IsNotSent: JSON would carry another text than the input has.
func TestNotUTF8IsNotSent(t *testing.T) {
	c, s := inMemory(t, always(200, kvAnswer), nil)
	_, err := c.Generation()(t.Context(), plan.Read{Path: "pki/issue", Op: plan.OpWrite, Origin: plan.Origin{At: "here"}},
		map[string]secret.Value{"csr": secret.New([]byte(canary + "\xff"))})
	problem(t, err, plan.CodeConfig, "csr: is not valid UTF-8, so JSON cannot carry it (declared at here); encode it")
	s.noCanary(t, err)
	if s.count() != 0 {
		t.Errorf("%d requests", s.count())
	}
}

// TestWipingBody: what was sent is overwritten when the transport is done with
// it, and not read again.
func TestWipingBody(t *testing.T) {
	text := []byte(canary)
	body := wiping(text)
	part := make([]byte, 3)
	if n, err := body.Read(part); n != 3 || err != nil || string(part) != canary[:3] {
		t.Fatalf("%q, %v", part[:n], err)
	}
	for range 2 {
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := body.Read(part); n != 0 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read %d after the end, %v", n, err)
	}
	if string(text) != strings.Repeat("\x00", len(canary)) {
		t.Errorf("still %q", text)
	}
}
