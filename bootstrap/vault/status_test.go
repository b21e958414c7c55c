package vault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// statuses are the error statuses that Vault, and what stands before it, gives.
var statuses = []struct {
	status    int
	code      plan.Code
	passing   bool // tried again
	ambiguous bool // but not where it could be done twice
	why       string
}{
	{400, plan.CodeConfig, false, false, "Vault refused the request"},
	{401, plan.CodeDenied, false, false, "permission denied"},
	{403, plan.CodeDenied, false, false, "permission denied"},
	{404, plan.CodeMissing, false, false, "there is no such secret"},
	{405, plan.CodeConfig, false, false, "does not support this operation"},
	{408, plan.CodeUnavailable, true, true, "the request took too long for the server (status 408)"},
	{412, plan.CodeUnavailable, true, false, "cannot serve the request yet"},
	{429, plan.CodeUnavailable, true, false, "quota"},
	{472, plan.CodeUnavailable, true, false, "cannot serve the request yet"},
	{473, plan.CodeUnavailable, true, false, "cannot serve the request yet"},
	{474, plan.CodeUnavailable, true, false, "cannot serve the request yet"},
	{500, plan.CodeUnavailable, true, true, "Vault failed (status 500)"},
	{501, plan.CodeUnavailable, false, false, "Vault failed (status 501)"},
	{502, plan.CodeUnavailable, true, true, "the proxy in front of Vault"},
	{503, plan.CodeUnavailable, true, false, "sealed or not ready"},
	{504, plan.CodeUnavailable, true, true, "Vault failed (status 504)"},
	{530, plan.CodeUnavailable, true, true, "Vault failed (status 530)"},
	{301, plan.CodeProtocol, false, false, "redirected"},
	{302, plan.CodeProtocol, false, false, "redirected"},
	{307, plan.CodeProtocol, false, false, "redirected"},
	{308, plan.CodeProtocol, false, false, "redirected"},
}

// echo is an error body that holds what no error may hold.
const echo = `{"errors":["refused the token ` + canary + `-VAULT_TOKEN for ` + canary + `"]}`

func TestStatusOnceThenGood(t *testing.T) {
	for _, tt := range statuses {
		synctest.Test(t, func(t *testing.T) {
			c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.WriteHeader(tt.status)
					_, _ = io.WriteString(w, echo)
					return
				}
				_, _ = io.WriteString(w, kvAnswer)
			}, nil)
			got, err := read(t.Context(), c, "secret/app")
			s.noCanary(t, err)
			if !tt.passing {
				problem(t, err, tt.code, tt.why)
				if s.count() != 1 {
					t.Errorf("%d: %d requests, want 1", tt.status, s.count())
				}
				return
			}
			if err != nil || s.count() != 2 || got.Version != 3 {
				t.Errorf("%d: %v, %d requests, version %d", tt.status, err, s.count(), got.Version)
			}
		})
	}
}

func TestStatusUntilTheDeadline(t *testing.T) {
	for _, tt := range statuses {
		synctest.Test(t, func(t *testing.T) {
			c, s := inMemory(t, always(tt.status, echo), nil)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			start := time.Now()
			_, err := read(ctx, c, "secret/app")
			problem(t, err, tt.code, tt.why)
			where := "(declared at file: key)"
			if tt.passing { // what time ran out for is the server, and no read's fault
				where = "(declared at here); see that Vault is up, unsealed and reachable from here"
			}
			problem(t, err, tt.code, where)
			s.noCanary(t, err)
			took := time.Since(start)
			if tt.passing && (took < 20*time.Second || took > 30*time.Second || s.count() < 8) {
				t.Errorf("%d: gave up after %v and %d tries", tt.status, took, s.count())
			}
			if !tt.passing && took > 0 {
				t.Errorf("%d: took %v", tt.status, took)
			}
		})
	}
}

// TestStatusOfWhatMustNotBeRepeated: a path that may be dynamic, a login, a
// write.
func TestStatusOfWhatMustNotBeRepeated(t *testing.T) {
	requests := map[string]request{
		"read":  {method: http.MethodGet, path: "database/creds/app", once: true},
		"login": {method: http.MethodPut, path: "auth/approle/login", once: true},
	}
	for _, tt := range statuses {
		for name, r := range requests {
			synctest.Test(t, func(t *testing.T) {
				c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
					if n == 1 {
						refuse(w, tt.status, echo)
						return
					}
					_, _ = io.WriteString(w, kvAnswer)
				}, nil)
				_, err := c.do(t.Context(), r)
				want := 1
				if tt.passing && !tt.ambiguous {
					want = 2
				}
				if s.count() != want || (err == nil) != (want == 2) {
					t.Errorf("%s %d: %d requests, want %d; %v", name, tt.status, s.count(), want, err)
				}
				if tt.ambiguous {
					problem(t, err, tt.code, "not repeated, because the server may have carried it out")
				}
			})
		}
	}
}

// TestGateway: a proxy in front of a restarting Vault answers a login with 502,
// and the login waits for the end of that. Nothing else that must not happen
// twice does, and no other status is taken so lightly.
func TestGateway(t *testing.T) {
	login := func(ctx context.Context, c *Client) error { return c.Login(ctx) }
	dynamic := func(ctx context.Context, c *Client) error {
		_, err := read(ctx, c, "database/creds/app")
		return err
	}
	write := func(ctx context.Context, c *Client) error {
		_, err := c.Generation()(ctx, plan.Read{Path: "auth/approle/login", Op: plan.OpWrite}, nil)
		return err
	}
	tests := []struct {
		name   string
		send   func(context.Context, *Client) error
		status int
		again  bool
	}{
		{"login", login, 502, true},
		{"login", login, 500, false},
		{"login", login, 504, false},
		{"dynamic", dynamic, 502, false},
		{"write", write, 502, false},
	}
	for _, tt := range tests {
		for _, times := range []int{4, 1 << 20} { // it comes back, or does not
			synctest.Test(t, func(t *testing.T) {
				c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
					if n <= times {
						refuse(w, tt.status, "<html>"+canary)
						return
					}
					_, _ = io.WriteString(w, loginAnswer)
				}, appRoleOptions)
				c.kv.learn("database", mount{rule: plan.KV1})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				err := tt.send(ctx, c)
				took := time.Since(start)
				s.noCanary(t, err)
				switch {
				case !tt.again:
					problem(t, err, plan.CodeUnavailable, "not repeated, because the server may have carried it out")
					if took != 0 || s.count() != 1 {
						t.Errorf("%s %d: %d requests in %v", tt.name, tt.status, s.count(), took)
					}
				case times == 4:
					if err != nil || s.count() != 5 {
						t.Errorf("%s %d: %v after %d requests", tt.name, tt.status, err, s.count())
					}
				default:
					problem(t, err, plan.CodeUnavailable, "the proxy in front of Vault has no answer (status 502) until the deadline")
					if took < time.Minute-maxWait || took > time.Minute || s.count() < 10 {
						t.Errorf("%s %d: gave up after %v and %d requests", tt.name, tt.status, took, s.count())
					}
				}
			})
		}
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		header   string
		min, max time.Duration // of the wait
	}{
		{"7", 7*time.Second + 50*time.Millisecond, 7*time.Second + 100*time.Millisecond},
		{"1", time.Second + 50*time.Millisecond, time.Second + 100*time.Millisecond},
		{"0", 50 * time.Millisecond, 100 * time.Millisecond},
		{"-5", 50 * time.Millisecond, 100 * time.Millisecond},
		{"soon", 50 * time.Millisecond, 100 * time.Millisecond},
		{"99999999999999999999", 50 * time.Millisecond, 100 * time.Millisecond},
		{"86400", time.Hour, time.Hour + 100*time.Millisecond},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			c, s := inMemory(t, func(n int, w http.ResponseWriter, _ *http.Request) {
				if n == 1 {
					w.Header().Set("Retry-After", tt.header)
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				_, _ = io.WriteString(w, kvAnswer)
			}, nil)
			start := time.Now()
			_, err := read(t.Context(), c, "secret/app")
			if took := time.Since(start); err != nil || took < tt.min || took > tt.max || s.count() != 2 {
				t.Errorf("Retry-After %s: waited %v (%v)", tt.header, took, err)
			}
		})
	}
}

func TestRetryAfterBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			refuse(w, http.StatusTooManyRequests, "")
		}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := read(ctx, c, "secret/app")
		problem(t, err, plan.CodeUnavailable, "a request quota is used up until the deadline (1 try)")
		if took := time.Since(start); took != 0 || s.count() != 1 {
			t.Errorf("took %v and %d requests", took, s.count())
		}
	})
}

// TestBackoff: the n-th wait is within half of and the whole of its bound.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		c, _ := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			at = append(at, time.Now())
			w.WriteHeader(http.StatusServiceUnavailable)
		}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if _, err := read(ctx, c, "secret/app"); err == nil {
			t.Fatal("no error")
		}
		bound := firstWait
		for i := 1; i < len(at); i++ {
			if wait := at[i].Sub(at[i-1]); wait < bound/2 || wait > bound {
				t.Errorf("wait %d is %v, want %v to %v", i, wait, bound/2, bound)
			}
			bound = min(2*bound, maxWait)
		}
		if len(at) < 20 {
			t.Errorf("%d tries", len(at))
		}
	})
}

// TestLastRealCause: a try that the deadline cut off says nothing of its own.
func TestLastRealCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				refuse(w, http.StatusServiceUnavailable, "")
				return
			}
			<-r.Context().Done()
		}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := read(ctx, c, "secret/app")
		problem(t, err, plan.CodeUnavailable, "Vault is sealed or not ready until the deadline (2 tries)")
	})
}

// TestSilentServer: one try does not cost the whole deadline.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				<-r.Context().Done()
				return
			}
			_, _ = io.WriteString(w, kvAnswer)
		}, nil)
		start := time.Now()
		_, err := read(t.Context(), c, "secret/app")
		if took := time.Since(start); err != nil || s.count() != 2 || took < tryTimeout || took > tryTimeout+firstWait {
			t.Errorf("%v after %v and %d tries", err, took, s.count())
		}
	})
}

// TestSignalEndsTheWait: the cause of the context is the error.
func TestSignalEndsTheWait(t *testing.T) {
	signal := errors.New("signal")
	synctest.Test(t, func(t *testing.T) {
		c, _ := inMemory(t, always(503, ""), nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(signal) })
		start := time.Now()
		_, err := read(ctx, c, "secret/app")
		if took := time.Since(start); !errors.Is(err, signal) || took != 3*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if err := c.Login(ctx); err != nil { // a given token needs no request
			t.Error(err)
		}
	})
}

// TestConnections bounds how many requests are under way.
func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		under := make(chan bool, 3)
		c, s := inMemory(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			select {
			case under <- true:
			default:
				t.Error("too many at once")
			}
			<-time.After(time.Second)
			<-under
			_, _ = io.WriteString(w, kvAnswer)
		}, func(o *Options) { o.Vault.Connections = plan.Set(3, plan.Origin{}) })
		done := make(chan error, 9)
		get := c.Generation()
		start := time.Now()
		for _, name := range strings.Split("a b c d e f g h i", " ") {
			go func() {
				_, err := get(t.Context(), plan.Read{Path: "secret/" + name}, nil)
				done <- err
			}()
		}
		for range 9 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took != 3*time.Second || s.count() != 9 {
			t.Errorf("%d requests took %v, want 9 in 3s", s.count(), took)
		}
	})
}
