package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestNewest is the table of what metadata may say.
func TestNewest(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		data    string
		version int
		ok      bool
	}{
		{`{"current_version":3,"versions":{"3":{"deletion_time":"","destroyed":false}}}`, 3, true},
		{`{"current_version":3,"versions":{"2":{"destroyed":true},"3":{}}}`, 3, true},
		{`{"current_version":3,"versions":{"3":{"destroyed":true}}}`, 0, true},
		{`{"current_version":3,"versions":{"3":{"deletion_time":"2026-11-30T11:59:59.5Z"}}}`, 0, true},
		{`{"current_version":3,"versions":{"3":{"deletion_time":"2026-11-30T12:00:00Z"}}}`, 0, true},
		{`{"current_version":3,"versions":{"3":{"deletion_time":"2026-11-30T13:00:00+01:00"}}}`, 0, true},
		{`{"current_version":3,"versions":{"3":{"deletion_time":"2026-11-30T12:00:00.1Z"}}}`, 3, true},
		{`{"current_version":3,"versions":{"3":{"deletion_time":"foo"}}}`, 3, true},
		{`{"current_version":3,"versions":{"3":{"deletion_time":{}}}}`, 3, true},
		{`{"current_version":3,"versions":{"3":"foo"}}`, 3, true},
		{`{"current_version":3,"versions":[]}`, 3, true},
		{`{"current_version":3}`, 3, true},
		{`{"current_version":0,"versions":{}}`, 0, true},
		{`{"current_version":-1}`, 0, false},
		{`{"current_version":2147483648}`, 0, false},
		{`{"current_version":1.5}`, 0, false},
		{`{"current_version":"3"}`, 0, false},
		{`{"current_version":null}`, 0, false},
		{`{"pw":"x"}`, 0, false},
		{`{}`, 0, false},
	}
	for _, tt := range tests {
		a, err := decode([]byte(`{"data":` + tt.data + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if version, ok := newest(a.Data, now); version != tt.version || ok != tt.ok {
			t.Errorf("%s: %d %v", tt.data, version, ok)
		}
	}
	if version, ok := newest(nil, now); version != 0 || ok {
		t.Error("no data is a version")
	}
}

// FuzzNewest: whatever it says, a version is one of its own and never below 0.
func FuzzNewest(f *testing.F) {
	f.Add(`{"current_version":3,"versions":{"3":{"deletion_time":"","destroyed":false}}}`)
	f.Add(`{"current_version":1e1}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := decode([]byte(`{"data":` + text + `}`))
		if err != nil {
			return
		}
		version, ok := newest(a.Data, time.Now())
		number, _ := a.Data["current_version"].(json.Number)
		if version < 0 || !ok && version != 0 || version > 0 && number.String() != fmt.Sprint(version) {
			t.Errorf("%s: %d %v", text, version, ok)
		}
	})
}

// metadata is a good answer about versions.
const metadata = `{"data":{"current_version":3,"versions":{"3":{"deletion_time":"","destroyed":false}}}}`

// TestCurrentVersion: where it is asked, and for which reads.
func TestCurrentVersion(t *testing.T) {
	const ui = "sys/internal/ui/mounts/"
	mount := func(path, version string) says {
		return says{200, `{"data":{"path":"` + path + `/","type":"kv","options":{"version":"` + version + `"}}}`}
	}
	tests := []struct {
		name string
		r    plan.Read
		says map[string]says
		read bool // it was read before
		want []string
		ok   bool
	}{
		{"configured", plan.Read{Path: "secret/app"}, nil, false, list("secret/metadata/app"), true},
		{"with data/", plan.Read{Path: "/secret/data/app/"}, nil, false, list("secret/metadata/app"), true},
		{"literal", plan.Read{Path: "secret/data/app", KV: plan.KVLiteral}, nil, false, list("secret/metadata/app"), true},
		{"data/ in the name", plan.Read{Path: "secret/data/app/data/x"}, nil, false, list("secret/metadata/app/data/x"), true},
		{"a version", plan.Read{Path: "secret/app", Version: 3}, nil, false, nil, false},
		{"a list", plan.Read{Path: "secret/app", Op: plan.OpList}, nil, false, nil, false},
		{"a write", plan.Read{Path: "secret/app", Op: plan.OpWrite}, nil, false, nil, false},
		{"version 1", plan.Read{Path: "secret/app", KV: plan.KV1}, nil, false, nil, false},
		{"one of two", plan.Read{Path: "secret/app", Else: list("secret/b")}, nil, false, nil, false},
		{"metadata itself", plan.Read{Path: "secret/metadata/app"}, nil, false, nil, false},
		{"literal, no data/", plan.Read{Path: "secret/app", KV: plan.KVLiteral}, nil, false, nil, false},
		{"told, with slashes", plan.Read{Path: "team/data/kv/app"}, map[string]says{"GET team/data/kv/app": {404, missingAnswer}, "GET " + ui + "team/data/kv/app": mount("team/data/kv", "2")}, true, list("team/data/kv/metadata/app"), true},
		{"told to be version 1", plan.Read{Path: "old/data/app"}, map[string]says{"GET " + ui + "old/data/app": mount("old", "1")}, true, list(ui + "old/data/app"), false},
		{"not told, and it was version 2", plan.Read{Path: "kv/app"}, map[string]says{"GET " + ui + "kv/app": {403, deniedAnswer}, "GET " + ui + "kv/data/app": {403, deniedAnswer}}, true, list("kv/metadata/app"), true},
		{"not told, and not read", plan.Read{Path: "kv/app"}, map[string]says{"GET " + ui + "kv/app": {403, deniedAnswer}}, false, list(ui + "kv/app"), false},
	}
	for _, tt := range tests {
		f := &fresh{says: tt.says}
		f.say("GET auth/token/lookup-self", 200, `{"data":{"ttl":60}}`)
		for _, path := range list("secret/metadata/app", "secret/metadata/app/data/x", "kv/metadata/app", "team/data/kv/metadata/app", "team/metadata/kv/app") {
			f.say("GET "+path, 200, metadata)
		}
		c, s := f.loggedIn(t, nil)
		if tt.read {
			if _, err := c.Generation()(t.Context(), tt.r, nil); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		before := s.count()
		version, ok, err := c.CurrentVersion(t.Context(), tt.r)
		var asked []string
		for _, r := range s.all()[before:] {
			asked = append(asked, strings.TrimPrefix(r, "GET "))
		}
		asked = slices.DeleteFunc(asked, func(r string) bool { return r == "auth/token/lookup-self" })
		if tt.name == "not told, and it was version 2" { // the folder below data/ may be asked about
			asked = slices.DeleteFunc(asked, func(r string) bool { return strings.HasPrefix(r, ui) })
		}
		want := 0
		if tt.ok {
			want = 3
		}
		if err != nil || ok != tt.ok || version != want || !slices.Equal(asked, tt.want) {
			t.Errorf("%s: %d %v %v, asked %q", tt.name, version, ok, err, asked)
		}
	}
}

// TestMetadataRefused: a folder that the policy hides is not asked about again,
// and the next login may see more.
func TestMetadataRefused(t *testing.T) {
	f := &fresh{}
	c, s := f.loggedIn(t, appRoleOptions)
	f.say("GET auth/token/lookup-self", 200, `{"data":{"ttl":60}}`)
	f.say("GET secret/metadata/a/x", 403, deniedAnswer)
	f.say("GET secret/metadata/a/y", 200, metadata)
	f.say("GET secret/metadata/b/x", 200, metadata)
	ask := func(path string, want bool) {
		t.Helper()
		if _, ok, err := c.CurrentVersion(t.Context(), plan.Read{Path: path}); ok != want || err != nil {
			t.Errorf("%s: %v %v", path, ok, err)
		}
	}
	for range 3 {
		ask("secret/a/x", false)
		ask("secret/a/y", false)
		ask("secret/b/x", true)
	}
	if s.count() != 1+2+3 { // one more to see whether the token is to blame
		t.Errorf("requests %q", s.all())
	}
	f.say("GET secret/metadata/a/x", 200, metadata)
	if err := c.Relogin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask("secret/a/x", true)
	ask("secret/a/y", true)
}

// TestMetadataFails: what is told to the caller, and what is left to a read.
func TestMetadataFails(t *testing.T) {
	large := `{"data":{"current_version":3,"x":"` + strings.Repeat("x", maxMetadata) + `"}}`
	tests := []struct {
		says
		code     plan.Code // 0: no error
		lost     bool
		requests int // for two calls
	}{
		{says{404, missingAnswer}, 0, false, 2},
		{says{200, large}, 0, false, 1},
		{says{200, kvAnswer}, 0, false, 1},
		{says{400, echo}, 0, false, 2},
		{says{403, badToken}, plan.CodeDenied, true, 2},
		{says{503, ""}, plan.CodeUnavailable, false, 2},
		{says{500, echo}, plan.CodeUnavailable, false, 2},
		{says{200, ""}, plan.CodeProtocol, false, 2},
		{says{200, "<html>" + canary}, plan.CodeProtocol, false, 2},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{}
			c, s := f.loggedIn(t, appRoleOptions)
			f.say("GET secret/metadata/app", tt.status, tt.body)
			start := time.Now()
			for range 2 {
				version, ok, err := c.CurrentVersion(t.Context(), plan.Read{Path: "secret/app", Origin: plan.Origin{At: "here"}})
				if version != 0 || ok || (err == nil) != (tt.code == 0) || errors.Is(err, ErrTokenLost) != tt.lost {
					t.Errorf("%d: %d %v %v", tt.status, version, ok, err)
				}
				if err != nil {
					problem(t, err, tt.code, "(declared at here)")
				}
				s.noCanary(t, err)
			}
			if s.count() != 1+tt.requests || time.Since(start) != 0 {
				t.Errorf("%d %.20s: requests %q after %v", tt.status, tt.body, s.all(), time.Since(start))
			}
		})
	}
}
