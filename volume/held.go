package volume

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// held is a folder of ours that stays in reach whatever becomes of its name and
// mode: a command of the same user can rename it and take our rights away.
type held struct {
	root *os.Root
	// self is of the same folder: fchmod(2) works when nothing below root can be opened.
	// It is nil where nobody can have taken our rights away.
	self *os.File
}

// hold takes root over, also when it fails.
func hold(root *os.Root) (held, error) {
	self, err := root.Open(".")
	if err != nil {
		return held{}, errors.Join(err, root.Close())
	}
	return held{root, self}, nil
}

// close gives the folder up.
func (h held) close() error {
	if h.self == nil {
		return h.root.Close()
	}
	return errors.Join(h.self.Close(), h.root.Close())
}

// regain gives us our rights to a folder of ours back.
func (h held) regain() {
	if h.self == nil {
		return
	}
	info, err := h.self.Stat()
	if err == nil && ownedByUs(info) && info.Mode().Perm()&0o700 != 0o700 {
		_ = h.self.Chmod(info.Mode() | 0o700) // whoever needs them hears of it
	}
}

// isAt tells whether name, in parent, is the folder.
func (h held) isAt(parent *os.Root, name string) bool {
	named, err := parent.Lstat(name)
	mine, selfErr := h.self.Stat()
	return err == nil && selfErr == nil && os.SameFile(named, mine)
}

// path gives the name that the folder has now, "" when it has none or none can be
// told: the kernel tells it in /proc alone (proc_pid_fd(5)).
func (h held) path() string {
	if h.self == nil {
		return ""
	}
	now, err := os.Readlink(procPath(h.self))
	if err != nil {
		return ""
	}
	named, err := os.Lstat(now)
	mine, selfErr := h.self.Stat()
	if err != nil || selfErr != nil || !os.SameFile(named, mine) {
		return ""
	}
	return now
}

func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// now gives s with the path that the folder has now.
func (s sink) now() sink {
	if path := s.path(); path != "" {
		s.dir = path
	}
	return s
}

// isGone tells that the folder has been removed, so nothing can be in it.
func (h held) isGone() bool {
	info, err := h.self.Stat()
	return err == nil && linksOf(info) == 0
}

// shredDisplaced destroys a generation that is no longer under its name; what says
// how it is called in messages. Its files are what counts: that their folder, empty,
// cannot be removed is an error too, but says so.
func (s sink) shredDisplaced(h held, name string) error {
	if h.isGone() {
		return nil
	}
	h.regain()
	now := h.path()
	shown := now
	if shown == "" {
		shown = filepath.Join(s.dir, name)
	}
	var ps plan.Problems
	(&tree{root: h.root, path: shown, sync: s.disk, problems: &ps}).shred()
	if len(ps) == 0 && !h.remove(s.root) {
		ps.Add(&plan.Problem{
			Code: plan.CodeIO, What: "shred " + strconv.Quote(shown),
			Why: "somebody renamed this folder; its files are shredded, but it cannot be removed", Fix: "remove the empty folder",
		})
	}
	return join(ps)
}

// remove removes the folder, empty, wherever it is: in parent or where the kernel
// says, which tells only in /proc.
func (h held) remove(parent *os.Root) bool {
	if name := h.nameIn(parent); name != "" {
		return parent.Remove(name) == nil
	}
	now := h.path()
	return now != "" && unix.Rmdir(now) == nil
}

// heldReplaced bounds the descriptors of what changes all the time: of the generations
// that wait for Prune, so many are held. One before those that somebody renames is
// missed, which is told.
const heldReplaced = 4

// purgeDisplaced destroys the generations that somebody has renamed.
func (v *Volume) purgeDisplaced() error {
	var ps plan.Problems
	for name, h := range v.held {
		if h.isAt(v.sink.root, name) {
			continue
		}
		if err := v.sink.shredDisplaced(h, name); err != nil {
			ps.Add(err)
			continue
		}
		v.release(name)
	}
	return join(ps)
}

// warnMissing tells of delivered files that are no longer under their names: which
// of them were moved out of the folder, where nothing shreds them, cannot be told.
func (v *Volume) warnMissing() {
	h, ok := v.held[v.current]
	if !ok {
		return
	}
	h.regain()
	var missing []string
	for _, f := range v.delivered {
		rel, err := filepath.Rel(v.opts.Dir, f.Path)
		if err == nil {
			_, err = h.root.Lstat(rel)
		}
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, f.Path)
		}
	}
	if len(missing) > 0 {
		v.opts.Log.Warn("delivered files are no longer where they were put: one that was moved out of its folder is not shredded",
			slog.String("first", missing[0]), slog.Int("files", len(missing)))
	}
}

// release forgets a generation that is destroyed.
func (v *Volume) release(name string) {
	if h, ok := v.held[name]; ok {
		_ = h.close()
		delete(v.held, name)
	}
}

// shredOwn destroys one generation that this Volume made, whatever it is called now.
func (v *Volume) shredOwn(name string) error {
	v.sink.regain()
	var err error
	if h, ok := v.held[name]; ok && !h.isAt(v.sink.root, name) {
		err = v.sink.shredDisplaced(h, name)
	} else {
		err = v.sink.shredGeneration(name)
	}
	if err == nil {
		v.release(name)
	}
	return err
}

// unlinkOwn removes one generation that this Volume made, whatever it is called
// now. Nothing is overwritten: readers may have files of it open.
func (v *Volume) unlinkOwn(name string) error {
	v.sink.regain()
	h, ok := v.held[name]
	var err error
	switch {
	case isOwnDir(v.sink.root, name) && (!ok || h.isAt(v.sink.root, name)):
		err = v.sink.root.RemoveAll(name)
	case ok && !h.isGone():
		err = h.unlink(v.sink.root)
	case !ok:
		v.opts.Log.Warn("a replaced generation is no longer where it was: if somebody renamed it, its files are not removed",
			slog.String("folder", filepath.Join(v.opts.Dir, name)))
	}
	if err == nil {
		v.release(name)
	}
	return err
}

// unlink removes what is in the folder, and the folder if it can be found.
func (h held) unlink(parent *os.Root) error {
	h.regain()
	names, err := listOwn(h.root)
	for _, name := range names {
		err = errors.Join(err, h.root.RemoveAll(name))
	}
	if err == nil {
		h.remove(parent)
	}
	return err
}

// holdInherited is for a generation that a process before us made and that is ours
// from now on.
func (v *Volume) holdInherited() error {
	root, err := enter(v.sink.root, v.current)
	if err != nil {
		return err
	}
	h, err := hold(root)
	if err == nil {
		v.held[v.current] = h
	}
	return err
}

// heldFrom makes a folder of a descriptor that another process gave us, and that
// stays open: a root can be made of its name in /proc, which leads to the folder
// itself.
func heldFrom(fd int) (held, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return held{}, err
	}
	self := os.NewFile(uintptr(own), "folder")
	held{self: self}.regain()
	root, err := os.OpenRoot(procPath(self))
	if err != nil {
		return held{}, errors.Join(err, self.Close())
	}
	return held{root, self}, nil
}

// openHandle is open by the descriptor.
func (c Claim) openHandle() (*sink, error) {
	s := &sink{dir: c.Dir}
	h, err := heldFrom(c.Handles[0])
	if err != nil {
		return nil, s.problem(plan.Origin{}, err)
	}
	s.held = h
	*s = s.now()
	if s.disk, err = onDisk(s.root); err != nil {
		return nil, s.problem(plan.Origin{}, err)
	}
	return s, nil
}

// shredDisplaced destroys the generations that are no longer under their names.
func (c Claim) shredDisplaced(s sink) error {
	if len(c.Handles) == 0 {
		return nil
	}
	var ps plan.Problems
	for _, fd := range c.Handles[1:] {
		h, err := heldFrom(fd)
		switch {
		case err != nil:
			ps.Add(s.problem(plan.Origin{}, err))
			continue
		case !isGeneration(h.nameIn(s.root)):
			ps.Add(s.shredDisplaced(h, "a renamed folder"))
		}
		_ = h.close()
	}
	return join(ps)
}

// nameIn gives the name of the folder in parent, "" when it is not there.
func (h held) nameIn(parent *os.Root) string {
	names, _ := list(parent)
	for _, name := range names {
		if h.isAt(parent, name) {
			return name
		}
	}
	return ""
}
