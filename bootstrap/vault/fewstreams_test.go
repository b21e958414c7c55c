package vault

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// TestFewStreams: a server, or a proxy before it, that takes fewer requests on a
// connection than we have under way gets the others later, or on further connections;
// none is lost.
func TestFewStreams(t *testing.T) {
	for _, streams := range []int{1, 10, 100} {
		s := &seen{}
		server := httptest.NewUnstartedServer(asVault(s, func(_ int, w http.ResponseWriter, _ *http.Request) {
			refuse(w, 200, kvAnswer)
		}))
		ours := newAuthority(t)
		der, key := ours.sign(serverTemplate("127.0.0.1", time.Now().Add(-time.Minute)))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		server.EnableHTTP2 = true
		server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
		server.StartTLS()
		c := prepare(t, s, server.URL, func(o *Options) { o.Vault.TLS.CACert = plan.Set(ours.file, plan.Origin{}) })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		get := c.Generation()
		var failed atomic.Int32
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				if _, err := get(ctx, plan.Read{Path: "secret/data/" + strconv.Itoa(i)}, nil); err != nil {
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		cancel()
		server.Close()
		if failed.Load() > 0 || s.count() != 300 {
			t.Errorf("%d on a connection: %d of 300 failed, %d requests", streams, failed.Load(), s.count())
		}
	}
}
