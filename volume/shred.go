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
// never replaced. Shred is safe to call again, and does nothing after
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
		_ = v.staged.root.Close()
		v.staged = nil
	}
	if _, err := v.sink.purge(""); err != nil {
		return err
	}
	if err := v.marker.remove(v.sink.root); err != nil {
		return v.sink.problem(v.opts.Origin, err)
	}
	err := v.close()
	switch {
	case v.opts.Ephemeral:
		err = join(err, v.sink.removeFolder(v.opts.Origin))
	case v.sink.made:
		_ = unix.Rmdir(v.sink.dir) // it stays if others put something there
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
	shredTree(s.root, s.dir, name, s.disk, &ps)
	return join(ps)
}

// shredTree destroys the folder name below parent; path is the parent's name
// for messages.
func shredTree(parent *os.Root, path, name string, sync bool, ps *plan.Problems) {
	path = filepath.Join(path, name)
	// The command may have taken its own rights to the folder away.
	if info, err := parent.Lstat(name); err == nil && info.IsDir() && info.Mode().Perm()&0o700 != 0o700 {
		_ = parent.Chmod(name, 0o700)
	}
	dir, err := descend(parent, name)
	if err != nil {
		ps.Add(shredProblem(path, err))
		return
	}
	names, err := listOwn(dir)
	if err != nil {
		ps.Add(shredProblem(path, err))
	}
	for _, child := range names {
		shredEntry(dir, path, child, sync, ps)
	}
	_ = dir.Close()
	if err := parent.Remove(name); err != nil {
		ps.Add(shredProblem(path, err))
	}
}

func shredEntry(dir *os.Root, path, name string, sync bool, ps *plan.Problems) {
	info, err := dir.Lstat(name)
	switch {
	case err != nil:
	case isMount(dir, name):
		err = errMounted
	case info.IsDir():
		shredTree(dir, path, name, sync, ps)
		return
	case info.Mode().IsRegular():
		err = shredFile(dir, name, info, sync)
	default: // a link, pipe or device holds no secret of ours, and is not opened
		err = dir.Remove(name)
	}
	if err != nil {
		ps.Add(shredProblem(filepath.Join(path, name), err))
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
	return &plan.Problem{
		Code: plan.CodeIO, What: "shred " + strconv.Quote(path), Why: cause(err),
		Fix: "destroy it by hand, as its owner or as root", Err: err,
	}
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
