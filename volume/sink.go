package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// errNotDir: a name that should be a folder is something else.
var errNotDir = errors.New("not a directory")

// errSwapped: what was opened is not what was looked at just before.
var errSwapped = errors.New("replaced by someone while it was opened")

// sink is an opened folder.
type sink struct {
	held
	dir  string
	made bool // created by us, or by a secretboot before us
	disk bool // not in memory

	private bool // on a mount of our own

	above []string // the folders above it that we made, the highest first
}

// abandon gives an opened folder up, and removes it if we created it.
func (s sink) abandon() {
	_ = s.close()
	if s.made && !s.private {
		_ = unix.Rmdir(s.dir)
		s.removeAbove()
	}
}

// removeAbove removes the folders above it that this process made, unless
// something is in them.
func (s sink) removeAbove() {
	for _, dir := range slices.Backward(s.above) {
		if unix.Rmdir(dir) != nil {
			return
		}
	}
}

// openSink opens o.Dir and checks what it is. o.Dir is cleaned.
//
// The last element must not be a symbolic link: the links before it are the
// administrator's (/var/run), while the last one could be anybody's. A
// folder that exists in a place where others may make folders (/dev/shm) must
// belong to us or to root.
func openSink(o *Options) (sink, error) {
	if !filepath.IsAbs(o.Dir) {
		return sink{}, sinkProblem(o, nil, "the path is not absolute", "give an absolute path")
	}
	o.Dir = filepath.Clean(o.Dir)
	s := sink{dir: o.Dir}
	root, err := openFolder(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		s.made = true
		root, s.above, err = createFolder(o)
	}
	if err != nil {
		return sink{}, folderProblem(o, err)
	}
	s.root = root
	if o.MountSize > 0 {
		if err := s.vetMountPoint(o); err != nil {
			s.abandon()
			return sink{}, err
		}
	}
	if s.disk, err = onDisk(s.root); err != nil {
		s.abandon()
		return sink{}, sinkProblem(o, err, "cannot tell its file system: "+cause(err), "mount a tmpfs there")
	}
	if err := s.vet(o); err != nil {
		s.abandon()
		return sink{}, err
	}
	if s.self, err = s.root.Open("."); err != nil {
		s.abandon()
		return sink{}, folderProblem(o, err)
	}
	return s, nil
}

// vetMountPoint puts a private mount on a folder that nobody else can move away.
func (s *sink) vetMountPoint(o *Options) error {
	if planted(s.dir, s.root) {
		return plantedProblem(o)
	}
	return s.mountPrivate(o)
}

func plantedProblem(o *Options) *plan.Problem {
	return sinkProblem(o, nil, "it belongs to another user, in a place where everybody may make folders", "use a folder of your own")
}

// vet refuses a folder on disk, and one that another user could have planted.
func (s sink) vet(o *Options) error {
	if s.disk && !o.AllowDisk {
		return sinkProblem(o, nil, "not in memory: it is neither tmpfs nor ramfs",
			"mount a tmpfs there (emptyDir medium: Memory, docker --tmpfs), or allow a disk")
	}
	if planted(s.dir, s.root) {
		return plantedProblem(o)
	}
	return nil
}

// folderProblem says why the folder could not be opened or created.
func folderProblem(o *Options, err error) error {
	switch {
	case errors.Is(err, errParentDisk):
		return sinkProblem(o, err, "it does not exist, and its parent is not in memory",
			"mount a tmpfs there (emptyDir medium: Memory, docker --tmpfs), or name a folder below one, such as /dev/shm/NAME")
	case errors.Is(err, unix.ELOOP):
		return sinkProblem(o, err, "the last element is a symbolic link", "name the folder that it leads to")
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, errNotDir):
		return sinkProblem(o, err, "not a directory", "name a folder")
	case errors.Is(err, fs.ErrNotExist):
		return sinkProblem(o, err, "neither it nor its parent exists", "create it, or mount a tmpfs there (emptyDir medium: Memory, docker --tmpfs)")
	case errors.Is(err, unix.EROFS):
		return sinkProblem(o, err, "it does not exist, and its parent is mounted read-only", "mount a tmpfs there")
	}
	return sinkProblem(o, err, "cannot be opened: "+cause(err), "change its owner or mode, or run as its owner")
}

// openFolder opens a folder whose last element is no symbolic link (ELOOP). An
// os.Root cannot be made from a descriptor, so the two are compared.
func openFolder(dir string) (*os.Root, error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: unix.ELOOP}
	}
	if !info.IsDir() {
		return nil, errNotDir
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return same(root, info)
}

// same closes root and fails unless it is the folder that info describes.
func same(root *os.Root, info fs.FileInfo) (*os.Root, error) {
	now, err := root.Stat(".")
	if err == nil && !os.SameFile(now, info) {
		err = errSwapped
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

var errParentDisk = errors.New("the parent is not in memory")

// createFolder makes the missing folder, mode 0700, below a parent in memory; and
// the parents that are missing, when o says so. made lists those.
func createFolder(o *Options) (root *os.Root, made []string, err error) {
	parent, missing, err := o.openAbove()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = parent.Close() }()
	disk, err := onDisk(parent)
	if err != nil {
		return nil, nil, err
	}
	if disk && !o.AllowDisk {
		return nil, nil, errParentDisk
	}
	defer func() {
		if err != nil {
			sink{above: made}.removeAbove()
		}
	}()
	for _, dir := range missing {
		sub, err := makeDir(parent, filepath.Base(dir), 0o755)
		if err != nil {
			return nil, made, err
		}
		made = append(made, dir)
		_ = parent.Close()
		parent = sub
	}
	root, err = makeDir(parent, filepath.Base(o.Dir), 0o700)
	return root, made, err
}

// openAbove opens the parent of o.Dir or, when o lets us make that, the nearest
// folder above it that exists. missing lists those between, the highest first.
func (o *Options) openAbove() (root *os.Root, missing []string, err error) {
	dir := filepath.Dir(o.Dir)
	for {
		root, err = os.OpenRoot(dir)
		if !o.Parents || dir == "/" || !errors.Is(err, fs.ErrNotExist) {
			slices.Reverse(missing)
			return root, missing, err
		}
		missing = append(missing, dir)
		dir = filepath.Dir(dir)
	}
}

// descend opens the folder name, one element, below root. os.Root would follow
// a symbolic link that stays inside; we follow none.
func descend(root *os.Root, name string) (*os.Root, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errNotDir
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return same(sub, info)
}

// makeDir creates and opens a folder whose mode is perm whatever the umask says.
func makeDir(root *os.Root, name string, perm fs.FileMode) (*os.Root, error) {
	if err := root.Mkdir(name, 0o700); err != nil {
		return nil, err
	}
	sub, err := descend(root, name)
	if errors.Is(err, fs.ErrPermission) {
		// A umask of 0777 shuts a plain user out of the folder, and only a
		// folder that can be opened has a descriptor to set the mode through.
		if err := root.Chmod(name, 0o700); err != nil {
			return nil, err
		}
		sub, err = descend(root, name)
	}
	if err != nil {
		return nil, err
	}
	if err := chmodDir(sub, perm); err != nil {
		return nil, errors.Join(err, sub.Close())
	}
	return sub, nil
}

// chmodDir sets the permission bits of an opened folder that must be ours. The
// set-group-id bit stays: it is how a pod's fsGroup reaches the files.
func chmodDir(dir *os.Root, perm fs.FileMode) error {
	self, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer self.Close()
	info, err := self.Stat()
	if err != nil {
		return err
	}
	if !ownedByUs(info) {
		return errSwapped
	}
	if info.Mode().Perm() == perm {
		return nil
	}
	return self.Chmod(perm | info.Mode()&fs.ModeSetgid)
}

// statfs asks the opened folder, not its path, for its file system (statfs(2)).
func statfs(root *os.Root) (unix.Statfs_t, error) {
	var st unix.Statfs_t
	self, err := root.Open(".")
	if err != nil {
		return st, err
	}
	defer self.Close()
	return st, unix.Fstatfs(int(self.Fd()), &st)
}

// onDisk tells that the folder is not on tmpfs or ramfs. The magic number is a
// claim only: devtmpfs and read-only mounts make it too. Creating the
// marker is what proves that files can live there.
func onDisk(root *os.Root) (bool, error) {
	st, err := statfs(root)
	if err != nil {
		return false, err
	}
	magic := uint32(st.Type)
	return magic != unix.TMPFS_MAGIC && magic != unix.RAMFS_MAGIC, nil
}

// space tells how much room the file system has.
func (s sink) space() string {
	where := strconv.Quote(s.dir)
	st, err := statfs(s.root)
	if err != nil || st.Blocks == 0 {
		return where
	}
	size := uint64(st.Bsize)
	return fmt.Sprintf("%s: %d of %d bytes and %d of %d inodes are free",
		where, st.Bavail*size, st.Blocks*size, st.Ffree, st.Files)
}

// planted tells that someone else made the folder in a place open to all. An
// administrator who gives a folder away does so where only he may make one.
func planted(dir string, root *os.Root) bool {
	info, err := root.Stat(".")
	if err != nil {
		return true
	}
	if ownedByUs(info) || uidOf(info) == 0 {
		return false
	}
	parent, err := os.Stat(filepath.Dir(dir))
	return err != nil || parent.Mode().Perm()&0o022 != 0
}

// uidOf gives the owner of what info describes, -1 if it cannot be told.
func uidOf(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Uid)
}

// gidOf gives the group of what info describes, -1 if it cannot be told.
func gidOf(info fs.FileInfo) int {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1
	}
	return int(st.Gid)
}
