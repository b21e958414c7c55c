package main

import (
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// How much garbage there may be beside what lives, in percent (GOGC), until everything
// is delivered. With few and small secrets it never comes to a collection, which costs
// more than the few MiB. When it does, there is more than we thought, and with thousands
// it is memory that is short in a pod.
const (
	paceFew   = 200
	paceUsual = 100
	paceMany  = 25
)

func pace(p plan.Plan) int {
	const many = 2000
	if len(p.Files)+len(p.Env) > many {
		return paceMany
	}
	return paceFew
}

// paceInput is for a file that is about to be read, of so many bytes: what a large
// one becomes takes twenty times as much.
func paceInput(size int64) {
	const large = 256 << 10
	if size > large {
		debug.SetGCPercent(paceMany)
	}
}

// paceCollector sets the collector's pace for a bootstrap; restore gives back what it
// was.
func paceCollector(p plan.Plan) (restore func()) {
	first := pace(p)
	before := debug.SetGCPercent(first)
	var mu sync.Mutex
	over := first == paceMany
	// What nobody refers to is cleaned up after the first collection.
	runtime.AddCleanup(&struct{ p *int }{}, func(int) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			debug.SetGCPercent(paceUsual)
		}
	}, 0)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		debug.SetGCPercent(before)
	}
}
