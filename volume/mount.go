package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// pageSize is what one inode of a private mount is counted for: as many files
// as pages fit.
const pageSize = 4096

// minInodes is the least number of inodes of a private mount: a small one must
// still hold the layout.
const minInodes = 1024

// ChoosePrivate gives the folder for a private mount when none was declared: one
// below $XDG_RUNTIME_DIR or /dev/shm that is named after the user. All private
// mounts of a user may lie on it, each in its own namespace; so it is never
// removed, which would unmount them all (rmdir(2) since Linux 3.18), and stays
// there empty.
//
// The error is a [plan.Problem] with CodeSink: there is no such place.
func ChoosePrivate(getenv func(string) (string, bool)) (Options, error) {
	p := places{shm: "/dev/shm"}
	parents := p.parents(getenv)
	if len(parents) == 0 {
		return Options{}, &plan.Problem{
			Code: plan.CodeSink, What: "no folder for a private mount", Why: "XDG_RUNTIME_DIR and " + p.shm + " are no writable tmpfs",
			Fix: "name a folder with --dir; the mount hides what is in it",
		}
	}
	dir := filepath.Join(parents[0], ephemeralPrefix+"private-"+strconv.Itoa(os.Geteuid()))
	return Options{Dir: dir, Origin: chosen(dir)}, nil
}

// mountPrivate mounts a tmpfs of o.MountSize bytes on the folder of s, in a mount
// namespace that this thread alone has, and opens it.
//
// In Go a mount namespace belongs to a thread: unshare(2) takes only the calling
// one along. So the goroutine is locked to it and never let go: the thread ends
// with it rather than serve another one. What is forked or executed
// from this goroutine is in the namespace; descriptors of files in it work
// everywhere. A user namespace could make it work without a capability, but a
// process with several threads cannot enter one, and the command would find its
// users and groups changed.
func (s *sink) mountPrivate(o *Options) error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return mountProblem(o, err)
	}
	// What is mounted outside later comes in as before; ours does not get out.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return mountProblem(o, err)
	}
	before, err := s.root.Stat(".")
	if err != nil {
		return mountProblem(o, err)
	}
	if err := mountTmpfs(o); err != nil {
		return mountProblem(o, err)
	}
	root, err := openFolder(o.Dir)
	if err != nil {
		return mountProblem(o, err)
	}
	_ = s.root.Close()
	s.root, s.private, s.made = root, true, false
	now, err := root.Stat(".")
	if err == nil && (os.SameFile(before, now) || !ownedByUs(now)) {
		err = errSwapped // somebody moved the folder away: we mounted elsewhere
	}
	if err != nil {
		return mountProblem(o, err)
	}
	return nil
}

// mountTmpfs mounts it so that its pages are never swapped, where the kernel can
// (tmpfs(5): noswap, Linux 6.4; not in a user namespace). nosymfollow is not
// among the flags: the layout is one of symbolic links.
func mountTmpfs(o *Options) error {
	options := fmt.Sprintf("mode=0700,size=%d,nr_inodes=%d", o.MountSize, max(minInodes, o.MountSize/pageSize))
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount("secretboot", o.Dir, "tmpfs", flags, options+",noswap")
	if errors.Is(err, unix.EINVAL) {
		o.Log.Info("the kernel has no tmpfs without swap here: the pages of the private mount can be swapped")
		err = unix.Mount("secretboot", o.Dir, "tmpfs", flags, options)
	}
	return err
}

// mountProblem says what a private mount lacks.
func mountProblem(o *Options, err error) *plan.Problem {
	const fix = "give us the capability (securityContext.capabilities.add: [SYS_ADMIN], docker --cap-add SYS_ADMIN), " +
		"start us in a user namespace (unshare --user --map-root-user), or deliver with mount: shared"
	switch {
	case errors.Is(err, unix.EPERM) && !mayMount():
		return sinkProblem(o, err, "a private mount needs the capability CAP_SYS_ADMIN, which we do not have", fix)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return sinkProblem(o, err, "a private mount is forbidden by a security module or filter (AppArmor, SELinux, seccomp): "+cause(err),
			"allow mounting in its profile, or deliver with mount: shared")
	}
	return sinkProblem(o, err, "cannot have a private mount: "+cause(err), "deliver with mount: shared")
}

// mayMount tells whether this thread has CAP_SYS_ADMIN (capget(2)).
func mayMount() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
