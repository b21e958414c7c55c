package receipt

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestJSON is the format, member by member: whoever reads receipts depends on it.
func TestJSON(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	at := At(time.Date(2026, 11, 22, 6, 7, 8, 9_999_999, berlin))
	r := Receipt{
		Program: "secretboot 1.2.3", Started: at, Written: After(at.Time, 1500*time.Millisecond), Outcome: Failed, Code: 77,
		Server: Server{Address: "https://vault:8200", Namespace: "team"},
		Login: Login{
			Method: "kubernetes", Mount: "k8s", Role: "app", Namespace: "root", RequestID: "id", DisplayName: "k8s-app", EntityID: "ent",
			Accessor: "acc", Policies: []string{"default"}, TokenType: "service", Expires: After(at.Time, time.Hour), Revoked: true,
		},
		Reads: []Read{
			{Path: "secret/data/app", Operation: "read", RequestID: "r1", Version: 3},
			{Path: "database/creds/app", Operation: "read", RequestID: "r2", LeaseID: "l", Renewable: true, Expires: After(at.Time, time.Minute), Revoked: true},
		},
		Files:     []File{{Path: "/run/secrets/<a>&b", Mode: "0400", UID: 65532, GID: 65532}},
		Variables: []string{"DB_PASSWORD"},
		Problems:  []Problem{{Code: 77, Text: `secret "x": permission denied`}},
	}
	want := `{
  "version": 1,
  "program": "secretboot 1.2.3",
  "started": "2026-11-22T05:07:08.009Z",
  "written": "2026-11-22T05:07:09.509Z",
  "outcome": "failed",
  "code": 77,
  "server": {"address": "https://vault:8200", "namespace": "team"},
  "login": {"method": "kubernetes", "mount": "k8s", "role": "app", "namespace": "root", "request_id": "id", "display_name": "k8s-app",
    "entity_id": "ent", "accessor": "acc", "policies": ["default"], "token_type": "service", "expires": "2026-11-22T06:07:08.009Z", "revoked": true},
  "reads": [
    {"path": "secret/data/app", "operation": "read", "request_id": "r1", "version": 3},
    {"path": "database/creds/app", "operation": "read", "request_id": "r2", "lease_id": "l", "renewable": true, "expires": "2026-11-22T05:08:08.009Z", "revoked": true}
  ],
  "files": [{"path": "/run/secrets/\u003ca\u003e\u0026b", "mode": "0400", "uid": 65532, "gid": 65532}],
  "variables": ["DB_PASSWORD"],
  "problems": [{"code": 77, "text": "secret \"x\": permission denied"}]
}`
	same(t, r, want)
}

// TestEmptyJSON: lists are there even when they are empty, what is not known is
// left out, and the version is always ours.
func TestEmptyJSON(t *testing.T) {
	r := Receipt{Version: 99, Started: At(time.Unix(0, 0)), Written: At(time.Unix(0, 0)), Outcome: Delivered, Login: Login{Method: "none"}}
	same(t, r, `{"version": 1, "program": "", "started": "1970-01-01T00:00:00Z", "written": "1970-01-01T00:00:00Z", "outcome": "delivered", "code": 0,
		"server": {"address": ""}, "login": {"method": "none", "revoked": false}, "reads": [], "files": [], "variables": [], "problems": []}`)
	if r.Version != 99 || r.Reads != nil {
		t.Error("the receipt itself was changed")
	}
}

// same compares a receipt with JSON, order of members and all, and checks that
// it is one value that ends with a line break.
func same(t *testing.T, r Receipt, want string) {
	t.Helper()
	text, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(text), "\n}\n") || strings.Count(string(text), "\n\n") > 0 {
		t.Errorf("not indented, or without a line break at its end: %q", text)
	}
	var got, expected bytes.Buffer
	if err := json.Compact(&got, text); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&expected, []byte(want)); err != nil {
		t.Fatal(err)
	}
	if got.String() != expected.String() {
		t.Errorf("got  %s\nwant %s", got.String(), expected.String())
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 0, 0, 999_999_999, time.UTC)
	for d, want := range map[time.Duration]Time{
		0: {}, -time.Second: {}, -1: {},
		1:                    {time.Date(2026, 11, 22, 5, 0, 1, 0, time.UTC)},
		time.Nanosecond * 99: {time.Date(2026, 11, 22, 5, 0, 1, 0, time.UTC)},
		time.Millisecond:     {time.Date(2026, 11, 22, 5, 0, 1, 0, time.UTC)},
		time.Hour:            {time.Date(2026, 11, 22, 6, 0, 0, 999_000_000, time.UTC)},
	} {
		if got := After(now, d); !got.Equal(want.Time) || got.Location() != want.Location() {
			t.Errorf("%v after: %v, want %v", d, got, want)
		}
	}
	if !After(now, -1).IsZero() || At(now).IsZero() {
		t.Error("the zero time is none, and only that")
	}
}
