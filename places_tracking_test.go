package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// tracking stands for the server of MLflow: it lets in who brings the one header.
type tracking struct {
	authorization string

	mu   sync.Mutex
	seen []string
}

// cmdTracking serves
//
//	tracking AUTHORIZATION   start a server that answers 200 where the header Authorization is
//	                         this, else 401; sets TRACKING
//	tracking saw             write a line for each request since the last time to the file seen:
//	                         method, path, and the header or -
func cmdTracking(ts *testscript.TestScript, neg bool, args []string) {
	state := current(ts)
	switch {
	case neg || len(args) != 1:
		ts.Fatalf("usage: tracking AUTHORIZATION, tracking saw")
	case args[0] != "saw":
		state.tracking = &tracking{authorization: args[0]}
		server := httptest.NewServer(state.tracking)
		ts.Defer(server.Close)
		ts.Setenv("TRACKING", server.URL)
	default:
		state.tracking.mu.Lock()
		defer state.tracking.mu.Unlock()
		ts.Check(os.WriteFile(ts.MkAbs("seen"), []byte(strings.Join(append(state.tracking.seen, ""), "\n")), 0o600))
		state.tracking.seen = nil
	}
}

func (s *tracking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	got := strings.Join(r.Header["Authorization"], " and ")
	s.mu.Lock()
	s.seen = append(s.seen, r.Method+" "+r.URL.RequestURI()+" "+orDash(got))
	s.mu.Unlock()
	if got != s.authorization {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
