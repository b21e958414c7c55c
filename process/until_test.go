package process_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// closed waits for a channel that has to be closed, within a time that no test needs.
func closed(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was told")
	}
}

func stillOpen(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Fatal("told too early")
	default:
	}
}

// sleeper starts a process that lasts until it is killed.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestWhenGone(t *testing.T) {
	cmd := sleeper(t)
	gone, _, err := process.WhenGone(t.Context(), cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stillOpen(t, gone)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	closed(t, gone) // it is a zombie still
	again, _, err := process.WhenGone(t.Context(), cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	closed(t, again)
	_ = cmd.Wait()
	if again, _, err = process.WhenGone(t.Context(), cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	closed(t, again)
}

// The signal goes to the process that was meant, and not to one that has its number now.
func TestWhenGoneSignals(t *testing.T) {
	cmd := sleeper(t)
	pid := cmd.Process.Pid
	gone, signal, err := process.WhenGone(t.Context(), pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	closed(t, gone)
	_ = cmd.Wait()
	again := withNumber(t, pid)
	if err := signal(syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("%v", err)
	}
	if err := again.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = again.Wait()
	if ws, ok := again.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGTERM {
		t.Errorf("the process that has the number now ended by %v", again.ProcessState)
	}
}

// withNumber starts a process that has a number which is free again.
func withNumber(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("CI must run this test as root: %v", err)
			}
			t.Skipf("SKIPPED, NOT PASSED: this test says which number a process gets: %v", err)
		}
		if cmd := sleeper(t); cmd.Process.Pid == pid {
			return cmd
		}
	}
	t.Fatal("others are always faster")
	return nil
}

// It is no child of ours, and for a plain user one that may not be signalled.
func TestWhenGoneOfTheFirst(t *testing.T) {
	gone, _, err := process.WhenGone(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	stillOpen(t, gone)
}

func TestWhenGoneOfAThread(t *testing.T) {
	thread, done := make(chan int), make(chan struct{})
	defer close(done)
	for range 2 { // one of them is not the first thread, which is the process
		go func() {
			runtime.LockOSThread()
			thread <- unix.Gettid()
			<-done
		}()
	}
	for range 2 {
		tid := <-thread
		if tid == os.Getpid() {
			continue
		}
		if _, _, err := process.WhenGone(t.Context(), tid); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			t.Errorf("a thread is watched: %v", err)
		}
	}
}

// Nobody waits after the context has ended: no descriptor is left.
func TestWaitsEndWithTheContext(t *testing.T) {
	pid := sleeper(t).Process.Pid
	waitFor := func(want int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); waiting(t, pid) != want; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d descriptors, not %d", waiting(t, pid), want)
			}
		}
	}
	const own = 1 // that os/exec has
	waitFor(own)  // tests before this one are through
	ctx, cancel := context.WithCancel(t.Context())
	gone, _, err := process.WhenGone(ctx, pid)
	if err != nil {
		t.Fatal(err)
	}
	there, err := process.WhenThere(ctx, t.TempDir()+"/done")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(own + 2)
	cancel()
	waitFor(own)
	stillOpen(t, gone)
	stillOpen(t, there)
}

// waiting counts our descriptors of inotify(7) and those of a process.
func waiting(t *testing.T, pid int) (n int) {
	t.Helper()
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil || len(infos) == 0 {
		t.Fatal(len(infos), err)
	}
	for _, name := range infos {
		text, _ := os.ReadFile(name)
		if strings.Contains(string(text), "inotify wd:") || strings.Contains(string(text), "\nPid:\t"+strconv.Itoa(pid)+"\n") {
			n++
		}
	}
	return n
}

func TestWhenThere(t *testing.T) {
	for name, appear := range map[string]func(path string) error{
		"created": func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"folder":  func(p string) error { return os.Mkdir(p, 0o700) },
		"link":    func(p string) error { return os.Symlink("/nowhere", p) },
		"moved": func(p string) error {
			return errors.Join(os.WriteFile(p+"_", nil, 0o600), os.Rename(p+"_", p))
		},
		"in a folder made anew": func(p string) error {
			dir := strings.TrimSuffix(p, "/done")
			return errors.Join(os.Remove(dir), os.Mkdir(dir, 0o700), os.WriteFile(p, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/done"
			there, err := process.WhenThere(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+".other", nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_ = os.Remove(path + ".other")
			stillOpen(t, there)
			if err := appear(path); err != nil {
				t.Fatal(err)
			}
			closed(t, there)
			if there, err = process.WhenThere(t.Context(), path); err != nil {
				t.Fatal(err)
			}
			closed(t, there) // what is there already counts
		})
	}
}

func TestWhenThereNeedsTheFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := process.WhenThere(t.Context(), dir+"/missing/done"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := process.WhenThere(t.Context(), dir+"/file/done"); !errors.Is(err, syscall.ENOTDIR) {
		t.Error(err)
	}
}

// Without a descriptor or a watch to have (fs.inotify.max_user_instances), we look
// every second.
func TestWhenThereWithoutWatches(t *testing.T) {
	path := t.TempDir() + "/done"
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: hardLimit(t)}, &limit); err != nil {
		t.Fatal(err)
	}
	_, inotifyErr := unix.InotifyInit1(unix.IN_CLOEXEC)
	there, err := process.WhenThere(t.Context(), path)
	if restored := unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil); err != nil || restored != nil || !errors.Is(inotifyErr, unix.EMFILE) {
		t.Fatal(err, restored, inotifyErr)
	}
	stillOpen(t, there)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed(t, there)
}

func hardLimit(t *testing.T) uint64 {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	return limit.Max
}
