package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Shred destroys what this Volume staged and committed: every file is
// overwritten with zeros (also when it has other names elsewhere), cut to length
// 0 and unlinked; then the links, the marker and an ephemeral folder go.
// Foreign files stay, and so does what a process before us delivered and we
// never replaced, or what an owner delivered who took the folder over because
// somebody had removed our marker. Shred is safe to call again, and does nothing after
// a Shred without errors or a Deliver.
//
// The error is a [plan.Problem] with CodeIO for each thing that could not be
// destroyed; the rest is. The marker stays then, so that the next owner
// tries again.
func (v *Volume) Shred() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	return v.shred()
}

func (v *Volume) shred() error {
	if v.inherited {
		if err := v.discard(); err != nil {
			return err
		}
		return v.close()
	}
	if v.staged != nil {
		v.old = append(v.old, replaced{name: v.staged.name}) // purge destroys it
		v.staged = nil
	}
	if err := v.purge(); err != nil {
		return err
	}
	if err := v.marker.remove(v.sink.root); err != nil {
		return v.sink.problem(v.opts.Origin, err)
	}
	now := v.sink.now()
	err := v.close()
	switch {
	case v.opts.Ephemeral:
		err = join(err, now.removeFolder(v.opts.Origin))
	case v.sink.made:
		now.removeMade()
	}
	return err
}

// problem names the folder for what the kernel refused.
func (s sink) problem(from plan.Origin, err error) *plan.Problem {
	return &plan.Problem{Code: plan.CodeIO, Origin: from, What: quoteSink(s.dir), Why: cause(err), Err: err}
}

// removeFolder removes the folder itself. What others put into it keeps it.
func (s sink) removeFolder(from plan.Origin) error {
	err := unix.Rmdir(s.dir)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	p := s.problem(from, err)
	if errors.Is(err, unix.ENOTEMPTY) {
		p.Why, p.Fix = "our files are shredded, but others put files there", "remove them"
	}
	return p
}

// removeMade removes a folder that was made for us, unless others put something
// there.
func (s sink) removeMade() {
	_ = unix.Rmdir(s.dir)
	s.removeAbove()
}

// purge destroys everything of ours but the marker and the generation except,
// which keeps its names. It returns the number of generations destroyed.
// The switch goes first, so no reader sees zeros under a name.
func (s sink) purge(except string) (int, error) {
	names, err := list(s.root)
	if err != nil {
		return 0, s.problem(plan.Origin{}, err)
	}
	var ps plan.Problems
	s.dropSwitch(switchName, &ps)
	if except == "" {
		s.dropSwitch(dataName, &ps)
	}
	n := 0
	for _, name := range names {
		switch {
		case isGeneration(name) && name != except && isOwnDir(s.root, name):
			n++
			ps.Add(s.shredGeneration(name))
		case except == "" && isOwnName(s.root, name):
			s.remove(name, &ps)
		}
	}
	return n, join(ps)
}

func (s sink) dropSwitch(name string, ps *plan.Problems) {
	if isOwnSwitch(s.root, name) {
		s.remove(name, ps)
	}
}

func (s sink) remove(name string, ps *plan.Problems) {
	if err := s.root.Remove(name); err != nil {
		ps.Add(shredProblem(filepath.Join(s.dir, name), err))
	}
}

// shredGeneration destroys one generation of ours.
func (s sink) shredGeneration(name string) error {
	var ps plan.Problems
	parent := filepath.Join(s.dir, name)
	dir, err := enter(s.root, name)
	if err != nil {
		return shredProblem(parent, err)
	}
	top := &tree{root: dir, path: parent, sync: s.disk, problems: &ps}
	top.shred()
	_ = dir.Close()
	if err := s.root.Remove(name); err != nil {
		ps.Add(shredProblem(parent, err))
	}
	return join(ps)
}

// tree is a folder whose content is being destroyed. What the command made
// in it can be nested deeper than we may have descriptors (RLIMIT_NOFILE), so at
// most two folders are open at once: a folder inside a folder is first moved up.
type tree struct {
	root     *os.Root
	path     string // for messages
	sync     bool
	problems *plan.Problems
}

// shred destroys what is in the tree, as often as it finds folders that were
// moved up meanwhile.
func (t *tree) shred() {
	failed := map[string]bool{}
	for again := true; again; {
		names, err := listOwn(t.root)
		if err != nil {
			t.fail("", err)
			return
		}
		again = false
		for _, name := range names {
			if failed[name] {
				continue
			}
			again = true
			if err := t.shredEntry(name); err != nil {
				failed[name] = true
				t.fail(name, err)
			}
		}
	}
}

func (t *tree) fail(name string, err error) {
	t.problems.Add(shredProblem(filepath.Join(t.path, name), err))
}

func (t *tree) shredEntry(name string) error {
	info, err := t.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case isMount(t.root, name):
		return errMounted
	case info.IsDir():
		return t.shredFolder(name)
	case info.Mode().IsRegular():
		return shredFile(t.root, name, info, t.sync)
	}
	return t.root.Remove(name) // a link, pipe or device holds no secret of ours, and is not opened
}

// shredFolder destroys the files of a folder, moves its folders up and removes it.
func (t *tree) shredFolder(name string) error {
	dir, err := enter(t.root, name)
	if err != nil {
		return err
	}
	below := &tree{root: dir, path: filepath.Join(t.path, name), sync: t.sync, problems: t.problems}
	names, err := listOwn(dir)
	for _, child := range names {
		info, err := dir.Lstat(child)
		if err == nil && info.IsDir() && !isMount(dir, child) {
			err = t.moveUp(dir, name, child, info)
		} else {
			err = below.shredEntry(child)
		}
		if err != nil {
			below.fail(child, err)
		}
	}
	_ = dir.Close()
	if rmErr := t.root.Remove(name); err == nil {
		err = rmErr
	}
	return err
}

// moveUp gives the folder child of the folder name a name in the tree itself. A
// folder that we may not move can be an empty one.
func (t *tree) moveUp(dir *os.Root, name, child string, info fs.FileInfo) error {
	makeOwnable(dir, child, info)
	err := t.root.Rename(name+"/"+child, randomName())
	if err != nil && dir.Remove(child) == nil {
		return nil
	}
	return err
}

// enter opens a folder that is to be destroyed.
func enter(parent *os.Root, name string) (*os.Root, error) {
	if info, err := parent.Lstat(name); err == nil {
		makeOwnable(parent, name, info)
	}
	return descend(parent, name)
}

// makeOwnable gives us our rights to a folder back: the command may have taken
// them away.
func makeOwnable(parent *os.Root, name string, info fs.FileInfo) {
	if info.IsDir() && info.Mode().Perm()&0o700 != 0o700 {
		_ = parent.Chmod(name, 0o700)
	}
}

// errMounted: what is mounted below our folder is not ours to destroy.
var errMounted = errors.New("something is mounted there")

// isMount reports whether a name is the root of another mount (statx(2); a
// kernel before Linux 5.8 does not tell).
func isMount(dir *os.Root, name string) bool {
	self, err := dir.Open(".")
	if err != nil {
		return false
	}
	defer self.Close()
	var st unix.Statx_t
	err = unix.Statx(int(self.Fd()), name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

func shredProblem(path string, err error) *plan.Problem {
	p := &plan.Problem{
		Code: plan.CodeIO, What: "shred " + strconv.Quote(path), Why: cause(err),
		Fix: "destroy it by hand, as its owner or as root", Err: err,
	}
	if errors.Is(err, fs.ErrNotExist) {
		p.Fix = "check the name; it may have been shredded before"
	}
	return p
}

// shredFile overwrites, empties and unlinks one file. It is unlinked even
// when it could not be overwritten.
func shredFile(dir *os.Root, name string, info fs.FileInfo, sync bool) error {
	file, err := openWritable(dir, name, info)
	if err == nil {
		err = errors.Join(overwrite(file, sync), file.Close())
	}
	return errors.Join(err, dir.Remove(name))
}

// openWritable opens a file for writing although its mode may forbid that. The
// mode is changed through a descriptor where one can be had; a file that
// its owner may neither read nor write has none, and is changed by name: the
// folder is ours alone.
func openWritable(dir *os.Root, name string, info fs.FileInfo) (*os.File, error) {
	file, err := openSame(dir, name, info, os.O_WRONLY)
	if !errors.Is(err, fs.ErrPermission) {
		return file, err
	}
	reader, err := openSame(dir, name, info, os.O_RDONLY)
	if err == nil {
		err = errors.Join(reader.Chmod(0o600), reader.Close())
	} else if errors.Is(err, fs.ErrPermission) {
		err = dir.Chmod(name, 0o600)
	}
	if err != nil {
		return nil, err
	}
	return openSame(dir, name, info, os.O_WRONLY)
}

// overwrite writes zeros over the whole file and empties it.
func overwrite(file *os.File, sync bool) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < info.Size() && err == nil; at += int64(len(zeros)) {
		_, err = file.WriteAt(zeros[:min(int64(len(zeros)), info.Size()-at)], at)
	}
	if sync {
		// The zeros must reach the disk before the blocks are given back.
		err = errors.Join(err, file.Sync())
	}
	return errors.Join(err, file.Truncate(0))
}
