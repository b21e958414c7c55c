package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Examined is what can be told of a folder without leaving anything in it.
type Examined struct {
	Dir         string
	FileSystem  string // tmpfs, ramfs or disk
	Missing     bool   // it is not there; Open makes it, and the rest is about its parent
	Free, Total uint64 // bytes; Total 0: it has no size
	Inodes      uint64 // that are free
	Limited     bool   // Inodes is a limit
	UID         int
	Mode        fs.FileMode
	NoSwap      bool  // its pages never go to swap
	InUse       bool  // a secretboot that lives has it
	Err         error // why nothing could be delivered: a *plan.Problem or plan.Problems
}

// WouldChoose gives the folder that [Choose] or, with own, [ChoosePrivate] would,
// and changes nothing: no folder of a dead owner is swept. The error is theirs.
func WouldChoose(getenv func(string) (string, bool), private, own bool) (Options, error) {
	p := places{secrets: "/run/secrets", shm: "/dev/shm"}
	switch {
	case own:
		return ChoosePrivate(getenv)
	case !private || usable(p.secrets):
		return p.choose(getenv, false, slog.New(slog.DiscardHandler))
	}
	parents := p.parents(getenv)
	if len(parents) == 0 { // it says why
		return p.choose(getenv, true, slog.New(slog.DiscardHandler))
	}
	dir := filepath.Join(parents[0], ephemeralPrefix+randomName())
	return Options{Dir: dir, Origin: chosen(dir), Ephemeral: true}, nil
}

// Examine looks at every folder that [OpenRoots] would open, and tries in each
// what a delivery does: a file without a name (open(2), O_TMPFILE), of the mode,
// owner and group of each file that goes there. The kernel frees it when it is
// closed. What is there is not changed, and nothing is swept.
func Examine(o Options, files []plan.File, sets []plan.FileSet) []Examined {
	var all []Examined
	if o.Dir != "" {
		all = append(all, examine(o, wanted(o.Dir, o.Dir, files, sets)))
	}
	for _, place := range outside(o.Dir, files, sets) {
		next := Options{Dir: place.dir, Origin: place.origin, AllowDisk: o.AllowDisk, Parents: true}
		all = append(all, examine(next, wanted(place.dir, o.Dir, files, sets)))
	}
	return all
}

// wanted lists what goes into dir: a set counts as a file of its kind.
func wanted(dir, relative string, files []plan.File, sets []plan.FileSet) []plan.File {
	var list []plan.File
	add := func(f plan.File) {
		parent := relative
		if filepath.IsAbs(f.Path) {
			parent = filepath.Dir(filepath.Clean(f.Path))
		}
		if !f.Memfd && (parent == dir || isBelow(dir, f.Path)) {
			list = append(list, f)
		}
	}
	for _, f := range files {
		add(f)
	}
	for _, s := range sets {
		add(plan.File{Path: filepath.Join(s.Dir, "x"), Mode: s.Mode, Owner: s.Owner, Group: s.Group, Origin: s.Origin})
	}
	return list
}

func examine(o Options, files []plan.File) Examined {
	e := Examined{Dir: o.Dir, UID: -1}
	if !filepath.IsAbs(o.Dir) {
		e.Err = sinkProblem(&o, nil, "the path is not absolute", "give an absolute path")
		return e
	}
	o.Dir = filepath.Clean(o.Dir)
	s := sink{dir: o.Dir}
	root, err := openFolder(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		e.Missing = true
		root, _, err = o.openAbove()
	}
	if err != nil {
		e.Err = folderProblem(&o, err)
		return e
	}
	defer root.Close()
	s.root = root
	if s.disk, err = onDisk(root); err != nil {
		e.Err = sinkProblem(&o, err, "cannot tell its file system: "+cause(err), "mount a tmpfs there")
		return e
	}
	e.measure(s)
	e.Err = e.try(&o, s, files)
	return e
}

// measure fills in what the file system and the folder are like.
func (e *Examined) measure(s sink) {
	st, err := statfs(s.root)
	if err == nil {
		e.Free, e.Total = st.Bavail*uint64(st.Bsize), st.Blocks*uint64(st.Bsize)
		e.Inodes, e.Limited = st.Ffree, st.Files > 0
	}
	e.FileSystem = "tmpfs"
	switch {
	case s.disk:
		e.FileSystem = "disk"
	case uint32(st.Type) == unix.RAMFS_MAGIC:
		e.FileSystem = "ramfs"
	}
	if info, err := s.root.Stat("."); err == nil {
		e.UID, e.Mode = uidOf(info), info.Mode()
	}
	e.NoSwap = e.FileSystem == "ramfs" || e.FileSystem == "tmpfs" && (!swapping() || mountedNoSwap(s.root))
	e.InUse = !e.Missing && inUse(s.root)
}

// try does what a delivery would.
func (e *Examined) try(o *Options, s sink, files []plan.File) error {
	private := o.MountSize > 0 // what is below the mount does not matter
	switch {
	case e.Missing && s.disk && !o.AllowDisk && !private:
		return folderProblem(o, errParentDisk)
	case !private && !e.Missing:
		if err := s.vet(o); err != nil {
			return err
		}
	case private && !e.Missing && planted(s.dir, s.root):
		return plantedProblem(o)
	}
	var ps plan.Problems
	v := &Volume{opts: *o, sink: s}
	for _, f := range files {
		to, err := resolve(f)
		if ps.Add(err); err == nil && !private {
			ps.Add(v.tryFile(f, to))
		}
		if private || e.Missing {
			continue
		}
		_, err = v.check(f.Path, f.Origin)
		ps.Add(err)
	}
	if len(ps) == 0 && private && e.Missing {
		ps.Add(v.tryFile(plan.File{}, access{mode: 0o400, uid: -1, gid: -1}))
	}
	if !private && !e.Missing {
		ps.Add(v.checkMarker())
		_, err := v.dataTarget()
		ps.Add(err)
		ps.Add(v.checkSwitchName())
	}
	return join(ps)
}

// checkMarker tells of a marker that a delivery could not claim because of what it is,
// such as that of another user's secretboot. Whether its owner lives is not asked.
func (v *Volume) checkMarker() error {
	file, err := findMarker(v.sink.root, os.O_RDONLY)
	switch {
	case err == nil:
		return file.Close()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errSwapped): // it comes or goes just now
		return nil
	}
	return v.markerProblem(err)
}

// tryFile makes a file that has no name and is gone when it is closed.
func (v *Volume) tryFile(f plan.File, to access) error {
	self, err := v.sink.root.Open(".")
	if err != nil {
		return folderProblem(&v.opts, err)
	}
	defer self.Close()
	fd, err := unix.Openat(int(self.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) { // a file system without them
		err = unix.Faccessat(int(self.Fd()), ".", unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		fd = -1
	}
	if err != nil {
		return v.markerProblem(err)
	}
	if fd < 0 {
		return nil
	}
	file := os.NewFile(uintptr(fd), "")
	defer file.Close()
	if _, err := file.Write(make([]byte, 1)); err != nil {
		return v.writeProblem(f, err)
	}
	if err := give(file, to); err != nil {
		return v.writeProblem(f, err)
	}
	return nil
}

// inUse tells whether a secretboot that lives holds the marker. To look, the lock
// is asked for in the way that shares it and let go at once: whoever begins to
// deliver in that very moment is told that the folder is in use.
func inUse(root *os.Root) bool {
	file, err := findMarker(root, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer file.Close()
	return errors.Is(unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// swapping tells whether a page of ours may go to swap: the machine has some, and
// our control group is not shut out of it (cgroup v2, memory.swap.max).
func swapping() bool {
	swaps, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return false
	}
	limit, err := os.ReadFile("/sys/fs/cgroup/memory.swap.max")
	if err == nil && strings.TrimSpace(string(limit)) == "0" {
		return false
	}
	return strings.Count(string(swaps), "\n") > 1
}

// mountedNoSwap tells whether a tmpfs was mounted so that it never goes to swap
// (tmpfs(5), noswap), from the line that proc_pid_mountinfo(5) has for its device.
func mountedNoSwap(root *os.Root) bool {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	device, ok := deviceOf(root)
	if !ok {
		return false
	}
	for line := range strings.Lines(string(info)) {
		fields := strings.Fields(line)
		if len(fields) > 6 && fields[2] == device && slices.Contains(strings.Split(fields[len(fields)-1], ","), "noswap") {
			return true
		}
	}
	return false
}

// TryPrivate mounts a private tmpfs on dir and lets it go: it is in a namespace
// that a thread of its own has, which ends with it. The error is the
// *plan.Problem that Open would give with Options.MountSize.
func TryPrivate(dir string) error {
	o := &Options{Dir: dir, MountSize: 1 << 20, Log: slog.New(slog.DiscardHandler)}
	failed := make(chan error)
	go func() {
		root, err := openFolder(dir)
		if err != nil {
			failed <- folderProblem(o, err)
			return
		}
		s := sink{dir: dir, held: held{root: root}}
		runtime.LockOSThread() // for good: see mountPrivate
		err = s.mountPrivate(o)
		_ = s.root.Close()
		failed <- err
	}()
	return <-failed
}

// deviceOf gives the device of the file system as mountinfo writes it.
func deviceOf(root *os.Root) (string, bool) {
	info, err := root.Stat(".")
	if err != nil {
		return "", false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", false
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), true
}
