package process

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// Wash overwrites what is left in our heap of what nobody uses any more, and gives the
// memory that is free back to the kernel. The collector only marks memory as free: what
// was read from a connection, decoded or put together stays in it, word by word, until
// something else happens to take its place, which in a process that idles is never.
//
// Pages without anything in use go back to the kernel, which gives out only zeros. The
// free places on the other ones are taken, size by size, which makes the runtime zero
// them, and given up again. Out of reach is what is still referred to, the unused part
// of stacks, and the odd end of a page where no place fits.
//
// It takes some milliseconds of processor time for a heap of a few megabytes, and for
// a moment a megabyte or two. It is meant for who idles next.
func Wash() {
	// Each processor keeps places of its own, which only it takes.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	// What is taken stays taken until we collect it.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range 2 { // what is in a sync.Pool goes with the second
		runtime.GC()
	}
	debug.FreeOSMemory() // first, so that only pages in use have places to be taken
	w := newWasher()
	for size := sizeClass(1); size <= largestClass; size = sizeClass(size + 1) {
		w.fill(size)
	}
	debug.FreeOSMemory()
	w.take(pageSize, ownPages)
	debug.FreeOSMemory()
}

// What the runtime does with pages (runtime/sizeclasses.go, runtime/mpagecache.go).
const (
	pageSize     = 8 << 10
	largestClass = 32 << 10 // the largest size that shares pages with others
	ownPages     = 64       // free ones that a processor keeps, and does not give back
)

// sizeClass rounds up to a size that the runtime has places for: append takes what
// there is.
func sizeClass(n int) int { return cap(append([]byte(nil), make([]byte, n)...)) }

// washer takes memory. It has what it needs for that beforehand, so that nothing else
// is allocated meanwhile.
type washer struct {
	inUse []metrics.Sample
	last  []byte
}

func newWasher() *washer {
	w := &washer{inUse: []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}}
	w.heapInUse()
	return w
}

// fill takes the places of a size on pages in use, until the runtime needs a new page.
// There cannot be more than what is in use: where GOMEMLIMIT has the collector run all
// the same, this comes to an end too.
func (w *washer) fill(size int) {
	n, before := max(pageSize/size, 1), w.heapInUse()
	for taken := 0; uint64(taken) <= before && w.heapInUse() <= before; taken += n * size {
		w.take(size, n)
	}
}

// take takes n places of a size, which the runtime zeroes.
//
//go:noinline
func (w *washer) take(size, n int) {
	for range n {
		w.last = make([]byte, size) // there, so that it is not on the stack
	}
}

// heapInUse gives the bytes of all pages with something in use.
func (w *washer) heapInUse() uint64 {
	metrics.Read(w.inUse)
	return w.inUse[0].Value.Uint64() + w.inUse[1].Value.Uint64()
}
