package render

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// Memory keeps what the clock and chance gave from one execution to the next,
// for a template that is executed again because it lacked a read. Without it a
// write whose body has a time or a fresh hash in it would be another write each
// time. The zero Memory is empty; it may not be used by two goroutines at once.
type Memory struct {
	now  time.Time
	kept map[recollection]any
}

// recollection is the nth call of a function with the same arguments.
type recollection struct {
	program *Program
	call    [sha256.Size]byte
	n       int
}

// now gives the time, which stands still for all executions with one Memory.
func (r *run) now() time.Time {
	m := r.in.Memory
	if m == nil {
		return r.p.now()
	}
	if m.now.IsZero() {
		m.now = r.p.now()
	}
	return m.now
}

// remember gives the result of an earlier execution for a function of chance, or
// keeps that of this one.
func (r *run) remember(f *function, args []any, invoke func() (any, error)) (any, error) {
	m := r.in.Memory
	if !f.varies || m == nil {
		return invoke()
	}
	key := recollection{program: r.id, call: sha256.Sum256(fmt.Appendf(nil, "%s %#v", f.name, args))}
	key.n = r.calls[key.call]
	r.calls[key.call]++
	if v, ok := m.kept[key]; ok {
		return v, nil
	}
	v, err := invoke()
	if err == nil {
		if m.kept == nil {
			m.kept = map[recollection]any{}
		}
		m.kept[key] = v
	}
	return v, err
}
