package main

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakProxy stands between secretboot and Vault: it keeps what it sees, and lets
// a part of the requests fail.
type soakProxy struct {
	url  string
	pass *httputil.ReverseProxy

	mu     sync.Mutex
	share  float64 // of requests that fail
	random *rand.Rand
	seen   []passage
	faults map[string]int
}

// passage is one request, once it is over.
type passage struct {
	at     time.Time
	path   string
	status int // 0: there was no answer
}

func newSoakProxy(t *testing.T, addr string) *soakProxy {
	t.Helper()
	to, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &soakProxy{random: rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano()))), faults: map[string]int{}}
	p.pass = &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(p)
	p.url = server.URL
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return p
}

// statusWriter notes the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (p *soakProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &statusWriter{ResponseWriter: w}
	defer func() {
		broken := recover()
		if broken != nil {
			out.status = 0
		}
		p.mu.Lock()
		p.seen = append(p.seen, passage{time.Now(), strings.TrimPrefix(r.URL.Path, "/v1/"), out.status})
		p.mu.Unlock()
		if broken != nil {
			panic(http.ErrAbortHandler)
		}
	}()
	switch p.fault() {
	case "reset":
		panic(http.ErrAbortHandler)
	case "503":
		out.WriteHeader(http.StatusServiceUnavailable)
		return
	case "slow":
		time.Sleep(time.Second)
	}
	p.pass.ServeHTTP(out, r)
}

// disturb lets a share of the requests fail from now on.
func (p *soakProxy) disturb(share float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share = share
}

// fault is what is to go wrong with a request; "" is nothing.
func (p *soakProxy) fault() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.random.Float64() >= p.share {
		return ""
	}
	kind := []string{"reset", "503", "slow"}[p.random.IntN(3)]
	p.faults[kind]++
	return kind
}

// last gives when a path was last answered well; the zero time: never.
func (p *soakProxy) last(paths ...string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.seen) {
		if s.status/100 == 2 && slices.Contains(paths, s.path) {
			return s.at
		}
	}
	return time.Time{}
}

// count counts the answers of 2xx for a path.
func (p *soakProxy) count(path string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.seen {
		if s.path == path && s.status/100 == 2 {
			n++
		}
	}
	return n
}

// storm gives an error when one thing failed more than most times within a minute,
// whatever it did in between.
func (p *soakProxy) storm(most int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	failed := map[string][]time.Time{}
	var errs []error
	for _, s := range p.seen {
		if s.status/100 == 2 {
			continue
		}
		times := append(failed[s.path], s.at)
		failed[s.path] = times
		if i := len(times) - 1; i >= most && s.at.Sub(times[i-most]) < time.Minute-time.Second {
			errs = append(errs, errors.New(s.path+" was asked too often while it failed, at "+s.at.Format(time.TimeOnly)))
		}
	}
	return errors.Join(errs...)
}
