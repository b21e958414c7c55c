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
// beginning, no pattern begins at the stride places before it. The tables are bit
// sets of hashes, small enough for the processor's nearest cache; a false yes
// costs time only.
type filter struct {
	stride int
	shift  uint     // of the hash, to the size of the tables
	near   []uint64 // the grams that begin at the first stride bytes of a pattern
	heads  []uint64 // the first grams
}

func newFilter(patterns []pattern) filter {
	shortest := maxStride + gram - 1
	for _, p := range patterns {
		shortest = min(shortest, len(p.text))
	}
	stride := shortest - gram + 1
	bits := uint(10)
	for bits < 20 && 1<<bits < 12*stride*len(patterns) {
		bits++
	}
	f := filter{
		stride: stride,
		shift:  32 - bits,
		near:   make([]uint64, 1<<bits/64),
		heads:  make([]uint64, 1<<bits/64),
	}
	for _, p := range patterns {
		for i := range stride {
			set(f.near, hash(p.text[i:])>>f.shift)
		}
		set(f.heads, hash(p.text)>>f.shift)
	}
	return f
}

func hash(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9E3779B1 }

func set(bits []uint64, i uint32)      { bits[i/64] |= 1 << (i % 64) }
func has(bits []uint64, i uint32) bool { return bits[i/64]&(1<<(i%64)) != 0 }

// window is how many bytes skip needs to say anything.
func (f *filter) window() int { return f.stride + gram - 1 }

// skip returns the first place at or after i where a pattern may begin, or where
// too few bytes are left to tell. At none before it one begins.
func (f *filter) skip(b []byte, i int) int {
	reach, shift, near := f.stride-1, f.shift&31, f.near
	p := i + reach
	for ; p+gram <= len(b); p += f.stride {
		if !has(near, hash(b[p:])>>shift) {
			continue
		}
		for start := p - reach; start <= p; start++ {
			if has(f.heads, hash(b[start:])>>shift) {
				return start
			}
		}
	}
	return p - reach
}
