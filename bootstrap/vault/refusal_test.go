package vault

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestWhyMissing(t *testing.T) {
	deleted := `{"data":{"data":null,"metadata":{"created_time":"x","deletion_time":"2026-02-03T04:05:06.7Z","destroyed":false,"version":2}}}`
	destroyed := `{"data":{"data":null,"metadata":{"created_time":"x","deletion_time":"","destroyed":true,"version":2}}}`
	tests := []struct {
		body    string
		version int
		want    string
	}{
		{missingAnswer, 0, "there is no such secret"},
		{missingAnswer, 7, "there is no version 7"},
		{`{"warnings":["` + canary + `"]}`, 0, "there is no such secret"},
		{deleted, 0, "version 2 was deleted at 2026-02-03T04:05:06Z"},
		{destroyed, 0, "version 2 is destroyed"},
		{strings.Replace(deleted, `"version":2`, `"version":"x"`, 1), 0, "the version was deleted"},
		{strings.Replace(deleted, "2026-02-03T04:05:06.7Z", canary, 1), 0, "there is no such secret"},
	}
	for _, tt := range tests {
		c, s := inMemory(t, always(404, tt.body), nil)
		_, err := c.Generation()(t.Context(), plan.Read{Path: "secret/app", Version: tt.version}, nil)
		problem(t, err, plan.CodeMissing, tt.want)
		s.noCanary(t, err)
	}
}

func TestProblemsSayWhatToDo(t *testing.T) {
	c, _ := inMemory(t, always(403, deniedAnswer), nil)
	for op, want := range map[plan.Op]string{
		plan.OpRead:  `path "secret/data/app" { capabilities = ["read"] }`,
		plan.OpList:  `path "secret/metadata/app" { capabilities = ["list"] }`,
		plan.OpWrite: `path "secret/app" { capabilities = ["update"] }`,
	} {
		_, err := c.Generation()(t.Context(), plan.Read{Path: "secret/app", Op: op}, nil)
		problem(t, err, plan.CodeDenied, want)
	}
}

// TestForeignRefusal: only Vault can deny, miss or refuse. A page of something
// in between is a problem of its own, for a login too.
func TestForeignRefusal(t *testing.T) {
	pages := list("", "<html>"+canary, "404 page not found\n", `{"errors":"`+canary+`"}`, "null", "[]")
	objects := list("{}", `{"message":"`+canary+`"}`, `{"errors":null}`)
	for status, bodies := range map[int][]string{
		400: pages, // an object of any kind is Vault's there: it is a mistake either way
		401: slices.Concat(pages, objects),
		403: slices.Concat(pages, objects),
		404: slices.Concat(pages, objects),
		405: slices.Concat(pages, objects),
	} {
		for _, page := range bodies {
			want := "the answer is not Vault's (status " + strconv.Itoa(status) + ") (of type application/json)"
			c, s := inMemory(t, always(status, page), nil)
			_, err := read(t.Context(), c, "secret/app")
			problem(t, err, plan.CodeProtocol, "secret secret/data/app: "+want+" (declared at file: key)")
			s.noCanary(t, err)
			in, seen := inMemory(t, always(status, page), appRoleOptions)
			err = in.Login(t.Context())
			problem(t, err, plan.CodeProtocol, "login approle at auth/approle/login: "+want)
			seen.noCanary(t, err)
			if s.count() != 1 || seen.count() != 1 {
				t.Errorf("%d %q: %d reads, %d logins", status, page, s.count(), seen.count())
			}
		}
	}
}

// TestNoEngine: a mount that is not there is no missing secret, which an
// optional one could be.
func TestNoEngine(t *testing.T) {
	for _, op := range []plan.Op{plan.OpRead, plan.OpList, plan.OpWrite} {
		c, s := inMemory(t, always(404, noHandler), nil)
		_, err := c.Generation()(t.Context(), plan.Read{Path: "secret/app", Op: op}, nil)
		problem(t, err, plan.CodeConfig, "no secrets engine is mounted there; check the mount's name and the namespace")
		s.noCanary(t, err)
	}
}

// TestInvalidToken: no policy helps a token that is not valid.
func TestInvalidToken(t *testing.T) {
	c, s := inMemory(t, always(403, badToken), nil)
	_, err := read(t.Context(), c, "secret/app")
	problem(t, err, plan.CodeDenied, "the token is not valid, or has expired or been revoked (declared at file: key); get a new token")
	if strings.Contains(err.Error(), "policy") || s.count() != 1 {
		t.Errorf("%v after %d requests", err, s.count())
	}

	// Nobody is asked about a mount for such a token, and where it came from is
	// told if we did not get it ourselves.
	for login, then := range map[string]string{"token": "get a new token; this one is from env:TOKEN", "role_id": "get a new token"} {
		c, s, err := logIn(t, func(_ int, w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/login") {
				refuse(w, 200, loginAnswer)
				return
			}
			refuse(w, 403, badToken)
		}, func(o *Options) { o.Login.Inputs = variables(login) })
		if err != nil {
			t.Fatal(err)
		}
		before := s.count()
		_, err = read(t.Context(), c, "other/data/app")
		problem(t, err, plan.CodeDenied, "(declared at file: key); "+then)
		if !strings.HasSuffix(err.Error(), then) || !slices.Equal(s.all()[before:], list("GET other/data/app")) {
			t.Errorf("%v, requests %q", err, s.all())
		}
		s.noCanary(t, err)
	}
}
