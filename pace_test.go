package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// gogc gives the collector's pace as it is now.
func gogc() int {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return int(s[0].Value.Uint64())
}

// TestPace: the first collection says that there is more than was thought, and in the end
// all is as before.
func TestPace(t *testing.T) {
	before := debug.SetGCPercent(123)
	t.Cleanup(func() { debug.SetGCPercent(before) })
	restore := paceCollector(plan.Plan{})
	for end := time.Now().Add(time.Minute); gogc() != paceUsual; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after collections it is %d, want %d", gogc(), paceUsual)
		}
		runtime.GC()
	}
	restore()
	if got := gogc(); got != 123 {
		t.Errorf("afterwards it is %d, want 123", got)
	}

	restore = paceCollector(plan.Plan{Files: make([]plan.File, 10_000)})
	if got := gogc(); got != paceMany {
		t.Errorf("with ten thousand files it is %d, want %d", got, paceMany)
	}
	restore()
}
