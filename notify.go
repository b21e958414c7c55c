package main

import (
	"errors"
	"log/slog"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// notifySocket names the socket of a service manager that wants to hear how far we
// are: systemd, for a unit of Type=notify (sd_notify(3), systemd.service(5)).
const notifySocket = "NOTIFY_SOCKET"

// What it is told.
const (
	notifyReady    = "READY=1"    // what was asked for is delivered, and the command of run is there
	notifyStopping = "STOPPING=1" // that goes away now
)

// notify tells the service manager something. It never fails: as sd_notify(3) says, a
// service does its work also where nobody listens. A manager that does not read holds
// us for a second at most.
func (a *app) notify(state string) {
	address, _ := a.lookup(notifySocket)
	if address == "" {
		return
	}
	if err := sendState(address, state); err != nil {
		why := plan.PathCause(err)
		if errors.Is(err, errNotifyAddress) {
			why = err.Error()
		}
		a.logger().Warn("the service manager could not be told of it", slog.String("state", state), slog.String("error", why))
	}
}

var errNotifyAddress = errors.New(notifySocket + " is neither an absolute path nor an abstract name that begins with @")

// sendState sends one datagram, with which the kernel passes on who we are.
func sendState(address, state string) error {
	if len(address) < 2 || !strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "@") {
		return errNotifyAddress
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return err
	}
	for {
		err = unix.Sendto(fd, []byte(state), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: address}) // @ is understood there
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// notifyDuring says that we are ready once the command runs; ended, that it does no
// more.
func (a *app) notifyDuring(started <-chan struct{}) (ended func()) {
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-started:
			a.notify(notifyReady)
		case <-over: // it could not be started
		}
	}()
	return func() {
		select {
		case <-started:
			<-done
			a.notify(notifyStopping)
		default:
		}
		close(over)
		<-done
	}
}
