package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// world is a server of canned answers, and the files of the runs.
type world struct {
	dir, bin string
	address  string
	server   *http.Server
}

func newWorld(ctx context.Context, dir, bin string) (*world, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, bin: bin, address: "http://" + l.Addr().String(), server: &http.Server{Handler: http.HandlerFunc(answer)}}
	go w.server.Serve(l) //nolint:errcheck // it ends with close
	for _, n := range []int{1, 20} {
		var files, env strings.Builder
		files.WriteString("files:\n")
		env.WriteString("env:\n")
		for i := range n {
			fmt.Fprintf(&files, "  - path: \"%d\"\n    template: '{{ with secret \"secret/data/gate/%d\" }}{{ .Data.data.value }}{{ end }}'\n", i, i)
			fmt.Fprintf(&env, "  GATE_%d: secret/data/gate/%d#value\n", i, i)
		}
		for name, text := range map[string]string{"files": files.String(), "env": env.String()} {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.yaml", name, n)), []byte(text), 0o600); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

func (w *world) close() { _ = w.server.Close() }

// answer gives what Vault 1.21 does, with the same values each time.
func answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	const ends = `"wrap_info":null,"warnings":null,`
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case path == "auth/approle/login":
		fmt.Fprint(w, `{"request_id":"5a0f4e1c-0b4e-4f43-9c33-3c1d2b6f7a10","lease_id":"","renewable":false,"lease_duration":0,"data":null,`, ends,
			`"auth":{"client_token":"hvs.gate","accessor":"gate","policies":["default","gate"],"token_policies":["default","gate"],`,
			`"metadata":{"role_name":"gate"},"lease_duration":3600,"renewable":true,"entity_id":"0c1f","token_type":"service","orphan":true,"num_uses":0},"mount_type":""}`)
	case strings.HasPrefix(path, "secret/data/gate/"):
		fmt.Fprint(w, `{"request_id":"5a0f4e1c-0b4e-4f43-9c33-3c1d2b6f7a11","lease_id":"","renewable":false,"lease_duration":0,`,
			`"data":{"data":{"value":"7d2cf1c1ae8f4f7e9d0f1e0b8f2a6c35"},"metadata":{"created_time":"2026-01-02T03:04:05.678901234Z",`,
			`"custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},`, ends, `"auth":null,"mount_type":"kv"}`)
	case path == "auth/token/revoke-self":
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, `{"errors":[]}`, http.StatusNotFound)
	}
}

// cell is one run whose instructions are counted.
type cell struct {
	name string
	argv []string
}

// reference is the name of the run that all others are compared with.
const reference = "reference"

func (w *world) cells() []cell {
	binary := filepath.Join(w.bin, "secretboot")
	conf := func(name string) string { return filepath.Join(w.dir, name+".yaml") }
	out := filepath.Join(w.dir, "out")
	return []cell{
		{reference, []string{filepath.Join(w.bin, "reference")}},
		{"version", []string{binary, "version"}},
		{"init-1", []string{binary, "init", "-c", conf("files-1"), "--dir", out}},
		{"init-20", []string{binary, "init", "-c", conf("files-20"), "--dir", out}},
		{"run-20", []string{binary, "run", "-c", conf("files-20"), "--dir", out, "--janitor=false", "--", "/bin/true"}},
		{"env-20", []string{binary, "run", "-c", conf("env-20"), "--supervise", "--", "/bin/true"}},
	}
}

// once counts one run, in a fresh folder. One processor for all goroutines: how long
// an idle one looks for work depends on the machine.
func (w *world) once(ctx context.Context, count counting, c cell) (float64, error) {
	out := filepath.Join(w.dir, "out")
	if err := os.RemoveAll(out); err != nil {
		return 0, err
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		return 0, err
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=1", "VAULT_ADDR=" + w.address, "VAULT_ROLE_ID=gate", "VAULT_SECRET_ID=gate"}
	n, err := count(ctx, w.dir, env, c.argv)
	if err != nil || !strings.HasPrefix(c.name, "init-") {
		return n, err
	}
	if _, err := os.Stat(filepath.Join(out, "0")); err != nil {
		return 0, fmt.Errorf("it has delivered nothing: %w", err)
	}
	return n, nil
}
