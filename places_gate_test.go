package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// gate stands before the script's Vault and keeps what it sees of each
// request. What it passes on is answered by the real Vault.
type gate struct {
	pass  http.Handler
	token string // given to requests that have none, as an agent does
	to    string // where everything is redirected to; "": nowhere
	conns atomic.Int64

	mu   sync.Mutex
	lose string // the path whose next answer is lost
	seen []sighting
}

// sighting is one request.
type sighting struct {
	at   time.Time
	path string
	line string
}

// connKey is the key of a connection's number in a request's context.
type connKey struct{}

// cmdGate serves
//
//	gate NAME [OPTION…]          start one and set VAULT_ADDR; the options are below
//	gate NAME saw                write what it has seen since the last time to the file seen:
//	                             a line for each request, with its protocol, the number of its
//	                             connection, method, path and headers, as in
//	                             HTTP/1.1 conn=1 GET /v1/secret/data/a X-Vault-Request=true
//	gate NAME lose PATH          pass the next request for PATH on, and break the connection
//	                             off instead of giving Vault's answer
//	gate NAME lasted MIN N PATH  exactly N requests below PATH were seen, the last one MIN
//	                             or more after the first
//	gate NAME untouched          nobody has connected
//
//	host=ADDRESS  listen there, not on 127.0.0.1
//	tls=CERT      HTTPS, and HTTP/2, with a certificate of `certs`; sets VAULT_CACERT
//	token=FILE    a request without a token gets this one
//	to=URL        redirect everything to URL with status 307
//	together=N    let the reads below secret/ pass when N of them are there
//
// The real Vault knows no namespaces, so it is not told of one.
func cmdGate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: gate NAME [WORD…]")
	}
	gates := current(ts).gates
	f := gates[args[0]]
	switch words := append(args[1:], ""); {
	case f == nil:
		gates[args[0]] = newGate(ts, args[1:])
	case words[0] == "saw":
		ts.Check(os.WriteFile(ts.MkAbs("seen"), []byte(f.saw()), 0o600))
	case words[0] == "lose" && len(args) == 3:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.lose = args[2]
	case words[0] == "lasted" && len(args) == 5:
		f.lasted(ts, args[2], number(ts, args[3]), args[4])
	case words[0] == "untouched":
		if n := f.conns.Load(); n != 0 {
			ts.Fatalf("%d connections to the gate %s", n, args[0])
		}
	default:
		ts.Fatalf("gate: unknown %v", args)
	}
}

func newGate(ts *testscript.TestScript, options []string) *gate {
	f := &gate{pass: forwarder(ts, current(ts).server.addr)}
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, f.conns.Add(1))
	}
	start := server.Start
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "host":
			l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", value+":0")
			ts.Check(err)
			ts.Check(server.Listener.Close())
			server.Listener = l
		case "tls":
			file := filepath.Join(certificates(ts), value)
			pair, err := tls.LoadX509KeyPair(file+".pem", file+".key")
			ts.Check(err)
			server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
			server.EnableHTTP2, start = true, server.StartTLS
			ts.Setenv("VAULT_CACERT", filepath.Join(certificates(ts), "ca.pem"))
		case "token":
			f.token = strings.TrimSpace(ts.ReadFile(value))
		case "to":
			f.to = value
		case "together":
			f.pass = together(f.pass, int32(number(ts, value)))
		default:
			ts.Fatalf("gate: unknown option %s", option)
		}
	}
	start()
	ts.Defer(func() { server.CloseClientConnections(); server.Close() })
	ts.Setenv("VAULT_ADDR", server.URL)
	return f
}

func (f *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	lost := f.note(r)
	if f.to != "" {
		http.Redirect(w, r, f.to+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		return
	}
	r.Header.Del("X-Vault-Namespace")
	if f.token != "" && r.Header.Get("X-Vault-Token") == "" {
		r.Header.Set("X-Vault-Token", f.token)
	}
	if lost {
		f.pass.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}
	f.pass.ServeHTTP(w, r)
}

// note keeps what is seen of a request, and reports whether its answer is to be
// lost.
func (f *gate) note(r *http.Request) (lost bool) {
	line := fmt.Sprintf("%s conn=%d %s %s", r.Proto, r.Context().Value(connKey{}), r.Method, r.URL.RequestURI())
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		line += " " + name + "=" + r.Header.Get(name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, sighting{time.Now(), r.URL.Path, line})
	lost = f.lose == r.URL.Path
	if lost {
		f.lose = ""
	}
	return lost
}

// saw gives the lines of what was seen, and forgets them.
func (f *gate) saw() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var text strings.Builder
	for _, s := range f.seen {
		text.WriteString(s.line + "\n")
	}
	f.seen = nil
	return text.String()
}

// lasted checks how many requests came below a path, and in which time.
func (f *gate) lasted(ts *testscript.TestScript, least string, n int, below string) {
	want, err := time.ParseDuration(least)
	ts.Check(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	var times []time.Time
	for _, s := range f.seen {
		if strings.HasPrefix(s.path, below) {
			times = append(times, s.at)
		}
	}
	if len(times) != n {
		ts.Fatalf("%d requests below %s", len(times), below)
	}
	if took := times[n-1].Sub(times[0]); took < want {
		ts.Fatalf("%d requests came within %v", n, took)
	}
}

// forwardProxy is what VAULT_PROXY_ADDR and HTTPS_PROXY name. Whatever host it
// is asked for, it reaches one place only.
type forwardProxy struct {
	to     string // HOST:PORT
	direct http.Handler

	mu    sync.Mutex
	asked []string
}

// cmdProxy serves
//
//	proxy URL   start one that reaches only the place of URL; sets PROXY
//	proxy saw   write what it was asked for since the last time to the file proxied, as in
//	            CONNECT vault.example:8200
func cmdProxy(ts *testscript.TestScript, neg bool, args []string) {
	state := current(ts)
	switch {
	case neg || len(args) != 1:
		ts.Fatalf("usage: proxy URL, proxy saw")
	case args[0] != "saw":
		_, place, _ := strings.Cut(args[0], "://")
		state.proxy = &forwardProxy{to: place, direct: forwarder(ts, "http://"+place)}
		server := httptest.NewServer(state.proxy)
		ts.Defer(func() { server.CloseClientConnections(); server.Close() })
		ts.Setenv("PROXY", server.URL)
	default:
		state.proxy.mu.Lock()
		defer state.proxy.mu.Unlock()
		ts.Check(os.WriteFile(ts.MkAbs("proxied"), []byte(strings.Join(append(state.proxy.asked, ""), "\n")), 0o600))
		state.proxy.asked = nil
	}
}

// ServeHTTP serves a request in absolute form and a tunnel (RFC 9110, 9.3.6).
func (p *forwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		p.direct.ServeHTTP(w, r)
		return
	}
	up, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer down.Close()
	if _, err := io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(up, down)
		_ = up.Close()
	}()
	_, _ = io.Copy(down, up)
}
