// Package mask hides secrets in a stream of bytes, and finds them in files.
//
// The contract:
//
//   - What comes out depends on the bytes alone: not on how they were cut into
//     writes, and on no clock.
//   - Every occurrence of every form of a secret counts, also those that overlap.
//     What overlapping and touching occurrences cover together becomes one mark.
//     All other bytes pass unchanged and in order.
//   - Only what may still become an occurrence is held back: the longest end of
//     the stream that is the start of a form. A prompt shows at once.
//   - Secrets may be added while streams are running. They count from the next
//     write on, and for what is held back then; what was passed on is gone.
//
// The forms are the value itself, its lines and its usual encodings; see
// docs/masking.md for all of them, and for what no masker can see.
package mask

import (
	"bytes"
	"slices"
	"sync"
	"sync/atomic"
)

// Secret is one value to hide. The name is what reports say in its place.
type Secret struct {
	Name  string
	Value []byte
}

// Skipped says of which secret not every form is looked for, and why. It never
// holds a part of the value.
type Skipped struct {
	Name string
	Why  string
}

// Hit is one place where a secret was found.
type Hit struct {
	Name   string // of the secret
	Kind   string // the form it had: literal, line, base64, hex, url, json, xml, quoted or shell
	Offset int64  // of its first byte in the stream, from 0
	Line   int    // of its first byte, from 1
}

// defaultMin is how long a value must be, in bytes, where nobody says otherwise.
const defaultMin = 6

// Options are the choices of a Set. The zero value has the defaults.
type Options struct {
	Mark string // in place of what is hidden; *** when empty
	Min  int    // shorter values are skipped; 6 when 0, and at least 4
}

// Set is a set of secrets, ready to be looked for in any number of streams at
// the same time. Its methods may be called from several goroutines, but see Wipe.
type Set struct {
	mark string
	min  int

	mu       sync.Mutex // guards names and patterns
	names    []string
	patterns []pattern

	current atomic.Pointer[automaton]
}

// New builds a Set. Values that would hide ordinary text are left out and
// returned, see Add.
func New(o Options, secrets ...Secret) (*Set, []Skipped) {
	s := &Set{mark: o.Mark, min: max(o.Min, gram)}
	if o.Mark == "" {
		s.mark = "***"
	}
	if o.Min == 0 {
		s.min = defaultMin
	}
	s.current.Store(build(nil, nil))
	return s, s.Add(secrets...)
}

// Add adds secrets, for streams that are already running too: when it has
// returned, the next write of each knows them. It keeps no reference to the
// values. It returns those that are not looked for at all, being too short, too
// long or too common, and those of which only some forms are.
func (s *Set) Add(secrets ...Secret) []Skipped {
	s.mu.Lock()
	defer s.mu.Unlock()
	var skipped []Skipped
	g := generator{min: s.min}
	for _, secret := range secrets {
		value := bytes.Trim(secret.Value, " \t\r\n")
		why, nothing := s.doubt(value)
		if why != "" {
			skipped = append(skipped, Skipped{secret.Name, why})
		}
		if !nothing {
			g.generate(s.index(secret.Name), value)
		}
	}
	if len(g.patterns) == 0 {
		return skipped
	}
	s.patterns = unite(append(s.patterns, g.patterns...))
	s.current.Store(build(s.patterns, slices.Clone(s.names)))
	return skipped
}

// index gives the number of a name; one name may have several values, as that of
// a rotated secret has.
func (s *Set) index(name string) int {
	if i := slices.Index(s.names, name); i >= 0 {
		return i
	}
	s.names = append(s.names, name)
	return len(s.names) - 1
}

// Wipe overwrites the secrets in every form that the set keeps, after which it
// hides nothing. No Writer of the set may be in use. Copies that the runtime
// made, and what an earlier Add replaced, are out of reach.
func (s *Set) Wipe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.patterns {
		clear(p.text)
	}
	s.current.Load().wipe()
	s.patterns = nil
	s.current.Store(build(nil, nil))
}

// pattern is one form of one or several secrets.
type pattern struct {
	text   []byte
	owners []owner
}

// owner is the secret, by number, that a pattern is a form of.
type owner struct {
	secret int
	kind   string
}

// unite sorts patterns and makes equal ones one. Of one secret's kinds with the
// same text the first stays.
func unite(patterns []pattern) []pattern {
	slices.SortStableFunc(patterns, func(a, b pattern) int { return bytes.Compare(a.text, b.text) })
	n := 0
	for _, p := range patterns {
		if n == 0 || !bytes.Equal(patterns[n-1].text, p.text) {
			patterns[n] = p
			n++
			continue
		}
		last := &patterns[n-1]
		for _, o := range p.owners {
			if !slices.ContainsFunc(last.owners, func(have owner) bool { return have.secret == o.secret }) {
				last.owners = append(last.owners, o)
			}
		}
		clear(p.text)
	}
	clear(patterns[n:])
	return patterns[:n]
}
