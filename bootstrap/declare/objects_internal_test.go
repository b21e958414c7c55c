package declare

import (
	"io"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// documentsOf reads a manifest out of a text.
func documentsOf(t *testing.T, text string) []document {
	t.Helper()
	in := Input{Open: func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
	docs, err := in.manifest("manifest", "x.yaml", plan.Origin{At: "--from"})
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// TestObjectsForManifest: a workload says where the files of an object go, and
// with which prefix its variables.
func TestObjectsForManifest(t *testing.T) {
	docs := documentsOf(t, `
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: a}
spec: {provider: vault, parameters: {roleName: r, objects: "- {objectName: d/f, secretPath: kv/a}"}}
---
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: s}
spec: {provider: {vault: {server: "https://v", path: kv}}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: e}
spec: {secretStoreRef: {name: s}, data: [{secretKey: K, remoteRef: {key: a}}]}
`)
	p, err := secretProviderClass(Input{}, "manifest", docs[0], "/mnt/secrets")
	if err != nil || p.Files[0].Path != "/mnt/secrets/d/f" || p.Files[0].Origin.Front != "manifest" {
		t.Errorf("%+v, %v", p.Files, err)
	}
	p, err = externalSecrets(Input{}, "manifest", docs, []externalDelivery{
		{document: docs[2], dir: "/etc/e"}, {document: docs[2], dir: "/etc/all", folder: true}, {document: docs[2], env: true, prefix: "DB_"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Sets) != 2 || p.Sets[0].Dir != "/etc/e" || p.Sets[1].Dir != "/etc/all/e" {
		t.Errorf("%+v", p.Sets)
	}
	if len(p.EnvSets) != 1 || p.EnvSets[0].Prefix != "DB_" {
		t.Errorf("%+v", p.EnvSets)
	}
}

// TestStorePaths: a key becomes one path for the data, and the same place for
// the metadata.
func TestStorePaths(t *testing.T) {
	for _, tt := range []struct{ mount, version, key, data, metadata string }{
		{"secret", "v2", "app", "secret/data/app", "secret/metadata/app"},
		{"secret", "", "secret/app", "secret/data/app", "secret/metadata/app"},
		{"secret", "v2", "secret/data/app", "secret/data/app", "secret/metadata/app"},
		{"secret", "v2", "data/app", "secret/data/data/app", "secret/metadata/data/app"},
		{"secret", "v2", "secret/inner", "secret/data/inner", "secret/metadata/inner"},
		{"/a/b/", "v2", "app/", "a/b/data/app", "a/b/metadata/app"},
		{"data", "v2", "data/data/app", "data/data/app", "data/metadata/app"},
		{"", "v2", "app", "app/data", "app/metadata"},
		{"", "v2", "secret/app", "secret/data/app", "secret/metadata/app"},
		{"", "v2", "/secret/app", "secret/data/app", "secret/metadata/app"},
		{"", "v2", "a/b/data/c", "a/b/data/c", "a/b/metadata/c"},
		{"kv", "v1", "app", "kv/app", ""},
		{"kv", "v1", "kv/data/app", "kv/data/app", ""},
		{"", "v1", "kv/app", "kv/app", ""},
		{"secret", "v2", "../sys/policy", "", ""},
		{"secret", "v2", "a/./b", "", ""},
		{"..", "v2", "sys", "", ""},
		{"a/..", "v1", "sys", "", ""},
		{"secret", "v2", "a\x00b", "", ""},
	} {
		s := &store{spec: vaultStore{Path: tt.mount, Version: tt.version}}
		data, why := s.dataPath(tt.key)
		if data != tt.data || (why == "") != (tt.data != "") {
			t.Errorf("%q in %q: data at %q (%s), want %q", tt.key, tt.mount, data, why, tt.data)
		}
		if metadata, why := s.metadataPath(tt.key); metadata != tt.metadata || (why == "") != (tt.metadata != "") {
			t.Errorf("%q in %q: metadata at %q (%s), want %q", tt.key, tt.mount, metadata, why, tt.metadata)
		}
	}
}
