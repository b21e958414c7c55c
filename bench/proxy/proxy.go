// Package proxy puts a distance between a client and a server: a TCP proxy that
// delays bytes as a network with a given round-trip time would, and counts the
// HTTP/1.1 requests and the connections that pass.
//
// Bytes arrive half a round trip after they were sent, in order, in both
// directions; bandwidth is not limited. A new connection costs one round trip:
// the kernel completes the handshake at once, so the first bytes of the client
// are held back for as long as the handshake would have taken. TLS is not
// looked into: its bytes are delayed and its requests are not counted.
package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// grace is how long Close waits, beyond the round trip, for connections whose
// client has gone.
const grace = time.Second

// Stats is what passed.
type Stats struct {
	Requests    int
	Connections int
	Limited     int   // answers with status 429, of HTTP/1.1 without TLS
	Bytes       int64 // from the server
}

// Proxy is one listener on loopback. Make it with [Listen].
type Proxy struct {
	listener net.Listener
	backend  string
	rtt      time.Duration

	requests, connections, limited, bytes atomic.Int64

	wg   sync.WaitGroup
	mu   sync.Mutex
	open []net.Conn
}

// Listen starts a proxy on a free loopback port for the server at backend
// (host:port). It ends with ctx or with Close.
func Listen(ctx context.Context, backend string, rtt time.Duration) (*Proxy, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	p := &Proxy{listener: listener, backend: backend, rtt: rtt}
	p.wg.Go(func() { p.accept(ctx) })
	return p, nil
}

// Addr gives the address that clients use, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close stops listening, lets what is under way arrive, and gives the counts.
func (p *Proxy) Close() Stats {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, c := range p.open {
		_ = c.SetReadDeadline(time.Now().Add(p.rtt + grace))
	}
	p.mu.Unlock()
	p.wg.Wait()
	return Stats{
		Requests: int(p.requests.Load()), Connections: int(p.connections.Load()),
		Limited: int(p.limited.Load()), Bytes: p.bytes.Load(),
	}
}

func (p *Proxy) accept(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = p.listener.Close() })
	defer stop()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.connections.Add(1)
		p.wg.Go(func() { p.serve(ctx, client) })
	}
}

// serve connects one client with the server until both sides have closed.
func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	ready := time.Now().Add(p.rtt)
	server, err := new(net.Dialer).DialContext(ctx, "tcp", p.backend)
	if err != nil {
		_ = client.Close()
		return
	}
	p.mu.Lock()
	p.open = append(p.open, client, server)
	p.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()

	var lines sync.WaitGroup
	up := newLine(&lines, server, p.rtt/2, ready)
	down := newLine(&lines, client, p.rtt/2, ready)
	lines.Go(func() {
		_, _ = io.Copy(down, &answers{server, p})
		down.close()
	})
	p.count(io.TeeReader(client, up))
	up.close()
	lines.Wait()
	_, _ = client.Close(), server.Close()
}

// count reads requests until the client has closed. Whatever is no request is
// passed on all the same.
func (p *Proxy) count(client io.Reader) {
	r := bufio.NewReader(client)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			break
		}
		p.requests.Add(1)
		_, _ = io.Copy(io.Discard, req.Body)
	}
	_, _ = io.Copy(io.Discard, r)
}

// answers counts what comes from the server. It has no WriteTo as a connection
// has: io.Copy shall read what there is and hand it on at once.
type answers struct {
	server io.Reader
	proxy  *Proxy
}

// Read sees each answer at the beginning of what it reads: a client that does not
// pipeline has read all of one before it asks for the next.
func (a *answers) Read(b []byte) (int, error) {
	n, err := a.server.Read(b)
	a.proxy.bytes.Add(int64(n))
	if bytes.HasPrefix(b[:n], []byte("HTTP/1.1 429 ")) {
		a.proxy.limited.Add(1)
	}
	return n, err
}

// line is one direction of a connection.
type line struct {
	chunks chan chunk
	delay  time.Duration
	ready  time.Time // nothing leaves before
}

type chunk struct {
	data []byte
	due  time.Time
}

// newLine starts a line to dst; lines waits for its end.
func newLine(lines *sync.WaitGroup, dst net.Conn, delay time.Duration, ready time.Time) *line {
	const underway = 1024 // reads of up to 32 KiB; more than any client here has
	l := &line{chunks: make(chan chunk, underway), delay: delay, ready: ready}
	lines.Go(func() { l.deliver(dst) })
	return l
}

// Write hands data to the line and returns at once.
func (l *line) Write(data []byte) (int, error) {
	l.chunks <- chunk{bytes.Clone(data), l.due()}
	return len(data), nil
}

// close lets the other side see the end of the stream, as late as data.
func (l *line) close() {
	l.chunks <- chunk{nil, l.due()}
	close(l.chunks)
}

func (l *line) due() time.Time {
	now := time.Now()
	if now.Before(l.ready) {
		now = l.ready
	}
	return now.Add(l.delay)
}

func (l *line) deliver(dst net.Conn) {
	var err error
	for c := range l.chunks {
		if err != nil {
			continue // the sender must not block on a receiver that has gone
		}
		if d := time.Until(c.due); d > 0 {
			<-time.After(d)
		}
		if c.data != nil {
			_, err = dst.Write(c.data)
		} else if half, ok := dst.(interface{ CloseWrite() error }); ok {
			err = half.CloseWrite()
		}
	}
}
