package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The places are what the scripts need beside Vault, so that Vault's engines
// and logins do their real work: a database, a directory, and stand-ins for the
// platforms that vouch for a process. Each is a word of the scripts, listens on
// loopback only, and ends with its script.
func placeCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"postgres":    cmdPostgres,
		"pgusers":     cmdPGUsers,
		"ldapserver":  cmdLDAPServer,
		"issuer":      cmdIssuer,
		"idtoken":     cmdIDToken,
		"tokenreview": cmdTokenReview,
		"sts":         cmdSTS,
		"tags":        cmdTags,
		"gate":        cmdGate,
		"proxy":       cmdProxy,
		"certs":       cmdCerts,
		"keypair":     cmdKeyPair,
		"fetch":       cmdFetch,
		"tracking":    cmdTracking,
		"manager":     cmdManager,
		"unit":        cmdUnit,
		"client":      cmdClient,
	}
}

// packageBinary finds a program that a package of the system brings, on PATH or
// where Debian puts it. The last match is the newest version.
func packageBinary(name, place string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	found, err := filepath.Glob(filepath.Join(place, name))
	if len(found) == 0 {
		return "", errors.Join(err, fmt.Errorf("%s is neither on PATH nor in %s", name, place))
	}
	return found[len(found)-1], nil
}

// serverFolder is a folder for a server's data. It is outside of $WORK, which
// only we may enter, because some servers refuse to run as root.
func serverFolder(ts *testscript.TestScript, owner *syscall.Credential) string {
	dir, err := os.MkdirTemp("", "sb-place-")
	ts.Check(err)
	ts.Defer(func() { _ = os.RemoveAll(dir) })
	if owner != nil {
		ts.Check(os.Chown(dir, int(owner.Uid), int(owner.Gid)))
	}
	return dir
}

// unprivileged is somebody to run a server as when we are root, else nil.
func unprivileged(ts *testscript.TestScript, names ...string) *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	ts.Fatalf("none of the users %v exists", names)
	return nil
}

// launch starts a server as owner and waits until it accepts connections at
// addr. The script's end stops it with the signal stop.
func launch(ts *testscript.TestScript, cmd *exec.Cmd, owner *syscall.Credential, addr string, stop os.Signal) {
	log, err := os.Create(filepath.Join(ts.Getenv("WORK"), "."+filepath.Base(cmd.Path)+".log"))
	ts.Check(err)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	ts.Check(cmd.Start())
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); log.Close(); close(done) }()
	ts.Defer(func() {
		_ = cmd.Process.Signal(stop)
		late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-done
		late.Stop()
	})
	waitFor(ts, cmd.Path+" at "+addr, func() bool {
		select {
		case <-done:
			text, _ := os.ReadFile(log.Name())
			ts.Fatalf("%s ended:\n%s", cmd.Path, text)
		default:
		}
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// mustRun runs a program to its end as owner and gives what it printed.
func mustRun(ts *testscript.TestScript, cmd *exec.Cmd, owner *syscall.Credential) []byte {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
	out, err := cmd.CombinedOutput()
	if err != nil {
		ts.Fatalf("%s: %v\n%s", cmd.Path, err, out)
	}
	return out
}

// newSecret makes a secret of the script that `canary` finds, and writes it to
// a file below $WORK, without a newline, when the file has a name.
func newSecret(ts *testscript.TestScript, file string) string {
	text := "CANARY-" + rand.Text()
	if file != "" {
		ts.Check(os.WriteFile(filepath.Join(ts.Getenv("WORK"), file), []byte(text), 0o600))
	}
	return text
}

// keepSecret lets `canary` look for a text that cannot hold its word.
func keepSecret(state *scriptState, text string) {
	state.mu.Lock()
	defer state.mu.Unlock()
	state.secrets = append(state.secrets, []byte(text))
}
