package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Privileges are what a child shall have otherwise than we, and always less.
// The zero value leaves it what we have.
type Privileges struct {
	User       *User        // nil: who we are
	NoNewPrivs bool         // it cannot gain any by execve(2), as with set-user-ID files (prctl(2))
	Drop       Capabilities // that it cannot have or get
}

// Capabilities is a set of capabilities, a bit for each by its number
// (capabilities(7)).
type Capabilities uint64

// AllCapabilities has also those that the kernel does not know yet.
const AllCapabilities = ^Capabilities(0)

// Why Check refuses.
var (
	ErrSetID        = errors.New("our own file is set-user-ID, set-group-ID or has capabilities: whoever starts it could become anybody")
	ErrMayNotBecome = errors.New("that takes root, or CAP_SETUID and CAP_SETGID")
	ErrUnmapped     = errors.New("our user namespace has no such number")
	ErrMayNotSignal = errors.New("we could not signal the command: that takes root, or CAP_KILL")
	ErrMayNotDrop   = errors.New("that takes root, or CAP_SETPCAP")
)

// Check tells, before anything is done, whether Supervise (or, with replace,
// Replace) will be let do it. The error joins those of the above that hold.
func (p Privileges) Check(replace bool) error {
	caps, err := threadCaps()
	if err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	may := func(c int) bool { return caps.effective&(1<<c) != 0 }
	var errs []error
	if p.User != nil && setID() {
		errs = append(errs, ErrSetID)
	}
	if p.changes() {
		switch {
		case !may(unix.CAP_SETUID) || !may(unix.CAP_SETGID):
			errs = append(errs, ErrMayNotBecome)
		case !replace && !may(unix.CAP_KILL):
			errs = append(errs, ErrMayNotSignal)
		default:
			errs = append(errs, p.try())
		}
	}
	if p.Drop&bounding() != 0 && !may(unix.CAP_SETPCAP) {
		errs = append(errs, ErrMayNotDrop)
	}
	return errors.Join(errs...)
}

// try becomes the user for a moment, for what no capability tells: a user
// namespace, a filter of system calls.
func (p Privileges) try() error {
	err := p.As(func() error { return nil })
	switch {
	case errors.Is(err, unix.EINVAL):
		return ErrUnmapped
	case errors.Is(err, unix.EPERM):
		return ErrMayNotBecome
	}
	return err
}

// Is reports whether that is who we are, the supplementary groups left aside.
func (u User) Is() bool {
	return int(u.UID) == os.Getuid() && int(u.UID) == os.Geteuid() && int(u.GID) == os.Getgid() && int(u.GID) == os.Getegid()
}

// changes reports whether the child is somebody else than we.
func (p Privileges) changes() bool { return p.User != nil && !p.User.Is() }

// sets reports whether the ids are set. Who we are already need not be set
// where the kernel would not let us; our supplementary groups stay then.
func (p Privileges) sets() bool {
	if p.User == nil || p.changes() {
		return p.User != nil
	}
	caps, err := threadCaps()
	return err == nil && caps.effective&(1<<unix.CAP_SETGID) != 0
}

// setID reports whether the kernel gave us more than those who started us have
// (getauxval(3), AT_SECURE).
func setID() bool {
	const atSecure = 23
	vector, _ := unix.Auxv()
	secure := slices.ContainsFunc(vector, func(v [2]uintptr) bool { return v[0] == atSecure && v[1] != 0 })
	return secure || os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid()
}

// confines reports whether something must be taken from the thread that starts
// the child.
func (p Privileges) confines() bool { return p.NoNewPrivs || p.Drop != 0 || p.changes() }

// confine takes from the calling thread, for ever, what its children shall
// not have: all of it is the thread's own (prctl(2), capabilities(7)). What the
// thread itself may do stays as it is.
func (p Privileges) confine() error {
	drop := p.Drop & bounding()
	for c := range 64 {
		if drop&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	lose := p.Drop
	if p.changes() {
		lose = AllCapabilities // what another user could do is not for this one
	}
	if lose != 0 {
		if err := disinherit(lose); err != nil {
			return fmt.Errorf("drop inheritable capabilities: %w", err)
		}
	}
	if p.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("no_new_privs: %w", err)
		}
	}
	return nil
}

// caps are a thread's sets of capabilities.
type caps struct{ effective, permitted, inheritable Capabilities }

func threadCaps() (caps, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return caps{}, err
	}
	both := func(low, high uint32) Capabilities { return Capabilities(low) | Capabilities(high)<<32 }
	return caps{
		effective:   both(data[0].Effective, data[1].Effective),
		permitted:   both(data[0].Permitted, data[1].Permitted),
		inheritable: both(data[0].Inheritable, data[1].Inheritable),
	}, nil
}

// disinherit takes capabilities out of the calling thread's inheritable set. The
// kernel takes those out of the ambient set too.
func disinherit(lose Capabilities) error {
	c, err := threadCaps()
	if err != nil || c.inheritable&lose == 0 {
		return err
	}
	c.inheritable &^= lose
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(c.effective), Permitted: uint32(c.permitted), Inheritable: uint32(c.inheritable)},
		{Effective: uint32(c.effective >> 32), Permitted: uint32(c.permitted >> 32), Inheritable: uint32(c.inheritable >> 32)},
	}
	return unix.Capset(&header, &data[0])
}

// bounding gives the calling thread's bounding set.
func bounding() Capabilities {
	var set Capabilities
	for c := range 64 {
		if in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err == nil && in == 1 {
			set |= 1 << c
		}
	}
	return set
}

// credential is what fork(2) sets in the child, in the order setgroups,
// setgid, setuid: the last takes the right to the others away.
func (p Privileges) credential() *syscall.Credential {
	if !p.sets() {
		return nil
	}
	return &syscall.Credential{Uid: p.User.UID, Gid: p.User.GID, Groups: p.User.Groups}
}

// become makes the calling thread, and it alone, the user. The functions of
// package syscall would take all threads along, and there would be none left
// that may clean up when execve fails.
func (p Privileges) become() error {
	if !p.sets() {
		return nil
	}
	groups := make([]int, len(p.User.Groups))
	for i, g := range p.User.Groups {
		groups[i] = int(g)
	}
	if err := unix.Setgroups(groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	uid, gid := uintptr(p.User.UID), uintptr(p.User.GID)
	if _, _, errno := unix.RawSyscall(sysSetresgid, gid, gid, gid); errno != 0 {
		return fmt.Errorf("setgid: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(sysSetresuid, uid, uid, uid); errno != 0 {
		return fmt.Errorf("setuid: %w", errno)
	}
	return nil
}

// As runs f with the rights that the child will have to files. It must not start
// a goroutine for what it wants to know.
func (p Privileges) As(f func() error) error {
	if !p.changes() {
		return f()
	}
	return onThread(func() error {
		if err := p.become(); err != nil {
			return err
		}
		return f()
	})
}

// ownOutput gives the pipes among the standard descriptors to the user, or it
// could not open /dev/stdout, which opens the pipe anew under its mode of 0600.
// What is not a nameless pipe has an owner of its own and is left alone.
func (p Privileges) ownOutput(fds ...uintptr) {
	if !p.changes() {
		return
	}
	for _, fd := range fds {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(fd), &st); err == nil && uint32(st.Type) == unix.PIPEFS_MAGIC {
			_ = unix.Fchown(int(fd), int(p.User.UID), -1) // without the right to, it stays as it is
		}
	}
}
