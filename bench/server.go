package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// policy lets a contestant read the secrets and do nothing else that the
// default policy does not allow already.
const policy = `path "secret/data/bench/*" { capabilities = ["read"] }`

// server is a Vault development server of our own, filled with secrets.
type server struct {
	addr             string // host:port
	tlsAddr          string // host:port of the same over TLS
	ca               string // path of the authority of that
	root             string // its root token
	roleID, secretID string
	jwt              string   // path of a service account's token, where a cell needs one
	values           []string // secret/data/bench/N has values[N]
	log              string   // path of what it printed
	audits           int      // how many audit logs there were
	cluster          *cluster
	cmd              *exec.Cmd
	done             chan struct{} // closed when cmd has ended
}

// role is the name of the role in both auth methods.
const role = "bench"

// startServer starts vault on free loopback ports with home as its home and
// fills it with what the cells need. It ends with ctx or with stop.
func startServer(ctx context.Context, o options, home string, points []point) (*server, error) {
	port, err1 := freePort(ctx)
	tlsPort, err2 := freePort(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	s := &server{addr: "127.0.0.1:" + port, tlsAddr: "127.0.0.1:" + tlsPort, root: random(), log: filepath.Join(home, "vault.log")}
	config, err := s.configure(home)
	if err != nil {
		return nil, err
	}
	logFile, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	s.cmd = exec.CommandContext(ctx, o.vault, "server", "-dev", "-dev-no-store-token", "-log-level=error", "-config="+config,
		"-dev-plugin-dir="+filepath.Join(filepath.Dir(o.vault), "plugins"), "-dev-plugin-init=false",
		"-dev-root-token-id="+s.root, "-dev-listen-address="+s.addr)
	s.cmd.Env = []string{"HOME=" + home, "PATH=" + o.path}
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ctrl-C is ours: contestants stop first
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 5 * time.Second
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.done = make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // how it ends when told to does not matter
		close(s.done)
	}()
	err = s.fill(ctx, most(points))
	if err == nil && needs(points, func(p point) bool { return p.auth == kubernetes }) {
		err = s.joinCluster(ctx, home, filepath.Join(filepath.Dir(o.vault), "plugins", kubernetes))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vault server: %w", err), s.stop())
	}
	return s, nil
}

// configure writes the certificate and the configuration: the listener with TLS,
// and the counters that -scale reads.
func (s *server) configure(home string) (config string, err error) {
	s.ca = filepath.Join(home, "ca.pem")
	cert, key := filepath.Join(home, "cert.pem"), filepath.Join(home, "key.pem")
	if err := makeCertificates(s.ca, cert, key); err != nil {
		return "", err
	}
	config = filepath.Join(home, "vault.hcl")
	return config, os.WriteFile(config, fmt.Appendf(nil, `listener "tcp" {
  address       = %q
  tls_cert_file = %q
  tls_key_file  = %q
}
telemetry {
  prometheus_retention_time = "12h"
  disable_hostname          = true
}
`, s.tlsAddr, cert, key), 0o600)
}

// endpoint is where a cell's contestants find it.
func (s *server) endpoint(p point) (addr, scheme string) {
	if p.tls {
		return s.tlsAddr, "https://"
	}
	return s.addr, "http://"
}

// stop ends the server and waits for its end.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	if s.cluster != nil {
		s.cluster.close()
	}
	return nil
}

// fill waits for the server, makes the role and writes the secrets.
func (s *server) fill(ctx context.Context, n int) error {
	if err := s.await(ctx); err != nil {
		return err
	}
	var app struct {
		Data struct {
			RoleID   string `json:"role_id"`
			SecretID string `json:"secret_id"`
		}
	}
	err := errors.Join(
		s.call(ctx, http.MethodPut, "sys/policies/acl/bench", map[string]any{"policy": policy}, nil),
		s.call(ctx, http.MethodPost, "sys/auth/approle", map[string]any{"type": "approle"}, nil),
		s.call(ctx, http.MethodPost, "auth/approle/role/"+role, map[string]any{"token_policies": "bench", "token_ttl": "1h"}, nil),
		s.call(ctx, http.MethodGet, "auth/approle/role/"+role+"/role-id", nil, &app),
		s.call(ctx, http.MethodPost, "auth/approle/role/"+role+"/secret-id", map[string]any{}, &app),
	)
	s.roleID, s.secretID = app.Data.RoleID, app.Data.SecretID
	for range n {
		s.values = append(s.values, random())
	}
	return errors.Join(err, s.write(ctx))
}

// write puts every value in its place.
func (s *server) write(ctx context.Context) error {
	const writers = 4
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < len(s.values) && errs[w] == nil; i += writers {
				body := map[string]any{"data": map[string]string{"value": s.values[i]}}
				errs[w] = s.call(ctx, http.MethodPut, "secret/data/bench/"+strconv.Itoa(i), body, nil)
			}
		})
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// await returns when the server answers for its KV mount, which it upgrades to
// version 2 a moment after it started listening.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.call(ctx, http.MethodGet, "secret/config", nil, nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-s.done:
			return fmt.Errorf("ended by itself (%v): %s", s.cmd.ProcessState, lastLine(s.log))
		case <-tick.C:
		}
	}
}

// login gives a token as the contestants get it.
func (s *server) login(ctx context.Context) (string, error) {
	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
		}
	}
	body := map[string]any{"role_id": s.roleID, "secret_id": s.secretID}
	err := s.call(ctx, http.MethodPost, "auth/approle/login", body, &answer)
	return answer.Auth.Token, err
}

// call sends one request as root, past the proxy, and decodes the answer into
// out unless that is nil.
func (s *server) call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", s.root)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// freePort gives a port that was free a moment ago: the server cannot be asked
// which one it took.
func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// random gives 32 characters that nobody else has.
func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return hex.EncodeToString(b)
}
