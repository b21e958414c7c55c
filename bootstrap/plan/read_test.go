package plan

import "testing"

// TestReadKey: what makes two declarations one request, and what does not.
func TestReadKey(t *testing.T) {
	write := func(h Handle) Read { return Read{Path: "pki/issue/web", Op: OpWrite, Body: map[string]Handle{"a": h}} }
	text, other := Handle{Kind: HandleText, Name: "env:A"}, Handle{Kind: HandleEnv, Name: "A"}
	for _, tt := range []struct {
		name string
		a, b Read
		same bool
	}{
		{"place and duty", Read{Path: "s/a", Origin: at("1")}, Read{Path: "s/a", Origin: at("2"), Optional: true}, true},
		{"path", Read{Path: "s/a"}, Read{Path: "s/b"}, false},
		{"version", Read{Path: "s/a"}, Read{Path: "s/a", Version: 1}, false},
		{"rule", Read{Path: "s/a"}, Read{Path: "s/a", KV: KV1}, false},
		{"operation", Read{Path: "s/a"}, Read{Path: "s/a", Op: OpList}, false},
		{"a write of nothing", Read{Path: "s/a"}, Read{Path: "s/a", Op: OpWrite}, false},
		{"same body", write(text), write(Handle{Kind: HandleText, Name: "env:A", Origin: at("2")}), true},
		{"body", write(text), write(Handle{Kind: HandleText, Name: "x"}), false},
		{"a text like a place", write(text), write(other), false},
		{"a text like JSON", write(Handle{Kind: HandleText, Name: "1"}), write(Handle{Kind: HandleText, Name: "1", JSON: true}), false},
	} {
		if got := tt.a.Key() == tt.b.Key(); got != tt.same {
			t.Errorf("%s: %q and %q", tt.name, tt.a.Key(), tt.b.Key())
		}
	}
}
