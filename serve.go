package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/status"
)

// What callers may cost us. A connection has one request, so none is held open for a
// next one, and who is slow is cut off: after a time, or at once when a new one comes
// that would be too many. A probe sends its request as it connects, so it is answered
// however many others say nothing.
const (
	maxExchanges   = 32
	exchangeTime   = 5 * time.Second
	maxRequestHead = 8 << 10
	acceptPause    = time.Second // after an error, such as too many open files
)

func applyListen(b *builder, s string, o plan.Origin) error {
	_, _, err := plan.SplitListen(s)
	if err == nil {
		b.plan.Listen = plan.Set(s, o)
	}
	return err
}

// listen opens the listener that addr asks for; nil when it asks for none. A
// socket in the file system is made with mode 0600 and removed by Close. One that was
// left there by a process of our user that is gone is replaced; nothing else is.
//
// The error is a *plan.Problem: CodeConfig for what is no address, CodeSink for one
// that cannot be had: in use, not ours, no such folder or interface, no permission.
func listen(ctx context.Context, addr plan.Setting[string]) (net.Listener, error) {
	if !addr.IsSet {
		return nil, nil
	}
	what := "listen " + strconv.Quote(addr.Value)
	network, address, err := plan.SplitListen(addr.Value)
	if err != nil {
		return nil, &plan.Problem{Code: plan.CodeConfig, Origin: addr.Origin, What: what, Why: err.Error()}
	}
	var ln net.Listener
	if network == "unix" {
		ln, err = listenSocket(ctx, address)
	} else {
		ln, err = (&net.ListenConfig{}).Listen(ctx, network, address)
	}
	if err != nil {
		p := &plan.Problem{Code: plan.CodeSink, Origin: addr.Origin, What: what, Why: plan.PathCause(err), Err: err}
		switch {
		case errors.Is(err, errForeignSocket):
			p.Why, p.Fix = errForeignSocket.Error(), "remove it, or name another path"
		case errors.Is(err, unix.EADDRINUSE):
			p.Fix = "end the program that listens there, or give another address"
		case errors.Is(err, unix.ENOENT):
			p.Fix = "create the socket's folder, or mount the volume there"
		case errors.Is(err, unix.EADDRNOTAVAIL):
			p.Fix = "give an address of this machine or pod, or leave the host out for every one"
		case errors.Is(err, unix.EACCES):
			p.Fix = "give a port from 1024, or a folder that our user may write to"
		}
		return nil, p
	}
	return ln, nil
}

var errForeignSocket = errors.New("something that is no socket of ours has this name")

// listenSocket listens at a path.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := clearSocket(ctx, path); err != nil {
		return nil, err
	}
	// The socket's own mode, less the umask, becomes that of its name (unix(7)), so
	// that there is no moment in which others may connect.
	mode := func(_, _ string, c syscall.RawConn) error {
		var chmodErr error
		err := c.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmodErr)
	}
	ln, err := (&net.ListenConfig{Control: mode}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	s := &socket{UnixListener: ln.(*net.UnixListener), path: path}
	s.SetUnlinkOnClose(false)
	if s.made, err = os.Lstat(path); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return s, nil
}

// clearSocket removes a socket of our user that nobody listens at any more.
func clearSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Type() != fs.ModeSocket || int(st.Uid) != os.Geteuid() {
		return errForeignSocket
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(unix.EADDRINUSE, conn.Close())
	case !errors.Is(err, unix.ECONNREFUSED):
		return unix.EADDRINUSE // somebody who is too busy to answer
	}
	return os.Remove(path)
}

// socket is a listener that removes its name, and no other that has taken its place.
type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

func (s *socket) Close() error {
	var err error
	if now, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(now, s.made) {
		err = os.Remove(s.path)
	}
	return errors.Join(err, s.UnixListener.Close())
}

// publish listens at addr and, with begin, answers there until a.unpublish; without, it
// only tells whether it could.
func (a *app) publish(parent context.Context, addr plan.Setting[string], begin bool) error {
	ln, err := listen(parent, addr)
	if err != nil || ln == nil {
		return err
	}
	if !begin {
		return ln.Close()
	}
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.serve(ctx, ln, a.board)
	}()
	a.unpublish = func() { cancel(); <-done }
	return nil
}

// serve answers what b has to say at ln until ctx ends; ln is closed then, and what
// is under way is cut off.
func (a *app) serve(ctx context.Context, ln net.Listener, b *status.Board) {
	log := a.logger()
	log.Info("probes and metrics are answered", slog.String("address", ln.Addr().String()))
	if at, ok := ln.Addr().(*net.TCPAddr); ok && at.IP.IsUnspecified() {
		log.Warn("whoever can reach this machine can ask: there is no password and no TLS", slog.String("address", at.String()))
	}
	closing := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer closing()
	var under sync.WaitGroup
	defer under.Wait()
	callers, handler := &callers{}, b.Handler()
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				_ = conn.Close()
			}
			return
		case err != nil:
			log.Debug("a connection could not be accepted", slog.String("error", plan.PathCause(err)))
			pause(ctx, acceptPause)
			continue
		}
		callers.admit(conn)
		under.Go(func() {
			defer callers.leave(conn)
			if err := exchange(ctx, conn, handler); err != nil {
				log.Debug("a probe was not answered", slog.String("error", plan.PathCause(err)))
			}
		})
	}
}

// callers are the connections that are open, the oldest first.
type callers struct {
	mu   sync.Mutex
	open []net.Conn
}

// admit adds a connection, and cuts the oldest off when they are too many.
func (c *callers) admit(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= maxExchanges {
		_ = c.open[0].Close()
		c.open = slices.Delete(c.open, 0, 1)
	}
	c.open = append(c.open, conn)
}

func (c *callers) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = slices.DeleteFunc(c.open, func(other net.Conn) bool { return other == conn })
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// exchange answers the one request of a connection. The parser and the writer are
// those of net/http; its Server, which brings HTTP/2 and TLS, would be half a
// megabyte for three pages of text.
func exchange(ctx context.Context, conn net.Conn, h http.Handler) error {
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() { _ = conn.Close() }()
	defer cut()
	if err := conn.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	answer := &reply{header: http.Header{}, code: http.StatusOK}
	r, err := http.ReadRequest(bufio.NewReader(io.LimitReader(conn, maxRequestHead)))
	switch {
	case err == nil:
		h.ServeHTTP(answer, r)
	case errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded):
		return err // who only connects, as a TCP probe does, is told nothing
	default:
		answer.code = http.StatusBadRequest
	}
	answer.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	sent := http.Response{
		StatusCode: answer.code, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: answer.header, Close: true,
		ContentLength: int64(answer.body.Len()), Body: io.NopCloser(&answer.body),
	}
	return errors.Join(sent.Write(conn), leave(conn))
}

// leave ends a connection so that the answer arrives: closed with something unread,
// it would be reset (RFC 9112, section 9.6).
func leave(conn net.Conn) error {
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok {
		return nil
	}
	if err := half.CloseWrite(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, io.LimitReader(conn, maxRequestHead))
	return err
}

// reply is an answer before it is sent.
type reply struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *reply) Header() http.Header         { return r.header }
func (r *reply) WriteHeader(code int)        { r.code = code }
func (r *reply) Write(b []byte) (int, error) { return r.body.Write(b) }
