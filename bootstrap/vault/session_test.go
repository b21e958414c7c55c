package vault

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TestCloseDuringRelogin: the token of a login under way is revoked as well,
// by Close or, when it comes too late for that, at once.
func TestCloseDuringRelogin(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, closeTimeout + time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := &fresh{}
			slow := false
			c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if slow && strings.HasSuffix(r.URL.Path, "/login") {
					time.Sleep(takes)
				}
				f.answer(n, w, r)
			}, appRoleOptions)
			if err := c.Login(t.Context()); err != nil {
				t.Fatal(err)
			}
			slow = true
			again := make(chan error)
			go func() { again <- c.Relogin(t.Context()) }()
			synctest.Wait()
			start := time.Now()
			err := c.Close(t.Context())
			if took := time.Since(start); took != min(takes, closeTimeout) {
				t.Errorf("took %v: %v", took, err)
			}
			loginErr := <-again
			got := strings.Join(f.sent, ", ")
			if takes < closeTimeout && (err != nil || loginErr != nil || got != canary+"-1 auth/token/revoke-self, "+canary+"-2 auth/token/revoke-self") {
				t.Errorf("%v, %v: %s", err, loginErr, got)
			}
			if takes > closeTimeout && (err == nil || plan.CodeOf(loginErr) != plan.CodeUnavailable || !strings.Contains(got, canary+"-2 auth/token/revoke-self")) {
				t.Errorf("%v, %v: %s", err, loginErr, got)
			}
			s.noCanary(t, err)
		})
	}
}

// TestCloseDuringRenewal: neither waits for the other, and a renewal that is
// answered late changes nothing that Close has to do.
func TestCloseDuringRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fresh{}
		c, s := inMemory(t, func(n int, w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "renew") {
				time.Sleep(time.Minute / 6)
				refuse(w, 403, badToken)
				return
			}
			f.answer(n, w, r)
		}, appRoleOptions)
		if err := c.Login(t.Context()); err != nil {
			t.Fatal(err)
		}
		id := dynamic(t, c, "database/creds/app")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.RenewToken(t.Context(), 0); !errors.Is(err, ErrTokenLost) {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := c.RenewLease(t.Context(), id, 0); !errors.Is(err, ErrTokenLost) {
				t.Error(err)
			}
		})
		synctest.Wait()
		start := time.Now()
		if err := c.Close(t.Context()); err != nil || time.Since(start) != 0 || len(f.sent) != 1 {
			t.Errorf("%v after %v, %q", err, time.Since(start), f.sent)
		}
		wg.Wait()
		if _, login, reads := c.Record(); !login.Revoked || !reads[0].Revoked || s.count() != 5 {
			t.Errorf("%+v %+v", login, reads)
		}
	})
}

// TestBookStaysSmall: a million refreshes with a lease each, a login now and
// then, and a path that is another one each time leave no more behind than what
// is delivered.
func TestBookStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := (&fresh{}).loggedIn(t, appRoleOptions)
		made := &answer{Auth: &authInfo{ClientToken: canary}, LeaseDuration: 60}
		for i := range 1_000_000 {
			time.Sleep(40 * time.Second)
			if i%1000 == 0 {
				if err := c.Relogin(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			made.by = c.session
			made.by.since = time.Now() // it is renewed all the time
			s := secret.Secret{LeaseID: fmt.Sprintf("database/creds/app/%d", i), Lease: time.Minute, Auth: &secret.Auth{ClientToken: secret.New([]byte(canary)), Lease: time.Minute}}
			c.note(plan.Read{Path: "database/creds/app"}, "database/creds/app", made, s)
			c.noteFailure(plan.Read{Path: "secret/app"}, "secret/data/app", io.EOF)
			if i%80 == 0 {
				path := fmt.Sprintf("pki/cert/%d", i)
				c.note(plan.Read{Path: path}, path, &answer{by: c.session}, secret.Secret{})
			}
			if len(c.book.leases) > 2 || len(c.book.tokens) > 2 || len(c.former) > 1 || len(c.book.reads) > maxReads {
				t.Fatalf("after %d: %d leases, %d tokens, %d logins, %d reads", i, len(c.book.leases), len(c.book.tokens), len(c.former), len(c.book.reads))
			}
		}
		if len(c.book.reads) != maxReads || c.book.reads[asked(plan.Read{Path: "database/creds/app"}, "database/creds/app")] == nil || !c.HasLeases() {
			t.Errorf("%d reads", len(c.book.reads))
		}
		time.Sleep(time.Minute)
		if c.HasLeases() {
			t.Error("leases that are over count")
		}
	})
}

// TestRefreshReplacesTheLine: the record has each read once, as it was last,
// and a failure beside it until it is over.
func TestRefreshReplacesTheLine(t *testing.T) {
	f := &fresh{}
	c, _ := f.loggedIn(t, appRoleOptions)
	var last string
	for range 3 {
		last = dynamic(t, c, "database/creds/app")
	}
	f.say("GET database/creds/app", 500, echo)
	if _, err := c.Attempt()(t.Context(), plan.Read{Path: "database/creds/app", KV: plan.KVLiteral}, nil); err == nil {
		t.Fatal("no error")
	}
	_, _, reads := c.Record()
	if len(reads) != 2 || reads[0].Code != int(plan.CodeUnavailable) || reads[1].LeaseID != last || len(c.book.leases) != 3 {
		t.Errorf("%+v", reads)
	}
	delete(f.says, "GET database/creds/app")
	last = dynamic(t, c, "database/creds/app")
	if _, _, reads = c.Record(); len(reads) != 1 || reads[0].LeaseID != last {
		t.Errorf("%+v", reads)
	}
	for id := range c.book.leases {
		c.Drop(id)
	}
	if c.HasLeases() {
		t.Error("forgotten leases count")
	}
}
