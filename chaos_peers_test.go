package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// peer is a program that does what ours does, with one way to start it: it writes the
// secret to out and, where it can, runs a script beside.
type peer struct {
	name string
	argv func(p *peerWorld, script string) []string
}

// peerRows are what the programs are compared in.
var peerRows = []string{
	"the code, when SIGKILL ends the command", "the file, 5 s after SIGKILL of the program", "the token, when a read is redirected to another host",
}

func peerList() []peer {
	return []peer{
		{"secretboot", func(p *peerWorld, script string) []string {
			return []string{p.bin + "/secretboot", "run", "--auth-method", "token", "--dir", p.sink, "--timeout", "5s", "-f", "a=secret/data/x#y", "--", "sh", script}
		}},
		{"consul-template", func(p *peerWorld, script string) []string {
			return []string{p.consulTemplate, "-vault-addr=" + p.addr, "-vault-renew-token=false", "-vault-retry-attempts=1", "-log-level=err", "-template", p.dir + "/t.tmpl:" + p.sink + "/a", "-exec", "sh " + script}
		}},
		{"vault agent", func(p *peerWorld, script string) []string {
			if script == "sleep.sh" || script == "" { // with a file there is no command
				return []string{p.vault, "agent", "-config=" + p.dir + "/file.hcl", "-log-level=error"}
			}
			return []string{p.vault, "agent", "-config=" + p.dir + "/exec.hcl", "-log-level=error"}
		}},
	}
}

func peerNames() (names []string) {
	for _, row := range peerRows {
		for _, p := range peerList() {
			names = append(names, p.name+": "+row)
		}
	}
	return names
}

// peerWorld is what one program runs in.
type peerWorld struct {
	t                          *testing.T
	bin, consulTemplate, vault string
	dir, sink, addr, token     string
}

func newPeerWorld(t *testing.T, c *chaos, addr string) *peerWorld {
	t.Helper()
	s := c.real(t)
	p := &peerWorld{t: t, bin: c.bin, consulTemplate: builtBinary(t, "consul-template"), vault: s.vault, dir: t.TempDir(), sink: faultSink(t), addr: addr}
	p.token = s.do(t, "token", "create", "-policy=chaos", "-field=token")
	const agent = "pid_file = \"\"\nvault { address = %q\n retry { num_retries = 1 } }\nauto_auth { method \"token_file\" { config { token_file_path = %q } } }\n"
	const read = `{{ with secret "secret/x" }}{{ .Data.data.y }}{{ end }}`
	head := fmt.Sprintf(agent, addr, p.dir+"/token")
	for name, text := range map[string]string{
		"token": p.token, "t.tmpl": read, "die.sh": "kill -KILL $$\n", "sleep.sh": "exec sleep 60\n",
		"file.hcl": head + fmt.Sprintf("template {\n contents = %q\n destination = %q\n}\n", read, p.sink+"/a"),
		"exec.hcl": head + fmt.Sprintf("template_config { exit_on_retry_failure = true }\nenv_template \"A\" {\n contents = %q\n}\nexec { command = [\"sh\", %q]\n restart_on_secret_changes = \"never\" }\n", read, p.dir+"/die.sh"),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// start starts a program.
func (p *peerWorld) start(who peer, script string) (cmd *exec.Cmd, done chan struct{}) {
	argv := who.argv(p, script)
	cmd = exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.WaitDelay = p.dir, 5*time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "VAULT_ADDR=" + p.addr, "VAULT_TOKEN=" + p.token}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done = make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	p.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); <-done })
	return cmd, done
}

// deathCode is the exit code of a program whose command is ended by SIGKILL.
func (p *peerWorld) deathCode(who peer) string {
	cmd, done := p.start(who, "die.sh")
	select {
	case <-done:
		return fmt.Sprint(cmd.ProcessState.ExitCode())
	case <-time.After(30 * time.Second):
		return "it does not end"
	}
}

// residue tells what is left of the file of a program that is killed.
func (p *peerWorld) residue(who peer) string {
	cmd, _ := p.start(who, "sleep.sh")
	file := filepath.Join(p.sink, "a")
	there := func() bool { _, err := os.Stat(file); return err == nil }
	if !eventually(30*time.Second, there) {
		p.t.Fatalf("%s delivers nothing", who.name)
	}
	if err := cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	if eventually(5*time.Second, func() bool { return !there() }) {
		return "gone"
	}
	return "still there"
}

func eventually(d time.Duration, ok func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return ok()
}

// redirected tells whether a program sends its token to a host that the answer names.
func redirected(t *testing.T, c *chaos, who peer) string {
	to, err := url.Parse(c.real(t).server.addr)
	if err != nil {
		t.Fatal(err)
	}
	var told, asked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told.Store(told.Load() || r.Header.Get("X-Vault-Token") != "")
		_, _ = io.WriteString(w, faultKV)
	}))
	pass := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/secret/") {
			pass.ServeHTTP(w, r)
			return
		}
		asked.Store(true)
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(func() {
		for _, s := range []*httptest.Server{front, other} {
			s.CloseClientConnections()
			s.Close()
		}
	})
	p := newPeerWorld(t, c, front.URL)
	_, done := p.start(who, "sleep.sh")
	ended := func() bool {
		select {
		case <-done:
			return true
		default:
			return told.Load()
		}
	}
	eventually(10*time.Second, ended)
	switch {
	case !asked.Load():
		t.Fatal(errors.New(who.name + " reads nothing"))
	case told.Load():
		return "sent to it"
	}
	return "not sent"
}

// peers compares; what ours does is what the documents say.
func (c *chaos) peers(t *testing.T) (scores []score) {
	want := []string{"137", "gone", "not sent"}
	for i, row := range peerRows {
		for _, who := range peerList() {
			var result string
			name := who.name + ": " + row
			ok := t.Run(name, func(t *testing.T) {
				switch i {
				case 0:
					result = newPeerWorld(t, c, c.real(t).server.addr).deathCode(who)
				case 1:
					result = newPeerWorld(t, c, c.real(t).server.addr).residue(who)
				default:
					result = redirected(t, c, who)
				}
				if who.name == "secretboot" && result != want[i] {
					t.Errorf("%s, want %s", result, want[i])
				}
			})
			scores = append(scores, score{name: name, result: result, failed: !ok})
		}
	}
	return scores
}
