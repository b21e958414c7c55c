package lease_test

import (
	"math"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/lease"
)

// FuzzLife has a server answer any durations at all, one after the other, and
// checks every step of what follows: time goes on, by at least a second; what can
// be replaced before its end is; nothing is renewed that cannot be; an end never
// moves without a renewal that moved it.
func FuzzLife(f *testing.F) {
	for _, ttl := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, int64(time.Second), int64(time.Minute), int64(time.Hour)} {
		f.Add(ttl, int64(time.Minute), int64(time.Second), true, true, uint16(0))
		f.Add(int64(time.Hour), ttl, ttl, true, false, uint16(65535))
	}
	f.Fuzz(func(t *testing.T, first, second, third int64, renewable, still bool, dice uint16) {
		chance := float64(dice) / 65536
		lives := []lease.Life{
			lease.New(start, time.Duration(first), renewable), lease.Until(start, start.Add(time.Duration(first))),
			lease.Rotated(start, time.Duration(first)), lease.New(start, time.Duration(first), renewable).Fixed(),
			{},
		}
		if step, _ := lives[0].Next(chance); first < 0 && step != lease.Replace {
			t.Fatalf("what has ended %v ago is not replaced: %v", -time.Duration(first), step)
		}
		for _, life := range lives {
			now := checkLife(t, life, start, chance)
			for _, ttl := range []int64{second, third, second} {
				life = life.Renewed(now, time.Duration(ttl), still)
				now = checkLife(t, life, now, chance)
			}
		}
		checkWaits(t, time.Duration(first), time.Duration(second), chance)
	})
}

// checkLife gives the time of the next step.
func checkLife(t *testing.T, life lease.Life, now time.Time, chance float64) time.Time {
	t.Helper()
	step, at := life.Next(chance)
	end, ends := life.Expires()
	switch {
	case step == lease.Nothing:
		if ends || life.Renewable && !life.Final {
			t.Fatalf("%+v: nothing is done", life)
		}
		return now
	case at.Sub(now) < time.Second:
		t.Fatalf("%+v: %v after %v", life, step, at.Sub(now))
	case step == lease.Renew && (!life.Renewable || life.Final):
		t.Fatalf("%+v: it is renewed", life)
	case step == lease.Replace && !ends:
		t.Fatalf("%+v: it has no end, and is replaced", life)
	case ends && life.TTL > time.Second && at.After(end):
		t.Fatalf("%+v: %v comes %v after the end", life, step, at.Sub(end))
	case ends && !end.After(now):
		t.Fatalf("%+v: its end has passed when it begins", life)
	}
	return at
}

// checkWaits: a wait has its bounds, and does not get shorter from one failure to the
// next while nothing else changes.
func checkWaits(t *testing.T, left, after time.Duration, chance float64) {
	t.Helper()
	before := time.Duration(0)
	for nth := range 12 {
		wait := lease.Wait(nth, 0, after, chance)
		if wait < before || wait > max(75*time.Second, min(after, 10*time.Minute)) || wait < 2*time.Second {
			t.Fatalf("failure %d: %v after %v", nth, wait, before)
		}
		before = wait
		if wait = lease.Wait(nth, left, after, chance); wait < 2*time.Second || wait > 10*time.Minute {
			t.Fatalf("failure %d, %v left: %v", nth, left, wait)
		}
	}
	if p := lease.Patience(left); p < 2*time.Second || p > 30*time.Second || left > 4*time.Second && p > left/2 {
		t.Fatalf("%v left: patience of %v", left, p)
	}
}
