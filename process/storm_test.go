package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// openFiles counts our descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestRestartStorm restarts while signals come all the time and programs run
// beside the child: nothing hangs, and no status, descriptor or process is lost.
func TestRestartStorm(t *testing.T) {
	c := control(t, 0, nil, "generation", "family")
	c.want("ready")
	c.want("generation 0")
	before, stop, stopped := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ { // what a program that has not set up its handlers yet survives
			select {
			case <-stop:
				return
			case c.signals <- []os.Signal{syscall.SIGWINCH, syscall.SIGCONT}[n%2]:
				_ = c.Signal(syscall.SIGWINCH)
				<-time.After(100 * time.Microsecond) // the children need the processor too
			}
		}
	}()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 12*patience, errors.New("it hangs"))
	defer cancel()
	for n := 1; n <= 200; n++ {
		codes := make(chan string, 1)
		go func() {
			code, err := c.Command(ctx, hook(nil, "exit", strconv.Itoa(n%256)))
			codes <- fmt.Sprint(code, err)
		}()
		if err := c.Restart(ctx, nth(c.env, n)); err != nil || c.Restarts() != n {
			t.Fatalf("restart %d: %v, counted %d", n, err, c.Restarts())
		}
		for got := ""; got != "generation "+strconv.Itoa(n) && !t.Failed(); {
			got, _ = cutFields(c.next(), 2)
		}
		if got := <-codes; got != fmt.Sprint(n%256, nil) {
			t.Fatalf("a program beside it: %s, want %d", got, n%256)
		}
		if n == 20 {
			before = openFiles(t)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	close(stop)
	<-stopped
	for end := time.Now().Add(patience); len(childrenOf(t, os.Getpid())) != 1; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("we have the children %v, want the command alone", childrenOf(t, os.Getpid()))
		}
	}
	c.signals <- syscall.SIGTERM
	c.wantEnd(210, nil)
}
