package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leakWorld is where the leak proof happens: a real Vault whose secrets are needles, a
// way to it that can be stopped at, a tmpfs of its own, and the shipped binary.
type leakWorld struct {
	t       *testing.T
	began   time.Time
	bin     string // our binary
	home    string // its folder, on disk
	sink    string // a tmpfs of its own
	mark    string // a variable that all that it starts have
	gate    *leakGate
	rig     *rig
	needles []needle
	value   string // of the secret, raw
	secret  string // its needle's core
	roleID  string
}

// leakGate stands before Vault: it speaks TLS, knows the tokens that Vault gives out,
// and can hold a request for as long as somebody looks at who sent it.
type leakGate struct {
	server *httptest.Server
	hold   *regexp.Regexp // of METHOD and path

	mu     sync.Mutex
	tokens []string
	held   chan struct{} // closed when a request is held
	go_    chan struct{} // closed when it may go on
}

// needRoot skips a test where it cannot see enough.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("CI must run this test as root")
	}
	t.Skip("SKIPPED, NOT PASSED: to look into the memory of others needs root")
}

// newLeakWorld makes one. With env, the bytes of GODEBUG or the like, for all that is started.
func newLeakWorld(t *testing.T) *leakWorld {
	t.Helper()
	needRoot(t)
	began := time.Now().Add(-time.Second) // file systems have coarse clocks
	r := newRig(t)
	w := &leakWorld{t: t, rig: r, began: began, home: t.TempDir(), mark: "LEAKPROOF=" + randomCore(), secret: randomCore()}
	w.bin = filepath.Join(t.TempDir(), "secretboot")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", w.bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	w.sink = t.TempDir()
	if err := unix.Mount("tmpfs", w.sink, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(w.sink, unix.MNT_DETACH) })
	w.gate = newLeakGate(t, r.server.addr)
	w.put(r, w.secret)
	r.do(t, "auth", "enable", "approle")
	r.ask(t, "sys/policies/acl/leak", []byte(`{"policy":"path \"secret/*\" { capabilities = [\"read\"] }"}`))
	r.ask(t, "auth/approle/role/leak", []byte(`{"token_policies":"leak","token_ttl":"1h"}`))
	w.roleID = r.do(t, "read", "-field=role_id", "auth/approle/role/leak/role-id")
	for _, name := range []string{"github-env", "github-state"} {
		if err := os.WriteFile(filepath.Join(w.home, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(w.home, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.gate.server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// put makes core the needle in the secret; the one before stays one.
func (w *leakWorld) put(r *rig, core string) {
	w.t.Helper()
	w.secret, w.value = core, valueOf(core)
	w.needles = append(w.needles, newNeedle("value", core))
	text, err := json.Marshal(map[string]any{"data": map[string]string{"pw": w.value, "other": "nothing"}})
	if err != nil {
		w.t.Fatal(err)
	}
	r.ask(w.t, "secret/data/app", text)
}

func newLeakGate(t *testing.T, to string) *leakGate {
	t.Helper()
	at, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	g := &leakGate{}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }, ModifyResponse: g.learn}
	g.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		g.wait(r)
		pass.ServeHTTP(rw, r)
	}))
	g.server.EnableHTTP2 = true
	g.server.StartTLS()
	t.Cleanup(func() { g.server.CloseClientConnections(); g.server.Close() })
	return g
}

// learn keeps the token of a login.
func (g *leakGate) learn(resp *http.Response) error {
	if !strings.HasSuffix(resp.Request.URL.Path, "/login") {
		return nil
	}
	text, err := io.ReadAll(resp.Body)
	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = append(g.tokens, answer.Auth.Token)
	return err
}

// stopAt has the next request of that METHOD and path held.
func (g *leakGate) stopAt(what string) (held <-chan struct{}, goOn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold, g.held, g.go_ = regexp.MustCompile(what), make(chan struct{}), make(chan struct{})
	return g.held, sync.OnceFunc(func() { close(g.go_) })
}

func (g *leakGate) wait(r *http.Request) {
	g.mu.Lock()
	var until chan struct{}
	if g.hold != nil && g.hold.MatchString(r.Method+" "+r.URL.Path) {
		until, g.hold = g.go_, nil
		close(g.held)
	}
	g.mu.Unlock()
	if until == nil {
		return
	}
	select {
	case <-until:
	case <-r.Context().Done():
	}
}

// token is the needle of the last login's token.
func (g *leakGate) token(t *testing.T) needle {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.tokens) == 0 {
		t.Fatal("nobody has logged in")
	}
	return newNeedle("token", g.tokens[len(g.tokens)-1])
}

// login makes a secret id, and gives the variables and the needle of it.
func (w *leakWorld) login(r *rig) (env []string, id needle) {
	w.t.Helper()
	secretID := r.do(w.t, "write", "-f", "-field=secret_id", "auth/approle/role/leak/secret-id")
	id = newNeedle("login input", secretID)
	w.needles = append(w.needles, id)
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.home, "TMPDIR=" + w.home, "VAULT_ADDR=" + w.gate.server.URL, "VAULT_CACERT=" + filepath.Join(w.home, "ca.pem"),
		"VAULT_ROLE_ID=" + w.roleID, "VAULT_SECRET_ID=" + secretID, w.mark,
		"GITHUB_ACTIONS=true", "GITHUB_ENV=" + filepath.Join(w.home, "github-env"), "GITHUB_STATE=" + filepath.Join(w.home, "github-state"), "CI=",
	}, id
}

// child gives the process below pid whose last argument is word.
func childWith(t *testing.T, pid int, word string) int {
	t.Helper()
	for _, child := range childrenOf(t, pid) {
		if text, _ := os.ReadFile("/proc/" + strconv.Itoa(child) + "/cmdline"); bytes.HasSuffix(text, []byte("\x00"+word+"\x00")) {
			return child
		}
	}
	t.Fatalf("process %d has no child %s", pid, word)
	return 0
}

// leakRun is one run of the binary.
type leakRun struct {
	*leakWorld
	cmd      *exec.Cmd
	id       needle
	looked   needle // another value than the last
	out, err *lockedBuffer
	stdin    io.WriteCloser
}

// start starts it with these arguments.
func (w *leakWorld) start(r *rig, args ...string) *leakRun {
	w.t.Helper()
	l := &leakRun{leakWorld: w, cmd: exec.Command(w.bin, args...), out: &lockedBuffer{}, err: &lockedBuffer{}}
	l.cmd.Env, l.id = w.login(r)
	l.cmd.Dir, l.cmd.Stdout, l.cmd.Stderr = w.home, l.out, l.err
	l.cmd.WaitDelay = 10 * time.Second
	var err error
	if l.stdin, err = l.cmd.StdinPipe(); err == nil {
		err = l.cmd.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.cmd.Process.Kill() })
	return l
}

// await waits until a condition holds.
func (l *leakRun) await(what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("waited in vain: %s\n%s%s", what, l.out.String(), l.err.String())
		}
	}
}

// says waits until the command has printed a text.
func (l *leakRun) says(text string) {
	l.t.Helper()
	l.await("the command says "+text, func() bool { return strings.Contains(l.out.String(), text) })
}

// end lets the command come to its end by closing what it reads, and wants a code.
func (l *leakRun) end(code int) {
	l.t.Helper()
	_ = l.stdin.Close()
	_ = l.cmd.Wait()
	got := l.cmd.ProcessState.ExitCode()
	if ws, ok := l.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		got = -int(ws.Signal())
	}
	if got != code {
		l.t.Errorf("code %d, want %d\n%s", got, code, l.err.String())
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// helpers are the processes that run our binary.
func (w *leakWorld) helpers() (pids []int) {
	for pid, stat := range processes(w.t) {
		if exe, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe"); exe == w.bin && stat.state != "Z" && stat.state != "X" {
			pids = append(pids, pid)
		}
	}
	return pids
}
