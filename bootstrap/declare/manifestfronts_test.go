package declare_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// FuzzManifestFronts: whatever a manifest says, no front panics, what is wrong
// is told as problems, and no file or folder leaves the sink.
func FuzzManifestFronts(f *testing.F) {
	const spc = "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: a}\nspec:\n  provider: vault\n  parameters:\n    roleName: r\n    objects: |\n"
	const es = "apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: v}\nspec: {provider: {vault: {server: s, path: p}}}\n---\n" +
		"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: e}\nspec:\n  secretStoreRef: {name: v}\n"
	for _, seed := range []string{
		spc + "      - {objectName: a, secretPath: kv/a, secretKey: k, filePermission: 0600}\n",
		spc + "      - &a {objectName: a, secretPath: kv/a?version=1, secretArgs: &b {c: *b}}\n      - <<: *a\n",
		spc + "      - {objectName: ../a, method: PUT, secretArgs: {a: 1, b: .nan, c: 2001-01-01}}\n",
		spc + "      [[], {}, ~]\n",
		es + "  data: [{secretKey: a, remoteRef: {key: p/data/b, property: c, version: '1', metadataPolicy: Fetch}}]\n",
		es + "  dataFrom: [{find: {path: /a, name: {regexp: '('}}, rewrite: [{merge: {into: a}}, {transform: {template: a}}]}]\n",
		es + "  target: {name: .., template: {data: {a: b}, templateFrom: [{literal: a}, {configMap: {name: c, items: [{key: d}]}}]}}\n  data: [~]\n",
		"kind: List\nitems: [{kind: List, items: [~, {kind: ExternalSecret, spec: 1}]}]\n", "kind: SecretProviderClass\n", "- a", "\xff",
		"kind: ClusterExternalSecret\napiVersion: external-secrets.io/v1\nspec: {externalSecretSpec: {data: {}}}\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > declare.MaxFile {
			return
		}
		in := declare.Input{Cwd: "/", Open: open(fstest.MapFS{"x": {Data: []byte(text)}})}
		for _, kind := range []string{"secretproviderclass", "externalsecret", "externalsecret-env"} {
			front, err := declare.ParseFrom(kind+":x", plan.Origin{Front: "flag", At: "--from"})
			if err != nil {
				t.Fatal(err)
			}
			p, _, err := front.Declare(in)
			if err != nil {
				checkFrontProblems(t, err)
				continue
			}
			_ = p.Check()
			for _, file := range p.Files {
				checkInside(t, file.Path)
			}
			for _, set := range p.Sets {
				checkInside(t, set.Dir)
			}
		}
	})
}

func checkInside(t *testing.T, path string) {
	t.Helper()
	if strings.HasPrefix(path, "/") || strings.Contains("/"+path+"/", "/../") {
		t.Errorf("%q is outside of the sink", path)
	}
}
