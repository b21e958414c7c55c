package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLeakSearchFinds plants a needle in each place where one could be left, and wants
// it found: the proof would say nothing otherwise.
func TestLeakSearchFinds(t *testing.T) {
	needRoot(t)
	core, dir := randomCore(), t.TempDir()
	n := newNeedle("planted", core)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "deep", "er"), 0o700))
	must(os.WriteFile(filepath.Join(dir, "deep", "er", "file"), []byte("x"+core), 0o600))
	must(os.Symlink("/"+core, filepath.Join(dir, "link")))
	must(os.WriteFile(filepath.Join(dir, "named-"+core), nil, 0o600))
	must(os.WriteFile(filepath.Join("/dev/shm", "sb-planted"), []byte(core), 0o600))
	t.Cleanup(func() { _ = os.Remove("/dev/shm/sb-planted") })
	must(os.WriteFile(filepath.Join(dir, "device"), []byte(strings.Repeat("x", 8<<20-10)+core), 0o600))

	pid := plantInProcess(t, core)
	wanted := []string{"deep/er/file: ", "the link ", "the name ", "/dev/shm/sb-planted: ", "/environ: ", "/cmdline: ", "mem [stack]", " pipe:", " socket:", " /memfd:", "from byte "}
	if plantKey(t, core) {
		wanted = append(wanted, "key ")
	}

	s := &leakSearch{needles: []needle{n}, since: time.Now().Add(-time.Minute)}
	s.everywhere([]string{dir}, nil, []int{pid})
	s.device(filepath.Join(dir, "device"))
	found := strings.Join(s.found, "\n")
	for _, want := range wanted {
		if !strings.Contains(found, want) {
			t.Errorf("nothing was found in %q:\n%s", want, found)
		}
	}
}

// plantKey gives the kernel a key, where a container's seccomp lets us.
func plantKey(t *testing.T, core string) bool {
	t.Helper()
	key, err := unix.AddKey("user", "sb-planted", []byte(core), unix.KEY_SPEC_USER_KEYRING)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Log("SKIPPED, NOT PASSED: the kernel takes no key from us")
		return false
	}
	const ofItsUser = 0x3f3f0000 // all of it, for whoever possesses it and for its user (keyctl_setperm(3))
	if err == nil {
		err = unix.KeyctlSetperm(key, ofItsUser)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.KeyctlInt(unix.KEYCTL_INVALIDATE, key, 0, 0, 0) })
	return true
}

// plantInProcess starts a process that has a needle wherever a process can have one.
func plantInProcess(t *testing.T, core string) (pid int) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "read x; exit 0", core)
	cmd.Env = []string{"PLANTED=" + core}
	hold, err := cmd.StdinPipe() // so that it waits
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.MemfdCreate("planted", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	near, far, file := os.NewFile(uintptr(pair[0]), "near"), os.NewFile(uintptr(pair[1]), "far"), os.NewFile(uintptr(mem), "memfd")
	for _, f := range []*os.File{w, near, file} {
		if _, err := f.WriteString(core); err != nil {
			t.Fatal(err)
		}
	}
	cmd.ExtraFiles = []*os.File{r, far, file}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hold.Close()
		_ = cmd.Wait()
		for _, f := range []*os.File{r, w, near, far, file} {
			_ = f.Close()
		}
	})
	return cmd.Process.Pid
}
