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
	"sync/atomic"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// fakeVault is an address that is not Vault's, or not yet. What reaches it is
// counted, so a script can show that nothing did.
type fakeVault struct {
	connections atomic.Int32 // to the address that VAULT_ADDR names
	elsewhere   atomic.Int32 // to the host that it redirects to
}

// cmdFakeVault serves `fakevault KIND`: it points VAULT_ADDR at a server that
//
//	html       answers everything with a web page
//	empty      answers everything with status 200 and nothing
//	silent     takes every request and never answers
//	redirect   redirects everything to another host
func cmdFakeVault(ts *testscript.TestScript, _ bool, args []string) {
	f := &fakeVault{}
	current(ts).fake = f
	other := countingServer(&f.elsewhere, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"data":{"f":"CANARY-of-the-other-host"}}`))
	})
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
	handler, ok := kinds[args[0]]
	if !ok {
		ts.Fatalf("fakevault: unknown kind %s", args[0])
	}
	front := countingServer(&f.connections, handler)
	ts.Defer(func() { front.CloseClientConnections(); front.Close(); other.Close() })
	ts.Setenv("VAULT_ADDR", front.URL)
}

// countingServer serves on a port of its own and counts the connections.
func countingServer(n *atomic.Int32, handler http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(handler)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.Add(1)
		}
	}
	s.Start()
	return s
}

// cmdUntouched checks that nobody connected to the fake Vault; with the word
// elsewhere, that nobody connected to the host that it redirects to.
func cmdUntouched(ts *testscript.TestScript, neg bool, args []string) {
	f := current(ts).fake
	n := f.connections.Load()
	if len(args) > 0 && args[0] == "elsewhere" {
		n = f.elsewhere.Load()
	}
	if (n == 0) == neg {
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
	target, err := url.Parse(to)
	if err != nil {
		return err
	}
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
	server := &http.Server{Handler: httputil.NewSingleHostReverseProxy(target), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	ts.Defer(func() { _ = server.Shutdown(context.Background()) })
	return nil
}
