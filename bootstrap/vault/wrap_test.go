package vault

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// wrapServer answers as Vault does to one who unwraps and logs in.
type wrapServer struct {
	path     string // the creation path that a look-up tells
	held     string // the answer to unwrap
	lookup   string // "": a good answer; else a refusal's body, with status 400
	unwrap   string
	statuses []int // given to unwrap one after the other, before the good answer
}

func (f *wrapServer) answer(t *testing.T) handler {
	return func(_ int, w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		token := r.Header.Get(headerToken)
		switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
		case path == "sys/wrapping/lookup":
			if string(text) != `{"token":"hvs.wrapping"}` || token != "" {
				t.Errorf("looked up %s as %q", text, token)
			}
			if f.lookup != "" {
				refuse(w, 400, f.lookup)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"creation_path": f.path, "creation_ttl": 60}})
		case path == "sys/wrapping/unwrap":
			if len(text) > 0 || token != "hvs.wrapping" {
				t.Errorf("unwrapped %s as %q", text, token)
			}
			if f.unwrap != "" {
				refuse(w, 400, f.unwrap)
				return
			}
			if len(f.statuses) > 0 {
				status := f.statuses[0]
				f.statuses = f.statuses[1:]
				refuse(w, status, `{"errors":["`+canary+`"]}`)
				return
			}
			_, _ = io.WriteString(w, f.held)
		case strings.HasSuffix(path, "/login"):
			if string(text) != `{"role_id":"role","secret_id":"`+canary+`"}` || token != "" {
				t.Errorf("logged in with %s as %q", text, token)
			}
			_, _ = io.WriteString(w, loginAnswer)
		default:
			_, _ = io.WriteString(w, kvAnswer)
		}
	}
}

// wrappedOptions makes the login one with a wrapped input.
func wrappedOptions(input, text string, params map[string]string) func(*Options) {
	return func(o *Options) {
		o.Login.Inputs = map[string]plan.Handle{input: {Kind: plan.HandleFile, Name: "wrapped", Origin: plan.Origin{At: "the file"}}}
		if input == "secret_id_wrapped" {
			o.Login.Inputs["role_id"] = plan.Handle{Kind: plan.HandleEnv, Name: "role"}
		}
		o.Login.Params = map[string]plan.Setting[string]{}
		for name, value := range params {
			o.Login.Params[name] = plan.Set(value, plan.Origin{})
		}
		o.Resolve = func(h plan.Handle) ([]byte, error) {
			if h.Name == "wrapped" {
				return []byte(text), nil
			}
			return []byte(h.Name), nil
		}
	}
}

// What was wrapped: a secret id, and a token.
const (
	heldID    = `{"data":{"secret_id":"` + canary + `","secret_id_accessor":"a","secret_id_num_uses":1}}`
	heldToken = `{"auth":{"client_token":"` + canary + `","token_type":"service"}}`
)

var (
	idSteps    = list("PUT sys/wrapping/lookup", "PUT sys/wrapping/unwrap", "PUT auth/approle/login")
	tokenSteps = idSteps[:2]
)

// logIn makes a client that has not logged in, and logs it in.
func logIn(t *testing.T, h handler, change func(*Options)) (*Client, *seen, error) {
	t.Helper()
	s := &seen{}
	c, err := Prepare(options(func(o *Options) {
		o.Vault.Address, o.Log = plan.Set("http://vault.test", plan.Origin{}), logTo(s)
		if change != nil {
			change(o)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.http = memory{asVault(s, h)}
	return c, s, c.Login(t.Context())
}

// TestUnwrapOrder: looked up, then unwrapped, then used; each once.
func TestUnwrapOrder(t *testing.T) {
	const id, token = "secret_id_wrapped", "token_wrapped"
	tests := []struct {
		name, input, text string
		server            wrapServer
		params            map[string]string
		namespace         string
		steps             []string
	}{
		{"secret id", id, "hvs.wrapping", wrapServer{path: "auth/approle/role/app/secret-id", held: heldID}, nil, "", idSteps},
		{"custom secret id", id, "hvs.wrapping", wrapServer{path: "auth/approle/role/app/custom-secret-id", held: heldID}, nil, "", idSteps},
		{"declared path", id, "hvs.wrapping", wrapServer{path: "broker/new", held: heldID}, map[string]string{"secret_id_creation_path": "/broker/new/"}, "", idSteps},
		{"namespace before the path", id, "hvs.wrapping", wrapServer{path: "team/a/auth/approle/role/app/secret-id", held: heldID}, nil, "team/a", idSteps},
		{"namespace, path without it", id, "hvs.wrapping", wrapServer{path: "auth/approle/role/app/secret-id", held: heldID}, nil, "team/a", idSteps},
		{"JSON of the vault command", id, ` {"wrap_info":{"token":"hvs.wrapping","ttl":60}}` + "\n", wrapServer{path: "auth/approle/role/app/secret-id", held: heldID}, nil, "", idSteps},
		{"JSON of Vault Agent", id, `{"token":"hvs.wrapping","accessor":"a","ttl":60}`, wrapServer{path: "auth/approle/role/app/secret-id", held: heldID}, nil, "", idSteps},
		{"token", token, "hvs.wrapping", wrapServer{path: "auth/token/create", held: heldToken}, nil, "", tokenSteps},
		{"token of a role", token, "hvs.wrapping", wrapServer{path: "auth/token/create/app", held: heldToken}, nil, "", tokenSteps},
		{"orphan", token, "hvs.wrapping", wrapServer{path: "auth/token/create-orphan", held: heldToken}, nil, "", tokenSteps},
		{"token of a login", token, "hvs.wrapping\n", wrapServer{path: "auth/kubernetes/login", held: heldToken}, nil, "", tokenSteps},
		{"token, declared path", token, "hvs.wrapping", wrapServer{path: "auth/team/jwt/login", held: heldToken}, map[string]string{"token_creation_path": "auth/team/jwt/login"}, "", tokenSteps},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s, err := logIn(t, tt.server.answer(t), func(o *Options) {
				wrappedOptions(tt.input, tt.text, tt.params)(o)
				if tt.namespace != "" {
					o.Vault.Namespace = plan.Set(tt.namespace, plan.Origin{})
				}
			})
			if err != nil || !slices.Equal(s.all(), tt.steps) {
				t.Fatalf("%v, requests %q", err, s.all())
			}
			s.noCanary(t, nil)
			if strings.Contains(s.log.String(), "hvs.wrapping") {
				t.Error("the log holds the wrapping token")
			}
			if _, err := read(t.Context(), c, "secret/data/app"); err != nil {
				t.Error(err)
			}
			if c.session.owned != (tt.input == id) { // a wrapped token was given, and somebody else's to revoke
				t.Errorf("owned %v", c.session.owned)
			}
		})
	}
}

// TestInterception: what was used before, or made by someone else, is told as
// that, with a code of its own, and is not unwrapped.
func TestInterception(t *testing.T) {
	const id, token = "secret_id_wrapped", "token_wrapped"
	const alarm = ": possible interception (declared at the file); find in Vault's audit log who used sys/wrapping/unwrap"
	const ids = " and not by auth/approle/role/+/secret-id or auth/approle/role/+/custom-secret-id"
	const other = ": possible interception (declared at the file); wrap the answer of that path, or, if the first is right, say so with "
	used := `{"errors":["wrapping token is not valid or does not exist"]}`
	tests := []struct {
		name, input string
		server      wrapServer
		params      map[string]string
		code        plan.Code
		want        string
		steps       int
	}{
		{"another path", id, wrapServer{path: "cubbyhole/evil"}, nil, plan.CodeUnwrapped, "wrapped secret id: it was made by cubbyhole/evil" + ids + other + "secret_id_creation_path", 1},
		{"another mount", id, wrapServer{path: "auth/evil/role/app/secret-id"}, nil, plan.CodeUnwrapped, "made by auth/evil/role/app/secret-id" + ids + other, 1},
		{"a longer path", id, wrapServer{path: "auth/approle/role/a/b/secret-id"}, nil, plan.CodeUnwrapped, "made by auth/approle/role/a/b/secret-id" + ids + other, 1},
		{"an empty element", id, wrapServer{path: "auth/approle/role//secret-id"}, nil, plan.CodeUnwrapped, "made by auth/approle/role//secret-id" + ids + other, 1},
		{"sys/wrapping/wrap", id, wrapServer{path: "sys/wrapping/wrap"}, nil, plan.CodeUnwrapped, "made by sys/wrapping/wrap" + ids + other, 1},
		{"another namespace", id, wrapServer{path: "evil/auth/approle/role/app/secret-id"}, nil, plan.CodeUnwrapped, "made by evil/auth/approle/role/app/secret-id" + ids + other, 1},
		{"no path", id, wrapServer{}, nil, plan.CodeUnwrapped, "made by another path" + ids + other, 1},
		{"an odd path", id, wrapServer{path: "<" + canary + ">"}, nil, plan.CodeUnwrapped, "made by another path" + ids + other, 1},
		{"declared, and not so", id, wrapServer{path: "auth/approle/role/other/secret-id"}, map[string]string{"secret_id_creation_path": "auth/approle/role/app/secret-id"}, plan.CodeUnwrapped, "it was made by auth/approle/role/other/secret-id and not by auth/approle/role/app/secret-id" + other + "secret_id_creation_path", 1},
		{"token, another path", token, wrapServer{path: "auth/approle/role/app/secret-id"}, nil, plan.CodeUnwrapped, "wrapped token: it was made by auth/approle/role/app/secret-id and not by auth/token/create or auth/token/create/+ or auth/token/create-orphan or auth/+/login or auth/+/login/+" + other + "token_creation_path", 1},
		{"used before", id, wrapServer{lookup: used}, nil, plan.CodeUnwrapped, "wrapped secret id: it was unwrapped before, or has expired" + alarm, 1},
		{"token used before", token, wrapServer{lookup: used}, nil, plan.CodeUnwrapped, "wrapped token: it was unwrapped before, or has expired" + alarm, 1},
		{"used in between", id, wrapServer{path: "auth/approle/role/app/secret-id", unwrap: used}, nil, plan.CodeUnwrapped, "it was unwrapped before" + alarm[len(alarm):], 2},
		{"another refusal", id, wrapServer{lookup: `{"errors":["` + canary + `"]}`}, nil, plan.CodeConfig, "(declared at the file)", 1},
		{"no secret id in it", id, wrapServer{path: "auth/approle/role/app/secret-id", held: `{"data":{"secret_id":""}}`}, nil, plan.CodeProtocol, "wrapped secret id: it held no secret id (declared at the file); wrap the answer of auth/approle/role/…/secret-id", 2},
		{"no token in it", token, wrapServer{path: "auth/token/create", held: heldID}, nil, plan.CodeProtocol, "wrapped token: it held no token (declared at the file); wrap a token, as `vault token create -wrap-ttl` does", 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, s, err := logIn(t, tt.server.answer(t), wrappedOptions(tt.input, "hvs.wrapping", tt.params))
			problem(t, err, tt.code, tt.want)
			s.noCanary(t, err)
			if !slices.Equal(s.all(), idSteps[:tt.steps]) || strings.Contains(err.Error(), "hvs.wrapping") {
				t.Errorf("requests %q, %v", s.all(), err)
			}
			if err := c.Close(t.Context()); err != nil || s.count() != tt.steps {
				t.Errorf("%v, requests %q", err, s.all())
			}
		})
	}
}

// TestWhatIsNoInterception: only Vault's word that the token is gone is an
// alarm. The same words with another status, and a page of a proxy's, are not.
func TestWhatIsNoInterception(t *testing.T) {
	const goneText, bad = "wrapping token is not valid or does not exist", "bad token"
	for _, tt := range []struct {
		status int
		says   string // "": a page
		code   plan.Code
	}{
		{400, goneText, plan.CodeUnwrapped},
		{400, bad, plan.CodeUnwrapped},
		{403, "permission denied", plan.CodeUnwrapped},
		{403, goneText, plan.CodeUnwrapped},
		{403, canary, plan.CodeUnwrapped},
		{400, canary, plan.CodeConfig},
		{403, "", plan.CodeProtocol},
		{400, "", plan.CodeProtocol},
		{404, goneText, plan.CodeMissing},
		{500, goneText, plan.CodeUnavailable},
		{500, bad, plan.CodeUnavailable},
		{500, "permission denied", plan.CodeUnavailable},
		{501, goneText, plan.CodeUnavailable},
		{504, goneText, plan.CodeUnavailable},
	} {
		server := wrapServer{path: "auth/token/create"}
		_, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
			switch {
			case n == 1:
				server.answer(t)(n, w, r)
			case tt.says == "":
				refuse(w, tt.status, "<html>"+goneText)
			default:
				refuse(w, tt.status, `{"errors":["`+tt.says+`"]}`)
			}
		}, wrappedOptions("token_wrapped", "hvs.wrapping", nil))
		problem(t, err, tt.code, "(declared at the file)")
		if alarm := strings.Contains(err.Error(), "possible interception"); alarm != (tt.code == plan.CodeUnwrapped) {
			t.Errorf("%d %q: %v", tt.status, tt.says, err)
		}
		if s.noCanary(t, err); !slices.Equal(s.all(), tokenSteps) {
			t.Errorf("%d %q: requests %q", tt.status, tt.says, s.all())
		}
	}
}

// TestBadWrappingToken is refused before anything is sent.
func TestBadWrappingToken(t *testing.T) {
	for _, text := range []string{"", " \n", "hvs.a b", "hvs.\x00", "{}", `{"token":""}`, `{"wrap_info":{"token":"a\nb"}}`} {
		_, s, err := logIn(t, (&wrapServer{}).answer(t), wrappedOptions("token_wrapped", text, nil))
		problem(t, err, plan.CodeConfig, "wrapped token: the wrapping token has a space, a line break or another unprintable character in it (declared at the file)")
		if s.count() != 0 {
			t.Errorf("%q: %q", text, s.all())
		}
	}
}

// TestUnwrapIsNotRepeated: what the server may have carried out would be an
// alarm the second time; what it has not carried out is waited for.
func TestUnwrapIsNotRepeated(t *testing.T) {
	for status, again := range map[int]bool{408: false, 412: true, 429: true, 473: true, 500: false, 502: false, 503: true, 504: false} {
		synctest.Test(t, func(t *testing.T) {
			server := wrapServer{path: "auth/token/create", held: heldToken, statuses: []int{status, status}}
			_, s, err := logIn(t, server.answer(t), wrappedOptions("token_wrapped", "hvs.wrapping", nil))
			s.noCanary(t, err)
			want := 1
			if again {
				want = 3
			} else {
				problem(t, err, plan.CodeUnavailable, "not repeated, because the server may have carried it out (declared at the file)")
			}
			if got := s.all(); len(got) != 1+want || (err == nil) != again {
				t.Errorf("%d: %v, requests %q", status, err, got)
			}
		})
	}
	for name, breakOff := range map[string]func(*testing.T, http.ResponseWriter){"reset": reset, "half": half} {
		s := &seen{}
		server := wrapServer{path: "auth/token/create", held: heldToken}
		address := serve(t, s, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 2 {
				breakOff(t, w)
				return
			}
			server.answer(t)(n, w, r)
		})
		c, err := Prepare(options(func(o *Options) {
			wrappedOptions("token_wrapped", "hvs.wrapping", nil)(o)
			o.Vault.Address = plan.Set(address, plan.Origin{})
		}))
		if err != nil {
			t.Fatal(err)
		}
		problem(t, c.Login(t.Context()), plan.CodeUnavailable, "not repeated, because the server may have carried it out")
		if s.count() != 2 {
			t.Errorf("%s: %q", name, s.all())
		}
	}
}

// TestUnwrapLingers: when we are told to end, an answer under way is waited for.
func TestUnwrapLingers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signal := errors.New("signal")
		ctx, cancel := context.WithCancelCause(t.Context())
		server := wrapServer{path: "auth/token/create", held: heldToken}
		c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 2 {
				cancel(signal)
				<-time.After(loginLinger / 2)
			}
			server.answer(t)(n, w, r)
		}, wrappedOptions("secret_id_wrapped", "hvs.wrapping", nil))
		got, err := c.unwrap(ctx, wrapping{token: c.login.(*postLogin).wrapped.token, expect: "auth/token/create"})
		if err != nil || got.Auth == nil || s.count() != 2 {
			t.Errorf("%v, %v, requests %q", got, err, s.all())
		}
	})
}

// TestLimitedSecretID: how often the secret id that was wrapped may be used
// decides what is risked for a login that a proxy broke off.
func TestLimitedSecretID(t *testing.T) {
	for uses, again := range map[string]bool{`,"secret_id_num_uses":0`: true, `,"secret_id_num_uses":1`: false, `,"secret_id_num_uses":5`: false, "": false} {
		for _, status := range []int{500, 502} {
			synctest.Test(t, func(t *testing.T) {
				server := wrapServer{path: "auth/approle/role/app/secret-id", held: `{"data":{"secret_id":"` + canary + `"` + uses + `}}`}
				_, s, err := logIn(t, func(n int, w http.ResponseWriter, r *http.Request) {
					if n == 3 {
						refuse(w, status, echo)
						return
					}
					server.answer(t)(n, w, r)
				}, wrappedOptions("secret_id_wrapped", "hvs.wrapping", nil))
				want := 3
				if again {
					want = 4
				}
				if (err == nil) != again || s.count() != want {
					t.Errorf("%d uses %q: %v, requests %q", status, uses, err, s.all())
				}
				s.noCanary(t, err)
			})
		}
	}
}

// TestUnwrapUntilTheDeadline: a sealed Vault is waited for, and the token is
// still good when time is up: it was looked up only.
func TestUnwrapUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := inMemory(t, always(503, ""), wrappedOptions("secret_id_wrapped", "hvs.wrapping", nil))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		problem(t, c.Login(ctx), plan.CodeUnavailable, "Vault is sealed or not ready until the deadline")
		for _, line := range s.all() {
			if line != idSteps[0] {
				t.Errorf("sent %s", line)
			}
		}
		if s.count() < 5 {
			t.Errorf("%d tries", s.count())
		}
	})
}
