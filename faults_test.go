package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// faultCase is one thing that goes wrong between the built binary and Vault,
// and what must come of it.
type faultCase struct {
	name    string
	about   string    // which requests go wrong: their paths below /v1/, a regular expression; "": the read
	does    behaviour // what the server does with them; nil: it answers as Vault does
	front   front     // how the server is reached; nil: plain HTTP
	appRole bool      // log in; else a token is given
	args    string    // "": init -f a=secret/data/x#y
	timeout string    // "": 2s

	code int           // the exit code
	why  string        // the line on stderr, a regular expression
	logs string        // a line of the log, a regular expression
	hits int           // how many requests go wrong; 0: any with code 0, else one, or none at all without does
	wait time.Duration // it takes as long as this at least
	more time.Duration // it may take so much longer
	fast bool          // it ends at once, though it names the deadline

	whole  bool              // args are all there are: no --dir and no --timeout
	env    []string          // further variables
	files  map[string]string // further files, by name below CONF, which args, env and files may hold
	silent bool              // the termination log has nothing of the failure
	still  bool              // with code 0 nothing is delivered, or nothing is left of it
}

// many stands for two requests or more.
const many = -1

// The bounds of every case: time beyond the deadline, time until a failure
// that cannot pass is told, and peak memory in bytes.
const (
	faultGrace  = time.Second
	faultAtOnce = 1500 * time.Millisecond
	faultMemory = 64 << 20
)

// TestFaults runs the binary as it is shipped against servers on which
// something is wrong, and holds docs/faults.md to what it says.
func TestFaults(t *testing.T) {
	bin := buildForFaults(t)
	var rows []*faultRow
	for _, g := range faultGroups() {
		for _, c := range g.cases {
			rows = append(rows, &faultRow{faultCase: c, group: g.title})
		}
	}
	next := make(chan *faultRow)
	var wg sync.WaitGroup
	for range 4 { // they wait more than they work
		wg.Go(func() {
			for r := range next {
				t.Run(r.name, func(t *testing.T) { r.run(t, bin) })
			}
		})
	}
	for _, r := range rows {
		next <- r
	}
	close(next)
	wg.Wait()
	checkFaultDocs(t, rows)
}

// buildForFaults builds the binary with the Makefile's flags, and the program
// that measures it: Linux hands the peak memory of whoever starts a process
// down to it (ru_maxrss, getrusage(2)), so a test cannot measure by itself.
func buildForFaults(t *testing.T) (dir string) {
	dir = t.TempDir()
	for _, one := range []struct{ in, pkg, name string }{{".", ".", "secretboot"}, {"bench", "./measure", "measure"}} {
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, one.name), one.pkg)
		build.Dir, build.Env = one.in, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", one.pkg, err, out)
		}
	}
	return dir
}

// faultRow is a case and what came of it.
type faultRow struct {
	faultCase
	group string

	apart bool // it has /tmp and /dev/shm for itself, which are searched, and time enough on any machine

	ran      bool
	exit     int
	wall     time.Duration
	over     time.Duration // beyond what it may take
	peak     int64         // bytes
	problems []string      // lines that begin with "secretboot: ", without that
	log      []string      // the other lines
}

func (r *faultRow) run(t *testing.T, bin string) {
	s := &faultServer{about: regexp.MustCompile("^(?:" + cmp.Or(r.about, "secret/") + ")"), does: r.does}
	foreign, elsewhere := foreignHost(t)
	s.foreign = foreign
	reach := plain
	if r.front != nil {
		reach = r.front
	}
	to := reach(t, s)
	if r.apart || len(to.over) > 0 {
		rootOnly(t)
	}
	defer s.release()
	at := newFaultPlace(t, r, &to)
	stdout := r.execute(t, bin, at, to)
	seen := s.tally()
	r.ran = true
	t.Logf("| %s | %d | %d ms | %.1f MiB | %s", r.name, r.exit, r.wall.Milliseconds(), float64(r.peak)/(1<<20), strings.Join(r.problems, " / "))
	r.checkWords(t, stdout)
	r.checkCost(t)
	r.checkRequests(t, seen)
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d connections to another host", n)
	}
	r.checkLeft(t, at)
	if r.apart {
		r.checkTerminationLog(t, at)
		searchLeaks(t, at, stdout+strings.Join(r.log, "")+strings.Join(r.problems, ""), to.secrets)
	}
}

// faultSink gives a folder in memory.
func faultSink(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "sb-fault-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// execute runs the binary to its end and gives what it wrote to stdout.
func (r *faultRow) execute(t *testing.T, bin string, at faultPlace, to route) string {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second+r.grace())
	defer cancel()
	result := filepath.Join(t.TempDir(), "result")
	command, rest, _ := strings.Cut(cmp.Or(r.args, "init -f a=secret/data/x#y"), " ")
	args := []string{result}
	if len(to.wrap) > 0 {
		args = append(append(args, "/usr/bin/env"), to.wrap...) // which finds it
	}
	args = append(args, filepath.Join(bin, "secretboot"), command)
	if !r.whole {
		args = append(args, "--dir", at.dir, "--timeout", cmp.Or(r.timeout, "2s"))
	}
	for _, word := range strings.Fields(rest) {
		args = append(args, at.named(word))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "measure"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Dir = at.work
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + at.home, "TMPDIR=" + at.tmp, "VAULT_ADDR=" + to.address}, to.env...)
	if r.appRole {
		cmd.Env = append(cmd.Env, "VAULT_ROLE_ID=CANARY-role", "VAULT_SECRET_ID=CANARY-secret-id")
	} else {
		cmd.Env = append(cmd.Env, "VAULT_TOKEN="+faultToken)
	}
	if r.apart {
		cmd.Env = append(cmd.Env, "TMPDIR=/tmp")
	}
	for _, v := range r.env {
		cmd.Env = append(cmd.Env, at.named(v))
	}
	var stdout bytes.Buffer
	stderr := &listener{word: "trying again", heard: to.again}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	err := startOver(cmd, to.over)
	if err == nil {
		done := watchArguments(t, r.apart, cmd.Process.Pid)
		err = cmd.Wait()
		done()
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.text.String())
	}
	var cpu int64
	if _, err := fmt.Sscan(string(read(t, result)), &r.wall, &cpu, &r.peak, &r.exit); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(stderr.text.String()) {
		if problem, ok := strings.CutPrefix(line, "secretboot: "); ok {
			r.problems = append(r.problems, strings.TrimSuffix(problem, "\n"))
		} else {
			r.log = append(r.log, line)
		}
	}
	return stdout.String()
}

// checkWords: the documented code, one line that names the cause, and no secret.
func (r *faultRow) checkWords(t *testing.T, stdout string) {
	if r.exit != r.code {
		t.Errorf("exit code %d, want %d", r.exit, r.code)
	}
	want := 1
	if r.code == 0 {
		want = 0
	}
	if len(r.problems) != want || want == 1 && !regexp.MustCompile(r.why).MatchString(r.problems[0]) {
		t.Errorf("it says %q, want %d of %q", r.problems, want, r.why)
	}
	log := strings.Join(r.log, "")
	if strings.Count(log, "\n") != len(r.log) || strings.Count("\n"+log, "\ntime=") != len(r.log) {
		t.Errorf("this is no log:\n%s", log)
	}
	if !regexp.MustCompile(r.logs).MatchString(log) {
		t.Errorf("no %q in the log:\n%s", r.logs, log)
	}
	if strings.Contains(stdout+log+strings.Join(r.problems, ""), "CANARY") {
		t.Errorf("a secret or a foreign text is in the output:\n%s%s%s", stdout, log, r.problems)
	}
}

// checkCost: what cannot pass is told at once, the rest by the deadline.
func (r *faultRow) checkCost(t *testing.T) {
	limit := faultAtOnce
	if r.code == 0 || strings.Contains(r.why, "until the deadline") && !r.fast {
		deadline, err := time.ParseDuration(cmp.Or(r.timeout, "2s"))
		if err != nil {
			t.Fatal(err)
		}
		limit = deadline + faultGrace
	}
	limit += r.more
	r.over = max(0, r.wall-limit)
	if limit += r.grace(); r.wall > limit || r.wall < r.wait {
		t.Errorf("it took %v, want %v to %v", r.wall, r.wait, limit)
	}
	if r.peak > faultMemory {
		t.Errorf("it needed %d MiB", r.peak>>20)
	}
}

// grace is what a run apart may take longer: how much it was is on the page.
func (r *faultRow) grace() time.Duration {
	if r.apart {
		return 20 * time.Second
	}
	return 0
}

// checkRequests: no request too many, and none that is not for Vault; a token
// that we got is revoked unless what was delivered hangs on it.
func (r *faultRow) checkRequests(t *testing.T, seen tally) {
	for _, stray := range seen.strays {
		t.Error("the server saw ", stray)
	}
	want, got := r.hits, seen.about
	switch {
	case want == many && got >= 2, want == got, want == 0 && r.code == 0:
	case want == 0 && r.does != nil && got == 1:
	default:
		t.Errorf("%d requests went wrong, want %d; all: %q", got, want, seen.asked)
	}
	if seen.logins > 0 && !slices.ContainsFunc(seen.asked, func(s string) bool { return strings.HasSuffix(s, "/revoke-self") }) {
		t.Errorf("%d logins and no revocation", seen.logins)
	}
}

// checkLeft: nothing is left, or with code 0 the file alone.
func (r *faultRow) checkLeft(t *testing.T, at faultPlace) {
	delivered := r.code == 0 && !r.still
	if delivered {
		path := filepath.Join(at.sink, "a")
		if got := string(read(t, path)); got != faultValue {
			t.Errorf("%d bytes were delivered that are not the secret", len(got))
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o400 {
			t.Errorf("%v, %v", info, err)
		}
	}
	for _, dir := range []string{at.home, at.work, at.tmp, at.sink} {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 && (dir != at.sink || !delivered) {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

// overTLS is HTTPS with a good certificate; change, which may be nil, spoils it.
func overTLS(change func(leaf *x509.Certificate, conf *tls.Config)) front {
	return func(t *testing.T, s *faultServer) route {
		now := time.Now()
		ca := signed(t, &x509.Certificate{
			SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		}, nil)
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), IPAddresses: []net.IP{{127, 0, 0, 1}}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		}
		server := httptest.NewUnstartedServer(s)
		server.TLS = &tls.Config{}
		if change != nil {
			change(leaf, server.TLS)
		}
		server.TLS.Certificates = []tls.Certificate{signed(t, leaf, &ca)}
		file := filepath.Join(t.TempDir(), "ca.pem")
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate[0]})
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return route{address: serveFaults(t, server, server.StartTLS), env: []string{"VAULT_CACERT=" + file}}
	}
}

// signed makes a certificate that ca signs, or the certificate itself.
func signed(t *testing.T, template *x509.Certificate, ca *tls.Certificate) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// unknownCA is HTTPS whose authority is not the one that the client is given.
func unknownCA(t *testing.T, s *faultServer) route {
	return route{address: overTLS(nil)(t, s).address, env: overTLS(nil)(t, s).env}
}

// foreignHost starts a server at another host, where no connection may come
// in; the number of those that do is counted.
func foreignHost(t *testing.T) (hostPort string, connections *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int32)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "" {
			t.Error("the token was sent to another host")
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, faultKV)
	}))
	server.Listener.Close()
	server.Listener = l
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	serveFaults(t, server, server.Start)
	return l.Addr().String(), connections
}
