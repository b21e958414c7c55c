package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// fakeVault is a server that is not Vault.
type fakeVault struct {
	elsewhere atomic.Int32 // connections to the host that it redirects to
}

// cmdFakeVault serves `fakevault KIND`: it points VAULT_ADDR at a server that
//
//	html       answers everything with a web page
//	empty      answers everything with status 200 and nothing
//	silent     takes every request and never answers
//	redirect   redirects everything to another host
//	talkative  answers everything with a secret of KV version 2, and says more than it was asked
//	hold       passes everything on to the script's server, but for reads below secret/,
//	           which it never answers
//	together   the same, but lets 16 reads below secret/ pass when all of them are there
func cmdFakeVault(ts *testscript.TestScript, _ bool, args []string) {
	f := &fakeVault{}
	current(ts).fake = f
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"data":{"f":"CANARY-of-the-other-host"}}`))
	}))
	other.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			f.elsewhere.Add(1)
		}
	}
	other.Start()
	kinds := map[string]http.HandlerFunc{
		"html": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html><body>CANARY: please sign in</body></html>"))
		},
		"empty":  func(http.ResponseWriter, *http.Request) {},
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		},
	}
	kinds["talkative"] = talkative
	pass := forwarder(ts, current(ts).server.addr)
	kinds["hold"] = func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/secret/") {
			<-r.Context().Done()
			return
		}
		pass.ServeHTTP(w, r)
	}
	kinds["together"] = together(pass, 16)
	handler, ok := kinds[args[0]]
	if !ok {
		ts.Fatalf("fakevault: unknown kind %s", args[0])
	}
	front := httptest.NewServer(handler)
	ts.Defer(func() { front.CloseClientConnections(); front.Close(); other.Close() })
	ts.Setenv("VAULT_ADDR", front.URL)
}

// talkative sends an answer and, at once, the beginning of one that nobody asked for.
func talkative(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	const body = `{"data":{"data":{"password":"pw"},"metadata":{"created_time":"2026-05-04T03:02:01Z","version":1}}}`
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%sCANARY-nobody-asked", len(body), body)
}

// together lets requests below secret/ pass once n of them wait.
func together(pass http.Handler, n int32) http.HandlerFunc {
	var waiting atomic.Int32
	open := make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/secret/") {
			if waiting.Add(1) == n {
				close(open)
			}
			select {
			case <-open:
			case <-r.Context().Done():
				return
			}
		}
		pass.ServeHTTP(w, r)
	}
}

// forwarder hands every request to a server.
func forwarder(ts *testscript.TestScript, to string) http.Handler {
	target, err := url.Parse(to)
	ts.Check(err)
	return httputil.NewSingleHostReverseProxy(target)
}

// cmdUntouched checks that nobody followed the redirect.
func cmdUntouched(ts *testscript.TestScript, neg bool, _ []string) {
	if n := current(ts).fake.elsewhere.Load(); (n == 0) == neg {
		ts.Fatalf("%d connections", n)
	}
}

// latePort is a port that is ours and refuses connections until it is opened.
type latePort struct {
	fd   int
	port int
}

// cmdPort serves `port down`, which points VAULT_ADDR at a port where nobody
// listens, and `port up`, which lets the script's server answer there.
func cmdPort(ts *testscript.TestScript, _ bool, args []string) {
	state := current(ts)
	switch args[0] {
	case "down":
		p, err := bindPort()
		ts.Check(err)
		state.port = p
		ts.Defer(func() { _ = unix.Close(p.fd) })
		ts.Setenv("VAULT_ADDR", fmt.Sprintf("http://127.0.0.1:%d", p.port))
	case "up":
		ts.Check(state.port.forward(ts, state.server.addr))
	default:
		ts.Fatalf("port: unknown word %s", args[0])
	}
}

// bindPort takes a port without listening on it: connections are refused, and
// nobody else can get the port meanwhile.
func bindPort() (*latePort, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &latePort{fd: fd, port: at.(*unix.SockaddrInet4).Port}, nil
}

// forward starts to listen and hands every request to a real server.
func (p *latePort) forward(ts *testscript.TestScript, to string) error {
	if err := unix.Listen(p.fd, 128); err != nil {
		return err
	}
	dup, err := unix.FcntlInt(uintptr(p.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(dup), "port")
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: forwarder(ts, to), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	ts.Defer(func() { _ = server.Shutdown(context.Background()) })
	return nil
}
