package plan

import "testing"

func TestKVPath(t *testing.T) {
	tests := []struct{ at, path, want string }{
		{"secret", "secret/app", "secret/data/app"},
		{"secret", "secret/app/db", "secret/data/app/db"},
		{"secret", "secret/data/app", "secret/data/app"},
		{"secret", "secret/metadata/app", "secret/metadata/app"},
		{"secret", "secret/subkeys/app", "secret/subkeys/app"},
		{"secret", "secret/data", "secret/data"},
		{"secret", "secret/metadata", "secret/metadata"},
		{"secret", "secret/database", "secret/data/database"},
		{"secret", "secret/app/data/db", "secret/data/app/data/db"},
		{"team/a/kv", "team/a/kv/app", "team/a/kv/data/app"},
		{"team/a/kv", "team/a/kv/data/app", "team/a/kv/data/app"},
		{"data", "data/app", "data/data/app"},
	}
	for _, tt := range tests {
		if got := KV2.Path(OpRead, tt.at, tt.path); got != tt.want {
			t.Errorf("below %q %q is read at %q, want %q", tt.at, tt.path, got, tt.want)
		}
	}
}

func TestKVPathOfAList(t *testing.T) {
	for path, want := range map[string]string{
		"secret/app": "secret/metadata/app", "secret/data/app": "secret/metadata/app", "secret/metadata/app": "secret/metadata/app",
		"secret": "secret/metadata/", "secret/metadata": "secret/metadata",
	} {
		if got := KV2.Path(OpList, "secret", path); got != want {
			t.Errorf("%s is listed at %s, not %s", path, want, got)
		}
		if got := KV1.Path(OpList, "secret", path); got != path {
			t.Errorf("version 1 lists %s at %s", path, got)
		}
	}
}
