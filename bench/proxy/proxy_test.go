package proxy_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bench/proxy"
)

// start gives a client whose every exchange with an echo server goes through a
// proxy.
func start(t *testing.T, rtt time.Duration) (p *proxy.Proxy, post func(body []byte) (echo []byte, took time.Duration)) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(server.Close)
	p, err := proxy.Listen(t.Context(), strings.TrimPrefix(server.URL, "http://"), rtt)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	return p, func(body []byte) ([]byte, time.Duration) {
		t.Helper()
		begin := time.Now()
		resp, err := client.Post("http://"+p.Addr(), "", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		echo, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return echo, time.Since(begin)
	}
}

// Every exchange takes its round trips; a busy machine may make some take
// longer, but not the fastest of a few.
func TestDelay(t *testing.T) {
	const rtt, tries = 40 * time.Millisecond, 5
	fastest := map[time.Duration]time.Duration{}
	for range tries {
		_, post := start(t, rtt)
		for i, want := range []time.Duration{2 * rtt, rtt} { // the first one connects
			_, took := post(nil)
			if took < want {
				t.Errorf("exchange %d took %v, want at least %v", i, took, want)
			}
			if best, ok := fastest[want]; !ok || took < best {
				fastest[want] = took
			}
		}
	}
	for want, took := range fastest {
		if took > want+rtt*9/10 {
			t.Errorf("the fastest of %d took %v, want %v and a little", tries, took, want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, rtt := range []time.Duration{0, time.Millisecond} {
		p, post := start(t, rtt)
		for range 5 {
			post([]byte("x"))
		}
		got := p.Close()
		if want := (proxy.Stats{Requests: 5, Connections: 1, Bytes: got.Bytes}); got != want {
			t.Errorf("rtt %v: got %+v, want %+v", rtt, got, want)
		}
		if least := int64(5 * len("HTTP/1.1 200 OK\r\n\r\nx")); got.Bytes < least || got.Bytes > 100*least {
			t.Errorf("rtt %v: %d bytes came for five answers of one byte each", rtt, got.Bytes)
		}
	}
}

func TestBytesArriveWhole(t *testing.T) {
	_, post := start(t, time.Millisecond)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB: many chunks
	if got, _ := post(sent); !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back changed, %d were sent", len(got), len(sent))
	}
}
