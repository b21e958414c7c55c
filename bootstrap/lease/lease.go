// Package lease says how long something that Vault gave is believed, and when it
// has to be seen to. It has no clock, no chance and no connection of its own.
//
// Four kinds of things end: a lease or token, which can perhaps be renewed; a
// certificate, by its notAfter; the password of a static role, when Vault
// rotates it; and what an answer wraps. Each is a [Life]. What has no end is no
// business of this package: it is polled.
//
// The contract: whatever the server answers (no TTL, a negative or a huge one,
// less than was asked for, not renewable any more), there is a next step at a
// time that is not now, so that nobody runs in a circle.
package lease

import "time"

// Step is what is to be done next.
type Step uint8

// The steps.
const (
	Nothing Step = iota // it has no end that is known and cannot be renewed
	Renew               // ask for more time
	Replace             // get another one: read again, or log in again
)

// String names the step for logs.
func (s Step) String() string { return [...]string{"nothing", "renew", "replace"}[s] }

const (
	// unknownTTL is when a thing is renewed that can be and says no TTL: the
	// answer may tell.
	unknownTTL = 5 * time.Minute

	// soonest is the shortest time between two steps of something that lives
	// for a second at least; what lives shorter is seen to as seldom as a failure is.
	soonest = time.Second

	// longest bounds a TTL, so that sums of times do not overflow.
	longest = 20 * 365 * 24 * time.Hour

	// afterRotation is how long after its rotation a static role's password is
	// read: Vault's ttl is in whole seconds.
	afterRotation = time.Second

	// slowRotation is how long Vault may take to rotate before what we have
	// counts as expired.
	slowRotation = 10 * time.Second
)

// Life is one thing that ends, as of the answer that told of it. The zero Life
// has no end and needs nothing.
type Life struct {
	Got       time.Time     // when the answer came
	TTL       time.Duration // from then on; 0: no end is known
	Renewable bool
	Asked     time.Duration // what a renewal asks for
	Final     bool          // no renewal moves its end: max TTL, or it was refused

	due time.Duration // when it is replaced, if not by the share of TTL that has passed
}

// New is something with a TTL: a lease, a token, a wrapping. A TTL below 0 is
// none: some answers say so of what has ended already.
func New(now time.Time, ttl time.Duration, renewable bool) Life {
	ttl = min(ttl, longest)
	if ttl < 0 {
		return Life{Got: now, TTL: 1, Final: true}
	}
	return Life{Got: now, TTL: ttl, Renewable: renewable, Asked: ttl}
}

// Until is something that ends at a time of the wall clock, as a certificate does.
func Until(now, end time.Time) Life {
	return Life{Got: now, TTL: max(min(end.Sub(now), longest), 1), Final: true}
}

// Rotated is the password of a static role, which Vault replaces after ttl
// (https://developer.hashicorp.com/vault/docs/secrets/databases#static-roles).
// To read it before that gives the same one.
func Rotated(now time.Time, ttl time.Duration) Life {
	ttl = max(min(ttl, longest), 0)
	return Life{Got: now, TTL: ttl + slowRotation, Final: true, due: ttl + afterRotation}
}

// Renewed is the life after an answer to a renewal. One that gives clearly less
// than was asked for has come up against its max TTL: to renew it again and
// again would halve what is left each time.
func (l Life) Renewed(now time.Time, ttl time.Duration, renewable bool) Life {
	next := New(now, ttl, renewable)
	next.Asked = max(l.Asked, next.TTL)
	next.Final = next.Final || ttl == 0 && l.TTL > 0 || next.TTL < l.Asked-l.Asked/10
	if ttl == 0 && l.TTL > 0 { // it had an end, and this is no promise of none
		next.TTL = 1
	}
	return next
}

// Fixed is the life once it is known that it cannot be renewed.
func (l Life) Fixed() Life {
	l.Final = true
	return l
}

// Expires gives the end; ok is false when none is known.
func (l Life) Expires() (at time.Time, ok bool) {
	return l.Got.Add(l.TTL), l.TTL > 0
}

// Next says what is done next and when. chance, from 0 up to 1, spreads it, so
// that what was started together is not renewed together: a renewal comes at 60
// to 72 % of the life, a replacement, which leaves its consumer time to act, at
// 76 to 86 %, and sooner where a max TTL has left less than a quarter of a whole
// life for that.
func (l Life) Next(chance float64) (Step, time.Time) {
	renew := l.Renewable && !l.Final
	switch {
	case l.TTL <= 0 && renew:
		return Renew, l.Got.Add(unknownTTL)
	case l.TTL <= 0:
		return Nothing, time.Time{}
	case l.due > 0:
		return Replace, l.Got.Add(l.due + share(soonest, 0, 1, chance))
	case l.TTL < soonest:
		return Replace, l.Got.Add(shortestWait)
	case renew:
		return Renew, l.Got.Add(max(share(l.TTL, 0.60, 0.12, chance), soonest))
	}
	at := share(l.TTL, 0.76, 0.10, chance)
	if l.TTL < l.Asked-l.Asked/10 { // little may be left: a try that fails must not be the last
		at = min(at, l.TTL-share(l.Asked, 0.20, 0.05, chance))
	}
	return Replace, l.Got.Add(max(at, soonest))
}

func share(of time.Duration, from, spread, chance float64) time.Duration {
	return time.Duration(float64(of) * (from + spread*chance))
}

const (
	// shortestWait keeps to ten steps a minute for whatever does not even live
	// that long.
	shortestWait = 6 * time.Second

	// A failure may have passed soon, and little may be left: the first two
	// waits are short. With those that follow ten tries still take a minute.
	firstWait, secondWait, steadyWait = 2 * time.Second, 4 * time.Second, 7 * time.Second

	longestWait = time.Minute

	// longestAfter bounds what a server may ask for with Retry-After.
	longestAfter = 10 * time.Minute
)

// Wait says how long to wait after the nth failure in a row, from 1: 2, 4 and 7
// seconds, then twice as long each time up to a minute, and up to a quarter more
// by chance. left is the time until something ends, 0 where nothing does: then
// it is tried again before half of it is over, but not more often than every 7
// seconds. after is what the server asked for (Retry-After), which counts where
// it is longer.
func Wait(nth int, left, after time.Duration, chance float64) time.Duration {
	wait := longestWait
	switch {
	case nth <= 1:
		wait = firstWait
	case nth == 2:
		wait = secondWait
	case nth <= 6:
		wait = min(steadyWait<<(nth-3), longestWait)
	}
	if left > 0 && wait > left/2 && nth > 2 {
		wait = max(left/2, steadyWait)
	}
	wait += share(wait, 0, 0.25, chance)
	return max(wait, min(after, longestAfter))
}

// Late says how long to wait until the password of a static role is asked for again
// that was due and is still the same, after the nth such answer in a row, from 1.
// Vault looks for what is due every 5 seconds, and every 10 for what it could not
// rotate: three waits of 2 seconds cover the first, and 8 seconds each then keep to ten
// tries a minute. Up to a quarter more comes by chance.
func Late(nth int, chance float64) time.Duration {
	wait := lateWait
	if nth <= 3 {
		wait = firstWait
	}
	return wait + share(wait, 0, 0.25, chance)
}

const lateWait = 8 * time.Second

// Patience is how long one request may take for what ends in left, 0 where
// nothing does: there must be time for another.
func Patience(left time.Duration) time.Duration {
	if left <= 0 {
		return longestTry
	}
	return min(max(left/2, shortestTry), longestTry)
}

const (
	shortestTry = 2 * time.Second
	longestTry  = 30 * time.Second
)
