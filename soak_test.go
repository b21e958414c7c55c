package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lives are the TTLs of the soak, in seconds.
type lives struct{ token, tokenMax, lease, leaseMax, rotation, cert int }

const soakConfig = `
refresh: { every: 1s, splay: 0s }
keep_previous: 5s
files:
  - path: user
    template: '{{ with secret "database/creds/app" }}{{ .Data.username }}{{ end }}'
  - path: password
    template: '{{ with secret "database/creds/app" }}{{ .Data.password }}{{ end }}'
  - path: both
    template: '{{ with secret "database/creds/app" }}{{ .Data.username }}:{{ .Data.password }}{{ end }}:{{ with secret "secret/app" }}{{ .Data.data.a }}{{ end }}'
  - { path: role-user, secret: "database/static-creds/standing#username" }
  - { path: role-password, secret: "database/static-creds/standing#password" }
  - path: tls.crt
    template: '{{ with secret "pki/issue/app" "common_name=app.example" }}{{ .Data.certificate }}{{ end }}'
  - path: tls.key
    template: '{{ with secret "pki/issue/app" "common_name=app.example" }}{{ .Data.private_key }}{{ end }}'
  - { path: a, secret: "secret/app#a" }
  - { path: b, secret: "secret/app#b" }
`

// TestSoak keeps the secrets of an application fresh beside readers that use them,
// while everything happens to Vault that happens to a Vault. Nobody may notice.
//
// It takes about a minute; SOAK_TEST_TIME=5m makes it longer.
func TestSoak(t *testing.T) {
	if _, err := packageBinary("initdb", postgresPlaces); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("NOT TESTED: it needs the server programs of PostgreSQL")
	}
	length := 30 * time.Second
	if text := os.Getenv("SOAK_TEST_TIME"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	s := newSoak(t)
	began, end := time.Now(), time.Now().Add(length)
	s.begin()
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		for _, phase := range []func(){s.sealed, s.tokenRevoked, s.paused, s.leaseRevoked, s.restarted} {
			phase()
			s.calm(4 * time.Second)
			if time.Now().After(end) && round > 0 {
				break
			}
			if round == 0 && s.early.rss == 0 {
				s.early = s.footprint()
			}
		}
		if round == 0 && length > 2*time.Minute { // what grows in the first minute is no leak yet
			s.early = s.footprint()
		}
	}
	s.finish(time.Since(began))
}

type soak struct {
	*readers
	lives
	proxy *soakProxy
	cmd   *exec.Cmd
	out   *lockedBuffer
	done  chan error
	early footprint
	stop  chan struct{}
	wait  sync.WaitGroup
	turn  int
}

// lockedBuffer is written to by a process while it is read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	w := newWorld(t)
	s := &soak{
		lives:   lives{token: 30, tokenMax: 90, lease: 20, leaseMax: 60, rotation: 10, cert: 30},
		readers: &readers{world: w, secrets: map[string]bool{}, logins: map[string]int{}},
		out:     &lockedBuffer{}, done: make(chan error, 1), stop: make(chan struct{}),
	}
	w.prepare(s.lives)
	s.change()
	sink, err := os.MkdirTemp("/dev/shm", "sb-soak-")
	w.check(err)
	t.Cleanup(func() { _ = os.RemoveAll(sink) })
	s.sink = sink
	s.proxy = newSoakProxy(t, w.addr)
	return s
}

// change writes another version of the secret that is polled.
func (s *soak) change() {
	s.t.Helper()
	s.turn++
	s.untilDone("secret/data/app", fmt.Sprintf(`{"data":{"a":"CANARY-a-%d","b":"CANARY-b-%d"}}`, s.turn, s.turn))
}

// begin starts the binary and the readers. Until there is something to keep, a request that must not be repeated
// ends it, as its documentation says: an orchestrator would start it again. So nothing fails before that.
func (s *soak) begin() {
	s.t.Helper()
	ours := filepath.Join(s.dir, "secretboot")
	if out, err := exec.Command("go", "build", "-o", ours, ".").CombinedOutput(); err != nil {
		s.t.Fatalf("go build: %v\n%s", err, out)
	}
	s.check(os.WriteFile(filepath.Join(s.dir, "secretboot.yaml"), []byte(soakConfig), 0o600))
	var id struct {
		Data struct {
			SecretID string `json:"secret_id"`
		}
	}
	s.check(json.Unmarshal(s.ask("POST", "auth/approle/role/app/secret-id", ""), &id))
	s.cmd = exec.Command(ours, "watch", "-c", filepath.Join(s.dir, "secretboot.yaml"), "--dir", s.sink, "--log-level", "debug")
	s.cmd.Env = []string{
		"HOME=" + s.dir, "PATH=/usr/bin:/bin", "VAULT_ADDR=" + s.proxy.url,
		"VAULT_ROLE_ID=" + s.field("GET", "auth/approle/role/app/role-id", "role_id"), "VAULT_SECRET_ID=" + id.Data.SecretID,
	}
	s.secrets[id.Data.SecretID] = true
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.check(s.cmd.Start())
	go func() { s.done <- s.cmd.Wait() }()
	s.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("secretboot said:\n%s", s.out)
		}
	})
	s.until("the first generation", func() bool {
		s.alive()
		_, err := os.Stat(filepath.Join(s.sink, "..data"))
		return err == nil
	})
	s.proxy.disturb(0.01)
	for range 4 {
		s.wait.Go(func() { s.read(s.stop) })
	}
}

// alive fails the test at once when the binary has ended, and passes on what readers saw.
func (s *soak) alive() {
	s.t.Helper()
	select {
	case err := <-s.done:
		s.t.Fatalf("it ended: %v", err)
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.failures {
		s.t.Error(f)
	}
	if len(s.failures) > 0 {
		s.t.FailNow()
	}
}

// calm lets time pass in which nothing happens but changes.
func (s *soak) calm(d time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second) {
		s.change()
		s.alive()
	}
}

// safe waits until token, lease and certificate would outlive so much without Vault.
func (s *soak) safe(away time.Duration) {
	s.t.Helper()
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	s.until("a moment in which nothing is due", func() bool {
		born, bred := s.proxy.last("database/creds/app"), s.proxy.last("auth/approle/login")
		lease := earlier(s.proxy.last("database/creds/app", "sys/leases/renew").Add(second(s.lease)), born.Add(second(s.leaseMax)))
		token := earlier(s.proxy.last("auth/token/renew-self", "auth/approle/login").Add(second(s.token)), bred.Add(second(s.tokenMax)))
		cert := s.proxy.last("pki/issue/app").Add(second(s.cert))
		return time.Until(earlier(earlier(lease, token), cert)) > away
	})
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// outage is what Vault is away in. What it takes longer than was allowed for is
// the machine's doing, and no failure of ours.
func (s *soak) outage(name string, allowed time.Duration, f func()) {
	s.t.Helper()
	s.safe(allowed + 5*time.Second)
	began := time.Now()
	over := time.AfterFunc(allowed, func() { s.lenient.Store(true) })
	f()
	took := time.Since(began)
	if !over.Stop() {
		s.t.Logf("%s took %v: what has ended then is no failure", name, took.Round(time.Millisecond))
		s.recovered(time.Now())
		s.calm(12 * time.Second)
		s.lenient.Store(false)
	}
	s.t.Logf("%s: %v away", name, took.Round(time.Millisecond))
	s.alive()
}

func (s *soak) sealed() {
	s.outage("sealed", 6*time.Second, func() {
		s.seal()
		time.Sleep(2 * time.Second)
		s.unseal()
	})
}

func (s *soak) paused() {
	s.outage("stopped", 7*time.Second, func() { s.check(stopped(s.vault.Process.Pid, 5*time.Second)) })
}

func (s *soak) restarted() {
	s.outage("restarted", 8*time.Second, func() {
		s.stopVault()
		s.startVault()
		s.unseal()
	})
}

// tokenRevoked takes the token away, and with it all its leases: their users are
// gone until that is noticed, at the next request.
func (s *soak) tokenRevoked() {
	s.behindOurBack("token", 20*time.Second, func() {
		for _, accessor := range s.accessors() {
			s.ask("POST", "auth/token/revoke-accessor", fmt.Sprintf(`{"accessor":%q}`, accessor))
		}
	})
}

// leaseRevoked is noticed at the next renewal.
func (s *soak) leaseRevoked() {
	s.behindOurBack("lease", time.Duration(s.lease)*time.Second*8/10, func() {
		s.ask("POST", "sys/leases/revoke-prefix/database/creds/app", `{"sync":true}`)
	})
}

func (s *soak) behindOurBack(what string, most time.Duration, revoke func()) {
	s.t.Helper()
	s.safe(8 * time.Second)
	s.lenient.Store(true)
	revoke()
	began := time.Now()
	s.until("new credentials", func() bool { return s.proxy.last("database/creds/app").After(began) })
	noticed := time.Since(began)
	s.recovered(time.Now().Add(200 * time.Millisecond)) // to deliver takes a moment
	s.t.Logf("%s revoked: read again after %v", what, noticed.Round(time.Millisecond))
	if noticed > most {
		s.t.Errorf("%s revoked: that took longer than %v", what, most)
	}
	s.calm(time.Second)
	s.lenient.Store(false)
}

// accessors lists the tokens that are not root's.
func (s *soak) accessors() (ours []string) {
	s.t.Helper()
	var all struct{ Data struct{ Keys []string } }
	s.check(json.Unmarshal(s.ask("LIST", "auth/token/accessors", ""), &all))
	for _, a := range all.Data.Keys {
		text, status, err := s.try("POST", "auth/token/lookup-accessor", fmt.Sprintf(`{"accessor":%q}`, a))
		if err == nil && status == 200 && !bytes.Contains(text, []byte(`"path":"auth/token/root"`)) {
			ours = append(ours, a)
		}
	}
	return ours
}

func (s *soak) footprint() footprint {
	s.t.Helper()
	f, err := footprintOf(s.cmd.Process.Pid)
	s.check(err)
	return f
}

// finish ends it, and looks at what it cost and what is left.
func (s *soak) finish(took time.Duration) {
	t := s.t
	s.alive()
	late := s.footprint()
	s.proxy.disturb(0) // the token is revoked with one try
	close(s.stop)
	s.wait.Wait()
	s.alive()
	s.check(s.cmd.Process.Signal(syscall.SIGTERM))
	if err := <-s.done; err != nil {
		t.Errorf("it ended with %v", err)
	}
	renewals := s.proxy.count("sys/leases/renew") + s.proxy.count("auth/token/renew-self")
	ideal := took.Seconds()/float64(s.lease) + took.Seconds()/float64(s.token)
	t.Logf("%v: %d looks, %v logins, %d refused in lenient times, static role old for at most %v", took.Round(time.Second), s.looks, s.logins, s.refused, s.roleGap.Round(time.Millisecond))
	t.Logf("%d renewals, ideal %.0f; %d logins, %d leases, %d certificates, %d changes; faults %v", renewals, ideal,
		s.proxy.count("auth/approle/login"), s.proxy.count("database/creds/app"), s.proxy.count("pki/issue/app"), s.turn, s.proxy.faults)
	t.Logf("RSS %d KiB, then %d KiB; descriptors %d, then %d", s.early.rss, late.rss, s.early.fds, late.fds)
	if float64(renewals) > 2*ideal+2 {
		t.Errorf("%d renewals, ideal are %.0f", renewals, ideal)
	}
	if late.rss > s.early.rss+s.early.rss/4+2048 || late.fds > s.early.fds+3+8 { // the folder has two of each generation that was replaced lately
		t.Errorf("it grew from %+v to %+v", s.early, late)
	}
	if err := s.proxy.storm(10); err != nil {
		t.Error(err)
	}
	if n := s.leaked([]byte(s.out.String())); n > 0 || strings.Contains(s.out.String(), "CANARY") {
		t.Errorf("%d secrets are in its output", n)
	}
	if left, err := os.ReadDir(s.sink); err != nil || len(left) > 0 {
		t.Errorf("left in the sink: %v, %v", left, err)
	}
	if left := s.accessors(); len(left) > 0 {
		t.Errorf("%d tokens are left", len(left))
	}
	s.until("the end of all users", func() bool {
		left, err := s.sql(`select count(*) from pg_roles where rolname like 'v-%'`)
		return err == nil && left == "0"
	})
}
