package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const rootToken = "root-of-the-tests"

// vaults holds the real Vault server that the scripts share, and those that a
// script has for itself because it stops or seals them.
type vaults struct {
	binary string

	mu     sync.Mutex
	shared *server
	all    []*server
}

// server is one `vault server -dev`.
type server struct {
	addr  string
	audit string // the audit log: one JSON object per line
	dir   string
	port  int
	cmd   *exec.Cmd
	done  chan struct{}
}

type scriptState struct {
	server  *server
	bg      *background
	own     bool
	witness *witness
	seen    int64 // the part of the audit log that `requests` leaves out
	fake    *fakeVault
	port    *latePort
	issuer  *issuer
	sts     *sts
	gates   map[string]*gate
	proxy   *forwardProxy

	tracking *tracking
	manager  *manager
	client   *client
	reader   func() error // ends what `reader` began, and tells what it found

	mu      sync.Mutex
	secrets [][]byte // what `canary` looks for, beside the word CANARY
}

type stateKey struct{}

func current(ts *testscript.TestScript) *scriptState {
	return ts.Value(stateKey{}).(*scriptState)
}

// start starts a server, with further listeners when config says so, and waits
// until it answers. The plugins are there but in no catalog: making them known
// takes seconds, so the scripts that need one say so.
func (v *vaults) start(config string) (*server, error) {
	port, err := freePort(context.Background())
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sb-vault-")
	if err != nil {
		return nil, err
	}
	s := &server{addr: fmt.Sprintf("http://127.0.0.1:%d", port), dir: dir, port: port, audit: filepath.Join(dir, "audit.log"), done: make(chan struct{})}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	s.cmd = exec.Command(v.binary, "server", "-dev", "-dev-root-token-id="+rootToken, "-dev-no-store-token",
		"-dev-plugin-dir="+pluginFolder(v.binary), "-dev-plugin-init=false", fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port))
	if config != "" {
		file := filepath.Join(dir, "listeners.hcl")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return nil, err
		}
		s.cmd.Args = append(s.cmd.Args, "-config="+file)
	}
	s.cmd.Env = []string{"HOME=" + dir, "PATH=/usr/bin:/bin", "VAULT_DEV_LOG_LEVEL=warn"}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = s.cmd.Wait(); close(s.done) }()
	v.all = append(v.all, s)
	if err := s.awaitReady(v.binary); err != nil {
		text, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	_, err = s.vault(v.binary, "audit", "enable", "file", "file_path="+s.audit, "log_raw=false")
	return s, err
}

func (s *server) awaitReady(binary string) error {
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := s.vault(binary, "token", "lookup"); err == nil {
			return nil
		}
		select {
		case <-s.done:
			return errors.New("the Vault server ended")
		default:
		}
	}
	return errors.New("the Vault server did not answer within 60 s")
}

// unsealKey is what the server prints some time after it first answers.
func (s *server) unsealKey(ts *testscript.TestScript) (key string) {
	printed := regexp.MustCompile(`(?m)^Unseal Key: (\S+)$`)
	waitFor(ts, "the unseal key", func() bool {
		text, err := os.ReadFile(filepath.Join(s.dir, "log"))
		ts.Check(err)
		m := printed.FindSubmatch(text)
		if m != nil {
			key = string(m[1])
		}
		return m != nil
	})
	return key
}

// vault runs the vault command line as root.
func (s *server) vault(binary string, args ...string) ([]byte, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{"HOME=" + s.dir, "PATH=/usr/bin:/bin", "VAULT_ADDR=" + s.addr, "VAULT_TOKEN=" + rootToken}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("vault %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

func (v *vaults) stop(t *testing.T) {
	t.Helper()
	for _, s := range v.all {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // a killed one leaves its plugins behind
	}
	for _, s := range v.all {
		late := time.AfterFunc(15*time.Second, func() { _ = s.cmd.Process.Kill() })
		<-s.done
		late.Stop()
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	}
}

// setup gives a script its environment: a folder on tmpfs as $SINK and the
// shared server. A script that counts requests, seals, or writes to a path that
// another script uses asks for `vaultserver own`.
func (v *vaults) setup(env *testscript.Env) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shared == nil {
		s, err := v.start("")
		if err != nil {
			return err
		}
		v.shared = s
	}
	state := &scriptState{server: v.shared, gates: map[string]*gate{}}
	env.Values[stateKey{}] = state
	for _, dir := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(env.WorkDir, dir), 0o700); err != nil {
			return err
		}
	}
	sink, err := os.MkdirTemp("/dev/shm", "sb-test-")
	if err != nil {
		return err
	}
	env.Defer(func() { _ = os.RemoveAll(sink) })
	bin, _, _ := strings.Cut(env.Getenv("PATH"), string(os.PathListSeparator))
	env.Setenv("HARNESS_SECRETBOOT", filepath.Join(bin, "secretboot"))
	env.Setenv("HARNESS_VAULT", v.binary)
	examples, err := filepath.Abs("examples")
	if err != nil {
		return err
	}
	env.Setenv("EXAMPLES", examples)
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("TMPDIR", filepath.Join(env.WorkDir, "tmp"))
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else each program that is built with -race waits a second at its end
	env.Setenv("SINK", sink)
	env.Setenv("VAULT_ADDR", state.server.addr)
	return nil
}

// cmdVault runs the vault command line as root; its output is in the
// file vaultout. A secret never goes through an argument: write FIELD=@FILE,
// or @FILE for a JSON object.
func cmdVault(ts *testscript.TestScript, neg bool, args []string) {
	for i, a := range args {
		if name, file, ok := strings.Cut(a, "@"); ok && (name == "" || strings.HasSuffix(name, "=")) {
			args[i] = name + "@" + ts.MkAbs(file)
		}
	}
	out, err := current(ts).server.vault(ts.Getenv("HARNESS_VAULT"), args...)
	ts.Check(os.WriteFile(ts.MkAbs("vaultout"), out, 0o600))
	if (err != nil) != neg {
		ts.Fatalf("vault %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// cmdFill writes many secrets; one vault process for each would take too long.
func cmdFill(ts *testscript.TestScript, _ bool, args []string) {
	body := ts.ReadFile(args[2])
	for i := range number(ts, args[1]) {
		url := fmt.Sprintf("%s/v1/%s%d", current(ts).server.addr, args[0], i+1)
		req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(body))
		ts.Check(err)
		req.Header.Set("X-Vault-Token", rootToken)
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		ts.Check(resp.Body.Close())
		if resp.StatusCode >= 300 {
			ts.Fatalf("PUT %s: %s", url, resp.Status)
		}
	}
}

// cmdRole makes a policy from a file and an AppRole with it.
func cmdRole(ts *testscript.TestScript, _ bool, args []string) {
	s, binary, name := current(ts).server, ts.Getenv("HARNESS_VAULT"), args[0]
	_, _ = s.vault(binary, "auth", "enable", "approle")
	_, err := s.vault(binary, "policy", "write", name, ts.MkAbs(args[1]))
	ts.Check(err)
	_, err = s.vault(binary, append([]string{"write", "auth/approle/role/" + name, "token_policies=" + name}, args[2:]...)...)
	ts.Check(err)
	id, err := s.vault(binary, "read", "-field=role_id", "auth/approle/role/"+name+"/role-id")
	ts.Check(err)
	secret, err := s.vault(binary, "write", "-f", "-field=secret_id", "auth/approle/role/"+name+"/secret-id")
	ts.Check(err)
	ts.Setenv("VAULT_ROLE_ID", string(id))
	ts.Setenv("VAULT_SECRET_ID", string(secret))
}

// command serves `vaultserver WORD`.
func (v *vaults) command(ts *testscript.TestScript, _ bool, args []string) {
	state, binary := current(ts), ts.Getenv("HARNESS_VAULT")
	switch args[0] {
	case "own":
		v.own(ts, args[1:])
		return
	case "plugin":
		for _, name := range args[1:] {
			ts.Check(state.server.addPlugin(binary, name))
		}
		return
	case "forget":
		info, err := os.Stat(state.server.audit)
		ts.Check(err)
		state.seen = info.Size()
		return
	case "requests":
		got := strings.Join(requests(ts, state, append(args[1:], "")[0]), "\n") + "\n"
		ts.Check(os.WriteFile(ts.MkAbs("requests"), []byte(got), 0o600))
		return
	case "witness":
		state.witness = newWitness(ts)
		return
	case "quiet":
		state.witness.quiet(ts)
		return
	}
	if !state.own {
		ts.Fatalf("vaultserver %s: only on a server of one's own", args[0])
	}
	switch args[0] {
	case "seal":
		_, err := state.server.vault(binary, "operator", "seal")
		ts.Check(err)
	case "unseal":
		_, err := state.server.vault(binary, "operator", "unseal", state.server.unsealKey(ts))
		ts.Check(err)
	case "stop":
		ts.Check(state.server.cmd.Process.Kill())
		<-state.server.done
	default:
		ts.Fatalf("vaultserver: unknown word %s", args[0])
	}
}

// requests lists what the audit log has seen since the last `forget`, as
// "operation path": all of it, or what has name in its path or its token's
// policies.
func requests(ts *testscript.TestScript, state *scriptState, name string) []string {
	text, err := os.ReadFile(state.server.audit)
	ts.Check(err)
	var list []string
	for line := range bytes.Lines(text[state.seen:]) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is being written
		}
		var entry struct {
			Type    string
			Auth    struct{ Policies []string }
			Request struct{ Operation, Path string }
		}
		ts.Check(json.Unmarshal(line, &entry))
		mine := strings.Contains(entry.Request.Path, name) || slices.Contains(entry.Auth.Policies, name)
		if entry.Type == "request" && mine {
			list = append(list, entry.Request.Operation+" "+entry.Request.Path)
		}
	}
	return list
}
