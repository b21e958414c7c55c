package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// toxic is what can be wrong with a network, in the words of Toxiproxy.
type toxic string

const (
	latency    toxic = "latency"    // each piece of an answer comes late
	down       toxic = "down"       // all connections end, and no other is taken
	bandwidth  toxic = "bandwidth"  // few bytes a second
	slowClose  toxic = "slow_close" // the end of a connection is passed on late
	timeout    toxic = "timeout"    // nothing is passed on, and the connection stays
	resetPeer  toxic = "reset_peer" // the connection is reset
	slicer     toxic = "slicer"     // small pieces, with a pause between them
	limitData  toxic = "limit_data" // the connection ends after some bytes of an answer
	limitBytes       = 120          // of limitData: within the header
)

func toxics() []toxic {
	return []toxic{latency, down, bandwidth, slowClose, timeout, resetPeer, slicer, limitData}
}

// networkPhases are what each toxic begins with: the first request to such a path,
// and every later one.
var networkPhases = []struct{ name, path string }{
	{"login", "auth/approle/login"},
	{"read", "secret/data/x"},
	{"renew", "auth/token/renew-self"},
	{"revoke", "auth/token/revoke-self"},
}

// toxicProxy passes bytes between the binary and a real Vault.
type toxicProxy struct {
	t       *testing.T
	to      string
	kind    toxic
	begins  *regexp.Regexp
	l       net.Listener
	reached atomic.Bool

	mu       sync.Mutex
	conns    []net.Conn
	asked    bytes.Buffer // all that the binary sent
	answered bytes.Buffer
}

// networkCases are 8 toxics in 4 phases, before the real Vault.
func networkCases(c *chaos) (cases []faultCase) {
	for _, phase := range networkPhases {
		for _, kind := range toxics() {
			f := faultCase{name: fmt.Sprintf("%s: %s", phase.name, kind), appRole: true, timeout: "6s", more: 3 * time.Second}
			f.front = func(t *testing.T, _ *faultServer) route {
				return newToxicProxy(t, c.real(t).server.addr, kind, phase.path)
			}
			passes := kind == latency || kind == bandwidth || kind == slowClose || kind == slicer
			switch {
			case phase.name == "renew":
				f.args = "run -f a=secret/data/x#y -- sleep 9.5" // a token lives 10 s
				f.timeout, f.still = "20s", true
				if !passes && kind != timeout { // that one is not over yet when the command ends
					f.logs = "could not be renewed|renew"
				}
			case passes:
			case phase.name == "login":
				f.code, f.why = 69, "not repeated, because the server may have carried it out|no answer( in time)? until the deadline"
			case phase.name == "read":
				f.code, f.why = 69, "^vault http://.* until the deadline .*declared at VAULT_ADDR"
			case phase.name == "revoke":
				f.logs = "the token was not revoked"
			}
			cases = append(cases, f)
		}
	}
	return cases
}

func newToxicProxy(t *testing.T, addr string, kind toxic, path string) route {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &toxicProxy{t: t, to: strings.TrimPrefix(addr, "http://"), kind: kind, l: l, begins: regexp.MustCompile(`(?m)^[A-Z]+ /v1/` + path + `[ ?]`)}
	go p.serve()
	t.Cleanup(func() {
		p.close()
		if !p.reached.Load() {
			t.Errorf("no request of this phase came")
		}
		p.checkRequests()
	})
	return route{address: "http://" + l.Addr().String(), secrets: p.tokens}
}

func (p *toxicProxy) serve() {
	for {
		conn, err := p.l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = conn.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, conn, server)
		p.mu.Unlock()
		poisoned := new(atomic.Bool)
		go p.pass(conn, server, poisoned)
		go p.back(conn, server, poisoned)
	}
}

func (p *toxicProxy) close() {
	_ = p.l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// pass passes on what the binary sends, until the phase begins.
func (p *toxicProxy) pass(conn, server net.Conn, poisoned *atomic.Bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			break
		}
		p.mu.Lock()
		p.asked.Write(buf[:n])
		p.mu.Unlock()
		if p.begins.Match(buf[:n]) {
			p.reached.Store(true)
			poisoned.Store(true)
			switch p.kind {
			case down:
				p.close()
				return
			case resetPeer:
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0)
				}
				_ = conn.Close()
				_ = server.Close()
				return
			case timeout:
				continue // it stays with us
			}
		}
		if _, err := server.Write(buf[:n]); err != nil {
			break
		}
	}
	if poisoned.Load() && p.kind == slowClose {
		time.Sleep(2 * time.Second)
	}
	_ = server.Close()
}

// back passes on what Vault answers.
func (p *toxicProxy) back(conn, server net.Conn, poisoned *atomic.Bool) {
	defer conn.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.answered.Write(buf[:n])
		p.mu.Unlock()
		if !poisoned.Load() {
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
			continue
		}
		if !p.spoil(conn, buf[:n]) {
			return
		}
	}
}

// spoil passes a piece of an answer on as the toxic has it, and tells whether the
// connection goes on.
func (p *toxicProxy) spoil(conn net.Conn, piece []byte) bool {
	size, pause := len(piece), time.Duration(0)
	switch p.kind {
	case latency:
		time.Sleep(700 * time.Millisecond)
	case bandwidth:
		size, pause = 100, 100*time.Millisecond // 1 kB a second
	case slicer:
		size, pause = 7, 5*time.Millisecond
	case limitData:
		_, _ = conn.Write(piece[:min(limitBytes, len(piece))])
		return false
	}
	for len(piece) > 0 {
		n := min(size, len(piece))
		if _, err := conn.Write(piece[:n]); err != nil {
			return false
		}
		piece = piece[n:]
		time.Sleep(pause)
	}
	return true
}

var issuedToken = regexp.MustCompile(`"client_token":"([^"]+)"`)

// tokens are those that Vault gave, which must be nowhere.
func (p *toxicProxy) tokens() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range issuedToken.FindAllSubmatch(p.answered.Bytes(), -1) {
		all = append(all, string(m[1]))
	}
	return all
}

// checkRequests: the secret is in no request, the secret id in logins alone, and a
// token nowhere but in its header.
func (p *toxicProxy) checkRequests() {
	tokens := p.tokens()
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked.String()
	for _, token := range tokens {
		asked = strings.ReplaceAll(asked, "X-Vault-Token: "+token+"\r\n", "")
	}
	login, err := json.Marshal(map[string]string{"role_id": "CANARY-role", "secret_id": "CANARY-secret-id"})
	if err != nil {
		p.t.Error(err)
	}
	asked = strings.ReplaceAll(asked, string(login), "")
	if form := leakIn([]byte(asked), append(faultCanaries(), tokens...)); form != "" {
		p.t.Errorf("a secret is in a request where it does not belong (%s)", form)
	}
}

// chaosVault starts a real Vault with the secret of the fault cases and an AppRole
// whose tokens live 10 seconds.
func chaosVault(t *testing.T) *rig {
	t.Helper()
	s := newRig(t)
	s.ask(t, "secret/data/x", []byte(`{"data":{"y":"`+faultValue+`"}}`))
	s.write(t, "policy.hcl", `path "secret/data/*" { capabilities = ["read"] }`)
	s.do(t, "policy", "write", "chaos", s.dir+"/policy.hcl")
	s.do(t, "auth", "enable", "approle")
	s.do(t, "write", "auth/approle/role/chaos", "token_policies=chaos", "token_ttl=10s", "token_max_ttl=1h")
	s.ask(t, "auth/approle/role/chaos/role-id", []byte(`{"role_id":"CANARY-role"}`))
	s.ask(t, "auth/approle/role/chaos/custom-secret-id", []byte(`{"secret_id":"CANARY-secret-id"}`))
	return s
}
