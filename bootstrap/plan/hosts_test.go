package plan

import "testing"

func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		list, host string
		allowed    bool
	}{
		{"mlflow.example.com", "MLflow.Example.COM", true},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{" a , ,B ", "b", true},
		{"*.example.com,example.com", "example.com", true},
		{"10.0.0.?", "10.0.0.12", false},
		{"node[0-9].x", "node7.x", true},
		{"node[!0-9].x", "node7.x", false},
		{"node[!0-9].x", "nodea.x", true},
		{"*", "::1", true},
		{"*.example.com", "example.com.evil.net", false},
		{"a", "", false},
	} {
		hosts, err := ParseHosts(tt.list)
		if err != nil || hosts.Allow(tt.host) != tt.allowed {
			t.Errorf("%q allows %q: %v, %v", tt.list, tt.host, !tt.allowed, err)
		}
	}
	for _, list := range []string{"", " , ", "a,[b", `a\b`} {
		if hosts, err := ParseHosts(list); err == nil {
			t.Errorf("%q: %v", list, hosts)
		}
	}
}
