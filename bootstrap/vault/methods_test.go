package vault

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// jwtUntil makes a token that ends at a time; its signature is the canary.
func jwtUntil(end time.Time) string {
	return jwtOf(fmt.Sprintf(`{"exp":%d,"iss":"platform","sub":"job"}`, end.Unix()))
}

// jwtOf makes a token of claims; its signature is the canary.
func jwtOf(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte(canary))
}

// bodies answers a login well and keeps what was sent.
func bodies(t *testing.T, got *[]map[string]string) handler {
	return func(_ int, w http.ResponseWriter, r *http.Request) {
		var body map[string]string
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		body["path"] = strings.TrimPrefix(r.URL.EscapedPath(), "/v1/")
		*got = append(*got, body)
		_, _ = io.WriteString(w, loginAnswer)
	}
}

// TestBodiesOfLogins: where each login is made and what it sends.
func TestBodiesOfLogins(t *testing.T) {
	tests := []struct {
		method, inputs string
		mount, role    string
		want           map[string]string
	}{
		{"approle", "role_id", "", "", map[string]string{"path": "auth/approle/login", "role_id": "ROLE_ID"}},
		{"approle", "role_id secret_id", "auth/team/roles/", "", map[string]string{"path": "auth/team/roles/login", "role_id": "ROLE_ID", "secret_id": "SECRET_ID"}},
		{"jwt", "jwt", "", "", map[string]string{"path": "auth/jwt/login", "jwt": "JWT"}},
		{"jwt", "jwt", "gitlab", "deploy", map[string]string{"path": "auth/gitlab/login", "jwt": "JWT", "role": "deploy"}},
		{"kubernetes", "jwt", "", "app", map[string]string{"path": "auth/kubernetes/login", "jwt": "JWT", "role": "app"}},
		{"userpass", "username password", "", "", map[string]string{"path": "auth/userpass/login/USERNAME", "password": "PASSWORD"}},
		{"ldap", "username password", "corp/ldap", "", map[string]string{"path": "auth/corp/ldap/login/USERNAME", "password": "PASSWORD"}},
		{"cert", "", "", "", map[string]string{"path": "auth/cert/login"}},
		{"cert", "", "", "web", map[string]string{"path": "auth/cert/login", "name": "web"}},
	}
	certificate, key := newAuthority(t).pair("client")
	certFile, keyFile := filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")
	put(t, certFile, string(certificate))
	put(t, keyFile, string(key))
	for _, tt := range tests {
		var got []map[string]string
		c, s, err := logIn(t, bodies(t, &got), func(o *Options) {
			o.Login.Inputs, o.Login.Method = variables(strings.Fields(tt.inputs)...), plan.Set(tt.method, plan.Origin{})
			o.Resolve = func(h plan.Handle) ([]byte, error) { return []byte(h.Name), nil }
			if tt.mount != "" {
				o.Login.Mount = plan.Set(tt.mount, plan.Origin{})
			}
			if tt.role != "" {
				o.Login.Role = plan.Set(tt.role, plan.Origin{})
			}
			if tt.method == "cert" {
				o.Vault.Address = plan.Set("https://vault.test", plan.Origin{})
				o.Vault.TLS.ClientCert, o.Vault.TLS.ClientKey = plan.Set(certFile, plan.Origin{}), plan.Set(keyFile, plan.Origin{})
			}
		})
		if err != nil || len(got) != 1 || !maps.Equal(got[0], tt.want) {
			t.Errorf("%s: sent %v, want %v; %v", tt.method, got, tt.want, err)
		}
		if _, login, _ := c.Record(); login.Method != tt.method || login.Role != tt.role {
			t.Errorf("%s: recorded as %+v", tt.method, login)
		}
		s.noCanary(t, nil)
	}
}

// TestUserNames: a name is one element of the path, whatever is in it.
func TestUserNames(t *testing.T) {
	for name, want := range map[string]string{
		"a.b@c": "auth/userpass/login/a.b@c", "é ü": "auth/userpass/login/%C3%A9%20%C3%BC", "a?b#c": "auth/userpass/login/a%3Fb%23c", "%2e%2e": "auth/userpass/login/%252e%252e",
		"...": "auth/userpass/login/...",
		"a/b": "", "/": "", ".": "", "..": "", "../sys": "",
	} {
		o := options(func(o *Options) {
			o.Login.Inputs, o.Login.Method = variables("username", "password"), plan.Set("userpass", plan.Origin{})
			o.Resolve = func(h plan.Handle) ([]byte, error) {
				return []byte(map[string]string{"USERNAME": name, "PASSWORD": canary}[h.Name]), nil
			}
		})
		c, err := Prepare(o)
		if want == "" {
			problem(t, err, plan.CodeConfig, "username: has a slash in it, or is one or two dots; give the name alone")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []map[string]string
		s := &seen{}
		c.http = memory{asVault(s, bodies(t, &got))}
		if err := c.Login(t.Context()); err != nil || got[0]["path"] != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
		c.http = memory{asVault(s, always(400, `{"errors":["invalid username or password"]}`))}
		err = c.Login(t.Context())
		problem(t, err, plan.CodeDenied, "login userpass at auth/userpass/login: the user name or the password is not valid")
		if strings.Contains(err.Error(), name) {
			t.Errorf("the error holds the user's name: %v", err)
		}
	}
}

// TestBadLogins are refused while nothing has been sent.
func TestBadLogins(t *testing.T) {
	tests := []struct {
		method, inputs string
		params         map[string]string
		want           string
	}{
		{"token", "token token_wrapped", nil, "login token: token and token_wrapped were both given; give one of the two"},
		{"approle", "role_id secret_id secret_id_wrapped", nil, "login approle: secret_id and secret_id_wrapped were both given"},
		{"approle", "role_id secret_id", map[string]string{"remove_secret_id_file": "true"}, "remove_secret_id_file: the secret id comes from no file (declared at there); leave it out"},
		{"approle", "role_id", map[string]string{"remove_secret_id_file": "true"}, "remove_secret_id_file: the secret id comes from no file"},
		{"gcp", "", map[string]string{"type": "gke"}, "vault.auth.type: must be gce or iam (declared at there)"},
		{"gcp", "", map[string]string{"type": "gce", "iam_endpoint": "https://" + canary}, "vault.auth.type: credentials and iam_endpoint mean nothing to the type gce (declared at there); set type: iam, or leave them out"},
		{"gcp", "credentials", map[string]string{"type": "gce"}, "vault.auth.type: credentials and iam_endpoint mean nothing to the type gce (declared at there)"},
		{"gcp", "", map[string]string{"iam_endpoint": "https://" + canary}, "vault.auth.type: credentials and iam_endpoint mean nothing to the type gce; set type: iam"},
		{"cert http", "certificate private_key", nil, "login cert: a client certificate needs TLS, and the address is http (declared at VAULT_ADDR); give an https address"},
		{"cert", "certificate private_key", nil, "client certificate: it and its key are not PEM, or do not belong together"},
	}
	for _, tt := range tests {
		_, err := Prepare(options(func(o *Options) {
			method, scheme, _ := strings.Cut(tt.method, " ")
			o.Login.Inputs, o.Login.Method = variables(strings.Fields(tt.inputs)...), plan.Set(method, plan.Origin{})
			if scheme != "" {
				o.Vault.Address = plan.Set(scheme+"://vault", plan.Origin{At: "VAULT_ADDR"})
			}
			o.Login.Params = map[string]plan.Setting[string]{}
			for name, value := range tt.params {
				o.Login.Params[name] = plan.Set(value, plan.Origin{At: "there"})
			}
			if method == "gcp" {
				o.Login.Role = plan.Set("app", plan.Origin{})
			}
		}))
		problem(t, err, plan.CodeConfig, tt.want)
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("the error holds a value: %v", err)
		}
	}
}

// TestRemoveSecretIDFile: once, when it is used up, and not before: what was
// refused or never arrived may be tried again.
func TestRemoveSecretIDFile(t *testing.T) {
	good := wrapServer{path: "auth/approle/role/app/secret-id", held: heldID}
	refusesLogin := func(n int, w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/login") {
			refuse(w, 400, `{"errors":["invalid role or secret ID"]}`)
			return
		}
		good.answer(t)(n, w, r)
	}
	gone := (&wrapServer{lookup: `{"errors":["wrapping token is not valid or does not exist"]}`}).answer(t)
	foreign := (&wrapServer{path: "cubbyhole/evil"}).answer(t)
	tests := []struct {
		name, input string
		serve       handler
		remove      error
		removed     int
		log         string
	}{
		{"login", "secret_id", always(200, loginAnswer), nil, 1, `msg="removed the file of the secret id" file=wrapped`},
		{"login refused", "secret_id", refusesLogin, nil, 0, ""},
		{"not to be removed", "secret_id", always(200, loginAnswer), &fs.PathError{Op: "remove", Path: "wrapped", Err: fs.ErrNotExist}, 1, `level=WARN msg="the file of the secret id was not removed" file=wrapped why="no such file or directory"`},
		{"unwrapped", "secret_id_wrapped", good.answer(t), nil, 1, "removed the file"},
		{"unwrapped, login refused", "secret_id_wrapped", refusesLogin, nil, 1, "removed the file"}, // it is of no use any more
		{"used before", "secret_id_wrapped", gone, nil, 0, ""},
		{"of another path", "secret_id_wrapped", foreign, nil, 0, ""},
	}
	for _, tt := range tests {
		for _, wish := range list("true", "false", "") {
			var removed []string
			_, s, err := logIn(t, tt.serve, func(o *Options) {
				text := canary
				if tt.input == "secret_id_wrapped" {
					text = "hvs.wrapping"
				}
				wrappedOptions(tt.input, text, nil)(o)
				o.Login.Inputs["role_id"] = plan.Handle{Kind: plan.HandleEnv, Name: "role"}
				if wish != "" {
					o.Login.Params["remove_secret_id_file"] = plan.Set(wish, plan.Origin{})
				}
				o.Remove = func(h plan.Handle) error {
					removed = append(removed, h.Name)
					return tt.remove
				}
			})
			want, log := tt.removed, tt.log
			if wish != "true" {
				want, log = 0, ""
			}
			if len(removed) != want || want > 0 && removed[0] != "wrapped" || !strings.Contains(s.log.String(), log) {
				t.Errorf("%s, %q: removed %q, %v; log: %s", tt.name, wish, removed, err, s.log.String())
			}
		}
	}
}

// TestJWTIsReadAgain: the platform replaces the token's file while Vault is
// sealed, and the next try has the new one. A variable stays as it is.
func TestJWTIsReadAgain(t *testing.T) {
	for _, method := range list("jwt", "kubernetes") {
		for name, tt := range map[string]struct {
			file, gone bool
			want       []string
		}{
			"replaced": {true, false, list("one", "two", "three")},
			"removed":  {true, true, list("one", "one", "one")},
			"variable": {false, false, list("one", "one", "one")},
		} {
			path := put(t, filepath.Join(t.TempDir(), "token"), "one")
			synctest.Test(t, func(t *testing.T) {
				var sent []string
				_, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
					var body struct{ JWT, Role string }
					if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Role != "app" {
						t.Errorf("%+v, %v", body, err)
					}
					sent = append(sent, body.JWT)
					if n == 3 {
						_, _ = io.WriteString(w, loginAnswer)
						return
					}
					if tt.gone {
						_ = os.Remove(path)
					} else {
						put(t, path, list("one", "two", "three")[n])
					}
					w.WriteHeader(503)
				}, func(o *Options) {
					o.Login.Method, o.Login.Role = plan.Set(method, plan.Origin{}), plan.Set("app", plan.Origin{})
					h := plan.Handle{Kind: plan.HandleFile, Name: path}
					if !tt.file {
						h.Kind = plan.HandleEnv
					}
					o.Login.Inputs = map[string]plan.Handle{"jwt": h}
					o.Resolve = func(h plan.Handle) ([]byte, error) { return os.ReadFile(h.Name) }
				})
				if err != nil || s.count() != 3 || !slices.Equal(sent, tt.want) {
					t.Errorf("%s %s: sent %q, want %q; %v", method, name, sent, tt.want, err)
				}
			})
		}
	}
}

// TestExpiredJWT: a refusal says since when the platform's token is over; one
// that is not over, or is no such token, is not blamed.
func TestExpiredJWT(t *testing.T) {
	denied := always(403, deniedAnswer)
	for name, tt := range map[string]struct {
		jwt, want string
	}{
		"over":     {"", "login kubernetes at auth/kubernetes/login, role app: the platform's token expired at 1999-12-31T22:29:30Z, 1h30m30s ago (declared at env:JWT); see why the platform does not renew it, and that our clock is right"},
		"good":     {"good", "role app: permission denied (the token says: iss platform, sub job) (declared at env:JWT); check vault.auth.mount"},
		"no token": {canary, "role app: permission denied (declared at env:JWT); check vault.auth.mount"},
	} {
		synctest.Test(t, func(t *testing.T) { // its clock begins at the year 2000
			jwt := tt.jwt
			switch jwt {
			case "":
				jwt = jwtUntil(time.Now().Add(-time.Hour - 30*time.Minute - 30*time.Second))
			case "good":
				jwt = jwtUntil(time.Now().Add(time.Hour))
			}
			_, s, err := logIn(t, denied, func(o *Options) {
				o.Login.Method, o.Login.Role = plan.Set("kubernetes", plan.Origin{}), plan.Set("app", plan.Origin{})
				o.Login.Inputs = variables("jwt")
				o.Resolve = func(plan.Handle) ([]byte, error) { return []byte(jwt), nil }
			})
			problem(t, err, plan.CodeDenied, tt.want)
			s.noCanary(t, err)
			if strings.Contains(err.Error(), jwt) || s.count() != 1 {
				t.Errorf("%s: %v after %d requests", name, err, s.count())
			}
		})
	}
}

// TestClaimsOfARefusedJWT: what a role is bound to is told as the token has it,
// each claim by itself, and only what is plain.
func TestClaimsOfARefusedJWT(t *testing.T) {
	for claims, says := range map[string]string{
		`{"iss":"https://i.test","sub":"repo:o/r:ref:refs/heads/main","aud":"vault"}`: " (the token says: iss https://i.test, sub repo:o/r:ref:refs/heads/main, aud vault)",
		`{"iss":"i","aud":["one","two"]}`:                                             " (the token says: iss i, aud one+two)",
		`{"sub":"s"}`:                                                                 " (the token says: sub s)",
		`{"iss":"<` + canary + `>","sub":"s","aud":"a b"}`:                            " (the token says: sub s)",
		`{"iss":"` + strings.Repeat("i", maxWord+1) + `"}`:                            "",
		`{}`: "",
		`{"iss":1,"sub":"` + canary + `","aud":{"a":"b"}}`: "",
	} {
		_, s, err := logIn(t, always(403, deniedAnswer), func(o *Options) {
			o.Login.Inputs = variables("jwt")
			o.Resolve = func(plan.Handle) ([]byte, error) { return []byte(jwtOf(claims)), nil }
		})
		problem(t, err, plan.CodeDenied, "login jwt at auth/jwt/login: permission denied"+says+" (declared at env:JWT); check vault.auth.mount")
		s.noCanary(t, err)
	}
}
