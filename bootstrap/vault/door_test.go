package vault

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// readers is how many requests may be under way at once.
const readers = plan.DefaultConnections

// TestFirstConnection: of many first requests one opens the connection, and
// over HTTP/2 all are on it at the same time; HTTP/1.1 gets one for each, which
// is not held up by those before it.
func TestFirstConnection(t *testing.T) {
	ours := newAuthority(t)
	for protocol, change := range map[string]func(*httptest.Server){
		"HTTP/2.0": func(s *httptest.Server) { s.EnableHTTP2 = true },
		"HTTP/1.1": func(s *httptest.Server) { s.TLS.NextProtos = []string{"http/1.1"} },
	} {
		var connections, other atomic.Int32
		var together sync.WaitGroup
		together.Add(readers)
		all := make(chan bool)
		go func() { together.Wait(); close(all) }()
		s := &seen{}
		server := httptest.NewUnstartedServer(asVault(s, func(_ int, w http.ResponseWriter, r *http.Request) {
			if r.Proto != protocol {
				other.Add(1)
			}
			together.Done()
			select {
			case <-all:
			case <-r.Context().Done():
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
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		readAll(ctx, c, func(path string, err error) {
			if err != nil {
				t.Errorf("%s %s: %v", protocol, path, err)
			}
		})
		cancel()
		server.Close()
		want := int32(1)
		if protocol == "HTTP/1.1" {
			want = readers
		}
		if connections.Load() != want || other.Load() != 0 || s.count() != readers {
			t.Errorf("%s: %d requests over %d connections, want %d; %d by another protocol", protocol, s.count(), connections.Load(), want, other.Load())
		}
	}
}

// readAll reads as many secrets as may be read at once, and tells how each went.
func readAll(ctx context.Context, c *Client, done func(path string, err error)) {
	get := c.Generation()
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			path := "secret/data/" + strconv.Itoa(i)
			_, err := get(ctx, plan.Read{Path: path}, nil)
			done(path, err)
		})
	}
	wg.Wait()
}

// TestStreams: once it is known that HTTP/2 is spoken, 64 requests are under way on its
// one connection; over HTTP/1.1 there are 16, and a number that is given is it.
func TestStreams(t *testing.T) {
	for _, tt := range []struct {
		http2  bool
		given  int
		atOnce int32
	}{{true, 0, 64}, {false, 0, 16}, {true, 5, 5}, {false, 20, 20}} {
		var here, failed atomic.Int32
		var more atomic.Bool
		full := make(chan bool) // closed when as many are under way; before, none is answered
		var once sync.Once
		s := &seen{}
		server := httptest.NewUnstartedServer(asVault(s, func(n int, w http.ResponseWriter, r *http.Request) {
			if n > 1 { // the first one tells the protocol
				switch now := here.Add(1); {
				case now > tt.atOnce:
					more.Store(true)
				case now == tt.atOnce:
					once.Do(func() { close(full) })
				}
				select {
				case <-full:
				case <-r.Context().Done():
				}
				here.Add(-1)
			}
			refuse(w, 200, kvAnswer)
		}))
		ours := newAuthority(t)
		der, key := ours.sign(serverTemplate("127.0.0.1", time.Now().Add(-time.Minute)))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		server.EnableHTTP2 = tt.http2
		server.StartTLS()
		c := prepare(t, s, server.URL, func(o *Options) {
			o.Vault.TLS.CACert = plan.Set(ours.file, plan.Origin{})
			if tt.given > 0 {
				o.Vault.Connections = plan.Set(tt.given, plan.Origin{})
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		if _, err := read(ctx, c, "secret/first"); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
		get := c.Generation()
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				if _, err := get(ctx, plan.Read{Path: "secret/data/" + strconv.Itoa(i)}, nil); err != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		cancel()
		server.Close()
		if more.Load() || failed.Load() > 0 {
			t.Errorf("%+v: more at once: %t; %d came to no answer", tt, more.Load(), failed.Load())
		}
	}
}

// doorway is a transport whose first request does as it is told; it keeps when
// each request came.
type doorway struct {
	memory
	first func(*http.Request) error
	mu    sync.Mutex
	start time.Time
	at    []time.Duration
}

func (d *doorway) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.at = append(d.at, time.Since(d.start))
	first := len(d.at) == 1
	d.mu.Unlock()
	if first {
		if err := d.first(r); err != nil {
			return nil, err
		}
	}
	return d.memory.RoundTrip(r)
}

// throughDoor makes a client over TLS whose first request does as it is told,
// and whose others are answered by h.
func throughDoor(t *testing.T, first func(*http.Request) error, h handler) (*Client, *doorway) {
	t.Helper()
	s := &seen{}
	c := prepare(t, s, "https://vault.test", nil)
	d := &doorway{memory: memory{asVault(s, h)}, first: first, start: time.Now()}
	c.http = d
	return c, d
}

// TestFirstConnectionOpens: the others wait for the connection and not for the
// answer; and for the end of a first request that gets none.
func TestFirstConnectionOpens(t *testing.T) {
	for name, tt := range map[string]struct {
		first  func(*http.Request) error
		others time.Duration // when they are sent
		sent   int
	}{
		"connected": {func(r *http.Request) error {
			<-time.After(time.Second)
			httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
			<-time.After(5 * time.Second)
			return nil
		}, time.Second, readers},
		"refused":  {func(*http.Request) error { <-time.After(2 * time.Second); return syscall.ECONNREFUSED }, 2 * time.Second, readers + 1},
		"answered": {func(*http.Request) error { <-time.After(3 * time.Second); return nil }, 3 * time.Second, readers}, // a transport that tells nothing
	} {
		synctest.Test(t, func(t *testing.T) {
			c, d := throughDoor(t, tt.first, always(200, kvAnswer))
			readAll(t.Context(), c, func(path string, err error) {
				if err != nil {
					t.Errorf("%s %s: %v", name, path, err)
				}
			})
			slices.Sort(d.at)
			if len(d.at) != tt.sent || d.at[0] != 0 || d.at[1] != tt.others || d.at[readers-1] != tt.others {
				t.Errorf("%s: sent at %v", name, d.at)
			}
		})
	}
}

// TestFirstConnectionHangs: who waits for the connection is ended by a signal
// and by the deadline, and says what it would say of its own request.
func TestFirstConnectionHangs(t *testing.T) {
	hangs := func(r *http.Request) error { <-r.Context().Done(); return r.Context().Err() }
	signal := errors.New("signal")
	for name, cause := range map[string]error{"signal": signal, "deadline": nil} {
		synctest.Test(t, func(t *testing.T) {
			c, d := throughDoor(t, hangs, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if cause != nil {
				time.AfterFunc(time.Second, func() { cancel(cause) })
			} else {
				var stop context.CancelFunc
				ctx, stop = context.WithTimeout(ctx, time.Second)
				defer stop()
			}
			readAll(ctx, c, func(path string, err error) {
				if took := time.Since(d.start); took != time.Second {
					t.Errorf("%s %s: after %v", name, path, took)
				}
				if cause != nil && !errors.Is(err, cause) {
					t.Errorf("%s %s: %v", name, path, err)
				}
				if cause == nil {
					problem(t, err, plan.CodeUnavailable, "until the deadline (1 try)")
				}
			})
			for _, at := range d.at[1:] { // the end of the first may be seen before one's own
				if at != time.Second {
					t.Errorf("%s: sent at %v", name, d.at)
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // a server that never answers costs one try, and the next one goes on
		c, d := throughDoor(t, hangs, always(200, kvAnswer))
		readAll(t.Context(), c, func(path string, err error) {
			if took := time.Since(d.start); err != nil || took < tryTimeout || took > tryTimeout+firstWait {
				t.Errorf("%s: %v after %v", path, err, took)
			}
		})
	})
}
