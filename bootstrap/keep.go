package bootstrap

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/secretboot/secretboot/bootstrap/lease"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Keep is how what was delivered is kept true.
type Keep struct {
	Actor    Actor    // does what follows a change; nil: nothing can be done
	Observer Observer // hears of everything; nil: nobody does
	Chance   func() float64
}

// Actor does what follows a change; main has it. The error of each is a
// *plan.Problem.
type Actor interface {
	// Signal sends a signal, by its name without SIG, to the target.
	Signal(name string) error
	// Restart ends the target and starts it again with these variables.
	Restart(ctx context.Context, vars []Variable) error
	// Exec runs a command and waits for its end; dir is the folder of relative paths.
	Exec(ctx context.Context, a plan.Action, dir string) error
}

// Observer hears what happens while a delivery is kept. It is called from one
// goroutine. err is nil for what went well.
type Observer interface {
	Delivered(changed bool) // a whole generation is in place
	Read(err error)
	Renewed(what string, err error) // lease or token
	Login(err error)
	Acted(kind plan.ActionKind, err error)
	Expires(at time.Time) // the first end of anything delivered; zero: none
}

// deaf is the Observer when there is none.
type deaf struct{}

func (deaf) Delivered(bool)               {}
func (deaf) Read(error)                   {}
func (deaf) Renewed(string, error)        {}
func (deaf) Login(error)                  {}
func (deaf) Acted(plan.ActionKind, error) {}
func (deaf) Expires(time.Time)            {}

// Keep keeps what was delivered true until ctx ends: it renews the token and the
// leases, reads again what has no lease, and what ends, in time; when bytes have
// changed it switches to a whole new generation, and then does what the plan says
// follows. What fails is logged, with the time that is left, and tried again; the
// last good generation stays. It returns nil when ctx has ended, and a
// *plan.Problem when something expired and the plan says to stop then.
//
// The job must have been made with Deps.Keep. Until Keep has returned, nothing
// else of h may be used.
//
// At most one request is under way for each thing, and one set of reads
// altogether. Between events nothing happens at all: there is one timer, for what
// comes next.
func (h *Held) Keep(ctx context.Context, o Keep) error {
	k := newKeeper(h, o)
	ctx, cancel := context.WithCancel(ctx)
	defer k.running.Wait()
	defer cancel()
	k.start()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if k.stop != nil {
			return k.stop
		}
		k.tellExpiry()
		timer.Stop()
		if at := k.next(); !at.IsZero() {
			timer.Reset(max(time.Until(at), 0))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			k.work(ctx)
		case done := <-k.results:
			done()
		}
	}
}

// keeper is the state of Held.Keep. All of it belongs to one goroutine; what takes
// long is done in others, which hand back what is to be done with the result.
type keeper struct {
	Keep
	job  *Job
	held *Held
	log  *slog.Logger

	results chan func()
	running sync.WaitGroup

	token      thing
	lastLogin  time.Time         // zero: only the one that the delivery was made with
	worked     bool              // something has been done with the token since the last login
	useless    int               // tokens in a row with which nothing was done
	things     map[string]*thing // by the key of an answer
	ended      []endedLease      // leases that nothing is made of any more
	stash      map[string]got    // leases that were got for a generation that could not be made
	logins     int               // again
	hopeless   bool              // it was said that nobody can
	newToken   time.Time         // when one came that is yet to be delivered; zero: none
	refreshing bool
	retracted  bool // nothing is delivered at the moment
	broken     bool // it was said what is wrong with the folder
	prune      []time.Time
	agenda     agenda
	acting     bool
	stale      bool      // it was said that the environment is stale
	expiry     time.Time // as it was told
	stop       error
}

// endedLease is one that was replaced, and when it is gone.
type endedLease struct {
	id string
	at time.Time
}

// keptPrevious is how long a replaced generation stays for those who are reading
// it, when the plan does not say.
const keptPrevious = 30 * time.Second

func newKeeper(h *Held, o Keep) *keeper {
	if o.Observer == nil {
		o.Observer = deaf{}
	}
	return &keeper{
		Keep: o, job: h.job, held: h, log: h.log,
		worked: true, results: make(chan func()), things: map[string]*thing{}, stash: map[string]got{},
	}
}

// firstLook is when the token is first looked at. Of one that was given to us that
// takes a request, which a command that ends at once need not cost.
const firstLook = 2 * time.Second

// start looks at what was delivered.
func (k *keeper) start() {
	now := time.Now()
	k.held.generation.prune()
	k.watch(now, nil)
	k.Observer.Delivered(true)
	if k.held.takenOver {
		k.prune = append(k.prune, now.Add(k.keptPrevious()))
		_, files := split(k.held.outputs())
		k.agenda.add(now, k.job.plan.Refresh, files, nil)
	}
	k.forget()
	k.token.due = now.Add(firstLook + time.Duration(k.Chance()*float64(firstLook)))
}

// forget lets go of what was read and made when nothing of it can be needed again: no
// answer has a lease or an end, none is read again, and no other token is delivered.
func (k *keeper) forget() {
	if k.held.token || k.held.takenOver {
		return
	}
	for _, t := range k.things {
		if t.leaseID != "" || !t.due.IsZero() {
			return
		}
	}
	k.held.generation.wipe(nil)
	k.held.generation, k.held.Env = newGeneration(len(k.job.items)), nil
	clear(k.things) // they have the bodies of writes
}

// do does something beside the loop, which gets the result.
func (k *keeper) do(ctx context.Context, f func(context.Context) func()) {
	k.running.Go(func() {
		done := f(ctx)
		select {
		case k.results <- done:
		case <-ctx.Done():
		}
	})
}

// next is when there is something to do; zero: never.
func (k *keeper) next() time.Time {
	var first time.Time
	at := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !k.token.busy {
		at(k.token.due)
	}
	for _, t := range k.things {
		if t.mayBegin(k.refreshing) {
			at(t.due)
		}
		at(t.deadline())
	}
	if !k.refreshing {
		at(k.newToken)
	}
	if !k.acting {
		at(k.agenda.due())
	}
	if len(k.prune) > 0 {
		at(k.prune[0])
	}
	return first
}

// work does what is due.
func (k *keeper) work(ctx context.Context) {
	now := time.Now()
	isDue := func(at time.Time) bool { return !at.IsZero() && !at.After(now) }
	if !k.token.busy && isDue(k.token.due) {
		k.seeToToken(ctx)
	}
	again := !k.refreshing && isDue(k.newToken)
	for _, t := range k.things {
		switch {
		case !t.mayBegin(k.refreshing) || !isDue(t.due):
		case t.step == lease.Renew:
			k.renewLease(ctx, t)
		default:
			again = true
		}
	}
	if again {
		k.refresh(ctx, now)
	}
	k.expire(now)
	if !k.acting && isDue(k.agenda.due()) {
		k.act(ctx, now)
	}
	k.tidy(now)
	k.mend()
}

// mend looks after the folder itself; what is wrong with it is said once.
func (k *keeper) mend() {
	if k.job.sink == nil {
		return
	}
	err := k.job.sink.Mend()
	if err != nil && !k.broken {
		k.log.Error("the folder is not as it should be", slog.String("problem", err.Error()))
	}
	k.broken = err != nil
}

// tidy forgets what is over.
func (k *keeper) tidy(now time.Time) {
	for len(k.prune) > 0 && !k.prune[0].After(now) {
		if err := k.job.sink.Prune(k.prune[0].Add(-k.keptPrevious())); err != nil {
			k.log.Warn("a replaced generation stays until the end", slog.String("problem", err.Error()))
		}
		k.prune = k.prune[1:]
	}
	var still []endedLease
	for _, l := range k.ended {
		if l.at.After(now) {
			still = append(still, l)
		} else {
			k.job.vault.Drop(l.id)
		}
	}
	k.ended = still
}

func (k *keeper) keptPrevious() time.Duration { return k.job.plan.KeepPrevious.Or(keptPrevious) }

// tellExpiry tells whoever looks at the folder how long it is good.
func (k *keeper) tellExpiry() {
	var first time.Time
	for _, t := range k.things {
		if end, ok := t.life.Expires(); ok && (first.IsZero() || end.Before(first)) {
			first = end
		}
	}
	if d := first.Sub(k.expiry); first.IsZero() == k.expiry.IsZero() && d < time.Second && d > -time.Second {
		return
	}
	k.expiry = first
	k.Observer.Expires(first)
	if k.job.sink == nil || k.retracted {
		return
	}
	if err := k.job.sink.SetExpiry(first); err != nil {
		k.log.Warn("the folder does not say how long it is good", slog.String("problem", err.Error()))
	}
}
