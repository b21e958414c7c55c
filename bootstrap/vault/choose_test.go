package vault

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// choice is one declaration of a login and what has to come of it.
type choice struct {
	method, inputs, ambient string
	more                    string // any of: role, agent (VAULT_AGENT_ADDR), tls (a client certificate)
	want                    string // the method, or "!" and what the error says, or "?" and what it says where the plan runs only
	reads                   string // the inputs that are fetched
	why                     string
}

// All that a platform may leave for us.
const (
	onGitHub = "id_token_request_url id_token_request_token"
	onAll    = onGitHub + " gitlab_id_token service_account_token token_helper"
)

// byName are logins that were asked for.
var byName = []choice{
	{"token", "token", "", "", "token", "TOKEN", "it was asked for"},
	{"token", "token_wrapped", "", "", "token", "TOKEN_WRAPPED", "it was asked for"},
	{"token", "", "token_helper", "", "token", "~token_helper", ""},
	{"token", "token", onAll, "", "token", "TOKEN", ""},
	{"token", "token_wrapped", "token_helper", "", "token", "TOKEN_WRAPPED", ""},
	{"token", "token role_id secret_id", "", "", "token", "TOKEN", ""},
	{"token", "", "", "", "!login token: token is missing (declared at here); set VAULT_TOKEN", "", ""},
	{"token", "role_id", onGitHub, "role", "!login token: token is missing", "", ""},
	{"approle", "role_id", "", "", "approle", "ROLE_ID", ""},
	{"approle", "role_id secret_id", "", "", "approle", "ROLE_ID SECRET_ID", ""},
	{"approle", "role_id secret_id_wrapped", "", "", "approle", "ROLE_ID SECRET_ID_WRAPPED", ""},
	{"approle", "role_id secret_id token", "token_helper", "", "approle", "ROLE_ID SECRET_ID", ""},
	{"approle", "secret_id", "", "", "!login approle: role_id is missing (declared at here); set VAULT_ROLE_ID", "", ""},
	{"github-actions", "", onGitHub, "", "github-actions", "~id_token_request_url ~id_token_request_token", ""},
	{"github-actions", "", onAll, "role", "github-actions", "~id_token_request_url ~id_token_request_token", ""},
	{"github-actions", "", "id_token_request_url", "role", "?login github-actions: id_token_request_token is missing (declared at here); the job needs `permissions: id-token: write`", "~id_token_request_url", "it was asked for"},
	{"github-actions", "", "", "role", "?id_token_request_url, id_token_request_token is missing", "", ""},
	{"jwt", "jwt", "", "", "jwt", "JWT", ""},
	{"jwt", "", "gitlab_id_token", "", "jwt", "~gitlab_id_token", ""},
	{"jwt", "jwt", "gitlab_id_token", "role", "jwt", "JWT", ""},
	{"jwt", "", "service_account_token", "role", "?login jwt: jwt is missing (declared at here); give it as vault.auth.jwt_file or …_env", "", ""},
	{"kubernetes", "", "service_account_token", "role", "kubernetes", "~service_account_token", ""},
	{"kubernetes", "jwt", "service_account_token", "role", "kubernetes", "JWT", ""},
	{"kubernetes", "", "service_account_token", "", "!login kubernetes: the role is missing (declared at here); set vault.auth.role", "", ""},
	{"kubernetes", "", "", "role", "?login kubernetes: jwt is missing (declared at here); mount the service account's token", "", ""},
	{"cert", "certificate private_key", "", "", "cert", "CERTIFICATE PRIVATE_KEY", ""},
	{"cert", "", "", "tls role", "cert", "", ""},
	{"cert", "certificate private_key", "", "tls", "cert", "CERTIFICATE PRIVATE_KEY", ""},
	{"cert", "certificate", "", "tls", "!login cert: private_key is missing (declared at here)", "", ""},
	{"cert", "private_key", "", "tls", "!login cert: certificate is missing (declared at here)", "", ""},
	{"cert", "", "", "", "!login cert: certificate, private_key is missing", "", ""},
	{"cert", "certificate", "", "", "!login cert: private_key is missing (declared at here); give vault.auth.certificate_file", "", ""},
	{"userpass", "username password", "token_helper", "", "userpass", "USERNAME PASSWORD", ""},
	{"userpass", "username", "", "", "!login userpass: password is missing (declared at here); give it as vault.auth.password_file", "", ""},
	{"ldap", "username password", "", "", "ldap", "USERNAME PASSWORD", ""},
	{"ldap", "password", "", "", "!login ldap: username is missing", "", ""},
	{"aws", "", "", "", "aws", "", ""},
	{"aws", "", onAll, "role", "aws", "", ""},
	{"gcp", "", "", "role", "gcp", "", ""},
	{"gcp", "credentials", "", "role", "gcp", "CREDENTIALS", ""},
	{"gcp", "", "", "", "!login gcp: the role is missing", "", ""},
	{"azure", "", "", "role", "azure", "", ""},
	{"azure", "", "", "", "!login azure: the role is missing", "", ""},
	{"none", "", onAll, "role", "none", "", "it was asked for"},
	{"kerberos", "token", "", "", "!login method kerberos: not known (declared at here); use one of token, approle, github-actions, jwt, kubernetes, cert, userpass, ldap, aws, gcp, azure, none", "", ""},
	{"kubernets", "", "", "role", "!not known (declared at here); did you mean kubernetes? use one of", "", ""},
}

// foundOut are logins that nobody named: what was declared wins over what the
// platform offers, GitHub over GitLab over Kubernetes, and all that over an
// agent, which wins over ~/.vault-token, and that over a client certificate.
var foundOut = []choice{
	{"", "token", "", "", "token", "TOKEN", "token from env:TOKEN was declared"},
	{"auto", "token", "", "", "token", "TOKEN", "token from env:TOKEN was declared"},
	{"", "token", onAll, "role agent", "token", "TOKEN", "token from env:TOKEN was declared"},
	{"", "token_wrapped", onAll, "", "token", "TOKEN_WRAPPED", "token_wrapped from env:TOKEN_WRAPPED was declared"},
	{"", "role_id secret_id", onAll, "agent", "approle", "ROLE_ID SECRET_ID", "role_id from env:ROLE_ID was declared"},
	{"", "jwt", onAll, "role", "jwt", "JWT", "jwt from env:JWT was declared"},
	{"", "certificate private_key", "", "", "cert", "CERTIFICATE PRIVATE_KEY", "was declared"},
	{"", "credentials", "", "role", "gcp", "CREDENTIALS", "credentials from env:CREDENTIALS was declared"},
	{"", "", onAll, "role agent", "github-actions", "~id_token_request_url ~id_token_request_token", "a role is given, and id_token_request_url from file:~id_token_request_url is there"},
	{"", "", "id_token_request_url gitlab_id_token", "role", "jwt", "~gitlab_id_token", "a role is given, and jwt from"},
	{"", "", "gitlab_id_token service_account_token", "role", "jwt", "~gitlab_id_token", "a role is given"},
	{"", "", "id_token_request_token service_account_token token_helper", "role agent", "kubernetes", "~service_account_token", "a role is given, and jwt from file:~service_account_token is there"},
	{"", "", "token_helper", "role agent", "none", "", "the address is an agent's, given as VAULT_AGENT_ADDR"},
	{"", "", onAll, "agent", "none", "", "the address is an agent's"},
	{"auto", "", "", "agent", "none", "", "the address is an agent's"},
	{"", "", "token_helper", "role", "token", "~token_helper", "token from file:~token_helper is there"},
	{"", "", onAll, "", "token", "~token_helper", "token from file:~token_helper is there"},

	{"", "", "", "tls", "cert", "", "a client certificate is given, at VAULT_CLIENT_CERT"},
	{"auto", "", "", "tls role", "cert", "", "a client certificate is given"},
	{"", "", onGitHub, "tls", "cert", "", "a client certificate is given"},
	{"", "", "token_helper", "tls", "token", "~token_helper", "is there"},
	{"", "", "", "tls agent", "none", "", "the address is an agent's"},
	{"", "", "service_account_token", "tls role", "kubernetes", "~service_account_token", "a role is given"},
	{"", "token", "", "tls", "token", "TOKEN", "was declared"},
	{"", "certificate", "", "tls", "!login cert: private_key is missing", "", ""},
	{"", "private_key", "", "tls", "!login: only private_key was given, which is not enough for any login", "", ""},

	{"", "token role_id", "", "", "!login: ambiguous: token from env:TOKEN, approle from env:ROLE_ID; set vault.auth.method (SECRETBOOT_AUTH_METHOD) to one of token, approle, or give", "", ""},
	{"", "token jwt", onAll, "role", "!ambiguous: token from env:TOKEN, jwt from env:JWT;", "", ""},
	{"", "username password", "", "", "!one of userpass, ldap", "", ""},
	{"", "certificate credentials", "", "", "!one of cert, gcp", "", ""},
	{"", "secret_id", onAll, "role agent", "!login: only secret_id was given, which is not enough for any login", "", ""},
	{"", "secret_id_wrapped", "", "", "!only secret_id_wrapped was given", "", ""},
	{"", "password private_key", "token_helper", "", "!only password, private_key was given", "", ""},
	{"", "certificate", "", "", "!login cert: private_key is missing", "", ""},
	{"", "credentials", "", "", "!login gcp: the role is missing", "", ""},
}

// declaration makes what a row says.
func (ch choice) declaration() (plan.Vault, plan.Login) {
	v := plan.Vault{Address: plan.Set("https://vault", plan.Origin{At: "VAULT_ADDR"})}
	l := plan.Login{Inputs: variables(strings.Fields(ch.inputs)...), Ambient: map[string]plan.Handle{}}
	for _, name := range strings.Fields(ch.ambient) {
		l.Ambient[name] = plan.Handle{Kind: plan.HandleFile, Name: "~" + name}
	}
	if ch.method != "" {
		l.Method = plan.Set(ch.method, plan.Origin{At: "here"})
	}
	for _, word := range strings.Fields(ch.more) {
		switch word {
		case "role":
			l.Role = plan.Set("app", plan.Origin{Front: "environment"})
		case "agent":
			v.Address.Origin.At = "VAULT_AGENT_ADDR"
		case "tls":
			v.TLS.ClientCert = plan.Set("cert.pem", plan.Origin{At: "VAULT_CLIENT_CERT"})
		}
	}
	return v, l
}

// nameOf gives the method of a login that was built.
func nameOf(l login) string {
	switch how := l.(type) {
	case *tokenLogin:
		return "token"
	case noLogin:
		return "none"
	case *postLogin:
		return how.method
	case certLogin:
		return how.method
	}
	return ""
}

func TestChoose(t *testing.T) {
	certificate, key := newAuthority(t).pair("client")
	for _, tt := range slices.Concat(byName, foundOut) {
		v, l := tt.declaration()
		var asked []string
		built, buildErr := chooseLogin(Options{Vault: v, Login: l, Log: slog.New(slog.DiscardHandler), Resolve: func(h plan.Handle) ([]byte, error) {
			asked = append(asked, h.Name)
			switch h.Name {
			case "CERTIFICATE":
				return slices.Clone(certificate), nil
			case "PRIVATE_KEY":
				return slices.Clone(key), nil
			}
			return []byte(canary), nil
		}})
		got, err := Choose(v, l)
		if says, bad := strings.CutPrefix(tt.want, "!"); bad {
			problem(t, err, plan.CodeConfig, says)
			problem(t, buildErr, plan.CodeConfig, says)
			if got.Method != "" || asked != nil {
				t.Errorf("%+v: a refused login is %+v, and asked for %q", tt, got, asked)
			}
			continue
		}
		want, left := tt.want, []string(nil)
		if says, elsewhere := strings.CutPrefix(tt.want, "?"); elsewhere { // a look at the plan, and a run
			problem(t, buildErr, plan.CodeConfig, says)
			want = tt.method
		} else if left = strings.Fields(tt.reads); buildErr != nil || nameOf(built) != want {
			t.Errorf("%+v: built %q, %v", tt, nameOf(built), buildErr)
		}
		var reads []string
		for _, h := range got.Inputs {
			reads = append(reads, h.Name)
		}
		if err != nil || got.Method != want || strings.Join(reads, " ") != tt.reads || !strings.Contains(got.Why, tt.why) {
			t.Errorf("%+v:\n got %+v, %v", tt, got, err)
		}
		if !slices.Equal(asked, left) {
			t.Errorf("%+v: fetched %q, told %q", tt, asked, reads)
		}
	}
}

// TestEveryMethodIsTested: a method that is added must get its rows.
func TestEveryMethodIsTested(t *testing.T) {
	for _, m := range methods() {
		if !slices.ContainsFunc(byName, func(ch choice) bool { return ch.method == m.name && ch.want == m.name }) {
			t.Errorf("%s is not chosen in any row", m.name)
		}
	}
}

// TestNothingGiven: a plan needs no login yet, a run does and is told what is
// there.
func TestNothingGiven(t *testing.T) {
	for ambient, want := range map[string]string{
		"":                      "login: no token and no role id was given; set VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID",
		onGitHub:                "login: no role was given for id_token_request_url from file:~id_token_request_url; set vault.auth.role",
		"id_token_request_url":  "no token and no role id was given",
		"gitlab_id_token":       "no role was given for jwt from file:~gitlab_id_token",
		"service_account_token": "no role was given for jwt from file:~service_account_token",
	} {
		v, l := choice{ambient: ambient}.declaration()
		if got, err := Choose(v, l); err != nil || got.Method != "" || got.Why != "" || got.Inputs != nil {
			t.Errorf("%q: %+v, %v", ambient, got, err)
		}
		_, err := chooseLogin(Options{Vault: v, Login: l, Log: slog.New(slog.DiscardHandler)})
		problem(t, err, plan.CodeConfig, want)
	}
}

// TestLookElsewhere: what the platform will leave is no reason to miss what it
// will not: a role, the other half of a login, a token.
func TestLookElsewhere(t *testing.T) {
	for _, tt := range []choice{
		{method: "kubernetes", want: "login kubernetes: the role is missing"},
		{method: "token", more: "role", want: "login token: token is missing"},
		{method: "userpass", inputs: "username", want: "login userpass: password is missing"},
		{method: "cert", want: "login cert: certificate, private_key is missing"},
	} {
		v, l := tt.declaration()
		got, err := Choose(v, l)
		problem(t, err, plan.CodeConfig, tt.want+" (declared at here)")
		if got.Method != "" {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}

// TestFoundOutIsLogged: which login, and why, and not when it was asked for.
func TestFoundOutIsLogged(t *testing.T) {
	for method, want := range map[string]bool{"": true, "auto": true, "token": false} {
		s := &seen{}
		prepare(t, s, "http://vault.test", func(o *Options) {
			if method != "" {
				o.Login.Method = plan.Set(method, plan.Origin{})
			}
		})
		says := `msg="login found out" method=token why="token from env:VAULT_TOKEN was declared"`
		if strings.Contains(s.log.String(), says) != want {
			t.Errorf("%q: %s", method, s.log.String())
		}
	}
}

func TestPrepareTellsAll(t *testing.T) {
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

// TestUnusedSettings: what a configuration file or a flag says for another
// login is not dropped in silence; a variable may be there for others.
func TestUnusedSettings(t *testing.T) {
	tests := []struct {
		inputs, method string
		settings       string   // role, mount, or the name of a param
		want           []string // what is refused
	}{
		{"token", "", "", nil},
		{"role_id secret_id", "", "mount secret_id_creation_path remove_secret_id_file", nil},
		{"token", "", "token_creation_path", nil},
		{"token role_id secret_id", "token", "", list("role_id", "secret_id")},
		{"token role_id secret_id", "approle", "", list("token")},
		{"token password jwt", "token", "", list("jwt", "password")},
		{"role_id jwt", "approle", "role audience", list("jwt", "audience", "role")},
		{"token", "", "mount", list("mount")},
		{"", "none", "mount role region", list("region", "role", "mount")},
		{"username password", "ldap", "role", list("role")},
		{"jwt", "kubernetes", "role mount", nil},
		{"jwt certificate", "kubernetes", "role audience", list("certificate", "audience")},
		{"", "aws", "role region sts_endpoint server_id mount", nil},
		{"", "gcp", "role type service_account metadata_endpoint iam_endpoint mount", nil},
		{"", "azure", "role resource client_id object_id metadata_endpoint region", list("region")},
	}
	for _, tt := range tests {
		for _, front := range list("config", "flag", "environment") {
			from := plan.Origin{Front: front, At: "here"}
			l := plan.Login{Inputs: variables(strings.Fields(tt.inputs)...), Params: map[string]plan.Setting[string]{}}
			for name, h := range l.Inputs {
				h.Origin = from
				l.Inputs[name] = h
			}
			if tt.method != "" {
				l.Method = plan.Set(tt.method, from)
			}
			for _, name := range strings.Fields(tt.settings) {
				switch name {
				case "role":
					l.Role = plan.Set("app", from)
				case "mount":
					l.Mount = plan.Set("at", from)
				default:
					l.Params[name] = plan.Set("gce", from)
				}
			}
			want := tt.want
			if front == "environment" {
				want = nil
			}
			_, err := Choose(plan.Vault{}, l)
			var ps plan.Problems
			ps.Add(err)
			if len(ps) != len(want) {
				t.Fatalf("%+v from %s: %v, want %q", tt, front, err, want)
			}
			for i, name := range want {
				problem(t, ps[i], plan.CodeConfig, "vault.auth: "+name+" means nothing to the login ")
				problem(t, ps[i], plan.CodeConfig, "(declared at here)")
			}
		}
	}
}
