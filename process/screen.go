package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// screen is a pseudo-terminal (pty(7)) that the child has in place of our
// terminal. What the child writes to it comes out of master, for a source to pass on.
// Where our standard input is the terminal, its keys go in: ours is in raw mode
// then, so that it is the child's that makes signals of keys, echoes and edits.
type screen struct {
	master  *os.File
	slave   int
	control int // the end of the monitor's pipe that we write to
	monitor int // the other end, until the monitor has it
	keys    int // our terminal that keys come from; -1: none
	view    int // our terminal that has a size; -1: none

	mu     sync.Mutex    // guards what follows
	before *unix.Termios // of our terminal while it is raw
	wake   *os.File      // ends the reading of keys
	idle   chan struct{} // closed when that has ended
}

// wireTerminal gives the child a terminal, if it is to have one.
func (s Spec) wireTerminal(w *wiring) error {
	if s.Streams.Terminal == nil {
		return nil
	}
	scr := &screen{slave: -1, control: -1, monitor: -1, keys: -1, view: -1}
	w.screen = scr
	for fd := 2; fd >= 0; fd-- {
		if IsTerminal(fd) {
			scr.view = fd
		}
	}
	if scr.view == 0 {
		scr.keys = 0
	}
	if err := scr.open(); err != nil {
		w.screen = nil
		scr.undo()
		return err
	}
	w.theirs = append(w.theirs, scr.slave, scr.monitor)
	w.add(s, &source{f: scr.master, to: s.Streams.Terminal}, toTerminal)
	if scr.keys == 0 {
		w.files[0] = uintptr(scr.slave)
	}
	if s.Streams.Stdout == nil {
		w.files[1] = uintptr(scr.slave)
	}
	if s.Streams.Stderr == nil {
		w.files[2] = uintptr(scr.slave)
	}
	if p := s.Privileges; p.changes() {
		_ = unix.Fchown(scr.slave, int(p.User.UID), -1)
	}
	return nil
}

// open makes the pair, as our own terminal is set and as large, and the pipe to
// the monitor.
func (s *screen) open() error {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("/dev/ptmx: %w", err)
	}
	s.master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("/dev/ptmx: %w", err)
	}
	if s.slave, err = openPeer(fd); err != nil {
		return fmt.Errorf("a terminal: %w", err)
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	s.monitor, s.control = ends[0], ends[1]
	model := s.view
	if model < 0 {
		model = s.slave
	}
	settings, err := unix.IoctlGetTermios(model, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("a terminal: %w", err)
	}
	if s.keys < 0 { // what is behind it is no raw terminal: it makes its own line ends, or wants none
		settings.Oflag &^= unix.OPOST
	}
	if err := unix.IoctlSetTermios(s.slave, unix.TCSETS, settings); err != nil {
		return fmt.Errorf("a terminal: %w", err)
	}
	s.resize()
	return nil
}

// undo closes what an open that failed has left.
func (s *screen) undo() {
	if s.master != nil {
		_ = s.master.Close()
	}
	for _, fd := range []int{s.slave, s.control, s.monitor} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// CanTerminal tells whether a child could have a terminal of its own, and whether
// its user may execute our own program as its monitor.
func (p Privileges) CanTerminal() error {
	s := &screen{slave: -1, control: -1, monitor: -1, keys: -1, view: -1}
	defer s.undo()
	if err := s.open(); err != nil {
		return err
	}
	return p.As(func() error { return executable("/proc/self/exe") })
}

// openPeer opens the other side of a pair, also where /dev/pts is another one than
// ours (ioctl_tty(2), TIOCGPTPEER of Linux 4.13).
func openPeer(master int) (int, error) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, flags)
	if errno == 0 {
		return int(fd), nil
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return -1, err
	}
	return unix.Open("/dev/pts/"+strconv.Itoa(n), flags, 0)
}

// session makes the child, which is the monitor, the leader of a session that has
// the terminal.
func (w *wiring) session(death syscall.Signal, pidfd *int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setsid: true, Setctty: true, Ctty: slices.Index(w.files, uintptr(w.screen.slave)), Pdeathsig: death, PidFD: pidfd,
	}
}

// resize gives the child's terminal the size of ours and reports whether that is
// another one. The kernel tells the child then (SIGWINCH).
func (s *screen) resize() bool {
	if s == nil || s.view < 0 {
		return false
	}
	ours, err := unix.IoctlGetWinsize(s.view, unix.TIOCGWINSZ)
	if err != nil {
		return false
	}
	changed := false
	s.ofMaster(func(fd int) {
		theirs, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		changed = err == nil && *theirs != *ours && unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, ours) == nil
	})
	return changed
}

// ofMaster calls f with the descriptor, if it is still open. (Fd would make it
// blocking.)
func (s *screen) ofMaster(f func(fd int)) {
	if raw, err := s.master.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// enter takes the keys, if we are in the foreground: a job in the background must
// leave its terminal alone.
func (s *screen) enter() {
	if s == nil || s.keys < 0 || !(&terminal{fd: s.keys}).foreground() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resize() // it may be another one since we were stopped
	if s.before == nil {
		before, err := unix.IoctlGetTermios(s.keys, unix.TCGETS)
		if err != nil {
			return
		}
		s.before = before
	}
	set(s.keys, raw(*s.before))
	if s.wake != nil {
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	s.wake, s.idle = w, make(chan struct{})
	go s.pump(r, s.idle)
}

// leave gives the keys back and sets our terminal as it was.
func (s *screen) leave() {
	if s == nil {
		return
	}
	s.rest()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restore()
}

// rest lets the keys be.
func (s *screen) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wake != nil {
		_ = s.wake.Close()
		_ = s.master.SetWriteDeadline(time.Now()) // the child may not read its keys
		<-s.idle
		_ = s.master.SetWriteDeadline(time.Time{})
		s.wake = nil
	}
}

func (s *screen) restore() {
	if s.before != nil {
		set(s.keys, *s.before)
		s.before = nil
	}
}

// restoreOnPanic is deferred where a panic of ours would end the program without
// the deferred calls of Supervise.
func (s *screen) restoreOnPanic() {
	if s == nil || s.keys < 0 {
		return
	}
	if r := recover(); r != nil {
		s.restore()
		panic(r)
	}
}

// close leaves, and lets go of the monitor. The master is the source's to close.
func (s *screen) close() {
	s.leave()
	if s.control >= 0 {
		_ = unix.Close(s.control)
		s.control = -1
	}
}

// pump passes keys on until wake is closed or our terminal is gone. SIGTTIN is
// blocked on its thread, so that reading in the background is an error and no
// signal for ever.
func (s *screen) pump(wake *os.File, idle chan<- struct{}) {
	defer close(idle)
	defer func() { _ = wake.Close() }()
	defer s.restoreOnPanic()
	runtime.LockOSThread() // for ever: the thread ends with us
	var block unix.Sigset_t
	block.Val[0] = 1 << (syscall.SIGTTIN - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &block, nil); err != nil {
		return
	}
	buf := make([]byte, 4096)
	defer clear(buf)
	for {
		fds := []unix.PollFd{{Fd: int32(s.keys), Events: unix.POLLIN}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) || fds[1].Revents != 0 {
			return
		}
		if fds[0].Revents == 0 {
			continue
		}
		n, err := unix.Read(s.keys, buf)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
		case err != nil || n <= 0:
			return
		default:
			if _, err := s.master.Write(buf[:n]); err != nil {
				return
			}
		}
	}
}

// set sets a terminal, also from the background.
func set(fd int, settings unix.Termios) {
	_ = withoutTTOU(func() error { return unix.IoctlSetTermios(fd, unix.TCSETS, &settings) })
}

// raw makes the settings of a terminal that passes every byte on, as cfmakeraw(3).
func raw(t unix.Termios) unix.Termios {
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return t
}
