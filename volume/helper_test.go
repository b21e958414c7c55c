package volume_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// The test binary runs itself again in other circumstances. These variables say
// which.
const (
	envHold   = "VOLUME_TEST_HOLD"   // commit to this folder, say so, and wait to be killed
	envStage  = "VOLUME_TEST_STAGE"  // with envHold: only stage
	envWork   = "VOLUME_TEST_WORK"   // with envHold: deliver or shred two files, or deliver to two roots, and end
	envLong   = "VOLUME_TEST_LONG"   // run the long tests in full
	envUID    = "VOLUME_TEST_UID"    // become this user
	envNoProc = "VOLUME_TEST_NOPROC" // hide /proc first
	plainUID  = 65534
)

func TestMain(m *testing.M) {
	if err := circumstances(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if dir := os.Getenv(envHold); dir != "" {
		if os.Getenv(envWork) != "" {
			os.Exit(work(dir))
		}
		os.Exit(hold(dir))
	}
	os.Exit(m.Run())
}

func circumstances() error {
	if os.Getenv(envNoProc) != "" {
		if err := unix.Mount("none", "/proc", "tmpfs", 0, ""); err != nil {
			return fmt.Errorf("hide /proc: %w", err)
		}
	}
	uid, err := strconv.Atoi(os.Getenv(envUID))
	if err != nil {
		return nil
	}
	return errors.Join(unix.Setgroups(nil), unix.Setresgid(uid, uid, uid), unix.Setresuid(uid, uid, uid))
}

func hold(dir string) int {
	v, err := volume.Open(volume.Options{Dir: dir, Ephemeral: strings.Contains(dir, "secretboot-")})
	if err == nil {
		err = v.Stage(plan.File{Path: "db/pass"}, secret.New([]byte("held")))
	}
	if err == nil && os.Getenv(envStage) == "" {
		err = v.Commit()
	}
	fmt.Println("held", err)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// work is a whole life, on one thread so that strace can count its calls.
func work(dir string) int {
	runtime.LockOSThread()
	if os.Getenv(envWork) == "roots" {
		return workRoots(dir)
	}
	v, err := volume.Open(volume.Options{Dir: dir})
	owner := ""
	if isRoot() {
		owner = "1234"
	}
	if err == nil {
		err = errors.Join(
			v.Stage(plan.File{Path: "db/pass", Mode: 0o440, Owner: owner, Group: owner}, secret.New([]byte("held"))),
			v.Stage(plan.File{Path: "db/other"}, secret.New([]byte("other"))),
			v.Commit(),
			v.SetExpiry(time.Now().Add(time.Hour)),
		)
	}
	if err == nil && os.Getenv(envWork) == "deliver" {
		err = v.Deliver()
	} else if err == nil {
		err = v.Shred()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// twoRoots are a file in dir/in, by a relative path, and one in dir/out.
func twoRoots(dir string) (volume.Options, []plan.File) {
	return volume.Options{Dir: dir + "/in"}, []plan.File{{Path: "a"}, {Path: dir + "/out/b"}}
}

func workRoots(dir string) int {
	o, files := twoRoots(dir)
	r, err := volume.OpenRoots(o, files, nil)
	for _, f := range files {
		if err == nil {
			err = r.Stage(f, secret.New([]byte("new")))
		}
	}
	if err == nil {
		err = r.Commit()
	}
	if err == nil {
		err = r.Deliver()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// killedOwner leaves dir as a process leaves it that was killed.
func killedOwner(t *testing.T, dir string, env ...string) {
	t.Helper()
	cmd := liveOwner(t, dir, env...)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func liveOwner(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), envHold+"="+dir, envNoProc+"=", envUID+"=", "GORACE=atexit_sleep_ms=0"), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close(); _ = cmd.Wait() })
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held <nil>\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return cmd
}

func isRoot() bool { return os.Geteuid() == 0 }

func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case isRoot():
	case os.Getenv("CI") != "":
		t.Fatal("CI must run this test as root")
	default:
		t.Skip("SKIPPED, NOT PASSED: this test needs root")
	}
}

// tmpfs gives a folder in memory: a mount of its own for root (with mount
// options), a folder below /dev/shm for others.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	if !isRoot() {
		dir, err := os.MkdirTemp("/dev/shm", "volume-test-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return dir
	}
	dir := filepath.Join(t.TempDir(), "sink")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func open(t *testing.T, dir string) *volume.Volume {
	t.Helper()
	v, err := volume.Open(volume.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Shred() })
	return v
}

func stage(t *testing.T, v *volume.Volume, files map[string]string) {
	t.Helper()
	for path, text := range files {
		if err := v.Stage(plan.File{Path: path}, secret.New([]byte(text))); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, v *volume.Volume, files map[string]string) {
	t.Helper()
	stage(t, v, files)
	if err := v.Commit(); err != nil {
		t.Fatal(err)
	}
}

func deliver(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	v := open(t, dir)
	commit(t, v, files)
	if err := v.Deliver(); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", path, err)
	}
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q (%v), want %q", path, got, err, want)
	}
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != want {
		t.Errorf("%s: mode %v (%v), want %v", path, info, err, want)
	}
}

// wantProblem wants every failure to be a Problem with the code, in one line.
func wantProblem(t *testing.T, err error, code plan.Code, text string) {
	t.Helper()
	var p *plan.Problem
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a problem with %q", err, text)
	}
	if p.Code != code || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got code %d, %q; want code %d with %q in one line", p.Code, err, code, text)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
