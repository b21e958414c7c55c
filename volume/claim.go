package volume

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
)

// Claim names a folder and who owns it: with it, somebody else can destroy what
// the owner leaves when it dies, and nothing else.
type Claim struct {
	Dir   string `json:"dir"`
	Owner string `json:"owner"` // as the marker has it

	// Handles are descriptors, in whoever has the Claim: of the folder, and of each
	// generation that the owner made and nobody else is to have. They lead there under
	// any name. There may be none: then only names do.
	Handles []int `json:"handles,omitempty"`
}

// Claims gives that of each folder, without handles.
func (r *Roots) Claims() []Claim {
	var all []Claim
	for _, v := range r.all {
		all = append(all, Claim{Dir: v.opts.Dir, Owner: v.id})
	}
	return all
}

// HandledClaims gives the Claims with handles as of now. They are ours, and good
// until the next call of anything else here.
func (r *Roots) HandledClaims() []Claim {
	defer lockAll(r.all)()
	all := r.Claims()
	for i, v := range r.all {
		if v.closed {
			continue
		}
		all[i].Handles = append(all[i].Handles, int(v.sink.self.Fd()))
		for _, name := range slices.Sorted(maps.Keys(v.held)) {
			all[i].Handles = append(all[i].Handles, int(v.held[name].self.Fd()))
		}
	}
	return all
}

// ShredDead destroys what a dead owner left in its folder, and the folder as Shred
// would have. A generation that was delivered stays, and so does what belongs to an
// owner who came after: nothing is left to do then. Nothing is done either, and
// the answer is false, while somebody has the lock of the marker: an owner
// that was killed holds it for a moment longer.
//
// A generation that somebody renamed is destroyed in any case, by its handle.
//
// Without a marker, or with an empty one, nobody can tell whose a generation is: the
// command may have taken it away. It is destroyed, because what the owner left must
// not outlive it; what somebody else delivers has a marker of its own.
//
// The error is a [plan.Problem] with CodeIO for each thing that could not be
// destroyed, and with CodeSink when the folder or its marker is not what it was.
func ShredDead(c Claim) (bool, error) {
	s, err := c.open()
	if s == nil || err != nil {
		return true, err
	}
	lost := c.shredDisplaced(*s)
	root := s.root
	m, err := claim(root, holdsGenerations(root))
	if err != nil {
		_ = s.close()
		switch {
		case errors.Is(err, errInUse):
			return false, lost
		case errors.Is(err, fs.ErrNotExist): // it came as far as that itself
			return true, lost
		}
		return true, join(lost, markerProblem(&Options{Dir: c.Dir}, err))
	}
	return true, join(lost, s.clearDead(m, c.Owner))
}

// open opens the folder; nil when it is gone.
func (c Claim) open() (*sink, error) {
	if len(c.Handles) > 0 {
		return c.openHandle()
	}
	o := Options{Dir: c.Dir}
	root, err := openFolder(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, folderProblem(&o, err)
	}
	s := &sink{dir: c.Dir, held: held{root: root}}
	if s.disk, err = onDisk(root); err != nil {
		_ = root.Close()
		return nil, s.problem(o.Origin, err)
	}
	return s, nil
}

// clearDead destroys what the owner left in a claimed folder.
func (s sink) clearDead(m *marker, owner string) error {
	switch {
	case m.rec.State == stateLive && m.rec.ID == owner, m.rec.State == "":
		return s.clear(m)
	case m.rec.State == stateDelivered:
		defer func() { _ = s.close() }()
		defer m.file.Close()
		_, err := s.purge(s.delivered(m.rec))
		return err
	}
	return errors.Join(s.close(), m.file.Close())
}

// delivered gives the generation that a record of something delivered stands for:
// who was killed in the middle of a switch may have come to its end.
func (s sink) delivered(rec record) string {
	if target, err := s.root.Readlink(dataName); err == nil && rec.names(target) {
		return target
	}
	return rec.Generation
}

// holdsGenerations reports whether a generation of ours is in the folder.
func holdsGenerations(root *os.Root) bool {
	names, err := list(root)
	return err == nil && slices.ContainsFunc(names, func(name string) bool { return isGeneration(name) && isOwnDir(root, name) })
}
