package declare_test

import (
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestEnvironment(t *testing.T) {
	const helper = "Login.Ambient[token_helper].Kind = 0x2\nLogin.Ambient[token_helper].Name = \"/home/u/.vault-token\"\n"
	home := fstest.MapFS{"home/u/.vault-token": {Data: []byte("CANARY\n")}}
	pod := fstest.MapFS{"var/run/secrets/kubernetes.io/serviceaccount/token": {Data: []byte("CANARY")}}
	emptyToken := fstest.MapFS{"home/u/.vault-token": {Data: []byte("\n")}}
	for _, tt := range []struct {
		name  string
		vars  map[string]string
		files fstest.MapFS
		want  string // of dump, without origins; or the problems
	}{
		{"nothing", nil, nil, ""},
		{"empty is unset", map[string]string{"VAULT_ADDR": "", "VAULT_TOKEN": "", "VAULT_SKIP_VERIFY": ""}, nil, ""},
		{
			"agent wins",
			map[string]string{"VAULT_ADDR": "https://a", "VAULT_AGENT_ADDR": "https://b"},
			nil,
			"Vault.Address = \"https://b\" @ VAULT_AGENT_ADDR\n",
		},
		{
			"proxy",
			map[string]string{"VAULT_HTTP_PROXY": "http://a", "VAULT_PROXY_ADDR": "http://b"},
			nil,
			"Vault.Proxy = \"http://b\" @ VAULT_PROXY_ADDR\n",
		},
		{"tls", map[string]string{
			"VAULT_CACERT": "ca", "VAULT_CACERT_BYTES": "pem", "VAULT_CAPATH": "dir", "VAULT_CLIENT_CERT": "c", "VAULT_CLIENT_KEY": "k",
			"VAULT_TLS_SERVER_NAME": "n", "VAULT_SKIP_VERIFY": "false", "VAULT_NAMESPACE": "ns",
		}, nil, `Vault.Namespace = "ns" @ VAULT_NAMESPACE
Vault.TLS.CACert = "ca" @ VAULT_CACERT
Vault.TLS.CACertPEM = "pem" @ VAULT_CACERT_BYTES
Vault.TLS.CAPath = "dir" @ VAULT_CAPATH
Vault.TLS.ClientCert = "c" @ VAULT_CLIENT_CERT
Vault.TLS.ClientKey = "k" @ VAULT_CLIENT_KEY
Vault.TLS.ServerName = "n" @ VAULT_TLS_SERVER_NAME
Vault.TLS.SkipVerify = false @ VAULT_SKIP_VERIFY
`},
		{
			"bad bool",
			map[string]string{"VAULT_SKIP_VERIFY": "CANARY"},
			nil,
			"variable VAULT_SKIP_VERIFY: it must be true or false (declared at VAULT_SKIP_VERIFY)",
		},
		{
			"yes is no bool",
			map[string]string{"VAULT_SKIP_VERIFY": "yes"},
			nil,
			"variable VAULT_SKIP_VERIFY: it must be true or false (declared at VAULT_SKIP_VERIFY)",
		},
		{
			"token and helper",
			map[string]string{"VAULT_TOKEN": "CANARY"},
			home,
			"Login.Inputs[token].Kind = 0x1\nLogin.Inputs[token].Name = \"VAULT_TOKEN\"\n" + helper,
		},
		{"helper", nil, home, helper},
		{
			"service account",
			map[string]string{"VAULT_ADDR": "https://a"},
			pod,
			`Vault.Address = "https://a" @ VAULT_ADDR
Login.Ambient[service_account_token].Kind = 0x2
Login.Ambient[service_account_token].Name = "/var/run/secrets/kubernetes.io/serviceaccount/token"
`,
		},
		{
			"github actions",
			map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "CANARY", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "CANARY"},
			nil,
			`Login.Ambient[id_token_request_token].Kind = 0x1
Login.Ambient[id_token_request_token].Name = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
Login.Ambient[id_token_request_url].Kind = 0x1
Login.Ambient[id_token_request_url].Name = "ACTIONS_ID_TOKEN_REQUEST_URL"
`,
		},
		{"github actions without the permission", map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": "x", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""}, nil, ""},
		{
			"gitlab",
			map[string]string{
				"GITLAB_CI": "true", "VAULT_ID_TOKEN": "CANARY", "VAULT_SERVER_URL": "https://g", "VAULT_AUTH_ROLE": "ci", "VAULT_AUTH_PATH": "jwt_v2",
			},
			nil,
			`Vault.Address = "https://g" @ VAULT_SERVER_URL
Login.Mount = "jwt_v2" @ VAULT_AUTH_PATH
Login.Role = "ci" @ VAULT_AUTH_ROLE
Login.Ambient[gitlab_id_token].Kind = 0x1
Login.Ambient[gitlab_id_token].Name = "VAULT_ID_TOKEN"
`,
		},
		{
			"gitlab's address yields",
			map[string]string{"GITLAB_CI": "true", "VAULT_SERVER_URL": "https://g", "VAULT_ADDR": "https://a"},
			nil,
			"Vault.Address = \"https://a\" @ VAULT_ADDR\n",
		},
		{
			"gitlab's names elsewhere",
			map[string]string{"VAULT_ID_TOKEN": "x", "VAULT_SERVER_URL": "https://g", "VAULT_AUTH_ROLE": "ci", "VAULT_AUTH_PATH": "jwt"},
			nil,
			"",
		},
		{
			"headers and limit",
			map[string]string{"VAULT_HEADERS": `{"Authorization":"CANARY"}`, "VAULT_RATE_LIMIT": "2.5:7"},
			nil,
			`Vault.HeaderSet.Kind = 0x1
Vault.HeaderSet.Name = "VAULT_HEADERS"
Vault.RateLimit = plan.Rate{PerSecond:2.5, Burst:7} @ VAULT_RATE_LIMIT
`,
		},
		{
			"bad limit",
			map[string]string{"VAULT_RATE_LIMIT": "CANARY"},
			nil,
			"variable VAULT_RATE_LIMIT: it must be RATE or RATE:BURST in requests a second, such as 10 or 10:20, at most 1000000 (declared at VAULT_RATE_LIMIT)",
		},
		{"vault:login is no token", map[string]string{"VAULT_TOKEN": "vault:login"}, nil, ""},
		{
			"vault:login beside a file",
			map[string]string{"VAULT_TOKEN": "vault:login", "VAULT_TOKEN_FILE": "/x"},
			nil,
			"Login.Inputs[token].Kind = 0x2\nLogin.Inputs[token].Name = \"/x\"\n",
		},
		{"empty helper", nil, emptyToken, "Ignored[0].What = \"/home/u/.vault-token\"\nIgnored[0].Why = \"the file is empty\"\n"},
		{
			"files are relative to the working folder",
			map[string]string{"VAULT_ROLE_ID": "CANARY", "VAULT_SECRET_ID_FILE": "sid"},
			nil,
			"Login.Inputs[role_id].Kind = 0x1\nLogin.Inputs[role_id].Name = \"VAULT_ROLE_ID\"\n" +
				"Login.Inputs[secret_id].Kind = 0x2\nLogin.Inputs[secret_id].Name = \"/work/sid\"\n",
		},
		{
			"ambiguous",
			map[string]string{"VAULT_TOKEN": "CANARY", "VAULT_TOKEN_FILE": "/x", "VAULT_SECRET_ID": "a", "VAULT_SECRET_ID_FILE": "b"},
			nil,
			"variable VAULT_TOKEN_FILE: VAULT_TOKEN is set as well, so it is not clear which one counts (declared at VAULT_TOKEN_FILE); unset one of the two\n" +
				"variable VAULT_SECRET_ID_FILE: VAULT_SECRET_ID is set as well, so it is not clear which one counts (declared at VAULT_SECRET_ID_FILE); unset one of the two",
		},
		{
			"ignored",
			map[string]string{"VAULT_CLIENT_TIMEOUT": "5s"},
			nil,
			"Ignored[0].What = \"VAULT_CLIENT_TIMEOUT\"\nIgnored[0].Why = \"it bounds one request; use timeout, which bounds the whole start\"\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := declare.Input{Open: open(tt.files), Lookup: lookup(tt.vars), Home: "/home/u", Cwd: "/work"}
			p, found, err := declare.Environment{}.Declare(in)
			got := withoutOrigins(dump(p))
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
			if want := err != nil || len(p.Login.Inputs) > 0 || len(p.Login.Ambient) > 0 || strings.Contains(got, "@") || strings.Contains(got, "TIMEOUT"); found != want {
				t.Errorf("found is %v", found)
			}
			if strings.Contains(got, "CANARY") {
				t.Error("a value is shown")
			}
		})
	}
}

func withoutOrigins(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if !strings.Contains(line, "Origin = ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestEnvironmentUnreadableFiles: what was found and cannot be used is noted.
func TestEnvironmentUnreadableFiles(t *testing.T) {
	in := declare.Input{Home: "/root", Open: func(string) (io.ReadCloser, error) { return nil, fs.ErrPermission }}
	p, found, err := declare.Environment{}.Declare(in)
	if err != nil || found || len(p.Login.Ambient) != 0 || len(p.Ignored) != 2 {
		t.Fatalf("%v, %v, %+v", found, err, p)
	}
	for i, path := range []string{"/root/.vault-token", "/var/run/secrets/kubernetes.io/serviceaccount/token"} {
		if p.Ignored[i].What != path || p.Ignored[i].Why != "we may not read the file" || p.Ignored[i].Origin.At != path {
			t.Errorf("%+v", p.Ignored[i])
		}
	}
}

func TestReferences(t *testing.T) {
	for _, tt := range []struct{ entry, want string }{
		{"A=vault:secret/data/db#password", "A: secret/data/db#password 0"},
		{"A=vault:secret/data/db#password#3", "A: secret/data/db#password 3"},
		{"A=vault:secret/db", "A: secret/db# 0"},
		{"A=plain", ""},
		{"A=", ""},
		{"=vault:a/b#c", ""},
		{"broken", ""},
		{"A=vault:v1:abcd/ef#g==", ""},
		{"IMAGE=vault:1.21", ""},
		{"VAULT_TOKEN=vault:a/b#c", ""},
		{"SECRETBOOT_X=vault:a/b#c", ""},
		{"A=xvault:a/b#c", ""},
		{"A=vault:CANARY/x#", `variable "A": the reference is wrong: the field after # is empty (declared at A); write vault:PATH#FIELD`},
		{"A=vault:CANARY/../x#y", `variable "A": the reference is wrong: the path has an empty, . or .. element (declared at A); write vault:PATH#FIELD`},
		{"A=vault:a#b#CANARY", `variable "A": the reference is wrong: the version must be a whole number from 1 (declared at A); write vault:PATH#FIELD`},
		{"A=vault:a/b#${ .CANARY }", `variable "A": there is a template (${…}) in the reference (declared at A); use --from env, which reads all that bank-vaults knows`},
		{"A=>>vault:a/b#CANARY", `variable "A": nothing is written to Vault (>>vault:) for a variable that happens to be there (declared at A); use --from env, which reads all that bank-vaults knows`},
		{"VAULT_TOKEN=vault:login", `variable "VAULT_TOKEN": vault:login, the token of the login, is no reference to a secret (declared at VAULT_TOKEN); use --from env, which reads all that bank-vaults knows`},
		{"A=vault:login", ""},
	} {
		p, found, err := declare.References{}.Declare(declare.Input{Environ: []string{tt.entry}})
		got := ""
		for _, e := range p.Env {
			r := e.Source.Ref
			got = e.Name + ": " + r.Read.Path + "#" + r.Field + " " + string(rune('0'+r.Read.Version))
		}
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || found != (tt.want != "") {
			t.Errorf("%s: %q, found %v; want %q", tt.entry, got, found, tt.want)
		}
		if plan.CodeOf(err) != plan.CodeConfig && err != nil {
			t.Errorf("%s: code %d", tt.entry, plan.CodeOf(err))
		}
	}
}

func TestReferencesAllProblems(t *testing.T) {
	_, _, err := declare.References{}.Declare(declare.Input{Environ: []string{"A=vault:a/b#", "B=vault:a/b#c", "C=>>vault:x"}})
	if n := strings.Count(err.Error(), "\n") + 1; n != 2 {
		t.Errorf("%d problems: %v", n, err)
	}
}

func TestFileAndEnvFlags(t *testing.T) {
	for _, tt := range []struct{ arg, want string }{
		{"a/b=secret/app#key", "a/b secret/app#key"},
		{"a=vault:secret/app", "a secret/app#"},
		{"a=secret/app#k=v", "a secret/app#k=v"},
		{"a", "it must be"},
		{"=secret/app", "it must be"},
		{"a=", "it must be"},
		{"a=CANARY/app#", `the reference for "a" is wrong: the field after # is empty`},
	} {
		f, fileErr := declare.ParseFileFlag(tt.arg, plan.Origin{At: "--file"})
		e, envErr := declare.ParseEnvFlag(tt.arg, plan.Origin{At: "--env"})
		if fileErr == nil {
			if got := f.Path + " " + f.Source.Ref.Read.Path + "#" + f.Source.Ref.Field; got != tt.want || f.Origin.At != "--file" {
				t.Errorf("%s: %s at %s", tt.arg, got, f.Origin)
			}
			if e.Name != f.Path || e.Origin.At != "--env" || e.Source.Ref.Read.Origin.At != "--env" {
				t.Errorf("%s: %+v", tt.arg, e)
			}
			continue
		}
		for _, err := range []error{fileErr, envErr} {
			if err == nil || plan.CodeOf(err) != plan.CodeUsage || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s: %v", tt.arg, err)
			}
		}
	}
}

func TestTemplateFlag(t *testing.T) {
	in := declare.Input{Cwd: "/work", Open: open(fstest.MapFS{"work/a.tmpl": {Data: []byte("text")}})}
	f, err := declare.ParseTemplateFlag(in, "a.tmpl:out/a.conf", plan.Origin{At: "--template"})
	if err != nil || f.Path != "out/a.conf" || f.Source.Template.Text != "text" || f.Source.Template.Name != "a.tmpl" {
		t.Errorf("%+v, %v", f, err)
	}
	for arg, code := range map[string]plan.Code{
		"a.tmpl": plan.CodeUsage, ":x": plan.CodeUsage, "a.tmpl:": plan.CodeUsage, "a:b:c": plan.CodeUsage, "no:x": plan.CodeConfig,
	} {
		if _, err := declare.ParseTemplateFlag(in, arg, plan.Origin{At: "--template"}); err == nil || plan.CodeOf(err) != code {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestConfigUnreadable(t *testing.T) {
	big := []byte("# " + strings.Repeat("x", declare.MaxFile))
	in := declare.Input{Cwd: "/work", Open: open(fstest.MapFS{"work/big.yaml": {Data: big}})}
	for path, why := range map[string]string{"big.yaml": "larger than", "gone.yaml": "there is no such file"} {
		_, found, err := declare.Config{Path: path}.Declare(in)
		if found || err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), path) || plan.CodeOf(err) != plan.CodeConfig {
			t.Errorf("%s: %v, %v", path, found, err)
		}
	}
	if _, found, err := (declare.Config{}).Declare(in); found || err != nil {
		t.Errorf("no path: %v, %v", found, err)
	}
}

// TestInlineInputRoundTrip follows a secret in the file to its text.
func TestInlineInputRoundTrip(t *testing.T) {
	text := []byte("vault: {auth: {token: CANARY}, headers: {x-a.b: CANARY}}")
	in := declare.Input{Cwd: "/work", Open: open(fstest.MapFS{"work/c.yaml": {Data: text}})}
	p, _, err := declare.Config{Path: "c.yaml"}.Declare(in)
	if err != nil || strings.Contains(dump(p), "CANARY") {
		t.Fatalf("%v\n%s", err, dump(p))
	}
	for _, h := range []plan.Handle{p.Login.Inputs["token"], p.Vault.Headers["X-A.b"]} {
		if got, err := declare.Resolve(in, h); err != nil || string(got) != "CANARY" {
			t.Errorf("%s: %q, %v", h, got, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"version: 1\nfiles: [{path: a, secret: s/a#b, mode: 0400}]\n", "a: &a [*a]\n", "? {a: b}\n: c\n", "- - - -", "env: {A: 'x", "\xff",
		"files:\n  - &b {path: a}\n  - <<: [*b, *b]\n", "run: {command: [a]}\n---\n", "vault: {kv: {1: 2, ~: auto}}", "*a : b", "!!str a: b", "{a: {b: }}",
		"vault: {headers: {X.Y: a, x.y: {env: A}}, auth: {token: a}}", "files: [{path: a, secret: s/a, write: {a: 010, b: {file: x}}}]",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > declare.MaxFile {
			return
		}
		in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{strings.TrimPrefix(configPath, "/"): {Data: []byte(text)}})}
		p, _, err := declare.Config{Path: configPath}.Declare(in)
		if err != nil {
			checkProblems(t, err)
			return
		}
		_ = p.Check()
		for _, h := range slices.Concat(slices.Collect(maps.Values(p.Login.Inputs)), slices.Collect(maps.Values(p.Vault.Headers))) {
			if _, err := declare.Resolve(in, h); h.Kind == plan.HandleKey && err != nil {
				t.Errorf("a key that was declared cannot be found: %v", err)
			}
		}
	})
}
