package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leakSearch looks for needles wherever root can look on this machine. What it cannot
// see are the free pages of the kernel: nothing but a dump of a crashed kernel shows
// them, and the kernel zeroes them before it gives them to anybody.
type leakSearch struct {
	needles []needle
	since   time.Time
	but     func(place string) bool // where a needle has to be
	places  int                     // how many were looked at
	found   []string
}

// look looks at one text.
func (s *leakSearch) look(place string, text []byte) {
	s.places++
	if s.but != nil && s.but(place) {
		return
	}
	for _, n := range s.needles {
		if forms := n.found(text); forms != "" {
			s.found = append(s.found, fmt.Sprintf("%s: the %s, %s", place, n.name, forms))
		}
	}
}

// file looks at a file, if it is still there.
func (s *leakSearch) file(path string) {
	if text, err := os.ReadFile(path); err == nil {
		s.look(path, text)
	}
}

// largestFile is what is looked at of files that others may have made.
const largestFile = 64 << 20

// files looks at what has changed below a folder: at what is in files, in links and in
// names. It goes deep folders down, or all the way with -1. Other programs make and
// remove files meanwhile.
func (s *leakSearch) files(dir string, deep int) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if d.IsDir() && deep >= 0 && strings.Count(strings.TrimPrefix(path, dir), "/") > deep {
			return fs.SkipDir
		}
		s.look("the name "+path, []byte(path))
		info, err := d.Info()
		if err != nil || info.ModTime().Before(s.since) && info.Mode().IsRegular() {
			return nil
		}
		switch {
		case d.Type() == fs.ModeSymlink:
			to, _ := os.Readlink(path)
			s.look("the link "+path, []byte(to))
		case info.Mode().IsRegular() && info.Size() <= largestFile:
			s.file(path)
		}
		return nil
	})
}

// processes looks at the arguments of every process, and at the environment of ours.
func (s *leakSearch) processes(ours ...int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range all {
		s.file(path)
	}
	for _, pid := range ours {
		s.process(pid)
	}
}

// process looks at one process: its memory, its environment, and what its descriptors
// have, be it in files without a name, in pipes or in sockets.
func (s *leakSearch) process(pid int) {
	proc := "/proc/" + strconv.Itoa(pid) + "/"
	s.file(proc + "environ")
	s.file(proc + "comm")
	if err := eachRegion(pid, func(name string, _ uint64, text []byte) { s.look(proc+"mem "+name, text) }); err != nil {
		s.found = append(s.found, fmt.Sprintf("process %d could not be looked at: %v", pid, err))
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	entries, _ := os.ReadDir(proc + "fd")
	for _, e := range entries {
		n, _ := strconv.Atoi(e.Name())
		s.descriptor(proc+"fd/"+e.Name(), fd, n)
	}
}

// descriptor looks at what could be read from a descriptor of another process, and
// leaves it there.
func (s *leakSearch) descriptor(place string, pidfd, n int) {
	theirs, err := unix.PidfdGetfd(pidfd, n, 0)
	if err != nil {
		return
	}
	defer unix.Close(theirs)
	to, _ := os.Readlink(place)
	buf := make([]byte, 1<<20)
	got := 0
	switch {
	case strings.HasPrefix(to, "pipe:"):
		got, err = peekPipe(theirs, buf)
	case strings.HasPrefix(to, "socket:"):
		got, _, err = unix.Recvfrom(theirs, buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	default:
		got, err = unix.Pread(theirs, buf, 0)
	}
	if err == nil && got > 0 {
		s.look(place+" "+to, buf[:got])
	}
}

// peekPipe gives what is in a pipe: tee(2) takes nothing out.
func peekPipe(pipe int, buf []byte) (int, error) {
	var copied [2]int
	if err := unix.Pipe2(copied[:], unix.O_CLOEXEC); err != nil {
		return 0, err
	}
	defer unix.Close(copied[0])
	defer unix.Close(copied[1])
	_, _ = unix.FcntlInt(uintptr(copied[1]), unix.F_SETPIPE_SZ, len(buf))
	const nonBlock = 0x02 // SPLICE_F_NONBLOCK
	if n, err := unix.Tee(pipe, copied[1], len(buf), nonBlock); err != nil || n == 0 {
		return 0, err
	}
	return unix.Read(copied[0], buf)
}

// kernel looks at what the kernel keeps for programs: keys, shared memory, its log and
// swap. pids are those of ours, which may have ended.
func (s *leakSearch) kernel(pids []int) {
	s.file("/proc/keys")
	keys, _ := os.ReadFile("/proc/keys")
	for line := range strings.Lines(string(keys)) {
		words := strings.Fields(line)
		if id, err := strconv.ParseInt(words[0], 16, 64); err == nil {
			buf := make([]byte, 64<<10)
			if n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, int(id), buf, 0); err == nil {
				s.look("key "+words[0], buf[:min(n, len(buf))])
			}
		}
	}
	for _, kind := range []string{"shm", "msg", "sem"} {
		text, _ := os.ReadFile("/proc/sysvipc/" + kind)
		for line := range strings.Lines(string(text)) {
			if words := strings.Fields(line); len(words) > 5 && slices.ContainsFunc(pids, func(pid int) bool { return words[4] == strconv.Itoa(pid) }) {
				s.found = append(s.found, "System V "+kind+" of ours: "+line)
			}
		}
	}
	log := make([]byte, 4<<20)
	if n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log); err == nil {
		s.look("the kernel's log", log[:n])
	}
	s.swap()
}

// swap looks at what was swapped out, where there is swap.
func (s *leakSearch) swap() {
	text, _ := os.ReadFile("/proc/swaps")
	for line := range strings.Lines(string(text)) {
		if path, _, _ := strings.Cut(line, " "); strings.HasPrefix(path, "/") {
			s.device(path)
		}
	}
}

// device looks at all that is on a device or in an image, past its page cache.
func (s *leakSearch) device(path string) {
	f, err := os.Open(path)
	if err != nil {
		s.found = append(s.found, err.Error())
		return
	}
	defer f.Close()
	const step, overlap = 8 << 20, 4 << 10
	buf := make([]byte, step+overlap)
	for at := int64(0); ; at += step {
		n, err := f.ReadAt(buf, at)
		s.look(fmt.Sprintf("%s from byte %d", path, at), buf[:n])
		if err != nil || n < len(buf) {
			return
		}
	}
}

// everywhere looks at all of it.
func (s *leakSearch) everywhere(own []string, pids, alive []int) {
	for _, dir := range own {
		s.files(dir, -1)
	}
	for _, dir := range []string{"/dev/shm", "/dev/mqueue", "/run", "/run/log/journal", "/var/log", "/var/log/journal", "/var/crash", "/var/lib/systemd/coredump", "/var/tmp", os.TempDir()} {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			s.files(dir, 1)
		}
	}
	s.file(terminationLog)
	s.processes(alive...)
	s.kernel(pids)
}

// err tells what was found; it is one too if hardly anything was looked at.
func (s *leakSearch) err() error {
	if s.places < 20 {
		return fmt.Errorf("only %d places could be looked at", s.places)
	}
	slices.Sort(s.found)
	var all []error
	for _, f := range slices.Compact(s.found) {
		all = append(all, errors.New(f))
	}
	return errors.Join(all...)
}
