package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// pluginFolder holds what the server's binary was built without. The server
// runs nothing that a symbolic link leads out of it.
func pluginFolder(binary string) string {
	dir := filepath.Join(filepath.Dir(binary), "plugins")
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		return real
	}
	return dir
}

// own starts a server for this script alone. It always listens on plain TCP,
// which the harness uses. The arguments ask for one more listener, and the last
// one sets VAULT_ADDR:
//
//	tls[=NAME]  TLS with the certificate certs/NAME.pem of the word certs (default: server);
//	            sets VAULT_CACERT
//	unix        a unix socket; sets VAULT_SOCKET, its path, too
func (v *vaults) own(ts *testscript.TestScript, listeners []string) {
	dir, err := os.MkdirTemp("", "sb-own-") // short, for a socket's name has at most 107 bytes
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	var config strings.Builder
	addr := ""
	for _, word := range listeners {
		kind, name, _ := strings.Cut(word, "=")
		switch kind {
		case "tls":
			if name == "" {
				name = "server"
			}
			addr = tlsListener(ts, &config, name)
		case "unix":
			socket := filepath.Join(dir, "vault.sock")
			fmt.Fprintf(&config, "listener \"unix\" { address = %q }\n", socket)
			addr = "unix://" + socket
			ts.Setenv("VAULT_SOCKET", socket)
		default:
			ts.Fatalf("vaultserver own: unknown listener %s", word)
		}
	}
	v.mu.Lock()
	s, err := v.start(config.String())
	v.mu.Unlock()
	ts.Check(err)
	if addr == "" {
		addr = s.addr
	}
	state := current(ts)
	state.server, state.own, state.seen = s, true, 0
	ts.Setenv("VAULT_ADDR", addr)
}

// tlsListener adds a listener with certs/NAME.pem, and gives its address.
func tlsListener(ts *testscript.TestScript, config *strings.Builder, name string) string {
	folder := certificates(ts)
	port, err := freePort(context.Background())
	ts.Check(err)
	fmt.Fprintf(config, "listener \"tcp\" {\n  address = \"127.0.0.1:%d\"\n  tls_cert_file = %q\n  tls_key_file = %q\n}\n",
		port, filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key"))
	ts.Setenv("VAULT_CACERT", filepath.Join(folder, "ca.pem"))
	return fmt.Sprintf("https://127.0.0.1:%d", port)
}

// addPlugin makes a plugin known to the server under the name of its file.
func (s *server) addPlugin(binary, name string) error {
	text, err := os.ReadFile(filepath.Join(pluginFolder(binary), name))
	if err != nil {
		return fmt.Errorf("%w; run `make vault`", err)
	}
	kind := map[string]string{"totp": "secret", "postgresql-database-plugin": "database"}[name]
	if kind == "" {
		kind = "auth"
	}
	_, err = s.vault(binary, "plugin", "register", fmt.Sprintf("-sha256=%x", sha256.Sum256(text)), kind, name)
	return err
}
