package status

import (
	"io"
	"net/http"
)

// Handler answers GET and HEAD of these paths, and nothing else:
//
//	/readyz   200 when it is ready, else 503; the body says why
//	/livez    200: who answers is alive
//	/metrics  for Prometheus
//
// Any other path is 404, any other method 405. Nothing of a request is in the
// answer.
func (b *Board) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		show, known := map[string]func() (int, string){
			"/readyz":  b.readyz,
			"/livez":   func() (int, string) { return http.StatusOK, "alive\n" },
			"/metrics": func() (int, string) { return http.StatusOK, b.metrics() },
		}[r.URL.Path]
		code, body := http.StatusNotFound, "not found\n"
		switch {
		case !known:
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			code, body = http.StatusMethodNotAllowed, "method not allowed\n"
		default:
			code, body = show()
		}
		contentType := "text/plain; charset=utf-8"
		if code == http.StatusOK && r.URL.Path == "/metrics" {
			contentType = "text/plain; version=0.0.4; charset=utf-8"
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body) // whoever asked may be gone
	})
}

func (b *Board) readyz() (int, string) {
	if ok, why := b.Ready(); !ok {
		return http.StatusServiceUnavailable, "not ready: " + why + "\n"
	}
	return http.StatusOK, "ready\n"
}
