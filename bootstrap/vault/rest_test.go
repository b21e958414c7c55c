package vault

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestRest: a connection that rests is closed, and the next request has another.
func TestRest(t *testing.T) {
	s := &seen{}
	opened, closed := make(chan struct{}, 8), make(chan struct{}, 8)
	server := httptest.NewUnstartedServer(asVault(s, always(200, `{"data":{"data":{"y":"1"},"metadata":{"created_time":"2026-01-01T00:00:00Z","version":1}}}`)))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			opened <- struct{}{}
		case http.StateClosed:
			closed <- struct{}{}
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := prepare(t, s, server.URL, nil)
	for range 2 {
		if _, err := c.Generation()(t.Context(), plan.Read{Path: "secret/x"}, nil); err != nil {
			t.Fatal(err)
		}
		<-opened
		c.Rest()
		<-closed // or the test times out
	}
}
