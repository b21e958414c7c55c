package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every secret, token and foreign text of these tests holds the word CANARY.
const (
	faultToken  = "CANARY-token"
	faultValue  = "CANARY-value"
	faultKV     = `{"request_id":"r","data":{"data":{"y":"` + faultValue + `"},"metadata":{"created_time":"2026-01-01T00:00:00Z","version":1}}}`
	faultLease  = `{"request_id":"r","lease_id":"database/creds/x/1","lease_duration":60,"data":{"y":"` + faultValue + `"}}`
	faultLogin  = `{"auth":{"client_token":"` + faultToken + `","accessor":"a","policies":["p"],"lease_duration":60,"token_type":"service"}}`
	faultErrors = `{"errors":["CANARY: refused for ` + faultToken + `"]}`
	faultPage   = "<!doctype html><html><body>CANARY: please sign in</body></html>"
)

// behaviour answers the n-th request, from 1, of those that a case is about.
type behaviour func(s *faultServer, n int, w http.ResponseWriter, r *http.Request)

// faultServer answers as Vault does, but for the requests that a case is about.
type faultServer struct {
	about   *regexp.Regexp // their paths below /v1/
	does    behaviour      // nil: as Vault
	foreign string         // host and port of another server

	mu   sync.Mutex
	seen tally
	held []net.Conn
}

// tally is what a faultServer has seen.
type tally struct {
	asked  []string // METHOD path of every request
	about  int      // how many of them the case is about
	logins int
	strays []string // what no client may send
}

func (s *faultServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then is a client noticed that goes away
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	s.mu.Lock()
	s.seen.asked = append(s.seen.asked, r.Method+" "+path)
	about := s.about.MatchString(path)
	if about {
		s.seen.about++
	}
	n := s.seen.about
	s.mu.Unlock()
	if about && s.does != nil {
		s.does(s, n, w, r)
		return
	}
	s.good(w, r)
}

// good answers as Vault does.
func (s *faultServer) good(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	w.Header().Set("Content-Type", "application/json")
	if path == "auth/approle/login" {
		s.mu.Lock()
		s.seen.logins++
		s.mu.Unlock()
		_, _ = io.WriteString(w, faultLogin)
		return
	}
	if r.Header.Get("X-Vault-Token") != faultToken {
		s.stray(r.Method + " " + path + " without the token")
	}
	mount, rest, _ := strings.Cut(strings.TrimPrefix(path, "sys/internal/ui/mounts/"), "/")
	switch {
	case path == "auth/token/revoke-self", path == "sys/leases/revoke":
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(path, "sys/internal/ui/mounts/secret/"):
		_, _ = io.WriteString(w, `{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}`)
	case strings.HasPrefix(path, "sys/internal/ui/mounts/"):
		_, _ = io.WriteString(w, `{"data":{"path":"`+mount+`/","type":"`+mount+`"}}`)
	case mount == "database":
		_, _ = io.WriteString(w, faultLease)
	case mount == "secret" && strings.HasPrefix(rest, "data/"):
		_, _ = io.WriteString(w, faultKV)
	default:
		s.stray(r.Method + " " + path)
		refuseWith(w, http.StatusNotFound)
	}
}

func (s *faultServer) stray(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.strays = append(s.seen.strays, what)
}

// tally gives what was seen so far.
func (s *faultServer) tally() tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// release ends the connections that were taken away from net/http.
func (s *faultServer) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.held {
		_ = c.Close()
	}
}

// take takes the connection away from net/http.
func (s *faultServer) take(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.stray("connection: " + err.Error())
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, conn)
	return conn
}

func refuseWith(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, faultErrors)
}

// by lets each request be answered in its turn, and those that follow by the last.
func by(turns ...behaviour) behaviour {
	return func(s *faultServer, n int, w http.ResponseWriter, r *http.Request) {
		turns[min(n, len(turns))-1](s, n, w, r)
	}
}

// asVault is how Vault answers.
func asVault(s *faultServer, _ int, w http.ResponseWriter, r *http.Request) { s.good(w, r) }

// once lets the first request be answered by b.
func once(b behaviour) behaviour { return by(b, asVault) }

// refuses gives an error status; headers are names and values by turns.
func refuses(code int, headers ...string) behaviour {
	return func(_ *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		refuseWith(w, code)
	}
}

// retryAt is over quota until a date, which is at least a second ahead.
func retryAt(_ *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", time.Now().Add(2*time.Second).UTC().Format(http.TimeFormat))
	refuseWith(w, http.StatusTooManyRequests)
}

// says answers with a body and its type.
func says(code int, kind, body string) behaviour {
	return func(_ *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func answers(body string) behaviour { return says(http.StatusOK, "application/json", body) }

// nothing answers with a status and nothing else.
func nothing(code int) behaviour {
	return func(_ *faultServer, _ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// redirects sends on. In where, HOST is this server, FOREIGN another one and PATH
// the path that was asked for.
func redirects(code int, where string) behaviour {
	return func(s *faultServer, _ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.NewReplacer("HOST", r.Host, "FOREIGN", s.foreign, "PATH", r.URL.Path).Replace(where))
		w.WriteHeader(code)
	}
}

// silent takes the request and does not answer.
func silent(_ *faultServer, _ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// resets breaks the connection off.
func resets(s *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
	if c, ok := s.take(w).(*net.TCPConn); ok {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}

// aborts ends the connection, or the stream of HTTP/2, without an answer.
func aborts(*faultServer, int, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// writes sends bytes that need not be HTTP, and closes the connection.
func writes(bytes string) behaviour { return streams(bytes, "", 0) }

// streams writes head and then, as long as somebody reads, unit so many times.
func streams(head, unit string, times int) behaviour {
	return func(s *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
		conn := s.take(w)
		defer conn.Close()
		_, err := io.WriteString(conn, head)
		for range times {
			if err != nil {
				return
			}
			_, err = io.WriteString(conn, unit)
		}
	}
}

// hangsAfter writes bytes and leaves the connection open.
func hangsAfter(bytes string) behaviour {
	return func(s *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(s.take(w), bytes)
	}
}

// drips writes head, and then a byte every second until the connection is closed.
func drips(head, rest string) behaviour {
	return func(s *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
		conn := s.take(w)
		_, err := io.WriteString(conn, head)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := 0; i < len(rest) && err == nil; i++ {
			<-tick.C
			_, err = io.WriteString(conn, rest[i:i+1])
		}
	}
}

// bombs sends a gzip body of 512 KiB that unpacks to 512 MiB: members of a stream
// follow one another (RFC 1952, section 2.2).
func bombs() behaviour {
	var member bytes.Buffer
	z := gzip.NewWriter(&member)
	_, _ = z.Write(bytes.Repeat([]byte{'a'}, 1<<20))
	_ = z.Close()
	return streams("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n", member.String(), 512)
}

// route is how a server is reached.
type route struct {
	address string
	env     []string
	again   func()            // called when secretboot says that it tries again
	over    map[string]string // files of ours over those of the system, by the system's path
	wrap    []string          // what starts the binary
	secrets func() []string   // what must be nowhere, beside the canaries

	prepare func(*testing.T, *faultPlace) // changes the folders
}

// front makes a route to a server.
type front func(*testing.T, *faultServer) route

// plain is HTTP.
func plain(t *testing.T, s *faultServer) route {
	server := httptest.NewUnstartedServer(s)
	return route{address: serveFaults(t, server, server.Start)}
}

func serveFaults(t *testing.T, server *httptest.Server, begin func()) string {
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	begin()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// otherScheme is the same server, asked in the wrong scheme.
func otherScheme(f front, from, to string) front {
	return func(t *testing.T, s *faultServer) route {
		r := f(t, s)
		r.address = strings.Replace(r.address, from+":", to+":", 1)
		return r
	}
}

// accepting takes connections and hands each to handle, if there is one.
func accepting(scheme string, handle func(*net.TCPConn)) front {
	return func(t *testing.T, s *faultServer) route {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				s.mu.Lock()
				s.held = append(s.held, conn)
				s.mu.Unlock()
				if c, ok := conn.(*net.TCPConn); ok && handle != nil {
					handle(c)
				}
			}
		}()
		return route{address: scheme + "://" + l.Addr().String()}
	}
}

// refused is a port where nobody listens.
func refused(t *testing.T, s *faultServer) route {
	r := late(t, s)
	r.again = nil
	return r
}

// late is a port where nobody listens until secretboot tries again.
func late(t *testing.T, s *faultServer) route {
	p, err := bindPort()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(p.fd), "port")
	t.Cleanup(func() { file.Close() })
	return route{address: "http://127.0.0.1:" + strconv.Itoa(p.port), again: func() {
		err := unix.Listen(p.fd, 128)
		l, listenErr := net.FileListener(file)
		if err = errors.Join(err, listenErr); err != nil {
			t.Error(err)
			return
		}
		server := httptest.NewUnstartedServer(s)
		server.Listener.Close()
		server.Listener = l
		serveFaults(t, server, server.Start)
	}}
}

// nameLater is a host whose name nobody knows until secretboot tries again:
// its resolver finds no name server, and its hosts file gets the name then.
func nameLater(t *testing.T, s *faultServer) route {
	r := plain(t, s)
	hosts, resolver := filepath.Join(t.TempDir(), "hosts"), filepath.Join(t.TempDir(), "resolv.conf")
	err := errors.Join(os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"), 0o644),
		os.WriteFile(resolver, []byte("nameserver 127.0.0.54\n"), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	r.address = strings.Replace(r.address, "127.0.0.1", "vault.test", 1)
	r.over = map[string]string{"/etc/hosts": hosts, "/etc/resolv.conf": resolver}
	r.again = func() {
		// In place: what lies over a file is this inode.
		if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost vault.test\n"), 0o644); err != nil {
			t.Error(err)
		}
	}
	return r
}

// standby redirects everything to another host, which is listed.
func standby(t *testing.T, s *faultServer) route {
	l, err := net.Listen("tcp", "127.0.0.3:0")
	config := filepath.Join(t.TempDir(), "config.yaml")
	if err = errors.Join(err, os.WriteFile(config, []byte("vault: { redirects: [127.0.0.3] }\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	active := httptest.NewUnstartedServer(s)
	active.Listener.Close()
	active.Listener = l
	to := serveFaults(t, active, active.Start)
	r := plain(t, &faultServer{about: s.about, does: redirects(http.StatusTemporaryRedirect, to+"PATH")})
	r.env = []string{"SECRETBOOT_CONFIG=" + config}
	return r
}

// nameless is a host that has no address.
func nameless(*testing.T, *faultServer) route {
	return route{address: "http://no-such-host.invalid:8200"}
}
