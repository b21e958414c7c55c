package process

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// aside runs f on a thread that serves nobody afterwards: a goroutine that ends
// while it is locked takes its thread along. New threads do not descend from
// one that is locked, so none inherits what f did to its own.
//
// It is never the main thread. That one cannot end, and what it is counts for the
// whole process: who may signal us, and what /proc says of us.
func aside(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		elsewhere := make(chan struct{})
		aside(func() {
			close(elsewhere)
			f()
		})
		<-elsewhere // as long as we hold the main thread, f gets another
		runtime.UnlockOSThread()
	}()
}

// onThread runs f aside and waits for its end.
func onThread(f func() error) error {
	done := make(chan error, 1)
	aside(func() { done <- f() })
	return <-done
}
