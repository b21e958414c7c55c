package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// rig is what a test needs that compares many results from one real Vault: the
// server, a folder on disk, a sink in memory, and our own binary.
type rig struct {
	server      *server
	dir, sink   string
	vault, ours string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s := &rig{dir: t.TempDir(), vault: builtBinary(t, "vault")}
	s.ours = filepath.Join(s.dir, "secretboot")
	if out, err := exec.Command("go", "build", "-o", s.ours, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	sink, err := os.MkdirTemp("/dev/shm", "sb-side-")
	if err != nil {
		t.Fatal(err)
	}
	s.sink = sink
	t.Cleanup(func() { _ = os.RemoveAll(sink) })
	servers := &vaults{binary: s.vault}
	t.Cleanup(func() { servers.stop(t) })
	if s.server, err = servers.start(""); err != nil {
		t.Fatal(err)
	}
	return s
}

// builtBinary gives the path of a program in bin.
func builtBinary(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; run `make vault peers` first", err)
	}
	return path
}

// fill writes the secrets of a file, by path, as it has them: numbers keep their
// text. The mount secret is a KV of version 2, every other one of version 1.
func (s *rig) fill(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var data map[string]json.RawMessage
	if err := json.Unmarshal(text, &data); err != nil {
		t.Fatal(err)
	}
	for path, fields := range data {
		if rest, v2 := strings.CutPrefix(path, "secret/"); v2 {
			path, fields = "secret/data/"+rest, []byte(`{"data":`+string(fields)+`}`)
		}
		s.ask(t, path, fields)
	}
}

// ask posts a body as root.
func (s *rig) ask(t *testing.T, path string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.server.addr+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", rootToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
}

// do runs the vault command line as root, and gives its output.
func (s *rig) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.server.vault(s.vault, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (s *rig) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
