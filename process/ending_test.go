package process_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/process"
)

// TestEndingWins: who is asked to end starts no other child, and his child's end
// decides. The SIGTERM to us is the first, and has the whole kill timeout.
func TestEndingWins(t *testing.T) {
	for _, n := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(n.String(), func(t *testing.T) {
			c := control(t, 400*time.Millisecond, nil, "deaf")
			c.want("ready")
			c.want("ready")
			failed := make(chan error, 1)
			go func() { failed <- c.Restart(t.Context(), nth(c.env, 1)) }()
			c.wantAll("got 15", "got 18", "got 18") // its helper is continued too
			asked := time.Now()
			c.signals <- n
			if err := <-failed; !errors.Is(err, process.ErrEnding) {
				t.Errorf("the restart: %v", err)
			}
			if err := c.Restart(t.Context(), nil); !errors.Is(err, process.ErrEnding) {
				t.Errorf("another restart: %v", err)
			}
			rest := c.wantEnd(137, nil)
			if slices.Contains(rest, "ready") || c.Restarts() != 0 {
				t.Errorf("another child was started: %q", rest)
			}
			if slices.Contains(rest, "got 15") {
				t.Errorf("the child got a second SIGTERM: %q", rest)
			}
			if took := time.Since(asked); n == syscall.SIGTERM && took < 400*time.Millisecond {
				t.Errorf("killed after %v", took)
			}
		})
	}
}

// TestSecondTermDuringRestart: it kills at once.
func TestSecondTermDuringRestart(t *testing.T) {
	c := control(t, time.Hour, nil, "deaf")
	c.want("ready")
	c.want("ready")
	failed := make(chan error, 1)
	go func() { failed <- c.Restart(t.Context(), nil) }()
	c.wantAll("got 15", "got 18", "got 18")
	c.signals <- syscall.SIGTERM
	if err := <-failed; !errors.Is(err, process.ErrEnding) {
		t.Error(err)
	}
	select {
	case <-c.ended:
		t.Fatal("the restart's SIGTERM was counted as ours")
	case <-time.After(sameTermAndMore):
	}
	c.signals <- syscall.SIGTERM
	c.wantEnd(137, nil)
}

// TestEndingWinsInTheGroup: also while it is what the child has left that ends.
func TestEndingWinsInTheGroup(t *testing.T) {
	c := control(t, 0, nil, "leave", "deaf", "4")
	// The child ends by itself as soon as its helper is there: this is the way to
	// a group without its leader. A restart comes too late.
	c.want("ready")
	err := c.Restart(t.Context(), nth(c.env, 1))
	if err != nil && !errors.Is(err, process.ErrEnded) {
		t.Error(err)
	}
	c.signals <- syscall.SIGTERM
	<-c.ended
	if c.code != 4 && c.code != 143 || c.err != nil {
		t.Errorf("code %d, %v", c.code, c.err)
	}
	c.end()
}

// TestHangupGoesToTheChild: it asks a daemon to read its configuration again, and
// is no reason to give up a restart.
func TestHangupGoesToTheChild(t *testing.T) {
	c := control(t, 300*time.Millisecond, nil, "deaf")
	c.want("ready")
	c.want("ready")
	failed := make(chan error, 1)
	go func() { failed <- c.Restart(t.Context(), nth(c.env, 1)) }()
	c.wantAll("got 15", "got 18", "got 18")
	c.signals <- syscall.SIGHUP
	c.want("got 1")
	if err := <-failed; err != nil {
		t.Error(err)
	}
	c.want("ready")
	c.want("ready")
	c.signals <- syscall.SIGTERM
	c.wantEnd(137, nil)
}

// TestOwnEndDecides: whenever a child ends by itself, its code is ours, or it is
// started again; the code of the SIGTERM is never ours.
func TestOwnEndDecides(t *testing.T) {
	again := 0
	for range 30 {
		c := control(t, 0, nil, "exit", "5")
		for running := true; running; {
			select {
			case <-c.ended:
				running = false
			default:
				if c.Restarts() >= 5 {
					<-c.ended
				} else if err := c.Restart(t.Context(), c.env); err == nil {
					again++
				} else if !errors.Is(err, process.ErrEnded) { // there is no child yet, or none any more
					t.Fatal(err)
				}
			}
		}
		c.wantEnd(5, nil)
	}
	t.Logf("%d restarts came in time", again)
}
