package process

import (
	"bytes"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Guard keeps what this process has in memory to itself: another process of our
// user may not read it, nor our environment in /proc, and no core of it is
// written (prctl(2), PR_SET_DUMPABLE; the limit is for a kernel that is told to
// write one all the same). It gives the limit that we were started with, for
// [Spec.Core]; nil when there is none.
func Guard() *unix.Rlimit {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	var found unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &found); err != nil {
		return nil
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: found.Max}); err != nil {
		return nil
	}
	return &found
}

// withCore calls f while the limit of core files is that which a child is to
// inherit. A core of ours is not written meanwhile: we are not dumpable.
func (s Spec) withCore(f func() error) error {
	if s.Core == nil {
		return f()
	}
	var ours unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &ours); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, s.Core); err != nil {
		return err
	}
	err := f()
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &ours)
	return err
}

// keepDumpable calls f and takes back what that does to this process: a child
// that changes its user sets fs.suid_dumpable while it shares our memory.
func keepDumpable(f func() error) error {
	before, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	err := f()
	if now, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); now != before {
		_ = unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(before), 0, 0, 0)
	}
	return err
}

// leave makes / our working folder, so that we hold no mount. A thread with a
// mount namespace of its own has a working folder of its own.
func leave() {
	_ = unix.Chdir("/")
	_ = onThread(func() error { return unix.Chdir("/") })
}

// EraseEnviron overwrites, where the kernel put them, the values of the
// variables that erase wants gone, so that /proc/self/environ does not show them
// any more. What os.Environ gave before and gives later are copies, and stay.
// It reports whether that place was found.
func EraseEnviron(erase func(name string) bool) bool {
	block := environBlock()
	for rest := block; len(rest) > 0; {
		end := 0
		for end < len(rest) && rest[end] != 0 {
			end++
		}
		entry := rest[:end]
		rest = rest[min(end+1, len(rest)):]
		if name, _, ok := strings.Cut(string(entry), "="); ok && erase(name) {
			clear(entry[len(name)+1:])
		}
	}
	return block != nil
}

// environBlock is the memory with the environment: it lies between the last
// argument and the name of our file (fs/exec.c of Linux: bprm->exec; getauxval(3),
// AT_EXECFN). os.Args are not copies. That of os.Environ are, and leave a
// variable out that is there twice.
func environBlock() []byte {
	const atExecFn = 31
	vector, err := unix.Auxv()
	if err != nil {
		return nil
	}
	last, empty := len(os.Args)-1, 0
	for last >= 0 && os.Args[last] == "" {
		last, empty = last-1, empty+1
	}
	if last < 0 {
		return nil
	}
	start := unsafe.Add(unsafe.Pointer(unsafe.StringData(os.Args[last])), len(os.Args[last])+1+empty)
	for _, v := range vector {
		const most = 6 << 20 // bytes of all arguments and variables (execve(2))
		if v[0] == atExecFn && v[1] > uintptr(start) && v[1]-uintptr(start) <= most {
			block := unsafe.Slice((*byte)(start), v[1]-uintptr(start))
			return ifWhole(block)
		}
	}
	return nil
}

// ifWhole gives the block if it has what an environment consists of, entries
// that each end with NUL. An argument that somebody replaced in os.Args is
// elsewhere, and what follows it is something else.
func ifWhole(block []byte) []byte {
	if block[len(block)-1] != 0 {
		return nil
	}
	for entry := range bytes.SplitSeq(block[:len(block)-1], []byte{0}) {
		if len(entry) > 0 && !bytes.ContainsRune(entry, '=') {
			return nil
		}
	}
	return block
}
