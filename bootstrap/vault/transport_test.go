package vault

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestCheckAddress(t *testing.T) {
	tests := map[string]string{
		"https://vault:8200":          "",
		"http://127.0.0.1:8200":       "",
		"https://[::1]:8200":          "",
		"https://vault/prefix":        "",
		"https://vault/v1x":           "",
		"https://vault/v1/prefix":     "",
		"https://vault/v1":            "must not end in /v1",
		"https://vault/v1/":           "must not end in /v1",
		"https://vault/prefix/v1":     "must not end in /v1",
		"unix:///run/vault.sock":      "",
		"unix://":                     "the scheme must be",
		"vault:8200":                  "the scheme must be",
		"vault":                       "the scheme must be",
		"ftp://vault":                 "the scheme must be",
		"https://":                    "has no host",
		"https://:8200":               "has no host",
		"https://u:" + canary + "@v":  "must not hold a user or password",
		"https://u@v":                 "must not hold a user or password",
		"https://vault?x=" + canary:   "must not have a query",
		"https://vault#" + canary:     "must not have a query",
		"https://va ult":              "not a URL",
		"https://vault:port" + canary: "not a URL",
		"://" + canary:                "not a URL",
		"":                            "the scheme must be",
	}
	for address, want := range tests {
		err := checkAddress(plan.Set(address, plan.Origin{At: "VAULT_ADDR"}))
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", address, err)
			}
			continue
		}
		problem(t, err, plan.CodeConfig, want)
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error repeats the address: %v", err)
		}
	}
}

// options are complete ones with a token; change may be nil.
func options(change func(*Options)) Options {
	o := Options{
		Vault:   plan.Vault{Address: plan.Set("https://vault", plan.Origin{}), KV: map[string]plan.KVRule{"secret": plan.KV2}},
		Login:   plan.Login{Inputs: variables("token")},
		Resolve: func(plan.Handle) ([]byte, error) { return []byte(canary), nil },
		Log:     slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	return o
}

func TestPrepareRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	here := plan.Origin{At: "here"}
	tests := []struct {
		name, want string
		change     func(*Options)
	}{
		{"no address", "Vault's address: not given; set VAULT_ADDR", func(o *Options) { o.Vault.Address = plan.Setting[string]{} }},
		{"missing CA", "CA certificate " + empty + "x: no such file or directory (declared at here)", func(o *Options) { o.Vault.TLS.CACert = plan.Set(empty+"x", here) }},
		{"empty CA", "CA certificate " + empty + ": holds no certificate in PEM (declared at here)", func(o *Options) { o.Vault.TLS.CACert = plan.Set(empty, here) }},
		{"bad PEM", "CA certificate: holds no certificate in PEM (declared at here)", func(o *Options) { o.Vault.TLS.CACertPEM = plan.Set(canary, here) }},
		{"certificate without key", "client certificate: given without its key (declared at here); set vault.tls.client_key (VAULT_CLIENT_KEY) too", func(o *Options) { o.Vault.TLS.ClientCert = plan.Set(empty, here) }},
		{"key without certificate", "client key: given without its certificate (declared at here); set vault.tls.client_cert (VAULT_CLIENT_CERT) too", func(o *Options) { o.Vault.TLS.ClientKey = plan.Set(empty, here) }},
		{"bad pair", "client certificate: it and its key are not PEM, or do not belong together (declared at here)", func(o *Options) {
			o.Vault.TLS.ClientCert, o.Vault.TLS.ClientKey = plan.Set(empty, here), plan.Set(empty, here)
		}},
		{"bad proxy", "the proxy: not a URL (declared at here)", func(o *Options) { o.Vault.Proxy = plan.Set(canary, here) }},
		{"no login", "login: no token and no role id was given", func(o *Options) { o.Login.Inputs = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Prepare(options(tt.change))
			problem(t, err, plan.CodeConfig, tt.want)
			if err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("the error holds the value: %v", err)
			}
		})
	}
}

func TestProxy(t *testing.T) {
	s := &seen{}
	c, _ := overNetwork(t, always(200, kvAnswer))
	proxy := c.name
	via := prepare(t, s, "http://vault.invalid:8200", func(o *Options) { o.Vault.Proxy = plan.Set(proxy, plan.Origin{}) })
	if _, err := read(t.Context(), via, "secret/app"); err != nil {
		t.Error(err)
	}
}

// TestFilesAreNamed: each TLS file that cannot be opened is a problem of its
// own, with its path and where it was declared.
func TestFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	none := func(name string) plan.Setting[string] {
		return plan.Set(filepath.Join(dir, name), plan.Origin{At: "VAULT_" + name})
	}
	v := plan.Vault{Address: plan.Set("https://vault/v1", plan.Origin{At: "VAULT_ADDR"})}
	v.TLS = plan.TLS{CACert: none("CACERT"), CAPath: none("CAPATH"), ClientCert: none("CLIENT_CERT"), ClientKey: none("CLIENT_KEY")}
	var ps plan.Problems
	if err := CheckServer(v); !errors.As(err, &ps) {
		t.Fatalf("got %v, want several problems", err)
	}
	var got []string
	for _, p := range ps {
		problem(t, p, plan.CodeConfig, "(declared at VAULT_")
		got = append(got, p.Error())
	}
	want := list("Vault's address: must not end in /v1, which is part of every request (declared at VAULT_ADDR); give https://host:port or unix:///path")
	for what, name := range map[string]string{"CA certificate": "CACERT", "CA folder": "CAPATH", "client certificate": "CLIENT_CERT", "client key": "CLIENT_KEY"} {
		want = append(want, what+" "+filepath.Join(dir, name)+": no such file or directory (declared at VAULT_"+name+"); check the path")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	v.Address = plan.Set("https://vault", plan.Origin{})
	_, err := Prepare(options(func(o *Options) { o.Vault = v }))
	if !errors.As(err, &ps) || len(ps) != 4 {
		t.Errorf("Prepare: %v, want four problems", err)
	}
}

// TestCheckServer: no address is no problem of a plan, and files that are there
// are none either.
func TestCheckServer(t *testing.T) {
	dir := t.TempDir()
	file := newAuthority(t).file
	if err := os.Link(file, filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	for _, v := range []plan.Vault{
		{},
		{Address: plan.Set("https://vault:8200", plan.Origin{})},
		{Address: plan.Set("https://vault:8200", plan.Origin{}), TLS: plan.TLS{CACert: plan.Set(file, plan.Origin{}), CAPath: plan.Set(dir, plan.Origin{})}},
	} {
		if err := CheckServer(v); err != nil {
			t.Errorf("%+v: %v", v, err)
		}
	}
	problem(t, CheckServer(plan.Vault{Address: plan.Set("vault", plan.Origin{})}), plan.CodeConfig, "the scheme must be")
}

// TestNoWrapping: VAULT_WRAP_TTL is for the command line of Vault. An answer
// that is wrapped would hold neither a token nor a secret.
func TestNoWrapping(t *testing.T) {
	t.Setenv("VAULT_WRAP_TTL", "60s")
	c, s := inMemory(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if ttl, there := r.Header["X-Vault-Wrap-Ttl"]; there {
			t.Errorf("%s %s asks for wrapping: %q", r.Method, r.URL.Path, ttl)
		}
		if strings.HasSuffix(r.URL.Path, "/login") {
			_, _ = io.WriteString(w, loginAnswer)
			return
		}
		_, _ = io.WriteString(w, kvAnswer)
	}, appRoleOptions)
	if err := c.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	get := c.Generation()
	for _, op := range []plan.Op{plan.OpRead, plan.OpWrite, plan.OpList} {
		if _, err := get(t.Context(), plan.Read{Path: "secret/app", Op: op}, nil); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(t.Context()); err != nil || s.count() != 5 {
		t.Errorf("%v, requests %v", err, s.all())
	}
}
