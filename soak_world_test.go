package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// world is a real Vault whose storage outlives it, and a real PostgreSQL that it
// makes users in.
type world struct {
	t     *testing.T
	dir   string
	bin   string // the Vault binary
	addr  string
	root  string // its root token
	key   string // its unseal key
	vault *exec.Cmd
	psql  string
	pg    []string // the environment of psql: where the database is
	admin string   // the superuser's password
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), bin: builtBinary(t, "vault")}
	w.startPostgres()
	port, err := freePort(t.Context())
	w.check(err)
	cluster, err := freePort(t.Context())
	w.check(err)
	w.addr = fmt.Sprintf("http://127.0.0.1:%d", port)
	w.check(os.Mkdir(filepath.Join(w.dir, "raft"), 0o700))
	w.check(os.WriteFile(filepath.Join(w.dir, "vault.hcl"), fmt.Appendf(nil, `
disable_mlock = true
api_addr = %q
cluster_addr = "http://127.0.0.1:%d"
plugin_directory = %q
storage "raft" {
  path = %q
  node_id = "one"
  performance_multiplier = 1
}
listener "tcp" {
  address = "127.0.0.1:%d"
  tls_disable = true
}
`, w.addr, cluster, pluginFolder(w.bin), filepath.Join(w.dir, "raft"), port), 0o600))
	w.startVault()
	var made struct {
		Keys []string `json:"keys"`
		Root string   `json:"root_token"`
	}
	w.check(json.Unmarshal(w.ask("PUT", "sys/init", `{"secret_shares":1,"secret_threshold":1}`), &made))
	w.key, w.root = made.Keys[0], made.Root
	w.unseal()
	t.Cleanup(w.stopVault)
	return w
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// startVault starts the server and waits until it answers: sealed, unless it is new.
func (w *world) startVault() {
	w.t.Helper()
	log, err := os.OpenFile(filepath.Join(w.dir, "vault.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	w.check(err)
	defer log.Close()
	w.vault = exec.Command(w.bin, "server", "-config="+filepath.Join(w.dir, "vault.hcl"), "-log-level=warn")
	w.vault.Env, w.vault.Stdout, w.vault.Stderr = []string{"HOME=" + w.dir, "PATH=/usr/bin:/bin"}, log, log
	w.check(w.vault.Start())
	w.until("the Vault server", func() bool {
		resp, err := http.Get(w.addr + "/v1/sys/seal-status")
		return err == nil && resp.Body.Close() == nil
	})
}

// stopVault ends it as an operator does: it then keeps what it has, and its plugins end.
func (w *world) stopVault() {
	_ = w.vault.Process.Signal(syscall.SIGCONT)
	_ = w.vault.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(15*time.Second, func() { _ = w.vault.Process.Kill() })
	_ = w.vault.Wait()
	late.Stop()
}

func (w *world) seal() { w.ask("PUT", "sys/seal", "") }

// unseal does so, and waits until the server has become active.
func (w *world) unseal() {
	w.t.Helper()
	w.ask("PUT", "sys/unseal", fmt.Sprintf(`{"key":%q}`, w.key))
	w.until("the unsealed server", func() bool {
		resp, err := http.Get(w.addr + "/v1/sys/health")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
}

// until waits for something in the world around the binary.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("waited a minute in vain for %s", what)
}

// ask asks the server as root, and gives the answer's body.
func (w *world) ask(method, path, body string) []byte {
	w.t.Helper()
	text, status, err := w.try(method, path, body)
	if err != nil || status >= 300 {
		w.t.Fatalf("%s %s: status %d, %v\n%s", method, path, status, err, text)
	}
	return text
}

func (w *world) try(method, path, body string) (text []byte, status int, err error) {
	req, err := http.NewRequest(method, w.addr+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("X-Vault-Token", w.root)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(resp.Body)
	return text, resp.StatusCode, err
}

// field gives one text from the data of an answer.
func (w *world) field(method, path, name string) string {
	w.t.Helper()
	var ans struct{ Data map[string]any }
	w.check(json.Unmarshal(w.ask(method, path, ""), &ans))
	text, _ := ans.Data[name].(string)
	if text == "" {
		w.t.Fatalf("%s has no %s", path, name)
	}
	return text
}

// prepare makes the engines of the soak; the lives are in whole seconds.
func (w *world) prepare(l lives) {
	w.t.Helper()
	plugin, err := os.ReadFile(filepath.Join(pluginFolder(w.bin), "postgresql-database-plugin"))
	w.check(err)
	_, err = w.sql(`create role standing login password 'first'`)
	w.check(err)
	url := "postgresql://{{username}}:{{password}}@" + strings.TrimPrefix(w.pg[0], "PGHOST=") + ":" + strings.TrimPrefix(w.pg[1], "PGPORT=") + "/postgres?sslmode=disable"
	make1 := `create role \"{{name}}\" login password '{{password}}' valid until '{{expiration}}'`
	for _, step := range []struct{ path, body string }{
		{"sys/plugins/catalog/database/postgresql-database-plugin", fmt.Sprintf(`{"sha256":"%x","command":"postgresql-database-plugin"}`, sha256.Sum256(plugin))},
		{"sys/mounts/database", `{"type":"database"}`},
		{"database/config/app", fmt.Sprintf(`{"plugin_name":"postgresql-database-plugin","allowed_roles":"*","connection_url":%q,"username":%q,"password":%q}`, url, postgresAdmin, w.admin)},
		{"database/roles/app", fmt.Sprintf(`{"db_name":"app","creation_statements":"%s","default_ttl":"%ds","max_ttl":"%ds"}`, make1, l.lease, l.leaseMax)},
		{"database/static-roles/standing", fmt.Sprintf(`{"db_name":"app","username":"standing","rotation_period":"%ds"}`, l.rotation)},
		{"sys/mounts/pki", `{"type":"pki","config":{"max_lease_ttl":"24h"}}`},
		{"pki/root/generate/internal", `{"common_name":"ca.example","ttl":"24h","key_type":"ec"}`},
		{"pki/roles/app", fmt.Sprintf(`{"allow_any_name":true,"key_type":"ec","ttl":"%ds"}`, l.cert)},
		{"sys/mounts/secret", `{"type":"kv","options":{"version":"2"}}`},
		{"sys/policies/acl/app", `{"policy":"path \"database/*\" { capabilities = [\"read\"] }\npath \"secret/*\" { capabilities = [\"read\"] }\npath \"pki/issue/app\" { capabilities = [\"update\"] }"}`},
		{"sys/auth/approle", `{"type":"approle"}`},
		{"auth/approle/role/app", fmt.Sprintf(`{"token_policies":"app","token_ttl":"%ds","token_max_ttl":"%ds"}`, l.token, l.tokenMax)},
	} {
		if step.path == "database/config/app" || strings.HasPrefix(step.path, "secret/") {
			w.untilDone(step.path, step.body) // a mount may need a moment
			continue
		}
		w.ask("POST", step.path, step.body)
	}
}

func (w *world) untilDone(path, body string) {
	w.t.Helper()
	w.until(path, func() bool {
		_, status, err := w.try("POST", path, body)
		return err == nil && status < 300
	})
}

// startPostgres does what the word postgres of the scripts does.
func (w *world) startPostgres() {
	w.t.Helper()
	initdb, err := packageBinary("initdb", postgresPlaces)
	w.check(err)
	initdb, err = filepath.EvalSymlinks(initdb)
	w.check(err)
	bin := filepath.Dir(initdb)
	w.psql = filepath.Join(bin, "psql")
	dir, err := os.MkdirTemp("", "sb-soak-")
	w.check(err)
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	owner := w.owner(dir)
	w.admin = "admin-of-the-soak"
	password := filepath.Join(dir, "password")
	w.check(os.WriteFile(password, []byte(w.admin), 0o644))
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
		return cmd
	}
	data := filepath.Join(dir, "data")
	out, err := run("initdb", "--pgdata="+data, "--username="+postgresAdmin, "--pwfile="+password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions").CombinedOutput()
	if err != nil {
		w.t.Fatalf("initdb: %v\n%s", err, out)
	}
	port, err := freePort(w.t.Context())
	w.check(err)
	w.pg = []string{"PGHOST=127.0.0.1", "PGPORT=" + strconv.Itoa(port), "PGDATABASE=postgres", "PGCONNECT_TIMEOUT=10"}
	server := run("postgres", "-D", data, "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "shared_buffers=8MB", "-c", "max_connections=40")
	log := &bytes.Buffer{}
	server.Stdout, server.Stderr = log, log
	w.check(server.Start())
	w.t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT)
		_ = server.Wait()
	})
	w.until("the database", func() bool { _, err := w.sql("select 1"); return err == nil })
}

// owner is who runs the database: it refuses root.
func (w *world) owner(dir string) *syscall.Credential {
	w.t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	w.check(err)
	uid, err := strconv.Atoi(u.Uid)
	w.check(err)
	gid, err := strconv.Atoi(u.Gid)
	w.check(err)
	w.check(os.Chown(dir, uid, gid))
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// sql asks as the superuser.
func (w *world) sql(query string) (string, error) { return w.login(postgresAdmin, w.admin, query) }

// login asks in a connection of its own.
func (w *world) login(name, password, query string) (string, error) {
	cmd := exec.Command(w.psql, "-X", "-w", "-A", "-t", "-U", name, "-c", query)
	cmd.Env = append([]string{"PGPASSWORD=" + password}, w.pg...)
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, text)
	}
	return text, nil
}
