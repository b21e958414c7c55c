package mask

import (
	"cmp"
	"slices"
)

// automaton finds every occurrence of its patterns in one pass (Aho and Corasick
// 1975). It is not changed after it was built, but by wipe.
//
// The states are the starts of patterns. They are numbered in the order of the
// sorted patterns, so that the state one byte on is nearly always the next one,
// and a pattern is a run in memory. The few other ways on, where patterns part,
// are in a hash table. That makes 16 bytes for a state; a table of all bytes for
// all states would take 1,024 and be slower, for it fits in no cache.
type automaton struct {
	filter
	nodes   []node
	root    [256]uint32
	forks   forks
	accepts []accept // by number; 0 is none
	names   []string
	longest int
}

// node is a state.
type node struct {
	fail  uint32 // the state of the longest proper end that is a state too
	match uint32 // the number of the longest pattern that ends here, or 0
	depth uint32 // the length of the start that it stands for
	next  uint16 // the byte that leads to the next state, or none
	fork  bool   // other bytes lead on too
}

const none = 1 << 8

// accept is a pattern that was found.
type accept struct {
	length int64
	next   uint32 // the number of the longest pattern that is an end of this one, or 0
	owners []owner
}

// build makes the automaton of patterns that are sorted and all different.
func build(patterns []pattern, names []string) *automaton {
	states, longest := 1, 0
	var before []byte
	for _, p := range patterns {
		states += len(p.text) - sharedStart(before, p.text)
		longest = max(longest, len(p.text))
		before = p.text
	}
	a := &automaton{
		filter:  newFilter(patterns),
		nodes:   make([]node, 1, states),
		accepts: make([]accept, 1, 1+len(patterns)),
		forks:   newForks(len(patterns)),
		names:   names,
		longest: longest,
	}
	path := make([]uint32, 1, longest+1) // the states of the pattern before
	before = nil
	for _, p := range patterns {
		path = a.insert(path[:sharedStart(before, p.text)+1], p.text)
		before = p.text
		a.accepts = append(a.accepts, accept{length: int64(len(p.text)), owners: p.owners})
		a.nodes[path[len(path)-1]].match = uint32(len(a.accepts) - 1)
	}
	a.link()
	return a
}

// sharedStart is the length of what two texts begin with alike.
func sharedStart(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// insert adds the states of text behind those of path, which it begins with.
func (a *automaton) insert(path []uint32, text []byte) []uint32 {
	for _, c := range text[len(path)-1:] {
		from := path[len(path)-1]
		to := uint32(len(a.nodes))
		n := &a.nodes[from]
		switch {
		case from == 0:
			a.root[c] = to
		case from+1 == to:
			n.next = uint16(c)
		default:
			n.fork = true
			a.forks.put(from, c, to)
		}
		a.nodes = append(a.nodes, node{depth: uint32(len(path)), next: none})
		path = append(path, to)
		if len(path) == gram+1 {
			a.begin(text, to)
		}
	}
	return path
}

// link sets fail and match of all states, level by level: those of a state follow
// from those of shallower ones.
func (a *automaton) link() {
	var level, next []edge
	for c, to := range a.root {
		if to != 0 {
			level = append(level, edge{0, to, byte(c)})
		}
	}
	forks := a.forks.list()
	slices.SortFunc(forks, func(x, y edge) int { return cmp.Compare(a.nodes[x.to].depth, a.nodes[y.to].depth) })
	left := forks
	for depth := uint32(1); len(level) > 0; depth++ {
		next = next[:0]
		for _, e := range level {
			a.linkState(e)
			if n := &a.nodes[e.to]; n.next != none {
				next = append(next, edge{e.to, e.to + 1, byte(n.next)})
			}
		}
		for len(left) > 0 && a.nodes[left[0].to].depth == depth+1 {
			next = append(next, left[0])
			left = left[1:]
		}
		level, next = next, level
	}
	for _, spelled := range [][]edge{level[:cap(level)], next[:cap(next)], forks} {
		clear(spelled)
	}
}

func (a *automaton) linkState(e edge) {
	n := &a.nodes[e.to]
	if e.from != 0 {
		n.fail = a.step(a.nodes[e.from].fail, e.by)
	}
	shorter := a.nodes[n.fail].match
	if n.match == 0 {
		n.match = shorter
	} else {
		a.accepts[n.match].next = shorter
	}
}

type edge struct {
	from, to uint32
	by       byte
}

// step gives the state after one more byte.
func (a *automaton) step(s uint32, c byte) uint32 {
	for s != 0 {
		n := &a.nodes[s]
		if n.next == uint16(c) {
			return s + 1
		}
		if n.fork {
			if to := a.forks.get(s, c); to != 0 {
				return to
			}
		}
		s = n.fail
	}
	return a.root[c]
}

// find goes on in b at i, in state s, to the end of the next occurrence, or of b.
// It returns that place and the state there. The bytes that s stands for must be
// in b before i.
func (a *automaton) find(b []byte, i int, s uint32) (int, uint32) {
	for i < len(b) {
		if depth := int(a.nodes[s].depth); depth < gram {
			if len(b)-(i-depth) < a.window() {
				return a.crawl(b, i, s)
			}
			if i, s = a.skip(b, i-depth); s == 0 {
				continue
			}
			if a.nodes[s].match != 0 {
				return i, s
			}
		}
		var found bool
		if i, s, found = a.walk(b, i, s); found {
			return i, s
		}
	}
	return i, s
}

// walk goes on until an occurrence ends, or what lives is short again.
func (a *automaton) walk(b []byte, i int, s uint32) (int, uint32, bool) {
	nodes := a.nodes
	for i < len(b) {
		n := &nodes[s]
		to := s + 1
		if n.next != uint16(b[i]) {
			to = 0
			if n.fork {
				to = a.forks.get(s, b[i])
			}
			if to == 0 {
				if s = n.fail; nodes[s].depth < gram {
					break
				}
				continue
			}
		}
		s = to
		i++
		if nodes[s].match != 0 {
			return i, s, true
		}
	}
	return i, s, false
}

// crawl does without skip, for the last few bytes.
func (a *automaton) crawl(b []byte, i int, s uint32) (int, uint32) {
	for i < len(b) {
		s = a.step(s, b[i])
		i++
		if a.nodes[s].match != 0 {
			break
		}
	}
	return i, s
}

// wipe overwrites the text of the patterns.
func (a *automaton) wipe() {
	clear(a.nodes)
	clear(a.forks.slots)
	clear(a.root[:])
	a.filter.wipe()
}

// forks maps a state and a byte to a state.
type forks struct {
	slots []edge // with to 0 where it is free
}

func newForks(n int) forks {
	size := 4
	for size < 2*n {
		size *= 2
	}
	return forks{make([]edge, size)}
}

func (f *forks) slot(from uint32, by byte) int {
	i := int((from*31+uint32(by))*0x9E3779B1>>4) & (len(f.slots) - 1)
	for f.slots[i].to != 0 && (f.slots[i].from != from || f.slots[i].by != by) {
		i = (i + 1) & (len(f.slots) - 1)
	}
	return i
}

func (f *forks) put(from uint32, by byte, to uint32) { f.slots[f.slot(from, by)] = edge{from, to, by} }
func (f *forks) get(from uint32, by byte) uint32     { return f.slots[f.slot(from, by)].to }

func (f *forks) list() []edge {
	return slices.DeleteFunc(slices.Clone(f.slots), func(e edge) bool { return e.to == 0 })
}
