package bootstrap

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/secretboot/secretboot/bootstrap/lease"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

// defaultEvery is how often a secret without a lease is read again when the plan
// does not say.
const defaultEvery = 5 * time.Minute

// thing is one answer, or the token, and what becomes of it.
type thing struct {
	need     render.Need
	leaseID  string
	life     lease.Life
	every    time.Duration // of polling; 0 is never
	step     lease.Step    // what is due; for a poll, Replace
	due      time.Time     // zero: never
	busy     bool          // a renewal is under way
	failures int           // in a row
	falls    []time.Time   // failures within the last minute, also those that something good came between
	expired  bool          // its end has come, and that was told
}

// memory is for how long a failure makes the next one's wait longer, so that what
// fails now and then is not tried more often than what fails all the time.
const memory = time.Minute

// fell notes a failure, and gives how many it counts as: those in a row, or those
// that are remembered.
func (t *thing) fell(now time.Time) int {
	t.failures++
	t.falls = append(slices.DeleteFunc(t.falls, func(at time.Time) bool { return now.Sub(at) >= memory }), now)
	return max(t.failures, len(t.falls))
}

// again makes something due that was in the way of others' failures, at once unless it
// has failed so often itself that this would be too much.
func (k *keeper) again(t *thing, now time.Time) {
	t.step, t.due = lease.Replace, now
	if n := len(t.falls); n > mostAtOnce && now.Sub(t.falls[0]) < memory {
		t.due = now.Add(lease.Wait(n, t.left(now), 0, k.Chance()))
	}
}

// mostAtOnce is how often something may have failed within the last minute to be tried
// at once when a new token comes.
const mostAtOnce = 3

// mayBegin reports whether its step can begin: what is read again is read together.
func (t *thing) mayBegin(refreshing bool) bool {
	return !t.busy && (t.step == lease.Renew || !refreshing)
}

// left is the time until it ends; 0: it has no end.
func (t *thing) left(now time.Time) time.Duration {
	end, ok := t.life.Expires()
	if !ok {
		return 0
	}
	return max(end.Sub(now), 1)
}

// deadline is its end, once it could not be seen to in time; zero: that is not so.
func (t *thing) deadline() time.Time {
	end, ok := t.life.Expires()
	if !ok || t.expired || t.failures == 0 {
		return time.Time{}
	}
	return end
}

// schedule sets what comes next after something went well.
func (k *keeper) schedule(t *thing, now time.Time) {
	t.failures = 0
	t.step, t.due = t.life.Next(k.Chance())
	if t.step != lease.Nothing || t.every <= 0 {
		return
	}
	t.step, t.due = lease.Replace, now.Add(t.every+time.Duration(k.Chance()*float64(k.splay(t.every))))
}

// splay is how much chance may add to an interval, so that what was started
// together does not ask together.
func (k *keeper) splay(every time.Duration) time.Duration {
	return k.job.plan.Refresh.Splay.Or(every / 10)
}

// watch makes the things of the current generation. Those that fresh does not
// name go on as they are; with nil all are new.
func (k *keeper) watch(now time.Time, fresh map[string]bool) {
	g, old := k.held.generation, k.things
	k.things = make(map[string]*thing, len(g.needs))
	users := g.users()
	polls := map[time.Duration]time.Time{} // what is polled as often is polled together
	for key, need := range g.needs {
		if t := old[key]; t != nil && fresh != nil && !fresh[key] {
			k.things[key] = t
			continue
		}
		answer := g.answers[key]
		t := &thing{need: need, leaseID: answer.Secret.LeaseID, life: lifeOf(g.asked[key], answer.Secret), every: k.every(g, key, users[key])}
		if before := old[key]; before != nil {
			t.falls = before.falls
		}
		k.things[key] = t
		k.schedule(t, now)
		if !polled(t) {
			continue
		}
		if at, ok := polls[t.every]; ok {
			t.due = at
		}
		polls[t.every] = t.due
	}
	for key, t := range old {
		if k.things[key] != t && t.leaseID != "" {
			end, _ := t.life.Expires()
			k.ended = append(k.ended, endedLease{t.leaseID, end})
		}
	}
}

// polled reports whether a thing has no end of its own, so that only reading it
// again shows whether it is still true.
func polled(t *thing) bool { return t.life.TTL <= 0 && t.every > 0 && t.step == lease.Replace }

// lifeOf finds out how long an answer is believed. The zero Life is for what
// stays true until somebody changes it.
func lifeOf(now time.Time, s secret.Secret) lease.Life {
	data := s.Data.Reveal()
	seconds := func(name string) (time.Duration, bool) {
		n, ok := data[name].(json.Number)
		if !ok {
			return 0, false
		}
		v, err := n.Int64()
		return time.Duration(max(min(v, 1<<32), -1)) * time.Second, err == nil
	}
	ttl, hasTTL := seconds("ttl")
	_, rotates := data["last_vault_rotation"]
	_, certified := data["certificate"].(string)
	switch {
	case s.LeaseID != "":
		return lease.New(now, s.Lease, s.Renewable)
	case s.KV2:
		return lease.Life{}
	case hasTTL && rotates:
		return lease.Rotated(now, ttl)
	case certified:
		if end, ok := notAfter(data); ok {
			return lease.Until(now, end)
		}
	case s.Auth != nil && s.Auth.Lease > 0:
		return lease.New(now, s.Auth.Lease, false)
	case s.Wrap != nil && s.Wrap.TTL > 0:
		return lease.New(now, s.Wrap.TTL, false)
	case hasTTL && ttl > 0 && s.MountType != "" && !isKV(s.MountType):
		return lease.New(now, ttl, false)
	}
	return lease.Life{}
}

// notAfter gives the end of an issued certificate
// (https://developer.hashicorp.com/vault/api-docs/secret/pki#generate-certificate-and-key).
func notAfter(data map[string]any) (time.Time, bool) {
	if n, ok := data["expiration"].(json.Number); ok {
		if unix, err := strconv.ParseInt(n.String(), 10, 64); err == nil && unix > 0 {
			return time.Unix(unix, 0), true
		}
	}
	text, _ := data["certificate"].(string)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return time.Time{}, false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, false
	}
	return cert.NotAfter, true
}

func isKV(mountType string) bool {
	return mountType == "kv" || mountType == "generic" || mountType == "cubbyhole"
}

// every gives how often an answer is read again: the shortest that is declared
// for something made of it. What a read could make anew each time, because it is
// a write or not from a KV engine, is only read again when that was asked for.
//
// users are the parts that were made of it.
func (k *keeper) every(g *generation, key string, users []int) time.Duration {
	need, answer := g.needs[key], g.answers[key]
	harmless := need.Read.Op == plan.OpList || need.Read.Op == plan.OpRead &&
		(answer.Err != nil || answer.Secret.KV2 || answer.Secret.MountType == "" || isKV(answer.Secret.MountType))
	every, asked := time.Duration(0), false
	for _, i := range users {
		own := k.job.items[i].refresh().Every
		if !own.IsSet {
			own = k.job.plan.Refresh.Every
		}
		if !own.IsSet && !harmless {
			continue
		}
		if d := own.Or(defaultEvery); d > 0 && (!asked || d < every) {
			every, asked = d, true
		}
	}
	return every
}

// refresh gives what an item says of its own.
func (it item) refresh() plan.Refresh {
	switch {
	case it.file != nil:
		return it.file.Refresh
	case it.set != nil:
		return it.set.Refresh
	case it.env != nil:
		return it.env.Refresh
	}
	return it.envSet.Refresh
}

// renewLease asks for more time.
func (k *keeper) renewLease(ctx context.Context, t *thing) {
	t.busy = true
	id, asked, patience := t.leaseID, t.life.Asked, lease.Patience(t.left(time.Now()))
	k.do(ctx, func(ctx context.Context) func() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		l, err := k.job.vault.RenewLease(ctx, id, asked)
		return func() { k.leaseRenewed(t, l, err) }
	})
}

func (k *keeper) leaseRenewed(t *thing, l secret.Lease, err error) {
	now := time.Now()
	t.busy = false
	k.Observer.Renewed("lease", err)
	switch {
	case err == nil:
		k.worked = true
		t.life = t.life.Renewed(now, l.TTL, l.Renewable)
		k.schedule(t, now)
	case errors.Is(err, secret.ErrTokenLost):
		k.tokenLost(err)
	case errors.Is(err, secret.ErrLeaseLost):
		k.log.Warn("a lease has ended before its time; its secret is read again", slog.String("secret", t.need.Read.Path))
		k.lost(t, now)
	case plan.CodeOf(err) == plan.CodeUnavailable:
		k.failed(now, err, t)
	default:
		k.log.Warn("a lease cannot be renewed; its secret is read again before it ends", slog.String("secret", t.need.Read.Path), slog.String("problem", err.Error()))
		t.life = t.life.Fixed()
		k.schedule(t, now)
	}
}

// lost is for what has ended already: it is read again at once, unless that is what
// becomes of it all the time.
func (k *keeper) lost(t *thing, now time.Time) {
	t.life = lease.New(now, -1, false)
	t.fell(now)
	t.failures = 0
	k.again(t, now)
}

// failed sets when something is tried again, and says so once for all that failed
// in the same way.
func (k *keeper) failed(now time.Time, err error, ts ...*thing) {
	after, chance := k.job.vault.RetryAfter(err), k.Chance()
	var wait, left time.Duration
	for _, t := range ts {
		own := t.left(now)
		d := lease.Wait(t.fell(now), own, after, chance)
		t.due = now.Add(d)
		if wait == 0 || d < wait {
			wait = d
		}
		if own > 0 && (left == 0 || own < left) {
			left = own
		}
	}
	attrs := []any{slog.String("problem", err.Error()), slog.String("retry_in", wait.Round(time.Second).String())}
	if left > 1 {
		attrs = append(attrs, slog.String("expires_in", left.Round(time.Second).String()))
	}
	k.log.Warn("what was delivered could not be seen to; it stays as it is", attrs...)
}

// expire tells what has come to its end in spite of everything, and does what the
// plan says then.
func (k *keeper) expire(now time.Time) {
	var paths []string
	for _, t := range k.things {
		if end := t.deadline(); !end.IsZero() && !end.After(now) {
			t.expired = true
			paths = append(paths, t.need.Read.Path)
		}
	}
	if len(paths) == 0 || k.retracted {
		return
	}
	policy := k.job.plan.OnExpiry.Or(plan.ExpiryKeep)
	p := &plan.Problem{
		Code: plan.CodeUnavailable, What: "secret " + first(paths), Why: "it has expired, and could not be read again in time",
		Fix: "see what was logged before; on_expiry is " + policy.String(),
	}
	k.log.Error("expired", slog.String("problem", p.Error()), slog.Int("secrets", len(paths)))
	switch {
	case policy == plan.ExpiryStop:
		k.stop = p
	case policy == plan.ExpiryShred && k.job.sink != nil:
		k.retracted = true
		if err := k.job.sink.Retract(); err != nil {
			k.log.Error("expired files could not be destroyed", slog.String("problem", err.Error()))
		}
	}
}

// first gives the least of them, so that a message does not depend on the order
// of a map, with how many there are besides.
func first(paths []string) string {
	least := paths[0]
	for _, p := range paths {
		least = min(least, p)
	}
	if len(paths) > 1 {
		least += " and " + strconv.Itoa(len(paths)-1) + " more"
	}
	return least
}
