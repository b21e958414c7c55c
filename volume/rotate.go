package volume

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// replaced is a generation that waits for Prune.
type replaced struct {
	name string
	at   time.Time
}

// committed is the state of what was committed: with Survive it is as good as
// delivered from the first moment on, while we keep the lock.
func (v *Volume) committed() string {
	if v.opts.Survive {
		return stateDelivered
	}
	return stateLive
}

// Inherited reports whether a generation is there that a process before us
// delivered.
func (r *Roots) Inherited() bool {
	defer lockAll(r.all)()
	return slices.ContainsFunc(r.all, func(v *Volume) bool { return v.inherited })
}

// Adopt makes what a process before us delivered ours, if it is, in every folder,
// what was staged: the same names, bytes, modes and owners. What was staged is
// shredded then, and readers see no change. Else nothing is done, and it is false;
// so it is when we may not read what is there.
func (r *Roots) Adopt() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer lockAll(r.all)()
	for _, v := range r.all {
		if !v.sameAsStaged() {
			return false, nil
		}
	}
	return true, each(r.all, (*Volume).adoptInherited)
}

func (v *Volume) sameAsStaged() bool {
	if v.closed || !v.inherited || v.staged == nil {
		return false
	}
	current, err := enter(v.sink.root, v.current)
	if err != nil {
		return false
	}
	defer current.Close()
	return sameTree(current, v.staged.root)
}

func (v *Volume) adoptInherited() error {
	v.delivered = v.staged.files
	if err := v.discard(); err != nil {
		return err
	}
	if err := v.holdInherited(); err != nil {
		return v.commitProblem(err)
	}
	v.inherited = false
	return v.mark(v.committed())
}

// sameTree compares two folders of ours. Whatever is not a file or a folder, or
// cannot be read, makes them differ.
func sameTree(a, b *os.Root) bool {
	names, err := list(a)
	others, otherErr := list(b)
	slices.Sort(names)
	slices.Sort(others)
	if err != nil || otherErr != nil || !slices.Equal(names, others) {
		return false
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !sameEntry(a, b, name) })
}

func sameEntry(a, b *os.Root, name string) bool {
	x, err := a.Lstat(name)
	y, otherErr := b.Lstat(name)
	switch {
	case err != nil || otherErr != nil:
		return false
	case x.Mode().Type() != y.Mode().Type() || uidOf(x) != uidOf(y) || gidOf(x) != gidOf(y):
		return false
	case x.IsDir():
		return sameFolder(a, b, name)
	case !x.Mode().IsRegular() || x.Mode() != y.Mode() || x.Size() != y.Size():
		return false
	}
	left, err := readSame(a, name, x)
	right, otherErr := readSame(b, name, y)
	defer clear(left)
	defer clear(right)
	return err == nil && otherErr == nil && bytes.Equal(left, right)
}

func sameFolder(a, b *os.Root, name string) bool {
	left, err := enter(a, name)
	if err != nil {
		return false
	}
	defer left.Close()
	right, err := enter(b, name)
	if err != nil {
		return false
	}
	defer right.Close()
	return sameTree(left, right)
}

// readSame reads the file that info describes.
func readSame(root *os.Root, name string, info fs.FileInfo) ([]byte, error) {
	file, err := openSame(root, name, info, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	text := make([]byte, info.Size())
	_, err = io.ReadFull(file, text)
	return text, errors.Join(err, file.Close())
}

// Discard is [Volume.Discard] for every folder.
func (r *Roots) Discard() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spoiled = false
	closeMemfds(&r.staged)
	return each(r.all, (*Volume).Discard)
}

// Prune is [Volume.Prune] for every folder.
func (r *Roots) Prune(before time.Time) error {
	return each(r.all, func(v *Volume) error { return v.Prune(before) })
}

// Prune unlinks the generations that Commit replaced and KeepPrevious kept, if
// that was not after a time. The error is a [plan.Problem] with CodeIO; Shred
// destroys what stays.
func (v *Volume) Prune(before time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	return v.prune(before)
}

func (v *Volume) prune(before time.Time) error {
	var ps plan.Problems
	var stays []replaced
	for _, old := range v.old {
		if old.at.After(before) {
			stays = append(stays, old)
			continue
		}
		if err := v.unlinkOwn(old.name); err != nil {
			ps.Add(v.commitProblem(err))
			stays = append(stays, old)
		}
	}
	v.old = stays
	return join(ps)
}

// Retract is [Volume.Retract] for every folder.
func (r *Roots) Retract() error { return each(r.all, (*Volume).Retract) }

// Retract destroys all that was staged and committed, as Shred does, but keeps
// the folder and its lock: Stage and Commit work afterwards. The error is a
// [plan.Problem] with CodeIO for each thing that could not be destroyed.
func (v *Volume) Retract() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	err, purged := v.discard(), v.purge()
	if purged == nil {
		for name := range v.held {
			v.release(name)
		}
	}
	v.current, v.inherited, v.old = "", false, nil
	return join(err, purged, v.mark(stateLive))
}
