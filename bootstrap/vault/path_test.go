package vault

import (
	"bufio"
	"bytes"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// FuzzSecretPath follows a path that a declaration may have to a server: what net/http
// writes and another end of it reads names the very same secret, on the same mount,
// whatever is in it; nothing of it becomes a query; no server cleans it into another one.
func FuzzSecretPath(f *testing.F) {
	for _, seed := range []string{
		"secret/app", "secret/data/app", "secret/metadata", "a/b/c/d", "..", "secret/../sys", "secret/%2e%2e/sys", "secret//x", "secret/a?x=1", "secret/a#b",
		"secret/ü/✓", "secret/a b+c", "secret/%2fa", "secret/a;b", "secret/a%", "http://evil.test/x", "//evil.test/x", "secret/\x00", "secret/\xff", "secret/..%2f", "/secret/x/",
	} {
		f.Add(seed, "secret", false)
		f.Add(seed, "a/b", true)
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", http.NotFoundHandler())
	f.Fuzz(func(t *testing.T, written, mount string, list bool) {
		ref, err := plan.ParseRef(written)
		if err != nil {
			return
		}
		op, method := plan.OpRead, http.MethodGet
		if list {
			op, method = plan.OpList, "LIST"
		}
		checkKV(t, op, plan.SplitPath(mount), ref.Read.Path)
		c := &Client{base: url.URL{Scheme: "http", Host: "vault.test"}, headers: http.Header{}, session: &session{}}
		r := request{method: method, path: ref.Read.Path}
		var wire bytes.Buffer
		if err := c.httpRequest(t.Context(), r, c.urlOf(r), nil).Write(&wire); err != nil {
			t.Fatalf("%q cannot be sent: %v", written, err)
		}
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil {
			t.Fatalf("%q: no server reads it: %v", written, err)
		}
		if got.URL.Path != "/v1/"+ref.Read.Path || got.Host != "vault.test" || got.URL.RawQuery != map[bool]string{true: "list=true"}[list] {
			t.Fatalf("%q arrives as %q?%s at %s", ref.Read.Path, got.URL.Path, got.URL.RawQuery, got.Host)
		}
		if _, pattern := mux.Handler(got); pattern != "/v1/" || path.Clean(got.URL.Path) != got.URL.Path {
			t.Fatalf("%q is sent elsewhere by a server that cleans paths", ref.Read.Path)
		}
	})
}

// checkKV: version 2 puts one element after the mount and leaves the rest alone; to do
// it again changes nothing; the other rules change nothing at all.
func checkKV(t *testing.T, op plan.Op, mount, p string) {
	t.Helper()
	for _, rule := range []plan.KVRule{plan.KVAuto, plan.KV1, plan.KVLiteral} {
		if got := rule.Path(op, mount, p); got != p {
			t.Fatalf("%v: %q became %q", rule, p, got)
		}
	}
	if plan.CheckPath(mount) != nil || p != mount && !strings.HasPrefix(p, mount+"/") {
		return // it is not on this mount
	}
	got := plan.KV2.Path(op, mount, p)
	rest := strings.TrimPrefix(strings.TrimPrefix(p, mount), "/")
	what, name, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(got, mount), "/"), "/")
	known := what == "data" || what == "metadata" || what == "subkeys" && op != plan.OpList
	_, behind, _ := strings.Cut(rest, "/")
	if !known || op == plan.OpList && what != "metadata" || name != rest && name != behind {
		t.Fatalf("%q on %q became %q", p, mount, got)
	}
	if again := plan.KV2.Path(op, mount, got); again != got {
		t.Fatalf("%q on %q became %q, and that %q", p, mount, got, again)
	}
}
