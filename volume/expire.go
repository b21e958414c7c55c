package volume

import (
	"errors"
	"io/fs"
	"os"
)

// ShredDelivered destroys what an owner delivered, when its time is over, and the
// folder as [ShredPath] would. What was delivered after it stays, and so does what
// belongs to an owner who came after: nothing is left to do then. It does the same
// for an owner that died before it could deliver. Nothing is done, and the answer is
// false, while somebody who may yet replace the delivery has the lock of the marker.
//
// The error is as that of [ShredDead].
func ShredDelivered(c Claim) (bool, error) {
	s, err := c.open()
	if s == nil || err != nil {
		return true, err
	}
	root := s.root
	// The lock would be in the way of a new owner: it is taken only if it must be.
	if !isDeliveryOf(root, c.Owner) {
		return true, root.Close()
	}
	m, err := claim(root, false)
	switch {
	case errors.Is(err, errInUse):
		return false, root.Close()
	case err != nil:
		_ = root.Close()
		return true, markerProblem(&Options{Dir: c.Dir}, err)
	case m.rec.ID != c.Owner:
		return true, errors.Join(root.Close(), m.file.Close())
	}
	return true, s.clear(m)
}

// HasDelivery reports whether the owner has left something in its folder that
// [ShredDelivered] would destroy; a folder that cannot be looked at counts as one.
func HasDelivery(c Claim) bool {
	s, err := c.open()
	if s == nil {
		return err != nil
	}
	defer s.root.Close()
	return isDeliveryOf(s.root, c.Owner)
}

// isDeliveryOf reports whether the folder has what owner left in it. The record is
// written at once, so it can be read without the lock.
func isDeliveryOf(root *os.Root, owner string) bool {
	file, err := findMarker(root, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer file.Close()
	rec, err := readRecord(file)
	return err == nil && rec.ID == owner
}

// IsShredded reports whether nothing of ours is in a folder, or the folder is gone:
// the marker is the last thing that shredding removes. A path that cannot be looked
// at counts as one with something in it.
func IsShredded(dir string) bool {
	root, err := openFolder(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer root.Close()
	for _, name := range []string{markerName, dataName} {
		if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}
