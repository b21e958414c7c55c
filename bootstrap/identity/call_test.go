package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// way is a network made of one function.
type way func(*http.Request) (*http.Response, error)

func (w way) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func answerOf(code int, header http.Header, body string) *http.Response {
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body))}
}

// silent is a server that accepts and never answers.
func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func broken(err error) way {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// via is a source on such a network, which counts the tries.
func via(w way, tries *int) Source {
	counted := way(func(r *http.Request) (*http.Response, error) { *tries++; return w(r) })
	return GitHub{URL: value("https://github.test/" + canary), Token: value(canary), Transport: counted}
}

// TestTriesEnd: a failure that never passes ends after five tries, whose waits
// grow, and is told with its cause.
func TestTriesEnd(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	tests := []struct {
		name      string
		way       way
		code      plan.Code
		say       string
		tries     int
		low, high time.Duration
	}{
		{"dns", broken(dial(&net.DNSError{Err: canary, Name: canary})), plan.CodeUnavailable, "the host name cannot be resolved (5 tries)", 5, 3750 * time.Millisecond, 8 * time.Second},
		{"refused", broken(dial(syscall.ECONNREFUSED)), plan.CodeUnavailable, "connection refused (5 tries)", 5, 3750 * time.Millisecond, 8 * time.Second},
		{"no route", broken(dial(syscall.ENETUNREACH)), plan.CodeUnavailable, "no route to the host", 5, 3750 * time.Millisecond, 8 * time.Second},
		{"reset", broken(dial(syscall.ECONNRESET)), plan.CodeUnavailable, "the connection was reset", 5, 3750 * time.Millisecond, 8 * time.Second},
		{"closed", broken(io.EOF), plan.CodeUnavailable, "the connection was closed", 5, 3750 * time.Millisecond, 8 * time.Second},
		{"else", broken(errors.New(canary)), plan.CodeUnavailable, "GitHub cannot be reached (5 tries)", 5, 3750 * time.Millisecond, 8 * time.Second},
		{"silent", silent, plan.CodeUnavailable, "GitHub did not answer (5 tries)", 5, 28750 * time.Millisecond, 33 * time.Second},
		{"503", func(*http.Request) (*http.Response, error) { return answerOf(503, nil, canary), nil }, plan.CodeUnavailable, "cannot serve the request now (status 503) (5 tries)", 5, 3750 * time.Millisecond, 8 * time.Second},
		{"not HTTP", broken(errors.New(`net/http: malformed HTTP response "` + canary + `"`)), plan.CodeProtocol, "is not HTTP", 1, 0, 0},
		{"certificate", broken(&net.OpError{Op: "remote error", Err: errors.New(canary)}), plan.CodeProtocol, "the TLS handshake failed", 1, 0, 0},
		{"name", broken(wrapTLS(x509.HostnameError{Host: canary, Certificate: &x509.Certificate{}})), plan.CodeProtocol, "for another name", 1, 0, 0},
		{"expired", broken(wrapTLS(x509.CertificateInvalidError{Reason: x509.Expired, Detail: canary})), plan.CodeProtocol, "has expired", 1, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, tries := time.Now(), 0
				_, err := via(tt.way, &tries).Proof(t.Context())
				problem(t, err, tt.code, tt.say)
				if took := time.Since(start); tries != tt.tries || took < tt.low || took > tt.high {
					t.Errorf("%d tries in %v, want %d in %v to %v", tries, took, tt.tries, tt.low, tt.high)
				}
			})
		})
	}
}

// TestRetryAfter: the server's wish is honoured, within bounds.
func TestRetryAfter(t *testing.T) {
	for wish, want := range map[string]time.Duration{"7": 7 * time.Second, "86400": maxRetryAfter, "-5": 0, "soon": 0, "": 0} {
		synctest.Test(t, func(t *testing.T) {
			start, tries := time.Now(), 0
			busy := func(*http.Request) (*http.Response, error) {
				if tries == 1 {
					return answerOf(429, http.Header{"Retry-After": {wish}}, canary), nil
				}
				return answerOf(200, nil, `{"value":"`+goodToken()+`"}`), nil
			}
			if _, err := via(busy, &tries).Proof(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took < want || took > want+firstWait {
				t.Errorf("Retry-After %q: %v", wish, took)
			}
		})
	}
}

// TestDeadline: the context's deadline ends everything, and the last real cause
// is told.
func TestDeadline(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	later := func(r *http.Request) (*http.Response, error) {
		if time.Since(start(r)) > time.Second {
			return silent(r)
		}
		return nil, refused
	}
	tests := []struct {
		name  string
		way   way
		limit time.Duration
		say   string
	}{
		{"while it waits", broken(refused), 1500 * time.Millisecond, "connection refused until the deadline ("},
		{"while it tries", silent, 3 * time.Second, "GitHub did not answer until the deadline (1 try)"},
		{"the cause before", later, 4 * time.Second, "connection refused until the deadline ("},
		{"wished for too long a wait", func(*http.Request) (*http.Response, error) {
			return answerOf(503, http.Header{"Retry-After": {"20"}}, canary), nil
		}, 10 * time.Second, "status 503) until the deadline (1 try)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, tries := time.Now(), 0
				ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), startKey{}, begin), tt.limit)
				defer cancel()
				_, err := via(tt.way, &tries).Proof(ctx)
				problem(t, err, plan.CodeUnavailable, tt.say)
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Error("the deadline cannot be told from the error")
				}
				if took := time.Since(begin); took > tt.limit {
					t.Errorf("took %v of %v", took, tt.limit)
				}
			})
		})
	}
}

type startKey struct{}

func start(r *http.Request) time.Time {
	at, _ := r.Context().Value(startKey{}).(time.Time)
	return at
}

// TestCancelled: whoever cancels reads his own cause, at once.
func TestCancelled(t *testing.T) {
	mine := errors.New("told to end")
	for name, w := range map[string]way{"in a try": silent, "in a wait": broken(io.EOF)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(100*time.Millisecond, func() { cancel(mine) })
				begin, tries := time.Now(), 0
				_, err := via(w, &tries).Proof(ctx)
				if !errors.Is(err, mine) || time.Since(begin) > 100*time.Millisecond {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
			})
		})
	}
	t.Run("before", func(t *testing.T) {
		p := newPlatform(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(mine)
		credentials, _ := newKey(t, false, nil)
		sources := []Source{GCPIAM{Role: "r", Credentials: credentials}}
		for _, s := range steps() {
			sources = append(sources, s.source(p.URL))
		}
		for _, s := range sources {
			if _, err := s.Proof(ctx); !errors.Is(err, mine) {
				t.Errorf("%T: %v", s, err)
			}
		}
		if len(p.requests) != 0 {
			t.Errorf("%d requests", len(p.requests))
		}
	})
	t.Run("too late", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		_, err := GCPIAM{Role: "r"}.Proof(ctx)
		problem(t, err, plan.CodeUnavailable, "before the deadline")
	})
}

// wrapTLS makes of a certificate's fault what a handshake gives.
func wrapTLS(err error) error { return &tls.CertificateVerificationError{Err: err} }

// TestMetadataHasNoProxy: what it answers is for this machine only.
func TestMetadataHasNoProxy(t *testing.T) {
	if direct().Proxy != nil {
		t.Error("the direct way uses a proxy")
	}
}
