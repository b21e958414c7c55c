package lease_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/lease"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestNext(t *testing.T) {
	tests := []struct {
		name     string
		life     lease.Life
		step     lease.Step
		from, to time.Duration
	}{
		{"renewable", lease.New(start, time.Hour, true), lease.Renew, 36 * time.Minute, 44 * time.Minute},
		{"not renewable", lease.New(start, time.Hour, false), lease.Replace, 45 * time.Minute, 52 * time.Minute},
		{"without an end", lease.New(start, 0, false), lease.Nothing, 0, 0},
		{"renewable, without a TTL", lease.New(start, 0, true), lease.Renew, 5 * time.Minute, 5 * time.Minute},
		{"negative", lease.New(start, -time.Hour, true), lease.Replace, 6 * time.Second, 6 * time.Second},
		{"huge", lease.New(start, math.MaxInt64, true), lease.Renew, 11 * 365 * 24 * time.Hour, 15 * 365 * 24 * time.Hour},
		{"a second", lease.New(start, time.Second, true), lease.Renew, time.Second, time.Second},
		{"a millisecond", lease.New(start, time.Millisecond, true), lease.Replace, 6 * time.Second, 6 * time.Second},
		{"certificate", lease.Until(start, start.Add(24*time.Hour)), lease.Replace, 18 * time.Hour, 21 * time.Hour},
		{"expired certificate", lease.Until(start, start.Add(-time.Hour)), lease.Replace, 6 * time.Second, 6 * time.Second},
		{"static role", lease.Rotated(start, time.Minute), lease.Replace, 61 * time.Second, 62 * time.Second},
		{"static role that is being rotated", lease.Rotated(start, 0), lease.Replace, time.Second, 2 * time.Second},
		{"refused", lease.New(start, time.Hour, true).Fixed(), lease.Replace, 45 * time.Minute, 52 * time.Minute},
		{"nothing", lease.Life{}, lease.Nothing, 0, 0},
	}
	for _, tt := range tests {
		for _, chance := range []float64{0, 0.5, 0.999} {
			step, at := tt.life.Next(chance)
			if step == lease.Nothing && tt.step == lease.Nothing {
				continue
			}
			if after := at.Sub(start); step != tt.step || after < tt.from || after > tt.to {
				t.Errorf("%s, chance %v: %v after %v, want %v from %v to %v", tt.name, chance, step, after, tt.step, tt.from, tt.to)
			}
		}
	}
}

func TestRenewed(t *testing.T) {
	first := lease.New(start, time.Minute, true)
	later := start.Add(40 * time.Second)
	tests := []struct {
		name      string
		ttl       time.Duration
		renewable bool
		step      lease.Step
		latest    time.Duration // of the step, after the renewal
	}{
		{"as asked", time.Minute, true, lease.Renew, 44 * time.Second},
		{"a little less", 58 * time.Second, true, lease.Renew, 44 * time.Second},
		{"more", time.Hour, true, lease.Renew, 44 * time.Minute},
		{"capped", 20 * time.Second, true, lease.Replace, 18 * time.Second},
		{"no longer renewable", time.Minute, false, lease.Replace, 52 * time.Second},
		{"zero", 0, true, lease.Replace, 6 * time.Second},
		{"negative", -1, true, lease.Replace, 6 * time.Second},
	}
	for _, tt := range tests {
		step, at := first.Renewed(later, tt.ttl, tt.renewable).Next(0.999)
		if after := at.Sub(later); step != tt.step || after > tt.latest || after < time.Second {
			t.Errorf("%s: %v after %v", tt.name, step, after)
		}
	}
}

// TestNoCircle plays a server that answers anything at all, and counts how often
// it is asked.
func TestNoCircle(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	odd := []time.Duration{0, -1, 1, time.Millisecond, time.Second, 3 * time.Second, time.Minute, time.Hour, math.MaxInt64, math.MinInt64, -time.Hour}
	for range 2000 {
		ttl := func() time.Duration { return odd[random.IntN(len(odd))] }
		now, life, asked := start, lease.New(start, ttl(), random.IntN(2) == 0), 0
		for now.Sub(start) < time.Minute {
			step, at := life.Next(random.Float64())
			if step == lease.Nothing {
				break
			}
			if at.Sub(now) < time.Second {
				t.Fatalf("%+v: again after %v", life, at.Sub(now))
			}
			now, asked = at, asked+1
			if step == lease.Renew {
				life = life.Renewed(now, ttl(), random.IntN(2) == 0)
			} else {
				life = lease.New(now, ttl(), random.IntN(2) == 0)
			}
		}
		if asked > 61 {
			t.Fatalf("asked %d times in a minute", asked)
		}
	}
}

// TestRenewalsAreFew: a lease of a minute with a max TTL of ten is renewed at
// most twice as often as it has to be, and replaced before its end.
func TestRenewalsAreFew(t *testing.T) {
	const ttl, maxTTL = time.Minute, 10 * time.Minute
	for _, chance := range []float64{0, 0.3, 0.99} {
		life, renewals := lease.New(start, ttl, true), 0
		var now time.Time
		for {
			step, at := life.Next(chance)
			end, _ := life.Expires()
			if at.After(end) {
				t.Fatalf("chance %v: %v comes after the end", chance, step)
			}
			now = at
			if step == lease.Replace {
				break
			}
			renewals++
			life = life.Renewed(now, min(ttl, start.Add(maxTTL).Sub(now)), true)
		}
		if ideal := int(maxTTL / ttl); renewals > 2*ideal {
			t.Errorf("chance %v: %d renewals", chance, renewals)
		}
		if lived := now.Sub(start); lived < maxTTL*8/10 {
			t.Errorf("chance %v: replaced after %v of %v", chance, lived, maxTTL)
		}
	}
}

func TestWait(t *testing.T) {
	tests := []struct {
		nth         int
		left, after time.Duration
		chance      float64
		want        time.Duration
	}{
		{1, 0, 0, 0, 2 * time.Second},
		{2, 0, 0, 0, 4 * time.Second},
		{3, 0, 0, 0, 7 * time.Second},
		{4, 0, 0, 0, 14 * time.Second},
		{6, 0, 0, 0, 56 * time.Second},
		{7, 0, 0, 0, time.Minute},
		{math.MaxInt, 0, 0, 0, time.Minute},
		{0, 0, 0, 0, 2 * time.Second},
		{7, 0, 0, 1, 75 * time.Second},
		{6, 40 * time.Second, 0, 0, 20 * time.Second},
		{5, time.Second, 0, 0, 7 * time.Second},
		{1, 0, 30 * time.Second, 0, 30 * time.Second},
		{1, 0, 24 * time.Hour, 0, 10 * time.Minute},
		{7, -time.Second, 0, 0, time.Minute},
		{1, time.Second, 0, 0, 2 * time.Second},
	}
	for _, tt := range tests {
		if got := lease.Wait(tt.nth, tt.left, tt.after, tt.chance); got != tt.want {
			t.Errorf("Wait(%d, %v, %v, %v) = %v, want %v", tt.nth, tt.left, tt.after, tt.chance, got, tt.want)
		}
	}
}

// TestWaitIsBounded: whatever is left, ten tries take a minute.
func TestWaitIsBounded(t *testing.T) {
	for _, left := range []time.Duration{0, 1, time.Second, 20 * time.Second, time.Hour} {
		for first := 1; first < 9; first++ {
			took := time.Duration(0)
			for nth := first; nth < first+10; nth++ {
				took += lease.Wait(nth, max(left-took, min(left, 1)), 0, 0)
			}
			if took < time.Minute {
				t.Errorf("%v left, from failure %d on: ten tries take %v", left, first, took)
			}
		}
	}
}

// TestLittleLeft: what a max TTL leaves is not spent to the last: there is time
// for another try.
func TestLittleLeft(t *testing.T) {
	const ttl = 20 * time.Second
	for left := time.Second; left < ttl; left += time.Second {
		life := lease.New(start, ttl, true).Renewed(start, left, true)
		step, at := life.Next(0.999)
		end, _ := life.Expires()
		spare := end.Sub(at)
		if want := min(ttl/8, left-time.Second); spare < want && step == lease.Replace {
			t.Errorf("%v left: replaced %v before the end", left, spare)
		}
	}
}

func TestPatience(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		0: 30 * time.Second, 1: 2 * time.Second, 10 * time.Second: 5 * time.Second, time.Hour: 30 * time.Second, -1: 30 * time.Second,
	} {
		if got := lease.Patience(left); got != want {
			t.Errorf("Patience(%v) = %v, want %v", left, got, want)
		}
	}
}
