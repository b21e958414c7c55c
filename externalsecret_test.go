package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestExternalSecrets delivers the ExternalSecrets of testdata/externalsecret from
// a real Vault. want.json has the keys and bytes that the External Secrets
// Operator would put into the Secret; bytes that are no text are there as base64:.
// Where there is a problem instead, nothing is delivered and it is told.
//
// Each is delivered a second time from what `convert` makes of it.
func TestExternalSecrets(t *testing.T) {
	s := newSecretsServer(t)
	paths, err := filepath.Glob("testdata/externalsecret/*.txtar")
	if err != nil || len(paths) < 25 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, p := range paths {
		name := strings.TrimSuffix(filepath.Base(p), ".txtar")
		t.Run(name, func(t *testing.T) { s.deliver(t, name, p) })
	}
}

// secretsServer is a Vault with the data of the cases.
type secretsServer struct {
	*rig
	token  string // may read all but secret/forbidden
	stores string // the SecretStores that the cases name
}

func newSecretsServer(t *testing.T) *secretsServer {
	t.Helper()
	s := &secretsServer{rig: newRig(t)}
	s.ask(t, "sys/mounts/kv", []byte(`{"type":"kv","options":{"version":"1"}}`))
	s.fill(t, "testdata/externalsecret/data.json")
	s.ask(t, "secret/data/versions", []byte(`{"data":{"v":"first"}}`))
	s.ask(t, "secret/data/versions", []byte(`{"data":{"v":"second"}}`))
	s.ask(t, "secret/data/deleted", []byte(`{"data":{"x":"gone"}}`))
	s.ask(t, "secret/delete/deleted", []byte(`{"versions":[1]}`))
	for path, tags := range map[string]string{"versions": `{"owner":"team-a"}`, "find/app1": `{"team":"a"}`, "find/app2": `{"team":"b"}`, "find/dev/config": `{"team":"a","more":"x"}`} {
		s.ask(t, "secret/metadata/"+path, []byte(`{"custom_metadata":`+tags+`}`))
	}
	s.write(t, "policy.hcl", `path "secret/*" { capabilities = ["read", "list"] }`+"\n"+
		`path "kv/*" { capabilities = ["read", "list"] }`+"\n"+`path "secret/data/forbidden" { capabilities = ["deny"] }`)
	s.do(t, "policy", "write", "cases", filepath.Join(s.dir, "policy.hcl"))
	s.token = s.do(t, "token", "create", "-policy=cases", "-field=token")
	stores, err := os.ReadFile("testdata/externalsecret/stores.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.stores = string(stores)
	return s
}

// deliver runs one case.
func (s *secretsServer) deliver(t *testing.T, name, path string) {
	parts := map[string]string{}
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		parts[f.Name] = string(f.Data)
	}
	spec := "  " + strings.ReplaceAll(strings.TrimSuffix(parts["spec.yaml"], "\n"), "\n", "\n  ")
	manifest := s.stores + "---\napiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: { name: case }\nspec:\n" + spec + "\n"
	if more := parts["more.yaml"]; more != "" {
		manifest += "---\n" + more
	}
	s.write(t, name+".yaml", manifest)
	from := "externalsecret:" + name + ".yaml"
	if want := strings.TrimSpace(parts["problem"]); want != "" {
		s.refused(t, name, from, want)
		return
	}
	want := map[string]string{}
	if err := json.Unmarshal([]byte(parts["want.json"]), &want); err != nil {
		t.Fatal(err)
	}
	s.files(t, want, filepath.Join(s.sink, name), "--from", from)
	config, log, err := s.secretboot(t, "convert", "--from", from)
	if err != nil {
		t.Fatalf("convert: %v\n%s", err, log)
	}
	s.write(t, name+"-own.yaml", string(config))
	s.files(t, want, filepath.Join(s.sink, name+"-own"), "--config", name+"-own.yaml")
}

// files delivers into a folder and compares all that is there.
func (s *secretsServer) files(t *testing.T, want map[string]string, dir string, args ...string) {
	t.Helper()
	if _, log, err := s.secretboot(t, append([]string{"init", "--dir", dir}, args...)...); err != nil {
		t.Fatalf("init: %v\n%s", err, log)
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue // the layout's own
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if got[e.Name()] = string(text); !utf8.Valid(text) {
			got[e.Name()] = "base64:" + base64.StdEncoding.EncodeToString(text)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%q: got\n%q\nwant\n%q", args, got, want)
	}
}

// refused expects one problem, no value in it, and no file.
func (s *secretsServer) refused(t *testing.T, name, from, want string) {
	t.Helper()
	dir := filepath.Join(s.sink, name)
	_, log, err := s.secretboot(t, "init", "--dir", dir, "--from", from)
	if !regexp.MustCompile(`(?s)^secretboot: `+want+`\n$`).Match(log) || bytes.Count(log, []byte("\n")) != 1 {
		t.Errorf("%v\ngot  %swant %s", err, log, want)
	}
	for _, value := range []string{"appuser", "s3cr3t", "forbidden-value", "!!!"} {
		if bytes.Contains(log, []byte(value)) {
			t.Errorf("a value is told: %s", log)
		}
	}
	if entries, err := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("%v, %v are there", entries, err)
	}
}

// secretboot runs ours with the token, and gives what it says to stdout and
// stderr.
func (s *secretsServer) secretboot(t *testing.T, args ...string) (out, log []byte, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.ours, args...)
	cmd.Dir, cmd.Env = s.dir, []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "VAULT_ADDR=" + s.server.addr, "VAULT_TOKEN=" + s.token, "SECRETBOOT_LOG_LEVEL=error"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.Bytes(), stderr.Bytes(), err
}
