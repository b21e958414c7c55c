package vault

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// textOf gives a file's text.
func textOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// put writes a file of a test and gives its path.
func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// volume makes a folder like that of a Kubernetes volume: the files are links
// through ..data to a folder with the time in its name.
func volume(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2026_11_22"), 0o700); err != nil {
		t.Fatal(err)
	}
	links := map[string]string{"..data": "..2026_11_22"}
	for name, text := range files {
		put(t, filepath.Join(dir, "..2026_11_22", name), text)
		links[name] = "..data/" + name
	}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestAuthorities: of three ways to name authorities a file wins over a text
// and a text over a folder, and what loses is not trusted.
func TestAuthorities(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	s := &seen{}
	address := ours.server(s, "127.0.0.1", time.Now().Add(-time.Minute), nil)
	ourText, theirText := textOf(t, ours.file), textOf(t, theirs.file)
	ourDir, theirDir := volume(t, map[string]string{"ca.crt": ourText}), volume(t, map[string]string{"ca.crt": theirText})
	tests := []struct {
		file, text, dir string
		trusted         bool
	}{
		{ours.file, "", "", true},
		{"", ourText, "", true},
		{"", "", ourDir, true},
		{"", "", "", false}, // the system's
		{theirs.file, "", "", false},
		{ours.file, theirText, theirDir, true},
		{theirs.file, ourText, ourDir, false},
		{"", ourText, theirDir, true},
		{"", theirText, ourDir, false},
		{"", theirText + ourText, "", true},
		{"", "", volume(t, map[string]string{"a.pem": theirText, "b.pem": ourText}), true},
	}
	for i, tt := range tests {
		c := prepare(t, s, address, func(o *Options) {
			for text, setting := range map[string]*plan.Setting[string]{tt.file: &o.Vault.TLS.CACert, tt.text: &o.Vault.TLS.CACertPEM, tt.dir: &o.Vault.TLS.CAPath} {
				if text != "" {
					*setting = plan.Set(text, plan.Origin{})
				}
			}
		})
		_, err := read(t.Context(), c, "secret/app")
		if tt.trusted != (err == nil) {
			t.Errorf("row %d: %v", i, err)
		}
		if !tt.trusted {
			problem(t, err, plan.CodeProtocol, "signed by an authority that we do not know")
		}
	}
}

// TestAuthorityFolder: which files of a folder count, and that none of them
// holds us.
func TestAuthorityFolder(t *testing.T) {
	good := textOf(t, newAuthority(t).file)
	tests := map[string]struct {
		make func(dir string) error
		want string // "": it is fine
	}{
		"certificate and a folder": {func(dir string) error {
			put(t, filepath.Join(dir, "ca"), good)
			return os.Mkdir(filepath.Join(dir, "sub"), 0o700)
		}, ""},
		"a link to nothing beside": {func(dir string) error {
			put(t, filepath.Join(dir, "ca"), good)
			return os.Symlink("gone", filepath.Join(dir, "old"))
		}, ""},
		"no PEM":  {func(dir string) error { put(t, filepath.Join(dir, "README"), canary); return nil }, "CA certificate DIR/README: holds no certificate in PEM (declared at here)"},
		"a pipe":  {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600) }, "CA certificate DIR/pipe: invalid argument (declared at here)"},
		"nothing": {func(string) error { return nil }, "CA folder DIR: holds no certificate in PEM (declared at here)"},
		"only Kubernetes' own links": {func(dir string) error {
			put(t, filepath.Join(dir, "..ca"), good)
			return os.Symlink("..ca", filepath.Join(dir, "..data"))
		}, "CA folder DIR: holds no certificate in PEM"},
		"not there": {os.Remove, "CA folder DIR: no such file or directory"},
	}
	for name, tt := range tests {
		dir := t.TempDir()
		if err := tt.make(dir); err != nil {
			t.Fatal(err)
		}
		_, err := tlsConfig(plan.TLS{CAPath: plan.Set(dir, plan.Origin{At: "here"})}, nil)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		problem(t, err, plan.CodeConfig, strings.Replace(tt.want, "DIR", dir, 1))
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error holds the text: %v", name, err)
		}
	}
	dir := t.TempDir()
	_, err := readFile(dir)
	if err == nil || plan.PathCause(err) != "is a directory" {
		t.Errorf("a folder as a file: %v", err)
	}
	if _, err := openFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestClientCertificate: the pair of the TLS settings is shown to the server,
// and that of a login by certificate wins over it.
func TestClientCertificate(t *testing.T) {
	ours := newAuthority(t)
	var shown atomic.Value
	s := &seen{}
	address := ours.serve("127.0.0.1", time.Now().Add(-time.Minute), func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
		asVault(s, func(_ int, w http.ResponseWriter, r *http.Request) {
			shown.Store(r.TLS.PeerCertificates[0].Subject.CommonName)
			refuse(w, 200, loginAnswer)
		}))
	dir := t.TempDir()
	write := func(name string) (certificate, key string) {
		c, k := ours.pair(name)
		return put(t, filepath.Join(dir, name+".crt"), string(c)), put(t, filepath.Join(dir, name+".key"), string(k))
	}
	cert, key := write("connection")
	own, ownKey := write("login")
	_, strange := write("strange")
	in := func(cert, key string) map[string]plan.Handle {
		return map[string]plan.Handle{"certificate": {Kind: plan.HandleFile, Name: cert, Origin: plan.Origin{At: "there"}}, "private_key": {Kind: plan.HandleFile, Name: key}}
	}
	tests := []struct {
		tls    bool
		inputs map[string]plan.Handle
		want   string
	}{
		{true, nil, "connection"},
		{false, in(own, ownKey), "login"},
		{true, in(own, ownKey), "login"},
		{false, in(own, strange), "!client certificate: it and its key are not PEM, or do not belong together (declared at there)"},
	}
	for _, tt := range tests {
		o := options(func(o *Options) {
			o.Vault.Address = plan.Set(address, plan.Origin{})
			o.Vault.TLS.CACert = plan.Set(ours.file, plan.Origin{})
			o.Login.Inputs, o.Login.Method = tt.inputs, plan.Set("cert", plan.Origin{})
			o.Resolve = func(h plan.Handle) ([]byte, error) { return []byte(textOf(t, h.Name)), nil }
			if tt.tls {
				o.Vault.TLS.ClientCert, o.Vault.TLS.ClientKey = plan.Set(cert, plan.Origin{}), plan.Set(key, plan.Origin{})
			}
		})
		c, err := Prepare(o)
		if says, bad := strings.CutPrefix(tt.want, "!"); bad {
			problem(t, err, plan.CodeConfig, says)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Login(t.Context()); err != nil || shown.Load() != tt.want {
			t.Errorf("shown %v, want %s; %v", shown.Load(), tt.want, err)
		}
	}
	if got := s.all(); len(got) != 3 || got[0] != "PUT auth/cert/login" {
		t.Errorf("requests %q", got)
	}
}

// TestProtocol: HTTP/2 over TLS where the server has it, and then one
// connection for all; HTTP/1.1 otherwise.
func TestProtocol(t *testing.T) {
	ours := newAuthority(t)
	for protocol, change := range map[string]func(*httptest.Server){
		"HTTP/2.0": func(s *httptest.Server) { s.EnableHTTP2 = true },
		"HTTP/1.1": func(s *httptest.Server) { s.TLS.NextProtos = []string{"http/1.1"} },
	} {
		var connections atomic.Int32
		var mu sync.Mutex
		protocols := map[string]int{}
		both, together := make(chan bool), sync.WaitGroup{}
		together.Add(4)
		go func() { together.Wait(); close(both) }()
		s := &seen{}
		server := httptest.NewUnstartedServer(asVault(s, func(_ int, w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			protocols[r.Proto]++
			mu.Unlock()
			if !strings.HasSuffix(r.URL.Path, "/first") {
				together.Done()
				<-both
			}
			refuse(w, 200, kvAnswer)
		}))
		der, key := ours.sign(serverTemplate("127.0.0.1", time.Now().Add(-time.Minute)))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		change(server)
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections.Add(1)
			}
		}
		server.StartTLS()
		c := prepare(t, s, server.URL, func(o *Options) { o.Vault.TLS.CACert = plan.Set(ours.file, plan.Origin{}) })
		get := c.Generation()
		if _, err := get(t.Context(), plan.Read{Path: "secret/first"}, nil); err != nil { // as a login does
			t.Error(err)
		}
		var wg sync.WaitGroup
		for _, name := range list("a", "b", "c", "d") { // all are under way at the same time
			wg.Go(func() {
				if _, err := get(t.Context(), plan.Read{Path: "secret/" + name}, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		server.Close()
		want := int32(1)
		if protocol == "HTTP/1.1" {
			want = 4
		}
		if protocols[protocol] != 5 || connections.Load() != want {
			t.Errorf("%s: %v over %d connections", protocol, protocols, connections.Load())
		}
	}
}

// TestSkipVerifyIsToldLoudly warns with the place that asked for it.
func TestSkipVerifyIsToldLoudly(t *testing.T) {
	for _, skip := range []bool{true, false} {
		s := &seen{}
		prepare(t, s, "https://vault.test", func(o *Options) { o.Vault.TLS.SkipVerify = plan.Set(skip, plan.Origin{At: "VAULT_SKIP_VERIFY"}) })
		if told := strings.Contains(s.log.String(), `level=WARN msg="the server's certificate is not checked: whoever is in between can read every secret" declared=VAULT_SKIP_VERIFY`); told != skip {
			t.Errorf("skip %v: %s", skip, s.log.String())
		}
	}
}
