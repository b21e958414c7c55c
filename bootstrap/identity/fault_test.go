package identity

import (
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// step is one request of one source.
type step struct {
	name, path string
	source     func(at string) Source
	bare       bool // the answer is text, not JSON
	patient    bool // 404 and 410 can pass
}

func steps() []step {
	github := func(at string) Source {
		return GitHub{URL: value(at + githubPath + "?v=" + canary), Token: value(canary), Audience: "a"}
	}
	metadata := func(at string) Source { return GCPMetadata{Endpoint: at, Audience: "vault/" + canary} }
	iam := func(at string) Source { return GCPIAM{Role: canary, MetadataEndpoint: at, IAMEndpoint: at} }
	azure := func(at string) Source { return Azure{Endpoint: at, ClientID: canary} }
	return []step{
		{name: "github", path: githubPath, source: github},
		{name: "gcp identity", path: accountsPath + "default/identity", source: metadata, bare: true},
		{name: "gcp email", path: accountsPath + "default/email", source: iam, bare: true},
		{name: "gcp access token", path: accountsPath + "default/token", source: iam},
		{name: "gcp signJwt", path: signPath, source: iam},
		{name: "azure place", path: placePath, source: azure, patient: true},
		{name: "azure token", path: azurePath, source: azure, patient: true},
	}
}

// status answers with an error status and a body.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, code) }
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
}

// reset breaks the connection off without an answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// half promises more than it sends.
func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "4096")
	_, _ = w.Write([]byte(`{"value":"` + canary))
}

// TestFaultsThatStay: what cannot pass fails at the first try, and says what is
// wrong.
func TestFaultsThatStay(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		code   plan.Code
		say    string
	}{
		{"400", status(400), plan.CodeConfig, "did not accept the request (status 400)"},
		{"401", status(401), plan.CodeDenied, "refused (status 401)"},
		{"403", status(403), plan.CodeDenied, "refused (status 403)"},
		{"404", status(404), plan.CodeConfig, "does not know what was asked for"},
		{"410", status(410), plan.CodeConfig, "status 410"},
		{"501", status(501), plan.CodeProtocol, "status 501"},
		{"204", status(204), plan.CodeProtocol, "status 204"},
		{"600", status(600), plan.CodeProtocol, "status 600"},
		{"empty", text(""), plan.CodeProtocol, "is empty"},
		{"blank", text(" \n"), plan.CodeProtocol, "is empty"},
		{"page", text("<html>" + canary), plan.CodeProtocol, ""},
		{"list", text(`["` + canary + `"]`), plan.CodeProtocol, ""},
		{"no member", text(`{"message":"` + canary + `"}`), plan.CodeProtocol, ""},
		{"null", text(`null`), plan.CodeProtocol, ""},
		{"members of null", text(`{"value":null,"access_token":null,"signedJwt":null,"compute":null}`), plan.CodeProtocol, ""},
		{"members of another type", text(`{"value":1,"access_token":{},"signedJwt":[],"compute":"x"}`), plan.CodeProtocol, ""},
		{"something behind", text(`{"value":"` + goodToken() + `"} ` + canary), plan.CodeProtocol, ""},
		{"broken", text(`{"value":"` + canary), plan.CodeProtocol, ""},
		{"no UTF-8", text(`{"value":"` + canary + "\xff" + `"}`), plan.CodeProtocol, ""},
		{"no token", text(`{"value":"a b","access_token":"a b","signedJwt":"a b"}`), plan.CodeProtocol, ""},
		{"too large", text(strings.Repeat(" ", maxBody) + "{}"), plan.CodeProtocol, "larger than 1 MiB"},
	}
	for _, s := range steps() {
		for _, tt := range tests {
			if s.patient && (tt.name == "404" || tt.name == "410") {
				continue
			}
			t.Run(s.name+" "+tt.name, func(t *testing.T) {
				p := newPlatform(t)
				p.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
					if r.URL.Path == s.path {
						tt.answer(w, r)
					}
					return r.URL.Path == s.path
				}
				got, err := s.source(p.URL).Proof(t.Context())
				problem(t, err, tt.code, tt.say)
				if got != nil || p.count(s.path) != 1 {
					t.Errorf("proof %v after %d tries, want none after 1", got, p.count(s.path))
				}
			})
		}
	}
}

// TestFaultsThatPass: one failure that can pass costs one more try.
func TestFaultsThatPass(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"408", status(408)},
		{"429", status(429)},
		{"500", status(500)},
		{"502", status(502)},
		{"503", status(503)},
		{"reset", reset},
		{"half", half},
		{"404", status(404)},
		{"410", status(410)},
	}
	var all sync.WaitGroup
	for _, s := range steps() {
		for _, tt := range tests {
			if !s.patient && (tt.name == "404" || tt.name == "410") {
				continue
			}
			p := newPlatform(t)
			p.fault = func(w http.ResponseWriter, r *http.Request, n int) bool {
				bad := r.URL.Path == s.path && n == 1
				if bad {
					tt.answer(w, r)
				}
				return bad
			}
			all.Go(func() { // each waits for its second try; together it is one wait
				got, err := s.source(p.URL).Proof(t.Context())
				if n := p.count(s.path); err != nil || got["jwt"].Len() == 0 || n != 2 {
					t.Errorf("%s, %s: %v, %v after %d tries, want a proof after 2", s.name, tt.name, got, err, n)
				}
			})
		}
	}
	all.Wait()
}

// TestNoRedirectIsFollowed: not even within the same host.
func TestNoRedirectIsFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, s := range steps() {
		for _, code := range []int{301, 302, 303, 307, 308} {
			for _, to := range []string{other.URL + "/" + canary, s.path, "http://%zz" + canary, ""} {
				p := newPlatform(t)
				p.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
					if r.URL.Path == s.path {
						w.Header().Set("Location", to)
						w.WriteHeader(code)
					}
					return r.URL.Path == s.path
				}
				_, err := s.source(p.URL).Proof(t.Context())
				problem(t, err, plan.CodeProtocol, "is a redirect, which is not followed")
				if n := p.count(s.path); n != 1 {
					t.Errorf("%s, %d to %q: %d tries", s.name, code, to, n)
				}
			}
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests came to another host", n)
	}
}

// TestAdviceFits: a refusal says what to do on that platform.
func TestAdviceFits(t *testing.T) {
	advice := map[string]map[int]string{
		"github":           {401: "id-token: write", 403: "id-token: write", 400: "vault.auth.audience"},
		"gcp identity":     {403: "Workload Identity", 404: "a service account"},
		"gcp email":        {404: "a service account"},
		"gcp access token": {403: "Workload Identity"},
		"gcp signJwt":      {401: "cloud-platform", 403: "roles/iam.serviceAccountTokenCreator", 404: "name of the service account"},
		"azure place":      {403: "metadata service"},
		"azure token":      {400: "managed identity"},
	}
	for _, s := range steps() {
		for code, want := range advice[s.name] {
			p := newPlatform(t)
			p.fault = func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if r.URL.Path == s.path {
					status(code)(w, r)
				}
				return r.URL.Path == s.path
			}
			_, err := s.source(p.URL).Proof(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, status %s: %v does not say %q", s.name, strconv.Itoa(code), err, want)
			}
		}
	}
}

// TestTLS: nothing is sent to a server that cannot prove its name.
func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(text(`{"value":"` + goodToken() + `"}`))
	srv.Config.ErrorLog = log.New(t.Output(), "", 0)
	srv.StartTLS()
	defer srv.Close()
	g := GitHub{URL: value(srv.URL + "/token"), Token: value(canary)}
	_, err := g.Proof(t.Context())
	problem(t, err, plan.CodeProtocol, "signed by an authority that we do not know")

	g.Transport = srv.Client().Transport
	if got, err := g.Proof(t.Context()); err != nil || string(got["jwt"].Reveal()) != goodToken() {
		t.Errorf("with the authority: %v, %v", got, err)
	}

	g.URL = value(strings.Replace(srv.URL, "https://127.0.0.1", "http://127.0.0.1", 1))
	_, err = g.Proof(t.Context())
	problem(t, err, plan.CodeConfig, "status 400")

	plain := httptest.NewServer(text("x"))
	defer plain.Close()
	g.URL = value(strings.Replace(plain.URL, "http:", "https:", 1))
	_, err = g.Proof(t.Context())
	problem(t, err, plan.CodeProtocol, "is plain http")
}
