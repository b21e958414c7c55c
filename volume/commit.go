package volume

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
)

// Commit publishes what was staged since the last Commit, and nothing else, in
// one step: a name of the generation before that was not staged again is
// gone. The generation before is unlinked, not overwritten, because a reader may
// have it open; with KeepPrevious it waits for Prune.
//
// On an error nothing has changed and what was staged is shredded. The error is
// a [plan.Problem]: CodeSink for a foreign file under one of our names,
// CodeIO for what the kernel refuses, CodeBug after a Stage that failed.
func (v *Volume) Commit() error { return commitAll([]*Volume{v}) }

// commitAll publishes what was staged in every folder, or in none of them.
func commitAll(vs []*Volume) error {
	defer lockAll(vs)()
	for _, v := range vs {
		if err := v.ready(); err != nil { // the others would say the same
			return join(err, each(vs, (*Volume).giveUp))
		}
	}
	changes, err := publishAll(vs)
	if err != nil {
		return join(err, each(vs, (*Volume).giveUp))
	}
	for i, v := range vs {
		v.tidy(changes[i])
	}
	return nil
}

// ready tells whether there is something that may be published.
func (v *Volume) ready() error {
	if v.closed {
		return v.closedProblem()
	}
	if v.failed {
		return &plan.Problem{
			Code: plan.CodeBug, What: quoteSink(v.opts.Dir), Why: "told to publish although a file could not be staged",
		}
	}
	v.sink.regain() // a folder to which nothing is delivered has not been looked at yet
	if err := v.begin(); err != nil {
		return v.commitProblem(err)
	}
	return nil
}

// change is what publishing has done in one folder, and what was there before.
type change struct {
	added     []string // links
	before    string   // the generation that ..data named
	inherited bool
	rec       record
	delivered []receipt.File
	switched  bool
}

// publishAll makes the staged generations the current ones, or undoes what it
// did. In every folder the names come first: what a foreign file or a full file
// system refuses is refused before anything is switched.
func publishAll(vs []*Volume) ([]change, error) {
	changes := make([]change, len(vs))
	var ps plan.Problems
	for i, v := range vs {
		ps.Add(v.prepare(&changes[i]))
	}
	for i := 0; i < len(vs) && len(ps) == 0; i++ {
		ps.Add(vs[i].turn(&changes[i]))
	}
	if len(ps) == 0 {
		return changes, nil
	}
	for i, v := range slices.Backward(vs) {
		ps.Add(v.undo(&changes[i]))
	}
	return nil, join(ps)
}

// prepare makes everything but the switch.
func (v *Volume) prepare(c *change) error {
	*c = change{before: v.current, inherited: v.inherited, rec: v.marker.rec, delivered: v.delivered}
	if err := v.letIn(); err != nil {
		return v.commitProblem(err)
	}
	var err error
	c.added, err = v.link()
	return err
}

// turn switches to the staged generation.
//
// A process that is killed between the switch and its record would leave a marker
// that knows nothing of what readers have: where that is to survive us, the record
// names it before. See [Volume.adopt].
func (v *Volume) turn(c *change) error {
	if rec := v.marker.rec; v.opts.Survive && rec.State == stateDelivered {
		rec.Next = v.staged.name
		if err := v.record(rec); err != nil {
			return err
		}
	}
	if err := v.pointTo(v.staged.name); err != nil {
		return err
	}
	c.switched = true
	v.inherited = false
	v.delivered = v.staged.files
	return v.mark(v.committed())
}

// undo takes back what prepare and turn did.
func (v *Volume) undo(c *change) error {
	var ps plan.Problems
	if c.switched {
		v.inherited, v.delivered = c.inherited, c.delivered
		ps.Add(v.pointTo(c.before))
	}
	if v.marker.rec != c.rec {
		ps.Add(v.record(c.rec))
	}
	ps.Add(v.unlink(c.added))
	return join(ps)
}

// letIn gives the staged generation its final mode.
func (v *Volume) letIn() error {
	perm := v.dirMode(v.staged.open)
	if err := v.setDirMode(v.staged.root, perm); err != nil {
		return err
	}
	if perm == 0o711 { // the folder is our own
		if err := v.setDirMode(v.sink.root, perm); err != nil {
			return err
		}
	}
	if !v.sink.disk {
		return nil
	}
	return errors.Join(syncDir(v.staged.root), syncDir(v.sink.root))
}

// link makes the names that a user sees. They dangle until ..data is there, so
// all files of a first delivery appear at once. It returns what it added.
func (v *Volume) link() (added []string, err error) {
	root := v.sink.root
	var ps plan.Problems
	for _, name := range slices.Sorted(maps.Keys(v.staged.names)) {
		if isOwnName(root, name) {
			continue
		}
		if err := v.checkFree(name, plan.Origin{}); err != nil {
			ps.Add(err)
			continue
		}
		if err := root.Symlink(dataName+"/"+name, name); err != nil {
			ps.Add(v.commitProblem(err))
			break // the next would fail for the same reason
		}
		added = append(added, name)
	}
	return added, join(ps)
}

// unlink takes back links that link made.
func (v *Volume) unlink(names []string) error {
	var ps plan.Problems
	for _, name := range names {
		if !isOwnName(v.sink.root, name) {
			continue
		}
		if err := v.sink.root.Remove(name); err != nil {
			ps.Add(v.commitProblem(err))
		}
	}
	return join(ps)
}

// pointTo makes ..data name another generation, in one step; "" removes it.
func (v *Volume) pointTo(generation string) error {
	now, err := v.dataTarget()
	if err != nil {
		return err
	}
	if now != "" && now != v.current {
		return v.foreign(dataName, plan.Origin{})
	}
	switch {
	case generation != "":
		err = v.swap(generation)
	case now != "":
		err = v.sink.root.Remove(dataName)
	}
	if err != nil {
		return v.commitProblem(err)
	}
	v.current = generation
	return nil
}

func (v *Volume) swap(generation string) error {
	root := v.sink.root
	if err := v.checkSwitchName(); err != nil {
		return err
	}
	if isOwnSwitch(root, switchName) {
		if err := root.Remove(switchName); err != nil {
			return err
		}
	}
	if err := root.Symlink(generation, switchName); err != nil {
		return err
	}
	if err := root.Rename(switchName, dataName); err != nil {
		return errors.Join(err, root.Remove(switchName))
	}
	if !v.sink.disk {
		return nil
	}
	return syncDir(root)
}

// tidy ends a Commit that worked: what fails here is logged, because
// the new generation is there and the caller must not think otherwise.
func (v *Volume) tidy(c change) {
	if c.before != "" {
		v.old = append(v.old, replaced{c.before, time.Now()})
		if i := len(v.old) - heldReplaced - 1; i >= 0 {
			v.release(v.old[i].name)
		}
	}
	kept := v.staged.names
	v.staged = nil
	if err := v.dropLinks(kept); err != nil {
		v.opts.Log.Warn("a link to a file that is no longer delivered stays", slog.String("error", err.Error()))
	}
	if v.opts.KeepPrevious {
		return
	}
	if err := v.prune(time.Now()); err != nil {
		v.opts.Log.Warn("the replaced generation stays until the end", slog.String("error", err.Error()))
	}
}

// dropLinks removes our links to names that are not in kept.
func (v *Volume) dropLinks(kept map[string]bool) error {
	names, err := list(v.sink.root)
	if err != nil {
		return v.commitProblem(err)
	}
	var gone []string
	for _, name := range names {
		if !kept[name] {
			gone = append(gone, name)
		}
	}
	return v.unlink(gone)
}

// Discard shreds what was staged since the last Commit and forgets that a Stage
// failed; what was published stays. The error is a [plan.Problem] with CodeIO.
func (v *Volume) Discard() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.giveUp()
}

func (v *Volume) giveUp() error {
	v.failed = false
	return v.discard()
}

func (v *Volume) discard() error {
	if v.staged == nil {
		return nil
	}
	name := v.staged.name
	v.staged = nil
	return v.shredOwn(name)
}

// Deliver leaves what was committed to others: it marks the generation as
// delivered and gives the lock up. Shred does nothing afterwards. When nothing
// was ever committed, Deliver is Shred.
//
// The error is a [plan.Problem] with CodeSink or CodeIO; the Volume is still
// ours then, and Shred works.
func (v *Volume) Deliver() error { return deliverAll([]*Volume{v}) }

// deliverAll leaves every folder to others, or none: only a kill between two
// markers can leave some delivered and others to be swept.
func deliverAll(vs []*Volume) error {
	defer lockAll(vs)()
	vs = slices.DeleteFunc(slices.Clone(vs), func(v *Volume) bool { return v.closed })
	full := slices.DeleteFunc(slices.Clone(vs), (*Volume).idle)
	for _, v := range full {
		if err := join(v.discard(), v.prune(time.Now())); err != nil {
			return err
		}
	}
	for i, v := range full {
		if err := v.mark(stateDelivered); err != nil {
			for _, marked := range full[:i] {
				err = join(err, marked.mark(stateLive))
			}
			return err
		}
	}
	return each(vs, func(v *Volume) error {
		if v.idle() {
			return v.shred()
		}
		return v.close()
	})
}

// idle tells that nothing of ours was ever published.
func (v *Volume) idle() bool { return v.current == "" || v.inherited }

// close gives the lock and the folder up.
func (v *Volume) close() error {
	v.closed = true
	for name := range v.held {
		v.release(name)
	}
	if err := errors.Join(v.marker.file.Close(), v.sink.close()); err != nil {
		return v.commitProblem(err)
	}
	return nil
}

// commitProblem names the folder for what the kernel refused.
func (v *Volume) commitProblem(err error) error {
	var p *plan.Problem
	if errors.As(err, &p) {
		return err
	}
	return v.sink.problem(v.opts.Origin, err)
}
