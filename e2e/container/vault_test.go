package container_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const rootToken = "root-of-the-tests"

// vaultServer is a real Vault on the machine, that containers reach through its socket.
type vaultServer struct {
	binary, socket string
	cmd            *exec.Cmd
}

// vaultBinary gives the server that `make vault` makes.
func vaultBinary(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(repository, "bin/vault"))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v; run `make vault` first", err)
	}
	return path
}

func (e *engine) startVault(t *testing.T) *vaultServer {
	t.Helper()
	dir := e.folder(t)
	v := &vaultServer{binary: vaultBinary(t), socket: dir + "/vault.sock"}
	writeFile(t, dir+"/vault.hcl", `listener "unix" {
  address = "`+v.socket+`"
  socket_mode = "0660"
  socket_user = "65532"
  socket_group = "65532"
}
`, 0o600)
	v.cmd = exec.Command(v.binary, "server", "-dev", "-dev-root-token-id="+rootToken, "-dev-no-store-token",
		"-dev-listen-address=127.0.0.1:0", "-config="+dir+"/vault.hcl")
	v.cmd.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = v.cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = v.cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = v.cmd.Process.Kill() })
		defer late.Stop()
		<-ended
	})
	eventually(t, "Vault answers", func() bool {
		_, err := v.try("", "token", "lookup")
		return err == nil
	})
	return v
}

// try runs the vault command line as root.
func (v *vaultServer) try(stdin string, args ...string) (string, error) {
	cmd := exec.Command(v.binary, args...)
	cmd.Env = []string{"HOME=/nonexistent", "VAULT_ADDR=unix://" + v.socket, "VAULT_TOKEN=" + rootToken}
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = errors.New(strings.Join(args, " ") + ": " + string(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

func (v *vaultServer) do(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := v.try(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shop makes what the example for Docker needs, and gives its role id and a file with
// its secret id that its user can read.
func (v *vaultServer) shop(t *testing.T, e *engine) (roleID, secretIDFile string) {
	t.Helper()
	v.do(t, "CANARY", "kv", "put", "secret/shop/db", "password=-")
	v.do(t, "", "policy", "write", "shop", filepath.Join(repository, "examples/docker/policy.hcl"))
	v.do(t, "", "auth", "enable", "approle")
	v.do(t, "", "write", "auth/approle/role/shop", "token_policies=shop")
	secretIDFile = e.folder(t) + "/secret-id"
	writeFile(t, secretIDFile, v.do(t, "", "write", "-f", "-field=secret_id", "auth/approle/role/shop/secret-id"), 0o400)
	own(t, secretIDFile, user)
	return v.do(t, "", "read", "-field=role_id", "auth/approle/role/shop/role-id"), secretIDFile
}

// tokens counts those that Vault knows.
func (v *vaultServer) tokens(t *testing.T) int {
	t.Helper()
	return strings.Count(v.do(t, "", "list", "-format=json", "auth/token/accessors"), `",`) + 1
}

func own(t *testing.T, path string, id int) {
	t.Helper()
	if err := os.Chown(path, id, id); err != nil {
		t.Fatal(err)
	}
}

// testVault: a real login from within a container, through a socket that is mounted into
// it. The command sees no credential; what was given is revoked at the end, and also when
// the container was stopped; a Vault that is away ends the container with our line.
func testVault(t *testing.T, e *engine) {
	v := e.startVault(t)
	role, secretID := v.shop(t, e)
	before := v.tokens(t)
	options := quick("--tmpfs", "/run/secrets", "-v", filepath.Dir(v.socket)+":/vault", "-v", secretID+":/secret-id:ro",
		"-e", "VAULT_ADDR=unix:///vault/vault.sock", "-e", "VAULT_ROLE_ID="+role, "-e", "VAULT_SECRET_ID_FILE=/secret-id",
		"-e", "SECRETBOOT_DEV=", "-e", "SECRETBOOT_FILE=pw=secret/shop/db#password")
	c := e.run(t, append(options, "wrapped", "/app", "cat", "pw", "env", "VAULT_ROLE_ID", "record")...)
	want := func(line string) {
		t.Helper()
		got := c.next()
		for strings.Contains(got, "level=INFO") { // how we log in, on another stream: it may come at any time
			got = c.next()
		}
		if got != line {
			t.Fatalf("got %q, want %q", got, line)
		}
	}
	for _, line := range []string{"CANARY", "", "ready"} {
		want(line)
	}
	if got := v.tokens(t); got != before+1 {
		t.Errorf("%d tokens while it runs, %d before", got, before)
	}
	e.do(t, "stop", c.name)
	want("got 15")
	if code, rest := c.end(); code != 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	if got := v.tokens(t); got != before {
		t.Errorf("%d tokens are left of %d", got, before)
	}

	r := e.try(t, append(append([]string{"run", "-e", "SECRETBOOT_TIMEOUT=1s"}, options...), "-e", "VAULT_ADDR=unix:///vault/none", "wrapped", "/app")...)
	if r.code != 125 || !strings.Contains(r.err, "secretboot: vault unix:///vault/none: ") || r.out != "" {
		t.Errorf("%+v", r)
	}
}
