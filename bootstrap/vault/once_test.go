package vault

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestProxysRefusalIsAmbiguous: what a proxy says when it has no server is what
// it says too when the server broke off with the request in its hands. Only
// Vault's own word counts as "not carried out".
func TestProxysRefusalIsAmbiguous(t *testing.T) {
	for _, status := range []int{429, 503, 412, 473} {
		for _, by := range []string{"proxy", "Vault"} {
			c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.Contains(r.URL.Path, "sys/internal/ui/mounts"):
					_, _ = io.WriteString(w, `{"data":{"path":"database/","type":"database"}}`)
				case n > 2:
					_, _ = io.WriteString(w, `{"data":{"pw":"`+canary+`"}}`)
				case by == "proxy":
					w.Header().Set("Content-Type", "text/plain")
					w.Header().Set("Server", "envoy")
					refuse(w, status, "upstream connect error or disconnect/reset before headers")
				default:
					refuse(w, status, `{"errors":["Vault is sealed"]}`)
				}
			}, nil)
			_, err := read(t.Context(), c, "database/creds/app")
			if by == "Vault" {
				if err != nil || s.count() != 3 {
					t.Errorf("%d by Vault: %v, %q", status, err, s.all())
				}
				continue
			}
			problem(t, err, plan.CodeUnavailable, "something in between that is not Vault answered (status ")
			problem(t, err, plan.CodeUnavailable, "(from envoy, of type text/plain); not repeated, because the server may have carried it out")
			if s.count() != 2 {
				t.Errorf("%d by a proxy: %q", status, s.all())
			}
		}
	}
}

// TestOnceIsNotReplayable: net/http sends nothing a second time by itself that
// must not be.
func TestOnceIsNotReplayable(t *testing.T) {
	c, _ := inMemory(t, always(200, kvAnswer), nil)
	for _, r := range []request{
		{method: http.MethodGet, path: "database/creds/app", once: true},
		{method: http.MethodPut, path: "sys/wrapping/unwrap", once: true},
		{method: http.MethodPut, path: "auth/token/revoke-self", once: true},
	} {
		req := c.httpRequest(t.Context(), r, c.urlOf(r), nil)
		if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil || req.ContentLength != 0 {
			t.Errorf("%s %s can be sent again: body %v", r.method, r.path, req.Body)
		}
	}
	for _, name := range []string{"Idempotency-Key", "x-idempotency-key"} {
		if plan.CheckHeader(name) == nil {
			t.Errorf("the header %s is accepted", name)
		}
	}
}

// TestTooManyValues: each value costs far more memory than its JSON.
func TestTooManyValues(t *testing.T) {
	for n, good := range map[int]bool{1000: true, maxValues: false} {
		for _, body := range []string{
			`{"data":{"a":[` + strings.Repeat("1,", n) + `1]}}`,
			`{"data":{"a":[` + strings.Repeat("{},", n) + `1]}}`,
			`{"data":{"a":"` + strings.Repeat("[{,:", n) + `\\\""}}`,
		} {
			_, err := decode([]byte(body))
			if quoted := strings.Contains(body, `\"`); (err == nil) != (good || quoted) {
				t.Errorf("%d values, %.20s: %v", n, body, err)
			}
		}
	}
}

// TestNamespaceIsCheckedFirst: what no header can carry is no reason to wait.
func TestNamespaceIsCheckedFirst(t *testing.T) {
	o := Options{
		Vault:   plan.Vault{Address: plan.Set("http://vault", plan.Origin{}), Namespace: plan.Set("a\nb", plan.Origin{At: "VAULT_NAMESPACE"})},
		Login:   plan.Login{Inputs: map[string]plan.Handle{"token": {}}},
		Resolve: func(plan.Handle) ([]byte, error) { return []byte("t"), nil },
		Log:     slog.New(slog.DiscardHandler),
	}
	_, err := Prepare(o)
	problem(t, err, plan.CodeConfig, "the namespace: has a space, a line break or another unprintable character in it (declared at VAULT_NAMESPACE)")
}
