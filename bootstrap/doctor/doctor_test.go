package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/bootstrap/vault"
	"github.com/secretboot/secretboot/volume"
)

// fakeServer is a server that is as a test wants it.
type fakeServer struct {
	way    vault.Way
	health vault.Health
	err    error
}

func (s fakeServer) Way() (vault.Way, error)                      { return s.way, nil }
func (s fakeServer) Health(context.Context) (vault.Health, error) { return s.health, s.err }

// fakeNames is a name server.
type fakeNames struct {
	addrs []netip.Addr
	err   error
}

func (n fakeNames) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return n.addrs, n.err
}

// worldOf has a server that listens at the way's address, and nothing else.
func worldOf(s fakeServer) World {
	return World{
		Resolver: fakeNames{addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		Server:   func() (Server, error) { return s, nil },
		Session:  func() (bootstrap.Vault, error) { return nil, errors.New("not asked for") },
		Sink:     func() (volume.Options, error) { return volume.Options{}, nil },
		Job:      func(plan.Plan, bootstrap.Vault) (Job, error) { return nil, errors.New("not asked for") },
		Lookup:   func(string) (string, bool) { return "", false },
		Variable: func(string, secret.Value) error { return nil },
	}
}

func well() vault.Health {
	now := time.Now()
	return vault.Health{Initialized: true, Version: "1.21.1", Now: now.Truncate(time.Second), At: now}
}

// listening gives the way to somebody who accepts connections.
func listening(t *testing.T) vault.Way {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return vault.Way{Network: "tcp", Address: l.Addr().String(), Server: l.Addr().String()}
}

func offline() Order {
	return Order{NoLogin: true, Plan: plan.Plan{Vault: plan.Vault{Address: plan.Set("http://127.0.0.1:1", plan.Origin{})}}}
}

// expect fails unless the report has a finding of that step and status with a
// detail that matches.
func expect(t *testing.T, r Report, step string, status Status, detail string) {
	t.Helper()
	for _, f := range r.Steps {
		if f.Step == step && f.Status == status && regexp.MustCompile(detail).MatchString(f.Detail) {
			return
		}
	}
	var b bytes.Buffer
	if err := Text(&b, r, false); err != nil {
		t.Fatal(err)
	}
	t.Errorf("no %s %s %q in\n%s", status, step, detail, b.String())
}

func TestHealth(t *testing.T) {
	way := listening(t)
	for _, c := range []struct {
		name   string
		change func(*vault.Health)
		status Status
		detail string
	}{
		{"active", func(*vault.Health) {}, OK, "unsealed, active$"},
		{"standby", func(h *vault.Health) { h.Standby = true }, OK, "a standby"},
		{"sealed", func(h *vault.Health) { h.Sealed = true }, Fail, "^sealed; version 1.21.1"},
		{"new", func(h *vault.Health) { h.Initialized = false }, Fail, "^not initialized"},
		{"secondary", func(h *vault.Health) { h.Secondary = true }, Fail, "serves no requests"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := well()
			c.change(&h)
			r := Examine(t.Context(), offline(), worldOf(fakeServer{way: way, health: h}))
			expect(t, r, stepVault, c.status, c.detail)
			if want := map[Status]plan.Code{OK: 0, Fail: plan.CodeUnavailable}[c.status]; r.Code != want {
				t.Errorf("code %d, not %d", r.Code, want)
			}
		})
	}
}

func TestClock(t *testing.T) {
	way := listening(t)
	for _, c := range []struct {
		ahead  time.Duration
		status Status
		detail string
	}{
		{0, OK, "within 1s"},
		{20 * time.Second, OK, "within (19|20|21)s"},
		{10 * time.Minute, Warn, `ours is (9m59s|10m0s) ahead of`},
		{-10 * time.Minute, Warn, `ours is (10m1s|10m0s) behind`},
	} {
		h := well()
		h.At = h.At.Add(c.ahead)
		r := Examine(t.Context(), offline(), worldOf(fakeServer{way: way, health: h}))
		expect(t, r, stepClock, c.status, c.detail)
	}
	h := well()
	h.Now = time.Time{}
	expect(t, Examine(t.Context(), offline(), worldOf(fakeServer{way: way, health: h})), stepClock, Skipped, "did not tell")
}

// TestAddresses: of several addresses, one that does not answer is a warning;
// each is tried.
func TestAddresses(t *testing.T) {
	way := listening(t)
	_, port, err := net.SplitHostPort(way.Address)
	if err != nil {
		t.Fatal(err)
	}
	way.Address, way.Server = "vault.example:"+port, "vault.example:"+port
	w := worldOf(fakeServer{way: way, health: well()})
	w.Resolver = fakeNames{addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.9.9.9")}}
	r := Examine(t.Context(), offline(), w)
	expect(t, r, stepDNS, OK, "^127.0.0.1, 127.9.9.9$")
	expect(t, r, stepTCP, Warn, `127\.9\.9\.9:\d+: connection refused; the other 1 address answers`)
	expect(t, r, stepTLS, Warn, "the address is http")

	w.Resolver = fakeNames{err: &net.DNSError{IsNotFound: true}}
	r = Examine(t.Context(), offline(), w)
	expect(t, r, stepDNS, Fail, "there is no such name")
	expect(t, r, stepVault, Skipped, "no address")
}

// TestHostileWords: what a server or a declaration says cannot write to the
// terminal.
func TestHostileWords(t *testing.T) {
	h := well()
	h.Version = "1\x1b[2J\u009b\u202e\n"
	o := offline()
	o.Plan.Files = []plan.File{{Path: "a\x1b[31m\nfail", Source: plan.Source{Ref: &plan.Ref{Read: plan.Read{Path: "secret/\x1b]0;x\a"}}}}}
	w := worldOf(fakeServer{way: listening(t), health: h})
	w.Job = func(plan.Plan, bootstrap.Vault) (Job, error) { return nil, nil }
	var b bytes.Buffer
	r := Examine(t.Context(), o, w)
	if err := Text(&b, r, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\u009b\u202e\a\n") {
			t.Errorf("%q", line)
		}
	}
	if got, want := strings.Count(b.String(), "\n"), len(r.Steps)+2+len(r.Todo); got != want {
		t.Errorf("%d lines, not %d", got, want)
	}
}

// TestOrderOfTodo: failures come before warnings, each kind as found, and the
// first failure gives the code.
func TestOrderOfTodo(t *testing.T) {
	e := &exam{told: map[string]bool{}}
	e.warn(stepTLS, "", "w1", "")
	e.fail(stepPath, "p", &plan.Problem{Code: plan.CodeDenied, What: "one", Fix: "do"})
	e.fail(stepSink, "s", plan.Problems{{Code: plan.CodeSink, What: "two"}, {Code: plan.CodeIO, What: "three"}})
	e.fail(stepRender, "r", &plan.Problem{Code: plan.CodeDenied, What: "one", Fix: "do"})
	r := e.report()
	var order []string
	for _, f := range r.Todo {
		order = append(order, f.Detail)
	}
	if got := strings.Join(order, " "); got != "one two three w1" || r.Code != plan.CodeDenied || r.Status != Fail {
		t.Errorf("%s, code %d, status %s", got, r.Code, r.Status)
	}
	if last := r.Steps[len(r.Steps)-1]; last.Status != Skipped || last.Detail != "it cannot work: see above" {
		t.Errorf("what was told already is %+v", last)
	}
	if e = (&exam{}); e.report().Code != 0 || e.report().Status != OK {
		t.Error("nothing found is not ok")
	}
}

func TestJSON(t *testing.T) {
	e := &exam{told: map[string]bool{}}
	e.ok(stepDNS, "<host>", "fine")
	e.fail(stepPath, "p", &plan.Problem{Code: plan.CodeDenied, What: "no"})
	var b bytes.Buffer
	if err := JSON(&b, e.report()); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := `{"code":77,"status":"fail","steps":[{"code":0,"detail":"fine","status":"ok","step":"dns","subject":"<host>"},` +
		`{"code":77,"detail":"no","status":"fail","step":"path","subject":"p"}],"todo":[{"code":77,"detail":"no","status":"fail","step":"path","subject":"p"}]}`
	var canonical bytes.Buffer
	enc := json.NewEncoder(&canonical)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(got); err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(canonical.String()) != want {
		t.Errorf("%s", canonical.String())
	}
}

func TestColors(t *testing.T) {
	e := &exam{told: map[string]bool{}}
	e.ok(stepDNS, "", "fine")
	for color, want := range map[bool]string{true: "\x1b[32mok     \x1b[0m  dns            fine\n", false: "ok       dns            fine\n"} {
		var b strings.Builder
		if err := Text(&b, e.report(), color); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("color %v: %q", color, b.String())
		}
	}
}

func TestDescribeSecret(t *testing.T) {
	fields := map[string]any{}
	for i := range maxNames + 5 {
		fields[strings.Repeat("n", 100)+itoa(i)] = "CANARY"
	}
	got := describeSecret(secret.Secret{Data: secret.NewTree(fields)})
	if !strings.HasPrefix(got, "25 fields: ") || !strings.HasSuffix(got, "…, …") || strings.Contains(got, "CANARY") || len(got) > 2000 {
		t.Errorf("%q", got)
	}
}

// TestKernel: a feature that is missing is a failure only where it is needed.
func TestKernel(t *testing.T) {
	e := &exam{told: map[string]bool{}}
	e.feature("memfd", false, errors.New("no"))
	e.feature("memfd", true, errors.New("no"))
	e.feature("private mount", true, &plan.Problem{Code: plan.CodeSink, What: "sink", Why: "no"})
	var got []Status
	for _, f := range e.found {
		got = append(got, f.Status)
	}
	if len(got) != 3 || got[0] != OK || got[1] != Fail || got[2] != Fail || e.found[1].Code != plan.CodeSink {
		t.Errorf("%+v", e.found)
	}
}
