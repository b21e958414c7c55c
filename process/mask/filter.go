package mask

import "encoding/binary"

const (
	gram      = 4  // bytes that are looked up at once
	maxStride = 10 // more makes the tables fuller and gains nothing
)

// filter finds out fast where no pattern can begin.
//
// With no pattern shorter than stride+gram-1, every occurrence holds a gram that
// lies at a multiple of the stride, counted from anywhere. So it is enough to
// look at one gram in stride: when none of the patterns has it near its
// beginning, no pattern begins at the stride places before it. The first tables
// are bit sets of hashes, small enough for the processor's nearest cache; a false
// yes costs time only.
type filter struct {
	stride int
	shift  uint     // of the hash, to the size of the tables
	near   []uint64 // the grams that begin at the first stride bytes of a pattern
	first  []uint64 // the first grams
	starts []start  // the same, exactly
}

// start is the first gram of a pattern and its state.
type start struct {
	gram  uint32
	state uint32 // 0 where the slot is free
}

func newFilter(patterns []pattern) filter {
	shortest := maxStride + gram - 1
	for _, p := range patterns {
		shortest = min(shortest, len(p.text))
	}
	stride := shortest - gram + 1
	slots := 16
	for slots < 2*len(patterns) {
		slots *= 2
	}
	bits := uint(10)
	for bits < 20 && 1<<bits < 12*stride*len(patterns) {
		bits++
	}
	f := filter{
		stride: stride,
		shift:  32 - bits,
		near:   make([]uint64, 1<<bits/64),
		first:  make([]uint64, 1<<bits/64),
		starts: make([]start, slots),
	}
	for _, p := range patterns {
		for i := range stride {
			set(f.near, hash(p.text[i:])>>f.shift)
		}
		set(f.first, hash(p.text)>>f.shift)
	}
	return f
}

func hash(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9E3779B1 }

func set(bits []uint64, i uint32)      { bits[i/64] |= 1 << (i % 64) }
func has(bits []uint64, i uint32) bool { return bits[i/64]&(1<<(i%64)) != 0 }

// window is how many bytes skip needs to say anything.
func (f *filter) window() int { return f.stride + gram - 1 }

// skip finds the first place at or after i where a pattern begins, as far as its
// first gram goes, and returns the place behind that gram and its state. When
// there is none it returns the first place where too few bytes are left to tell,
// and 0.
func (f *filter) skip(b []byte, i int) (int, uint32) {
	reach, shift, near := f.stride-1, f.shift&31, f.near
	p := i + reach
	for ; p+gram <= len(b); p += f.stride {
		if !has(near, hash(b[p:])>>shift) {
			continue
		}
		for at := p - reach; at <= p; at++ {
			if has(f.first, hash(b[at:])>>shift) {
				if s := f.slot(b[at:]).state; s != 0 {
					return at + gram, s
				}
			}
		}
	}
	return p - reach, 0
}

// begin notes the state of the first gram of a pattern.
func (f *filter) begin(text []byte, state uint32) {
	*f.slot(text) = start{binary.LittleEndian.Uint32(text), state}
}

// slot is where a gram is in starts, or would be.
func (f *filter) slot(b []byte) *start {
	want := binary.LittleEndian.Uint32(b)
	i := int(hash(b)>>8) & (len(f.starts) - 1)
	for f.starts[i].state != 0 && f.starts[i].gram != want {
		i = (i + 1) & (len(f.starts) - 1)
	}
	return &f.starts[i]
}

func (f *filter) wipe() {
	clear(f.near)
	clear(f.first)
	clear(f.starts)
}
