package process

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A detached process is our own program, started again to do something after we are
// gone. It has nothing of ours but its orders: a session of its own, so that neither a
// terminal's keys nor the end of our process group reach it, no terminal, the folder /,
// an empty environment, and /dev/null for all three standard streams, because who
// started us may wait until nobody has them open any more.
//
// It ends with the last process of its pid namespace, so it is of no use to process 1.

// detachPatience is how long a detached process may take to say that it is ready.
const detachPatience = 10 * time.Second

// ready is what a detached process says once it needs us no more.
const ready = "ready"

// Detach starts our own program again with argv, whose process calls [Orders], and
// gives it orders. It returns when that process is ready: from then on it lives by
// itself. The error is one of the kernel's; without /proc there is no way to start it.
func Detach(argv []string, orders []byte) (err error) {
	if len(orders) > maxOrders {
		return fmt.Errorf("the orders: %w", syscall.EMSGSIZE)
	}
	conn, pid, err := startHelper(argv, -1)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(conn) }()
	if err := handOver(conn, orders); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return fmt.Errorf("orders: %w", err)
	}
	return nil
}

// handOver sends the orders and waits for the answer.
func handOver(conn int, orders []byte) error {
	limit := unix.NsecToTimeval(detachPatience.Nanoseconds())
	if err := unix.SetsockoptTimeval(conn, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return err
	}
	if err := unix.Sendmsg(conn, orders, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT); err != nil {
		return err
	}
	answer := make([]byte, len(ready))
	n, err := receive(conn, answer)
	if err == nil && string(answer[:n]) != ready {
		err = syscall.EPIPE // it ended
	}
	if err == nil {
		_, err = receive(conn, answer) // until it has let go of the socket
	}
	return err
}

func receive(conn int, buf []byte) (int, error) {
	for {
		n, _, err := unix.Recvfrom(conn, buf, 0)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// Orders is the detached process's part: it gives what [Detach] was given. From
// then on nothing connects it with who started it. Only SIGTERM is left to be heard.
//
// It fails when standard input is not what Detach makes of it.
func Orders() ([]byte, error) {
	ignoreAllButTerm()
	_ = unix.CloseRange(3, ^uint(0), 0) // among what we inherited are pipes of others
	buf := make([]byte, maxOrders)
	n, err := receive(0, buf)
	if err == nil {
		err = unix.Sendmsg(0, []byte(ready), nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	}
	if err == nil {
		err = unix.Dup3(1, 0, 0) // which is /dev/null
	}
	return buf[:n], err
}

func ignoreAllButTerm() {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
		syscall.SIGALRM, syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
}

// BootTime is the time since the machine was started, the time that it slept included
// (clock_gettime(2), CLOCK_BOOTTIME). Nobody can set it.
func BootTime() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // every Linux that Go runs on has it
	return time.Duration(now.Nano())
}

// At gives a channel that is closed at a [BootTime]. It costs a thread until then.
func At(when time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		until := unix.NsecToTimespec(when.Nanoseconds())
		for unix.ClockNanosleep(unix.CLOCK_BOOTTIME, unix.TIMER_ABSTIME, &until, nil) != nil {
			if BootTime() >= when {
				return
			}
		}
	}()
	return done
}
