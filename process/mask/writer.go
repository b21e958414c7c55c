package mask

import (
	"bytes"
	"io"
	"slices"
)

// What is looked at in one go; it bounds the buffers.
const piece = 32 << 10

// Writer passes a stream on, masked. It is for one goroutine at a time.
type Writer struct {
	set   *Set
	dst   io.Writer
	found func(Hit)

	err    error // for every Write from now on
	closed bool

	auto  *automaton
	state uint32

	// Places are counted from the beginning of the stream. buf[head:] is what is
	// held back, and base is the place of its first byte.
	buf     []byte
	head    int
	base    int64
	spans   []span // what is to be masked in it: in order, apart from each other
	covered int64  // the end of what the last mark stands for; -1 before there is one
	out     []byte

	reported []int64 // by secret: the end of its last occurrence; -1 before there is one
	lineAt   int64   // a place,
	line     int     // and its line
}

// span is a part of the stream, without the byte at its end.
type span struct{ start, end int64 }

// Writer returns a Writer to dst. found, which may be nil, is called for every
// occurrence of a secret, before anything of it is passed on; for occurrences of
// one secret that overlap or touch it is called once.
func (s *Set) Writer(dst io.Writer, found func(Hit)) *Writer {
	return &Writer{set: s, dst: dst, found: found, auto: s.current.Load(), covered: -1, line: 1}
}

// Write passes on what can be. An error is that of the destination, or
// [io.ErrShortWrite]; it stays, as a part of the output is lost. The count is of
// the bytes that were taken before.
func (w *Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) && w.err == nil {
		next := p[done:min(done+piece, len(p))]
		if w.feed(next); w.err == nil {
			done += len(next)
		}
	}
	return done, w.err
}

// Close passes on what is held back: the stream has ended, so that it is no
// secret. It overwrites the buffers and does not close the destination. After it
// every Write fails.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	w.follow()
	if w.err == nil {
		w.release(len(w.buf) - w.head)
	}
	err := w.err
	w.err = io.ErrClosedPipe
	clear(w.buf[:cap(w.buf)])
	clear(w.out[:cap(w.out)])
	w.buf, w.head = w.buf[:0], 0
	return err
}

func (w *Writer) feed(p []byte) {
	w.follow()
	w.room(len(p))
	from := len(w.buf)
	w.buf = append(w.buf, p...)
	w.examine(from)
	w.release(len(w.buf) - w.head - int(w.auto.nodes[w.state].depth))
}

// follow changes to the set's newest automaton, and looks again at what is held
// back.
func (w *Writer) follow() {
	newest := w.set.current.Load()
	for len(w.reported) < len(newest.names) {
		w.reported = append(w.reported, -1)
	}
	if w.auto != newest {
		w.auto, w.state = newest, 0
		w.spans = w.spans[:0]
		w.examine(w.head)
	}
}

// room makes room for n bytes, by moving what is held back to the front.
func (w *Writer) room(n int) {
	if len(w.buf)+n <= cap(w.buf) {
		return
	}
	held := len(w.buf) - w.head
	if old := w.buf; held+n > cap(old) {
		w.buf = make([]byte, held, max(held, w.auto.longest)+max(n, min(2*cap(old), piece), 512))
		copy(w.buf, old[w.head:])
		clear(old)
	} else {
		copy(w.buf, w.buf[w.head:])
		w.buf = w.buf[:held]
	}
	w.head = 0
}

// examine looks for occurrences that end after buf[from].
func (w *Writer) examine(from int) {
	for from < len(w.buf) {
		from, w.state = w.auto.find(w.buf, from, w.state)
		if match := w.auto.nodes[w.state].match; match != 0 {
			w.mark(w.base+int64(from-w.head), match)
		}
	}
}

// mark notes that a pattern, and with it those that are ends of it, ends at end.
func (w *Writer) mark(end int64, match uint32) {
	s := span{end - w.auto.accepts[match].length, end}
	for n := len(w.spans); n > 0 && w.spans[n-1].end >= s.start; n-- {
		s.start = min(s.start, w.spans[n-1].start)
		w.spans = w.spans[:n-1]
	}
	w.spans = append(w.spans, s)
	for ; w.found != nil && match != 0; match = w.auto.accepts[match].next {
		for _, o := range w.auto.accepts[match].owners {
			w.report(o, end-w.auto.accepts[match].length, end)
		}
	}
}

func (w *Writer) report(o owner, start, end int64) {
	if start > w.reported[o.secret] {
		w.found(Hit{Name: w.auto.names[o.secret], Kind: o.kind, Offset: start, Line: w.lineOf(start)})
	}
	w.reported[o.secret] = max(w.reported[o.secret], end)
}

// lineOf gives the line of a place that is not before base. It counts from the
// last one that was asked for, in either direction.
func (w *Writer) lineOf(place int64) int {
	held := w.buf[w.head:]
	in := func(from, to int64) int {
		return bytes.Count(held[from-w.base:to-w.base], []byte{'\n'})
	}
	if place >= w.lineAt {
		w.line += in(w.lineAt, place)
	} else {
		w.line -= in(place, w.lineAt)
	}
	w.lineAt = place
	return w.line
}

// release passes on n bytes of what is held back, which no later occurrence can
// reach. A mark is written as soon as its beginning is certain; what then turns
// out to belong to it is only left out.
func (w *Writer) release(n int) {
	end := w.base + int64(n)
	if w.found != nil && w.lineAt < end {
		w.lineOf(end)
	}
	held := w.buf[w.head:]
	if len(w.spans) == 0 && w.covered <= w.base {
		w.send(held[:n])
	} else {
		w.out = w.out[:0]
		at, spans := w.base, w.spans
		for len(spans) > 0 && spans[0].start <= end {
			w.out = appendFrom(w.out, held, max(at, w.covered)-w.base, spans[0].start-w.base)
			if spans[0].start > w.covered {
				w.out = append(w.out, w.set.mark...)
			}
			w.covered = max(w.covered, spans[0].end)
			at, spans = spans[0].end, spans[1:]
		}
		w.out = appendFrom(w.out, held, max(at, w.covered)-w.base, end-w.base)
		w.spans = slices.Delete(w.spans, 0, len(w.spans)-len(spans))
		w.send(w.out)
	}
	w.head += n
	w.base = end
}

// appendFrom appends b[from:to], which may be nothing.
func appendFrom(dst, b []byte, from, to int64) []byte {
	if from >= to {
		return dst
	}
	return append(dst, b[from:to]...)
}

func (w *Writer) send(b []byte) {
	if len(b) == 0 {
		return
	}
	n, err := w.dst.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	w.err = err
}

// Scan reads r to its end and calls found for every secret in it, as a [Writer]
// does. The error is the one from reading.
func (s *Set) Scan(r io.Reader, found func(Hit)) error {
	w := s.Writer(io.Discard, found)
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, make([]byte, piece))
	if closed := w.Close(); err == nil {
		err = closed
	}
	return err
}
