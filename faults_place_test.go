package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func rootOnly(t *testing.T) {
	t.Helper()
	switch {
	case os.Getuid() == 0:
	case os.Getenv("CI") != "":
		t.Fatal("CI must run this test as root")
	default:
		t.Skip("SKIPPED, NOT PASSED: this case needs root")
	}
}

// faultPlace is the folders of one run. A run apart sees tmp as /tmp and shm as /dev/shm.
type faultPlace struct{ home, work, tmp, conf, dev, shm, sink, dir string }

// newFaultPlace makes them. sink is where the harness finds the folder that the
// binary knows as dir.
func newFaultPlace(t *testing.T, r *faultRow, to *route) faultPlace {
	base := t.TempDir()
	at := faultPlace{home: base + "/home", work: base + "/work", tmp: base + "/tmp", conf: base + "/conf", shm: faultSink(t)}
	for _, dir := range []string{at.home, at.work, at.tmp, at.conf} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	at.sink = at.shm
	at.dir = at.sink
	if r.apart {
		at.sink, at.dir = at.shm+"/sink", "/dev/shm/sink"
		if err := os.Mkdir(at.sink, 0o700); err != nil {
			t.Fatal(err)
		}
		at.dev = fewDevices(t)
		to.over = mergedMap(to.over, map[string]string{"/tmp": at.tmp, "/dev": at.dev, "/dev/shm": at.shm})
	}
	for name, text := range r.files {
		if err := os.WriteFile(filepath.Join(at.conf, name), []byte(at.named(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if to.prepare != nil {
		to.prepare(t, &at)
	}
	return at
}

// named puts the folders in the place of their names.
func (at faultPlace) named(text string) string {
	return strings.NewReplacer("CONF", at.conf, "SINK", at.dir).Replace(text)
}

func mergedMap(a, b map[string]string) map[string]string {
	all := maps.Clone(b)
	maps.Copy(all, a)
	return all
}

// startOver starts cmd where files of ours lie over those of the system, in a
// mount namespace of its own.
func startOver(cmd *exec.Cmd, over map[string]string) error {
	if len(over) == 0 {
		return cmd.Start()
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends, and its namespace with it
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		if err == nil {
			err = bindOver(over)
		}
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	return <-started
}

// bindOver mounts in the calling thread's namespace. One may lie over where another
// comes from, so all are opened first.
func bindOver(over map[string]string) error {
	paths, from := slices.Sorted(maps.Keys(over)), map[string]string{} // /dev before /dev/shm
	if i := slices.Index(paths, "/proc"); i >= 0 {                     // which the others need
		paths = append(slices.Delete(paths, i, i+1), "/proc")
	}
	for _, path := range paths {
		fd, err := unix.Open(over[path], unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", over[path], err)
		}
		defer unix.Close(fd)
		from[path] = fmt.Sprintf("/proc/thread-self/fd/%d", fd)
	}
	for _, path := range paths {
		if err := unix.Mount(from[path], path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// listener keeps what is written to it and calls heard once, when a word was.
type listener struct {
	text  bytes.Buffer
	word  string
	heard func()
}

func (l *listener) Write(p []byte) (int, error) {
	n, err := l.text.Write(p)
	if l.heard != nil && bytes.Contains(l.text.Bytes(), []byte(l.word)) {
		l.heard()
		l.heard = nil
	}
	return n, err
}
