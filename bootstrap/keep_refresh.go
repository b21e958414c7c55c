package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/secretboot/secretboot/bootstrap/lease"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

// got is an answer, and when it was asked for.
type got struct {
	render.Answer
	asked time.Time
}

// refreshLimit bounds one round of reading, rendering and writing: each request
// is tried once, and has a limit of its own.
const refreshLimit = 2 * time.Minute

// round is one set of reads, and what came of it.
type round struct {
	keys   []string // what is read again
	limits map[string]time.Duration
	logins int  // how many there had been when it began
	token  bool // and the token is another
	failed map[string]error
	fresh  map[string]got  // of keys, where another answer came
	next   *generation     // nil: nothing has changed, or err
	made   map[string]bool // the keys of what is new in next
	err    error           // why next could not be made
}

// refresh reads again what is due, and what is polled and will be due soon: one
// wake-up serves them all.
func (k *keeper) refresh(ctx context.Context, now time.Time) {
	r := &round{failed: map[string]error{}, fresh: map[string]got{}, limits: map[string]time.Duration{}, logins: k.logins}
	for key, t := range k.things {
		if t.step != lease.Replace || t.due.IsZero() {
			continue
		}
		slack := time.Duration(0)
		if polled(t) && t.failures == 0 {
			slack = t.every / 10
		}
		if !t.due.After(now.Add(slack)) {
			r.keys = append(r.keys, key)
			r.limits[key] = lease.Patience(t.left(now))
		}
	}
	for _, key := range r.keys {
		if a, ok := k.stash[key]; ok {
			r.fresh[key] = a
			delete(k.stash, key)
		}
	}
	g := k.held.generation
	r.token = !k.newToken.IsZero() && !k.newToken.After(now)
	k.refreshing = true
	if r.token {
		k.newToken = time.Time{}
	}
	k.do(ctx, func(limited context.Context) func() {
		limited, cancel := context.WithTimeout(limited, refreshLimit)
		defer cancel()
		k.job.again(limited, r, g)
		return func() { k.refreshed(ctx, r) }
	})
}

// again reads the keys of a round, and makes a generation if something changed.
// g is only looked at.
func (j *Job) again(ctx context.Context, r *round, g *generation) {
	read := j.vault.Attempt()
	var wg sync.WaitGroup
	var mu sync.Mutex
	// The list comes first: fresh is written to as soon as one is asked for.
	ask := slices.DeleteFunc(slices.Clone(r.keys), func(key string) bool { _, stashed := r.fresh[key]; return stashed })
	for _, key := range ask {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, r.limits[key])
			defer cancel()
			asked := time.Now()
			a, changed, err := j.readAgain(ctx, read, g.needs[key], g.answers[key])
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				r.failed[key] = err
			case changed:
				r.fresh[key] = got{a, asked}
			}
		})
	}
	wg.Wait()
	changed := map[string]bool{}
	for key := range r.fresh {
		changed[key] = true
	}
	if r.token {
		changed[tokenKey] = true
	}
	if len(changed) == 0 {
		return
	}
	next := g.without(changed)
	for key, a := range r.fresh {
		next.answers[key], next.asked[key] = a.Answer, a.asked
	}
	if r.err = j.fill(ctx, read, next); r.err != nil {
		next.wipe(g)
		return
	}
	next.prune()
	r.next, r.made = next, changed
	for key := range next.needs {
		if _, old := g.needs[key]; !old {
			r.made[key] = true
		}
	}
}

// readAgain gives another answer, if there is one. Of a KV version 2 secret it
// asks for the version first.
func (j *Job) readAgain(ctx context.Context, read readFunc, need render.Need, old render.Answer) (a render.Answer, changed bool, err error) {
	if old.Err == nil && old.Secret.KV2 {
		version, ok, err := j.vault.CurrentVersion(ctx, need.Read)
		if err != nil || ok && version == old.Secret.Version {
			return render.Answer{}, false, err
		}
	}
	s, err := j.readOne(ctx, read, need)
	if err != nil && plan.CodeOf(err) != plan.CodeMissing {
		return render.Answer{}, false, err
	}
	a = render.Answer{Secret: s, Err: err}
	return a, !same(a, old), nil
}

// same reports whether two answers say the same. One with a lease is always
// another: the one before ends.
func same(a, b render.Answer) bool {
	if a.Err != nil || b.Err != nil {
		return a.Err != nil && b.Err != nil
	}
	x, y := a.Secret, b.Secret
	if x.LeaseID != "" || x.Auth != nil || x.Wrap != nil {
		return false
	}
	if overdue(x.Data.Reveal()) {
		return sameRotation(x.Data.Reveal(), y.Data.Reveal())
	}
	return reflect.DeepEqual(x.Data.Reveal(), y.Data.Reveal())
}

// refreshed goes on with what came of a round.
func (k *keeper) refreshed(ctx context.Context, r *round) {
	now := time.Now()
	k.refreshing = false
	k.tellReads(now, r)
	switched := false
	if r.err == nil && r.next != nil {
		switched, r.err = k.publish(ctx, now, r.next)
	}
	if r.err != nil {
		k.notMade(now, r)
		return
	}
	for _, key := range r.keys {
		if t := k.things[key]; t != nil && r.failed[key] == nil && (r.made == nil || !r.made[key]) {
			k.renewLife(now, t)
		}
	}
	if r.next != nil {
		k.watch(now, r.made)
		k.distrust(now, r)
	}
	if len(r.failed) == 0 {
		k.Observer.Delivered(switched)
	}
}

// distrust reads leases again that were got while somebody else logged in: they
// may hang on the token before, and end with it.
func (k *keeper) distrust(now time.Time, r *round) {
	if r.logins == k.logins {
		return
	}
	for key := range r.made {
		if t := k.things[key]; t != nil && t.leaseID != "" {
			k.again(t, now)
		}
	}
}

// tellReads tells which reads failed, each reason once.
func (k *keeper) tellReads(now time.Time, r *round) {
	lost := error(nil)
	by := map[string][]*thing{}
	errs := map[string]error{}
	for _, key := range r.keys {
		err := r.failed[key]
		k.Observer.Read(err)
		if err == nil {
			k.worked = true
			continue
		}
		t := k.things[key]
		if errors.Is(err, secret.ErrTokenLost) {
			lost = err
		}
		reason := err.Error()
		if plan.CodeOf(err) == plan.CodeUnavailable {
			reason = "unavailable"
		}
		by[reason] = append(by[reason], t)
		errs[reason] = err
	}
	for reason, ts := range by {
		k.failed(now, errs[reason], ts...)
	}
	if lost != nil {
		k.tokenLost(lost)
	}
}

// notMade keeps what was delivered. A lease that was got for nothing is used the
// next time; all else is read again then.
func (k *keeper) notMade(now time.Time, r *round) {
	var ts []*thing
	for _, key := range r.keys {
		if r.failed[key] == nil {
			ts = append(ts, k.things[key])
		}
	}
	for key, a := range r.fresh {
		if a.Err == nil && a.Secret.LeaseID != "" && r.logins == k.logins {
			k.stash[key] = a
		}
	}
	k.failed(now, r.err, ts...)
	if errors.Is(r.err, secret.ErrTokenLost) {
		k.tokenLost(r.err)
	}
	if r.token {
		k.newToken = now.Add(lease.Wait(3, 0, 0, k.Chance()))
	}
}

// publish delivers a generation. When it fails, what was there is there still.
func (k *keeper) publish(ctx context.Context, now time.Time, next *generation) (switched bool, err error) {
	j, before := k.job, k.held.generation
	outputs := j.settle(next.outputs())
	j.tellMade(outputs) // before anybody can print what is new
	if err := j.checkTogether(outputs); err != nil {
		next.wipe(before)
		return false, err
	}
	vars, files := split(outputs)
	oldVars, oldFiles := split(k.held.outputs())
	changed := changedFiles(oldFiles, files)
	if (changed.any || k.retracted) && j.sink != nil {
		if err := k.switchTo(ctx, files); err != nil {
			next.wipe(before)
			return false, err
		}
		switched, k.retracted = true, false
		k.expiry = time.Time{}                                      // the marker had it for the generation before
		k.prune = append(k.prune, time.Now().Add(k.keptPrevious())) // not now: that was before Commit
		k.log.Info("delivered again", slog.Int("files_changed", len(changed.files)), slog.String("files", someOf(changed.files)))
	}
	names := changedNames(append(oldVars, memfds(oldFiles)...), append(vars, memfds(files)...))
	k.held.generation, k.held.Env = next, vars[:len(vars):len(vars)]
	k.agenda.add(now, j.plan.Refresh, changed.files, k.items(names))
	k.tellStale(names)
	before.wipe(next)
	return switched, nil
}

// switchTo stages all files and switches to them.
// A memfd stays as it is: the command has it already.
func (k *keeper) switchTo(ctx context.Context, files []output) error {
	files = slices.DeleteFunc(slices.Clone(files), func(out output) bool { return out.file.Memfd })
	err := k.job.stage(ctx, files)
	if err == nil {
		return k.job.sink.Commit()
	}
	return errors.Join(err, k.job.sink.Discard())
}

// outputs lists what is delivered now.
func (h *Held) outputs() []output { return h.job.settle(h.generation.outputs()) }

// difference is what changed between two sets of files.
type difference struct {
	files []output // new or changed
	any   bool     // or gone
}

// namedFiles is how many files a line of the log names.
const namedFiles = 5

// someOf names files, and says how many there are besides.
func someOf(files []output) string {
	var names []string
	for _, out := range files[:min(len(files), namedFiles)] {
		names = append(names, out.file.Path)
	}
	if more := len(files) - len(names); more > 0 {
		names = append(names, "and "+strconv.Itoa(more)+" more")
	}
	return strings.Join(names, ", ")
}

func changedFiles(old, now []output) difference {
	var d difference
	had := make(map[string]output, len(old))
	for _, out := range old {
		had[out.file.Path] = out
	}
	for _, out := range now {
		before, there := had[out.file.Path]
		if !there || !alike(before, out) {
			d.files, d.any = append(d.files, out), true
		}
	}
	d.any = d.any || len(old) != len(now)
	return d
}

// alike reports whether a file would be the same to whoever opens it. A memfd
// cannot be replaced: it stays as it is.
func alike(a, b output) bool {
	if b.file.Memfd {
		return true
	}
	return a.file.Mode == b.file.Mode && a.file.Owner == b.file.Owner && a.file.Group == b.file.Group &&
		bytes.Equal(a.content.Reveal(), b.content.Reveal())
}

// memfds gives those files as what the command has of them: something like a
// variable, which it keeps.
func memfds(files []output) []Variable {
	var vars []Variable
	for _, out := range files {
		if out.file.Memfd {
			vars = append(vars, Variable{out.file.Variable(), out.content})
		}
	}
	return vars
}

// changedNames lists the variables that are new, changed or gone.
func changedNames(old, now []Variable) map[string]bool {
	names := map[string]bool{}
	had := map[string]secret.Value{}
	for _, v := range old {
		had[v.Name] = v.Value
	}
	for _, v := range now {
		if before, there := had[v.Name]; !there || !bytes.Equal(before.Reveal(), v.Value.Reveal()) {
			names[v.Name] = true
		}
		delete(had, v.Name)
	}
	for name := range had {
		names[name] = true
	}
	return names
}
