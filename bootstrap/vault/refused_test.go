package vault

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestRefusals: each sentence that Vault and its plugins send with a refused
// login, as they send it, and what we make of it. They are never shown.
func TestRefusals(t *testing.T) {
	tests := []struct {
		status         int
		sentence, want string
	}{
		{400, "invalid role or secret ID", "the role id or the secret id is not valid (declared at env:JWT); check both, the secret id's TTL"},
		{400, "invalid secret id", "the role id or the secret id is not valid"},
		{400, "invalid role ID", "the role id or the secret id is not valid"},
		{400, "failed to validate credentials: X", "the role id or the secret id is not valid"},
		{400, "missing secret_id", "the role id or the secret id is not valid"},
		{400, "missing role_id", "the role id or the secret id is not valid"},
		{404, `no handler for route "auth/X/login". route entry not found.`, "there is no such login there (declared at env:JWT); check vault.auth.mount and VAULT_NAMESPACE"},
		{400, "unsupported path", "there is no such login there"},
		{400, `invalid role name "X"`, "there is no such role (declared at env:JWT); check vault.auth.role and vault.auth.mount"},
		{400, `role "X" could not be found`, "there is no such role"},
		{400, `entry for role "X" not found`, "there is no such role"},
		{400, "missing role", "the role is missing (declared at env:JWT); set vault.auth.role"},
		{403, "service account name not authorized", "the role does not allow this service account (declared at env:JWT); check bound_service_account_names of the role"},
		{403, "namespace not authorized", "the role does not allow this Kubernetes namespace (declared at env:JWT); check bound_service_account_namespaces"},
		{403, "service account unauthorized; this could mean it has been deleted or recreated with a new token", "Kubernetes does not know this service account's token"},
		{400, "invalid audience (aud) claim: X", "the platform's token is for another audience (declared at env:JWT); compare the role's bound audiences, subject and claims with those of the token; with github-actions, --auth audience=URL (vault.auth.audience) asks for another audience"},
		{400, "error validating token: invalid audience (aud) claim: audience claim does not match any bound audience", "the platform's token is for another audience"},
		{400, "audience claim does not match any bound audience", "the platform's token is for another audience"},
		{400, `error validating claims: claim "X" does not match any associated bound claim values`, "the platform's token does not fit the role"},
		{400, `error validating token: invalid subject (sub) claim: X`, "the platform's token is for another subject (declared at env:JWT); compare the role's bound audiences, subject and claims"},
		{400, "error validating token: invalid issuer (iss) claim", "the platform's token is not valid here (declared at env:JWT); check that the mount trusts the token's issuer"},
		{400, "error verifying token signature: X", "the platform's token is not valid here"},
		{400, "no known key successfully validated the token signature", "the platform's token is signed by a key that the mount does not know"},
		{400, "could not load configuration", "the auth method at this mount is not configured (declared at env:JWT); configure it, or check vault.auth.mount"},
		{400, "invalid username or password", "the user name or the password is not valid"},
		{400, "ldap operation failed: invalid credentials", "the user name or the password is not valid (declared at env:JWT); check both"},
		{400, "ldap operation failed: failed to bind as user", "the LDAP server refused the user name or the password"},
		{400, "invalid certificate or no client certificate supplied", "the client certificate is not one that the mount accepts"},
		{400, "failed to match all constraints for this login certificate", "the client certificate does not fit the role (declared at env:JWT); check its authority, and its names against the role's allowed ones"},
		{400, "no chain matching all constraints could be found for this login certificate", "the client certificate is not one that the mount accepts (declared at env:JWT); check its authority against the mount's"},
		{400, "client certificate must be supplied", "no client certificate reached Vault (declared at env:JWT); see that nothing in between ends the TLS connection"},
		{500, "1 error occurred: x509: certificate has expired or is not yet valid: X", "the client certificate has expired or is not valid yet (declared at env:JWT); renew it, and check the clocks"},
		{403, "permission denied", "permission denied (declared at env:JWT); check vault.auth.mount"},
		{400, "X", "Vault refused the request (status 400) (declared at env:JWT); check vault.auth.mount"},
		{405, "unsupported operation", "the path does not support this operation (declared at env:JWT); check vault.auth.mount"},
	}
	tested := strings.Builder{}
	for _, tt := range tests {
		sentence := strings.ReplaceAll(tt.sentence, "X", canary)
		tested.WriteString(sentence + "\n")
		body, _ := json.Marshal(map[string]any{"errors": []string{"first", sentence}})
		c, s, err := logIn(t, always(tt.status, string(body)), func(o *Options) {
			o.Login.Inputs = variables("jwt")
			o.Login.Role = plan.Set("app", plan.Origin{})
			o.Vault.Namespace = plan.Set("team", plan.Origin{})
		})
		problem(t, err, plan.CodeDenied, "login jwt at auth/jwt/login, role app, namespace team: "+tt.want)
		s.noCanary(t, err)
		if err := c.Close(t.Context()); err != nil || s.count() != 1 {
			t.Errorf("%s: %v after %d requests", tt.sentence, err, s.count())
		}
	}
	for _, r := range loginRefusals() {
		if !strings.Contains(tested.String(), r.sentence) {
			t.Errorf("not tested: %s", r.sentence)
		}
		if r.why == "" || r.fix == "" {
			t.Errorf("%s: nothing is said", r.sentence)
		}
	}
}

// TestTokenAsSecretID: whoever gives a wrapping token as the secret id is told
// so, after any refusal, and without it.
func TestTokenAsSecretID(t *testing.T) {
	const hint = " (declared at env:ROLE_ID, env:SECRET_ID); what was given as the secret id looks like a token: if it is a wrapped one, give it as secret_id_wrapped; "
	for body, tt := range map[string]struct {
		status    int
		why, then string
	}{
		`{"errors":["invalid role or secret ID"]}`: {400, "the role id or the secret id is not valid", "check both, the secret id's TTL"},
		deniedAnswer: {403, "permission denied", "check vault.auth.mount, VAULT_NAMESPACE, the role, and what it is bound to"},
	} {
		for id, told := range map[string]bool{"hvs." + canary: true, "s." + canary: true, canary: false, "x-hvs." + canary: false} {
			_, s, err := logIn(t, always(tt.status, body), func(o *Options) {
				o.Login.Inputs = variables("role_id", "secret_id")
				o.Resolve = func(plan.Handle) ([]byte, error) { return []byte(id), nil }
			})
			want := tt.why + hint + tt.then
			if !told {
				want = tt.why + " (declared at env:ROLE_ID, env:SECRET_ID); " + tt.then
			}
			problem(t, err, plan.CodeDenied, want)
			s.noCanary(t, err)
		}
	}
}

// TestNoSecretID: who gave a role id alone is told that the secret id is missing.
func TestNoSecretID(t *testing.T) {
	for _, inputs := range [][]string{{"role_id"}, {"role_id", "secret_id"}} {
		_, s, err := logIn(t, always(400, `{"errors":["invalid role or secret ID"]}`), func(o *Options) {
			o.Login.Inputs = variables(inputs...)
			o.Resolve = func(plan.Handle) ([]byte, error) { return []byte(canary), nil }
		})
		hint := ""
		if len(inputs) == 1 {
			hint = "no secret id was given: set VAULT_SECRET_ID or VAULT_SECRET_ID_FILE, unless the role does without (bind_secret_id); "
		}
		problem(t, err, plan.CodeDenied, "); "+hint+"check both, the secret id's TTL")
		s.noCanary(t, err)
	}
}

// tokenFile serves a server that knows one token, and makes a client that has
// read another one from a file.
func tokenFile(t *testing.T, good string, refusal string) (*Client, *seen, string) {
	t.Helper()
	path := put(t, filepath.Join(t.TempDir(), "token"), "old")
	c, s, err := logIn(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(headerToken) != good {
			refuse(w, 403, refusal)
			return
		}
		_, _ = io.WriteString(w, kvAnswer)
	}, func(o *Options) {
		o.Login.Inputs = map[string]plan.Handle{"token": {Kind: plan.HandleFile, Name: path}}
		o.Resolve = func(h plan.Handle) ([]byte, error) { return os.ReadFile(h.Name) }
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, s, path
}

// TestTokenFileIsReadAgain: when a token is refused and its file has another
// one by now, that is tried, once for each request.
func TestTokenFileIsReadAgain(t *testing.T) {
	tests := []struct {
		name    string
		replace string // what the file holds by then; "-" is nothing at all
		refusal string
		good    bool
		asked   int
	}{
		{"replaced", "new", badToken, true, 2},
		{"replaced, plain refusal", "new", deniedAnswer, true, 2},
		{"the same", "old", badToken, false, 1},
		{"replaced by a bad one", "newer", badToken, false, 2},
		{"gone", "-", badToken, false, 1},
		{"no token", "a b", badToken, false, 1},
	}
	for _, tt := range tests {
		c, s, path := tokenFile(t, "new", tt.refusal)
		if tt.replace == "-" {
			_ = os.Remove(path)
		} else {
			put(t, path, tt.replace)
		}
		_, err := read(t.Context(), c, "secret/data/app")
		if (err == nil) != tt.good || s.count() != tt.asked {
			t.Errorf("%s: %v after %d requests, want %d", tt.name, err, s.count(), tt.asked)
		}
		if !tt.good && plan.CodeOf(err) != plan.CodeDenied {
			t.Errorf("%s: %v", tt.name, err)
		}
		told := strings.Contains(s.log.String(), "the token was refused and its file has another one")
		if told != (tt.asked == 2) {
			t.Errorf("%s: log %s", tt.name, s.log.String())
		}
		if err := c.Close(t.Context()); err != nil || s.count() != tt.asked {
			t.Errorf("%s: a token that was given was revoked: %v", tt.name, err)
		}
	}
}

// TestTokenIsNotReadAgain: a variable cannot change, a login has no file, and
// who sends no token has none.
func TestTokenIsNotReadAgain(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"variable": func(o *Options) { o.Login.Inputs = variables("token") },
		"none":     func(o *Options) { o.Login.Inputs, o.Login.Method = nil, plan.Set("none", plan.Origin{}) },
		"login":    func(o *Options) { o.Login.Inputs = variables("role_id") },
	} {
		resolved := 0
		c, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/login") {
				_, _ = io.WriteString(w, loginAnswer)
				return
			}
			refuse(w, 403, badToken)
		}, func(o *Options) {
			change(o)
			o.Resolve = func(plan.Handle) ([]byte, error) { resolved++; return []byte("t"), nil }
		})
		if err != nil {
			t.Fatal(err)
		}
		before, asked := resolved, s.count()
		_, err = read(t.Context(), c, "secret/data/app")
		problem(t, err, plan.CodeDenied, "the token is not valid")
		if resolved != before || s.count() != asked+1 {
			t.Errorf("%s: %d more requests, %d more looks", name, s.count()-asked, resolved-before)
		}
	}
}

// TestTokenFileReplacedWhileManyRead: all are refused with the old token; who
// comes first takes the new one over, and the others use it too.
func TestTokenFileReplacedWhileManyRead(t *testing.T) {
	const many = 4
	var together sync.WaitGroup
	together.Add(many)
	path := put(t, filepath.Join(t.TempDir(), "token"), "old")
	c, s, err := logIn(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(headerToken) == "old" {
			together.Done()
			together.Wait()
			refuse(w, 403, badToken)
			return
		}
		_, _ = io.WriteString(w, kvAnswer)
	}, func(o *Options) {
		o.Login.Inputs = map[string]plan.Handle{"token": {Kind: plan.HandleFile, Name: path}}
		o.Resolve = func(h plan.Handle) ([]byte, error) { return os.ReadFile(h.Name) }
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, "new")
	get := c.Generation()
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			if _, err := get(t.Context(), plan.Read{Path: "secret/data/" + strconv.Itoa(i)}, nil); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if s.count() != 2*many {
		t.Errorf("%d requests", s.count())
	}
}

// TestNoLogin: no token is sent, none is revoked, and a refusal blames whoever
// should have added one.
func TestNoLogin(t *testing.T) {
	c, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if _, there := r.Header[headerToken]; there {
			t.Error("a token was sent")
		}
		if n == 1 {
			_, _ = io.WriteString(w, kvAnswer)
			return
		}
		refuse(w, 403, deniedAnswer)
	}, func(o *Options) { o.Login.Inputs, o.Login.Method = nil, plan.Set("none", plan.Origin{}) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), c, "secret/data/app"); err != nil {
		t.Error(err)
	}
	_, err = read(t.Context(), c, "secret/data/app")
	problem(t, err, plan.CodeDenied, "we send no token: see that the agent at this address logs in by itself")
	if err := c.Close(t.Context()); err != nil || s.count() != 2 {
		t.Errorf("%v, requests %q", err, s.all())
	}
	if _, login, _ := c.Record(); login.Method != "none" {
		t.Errorf("recorded as %+v", login)
	}
}
