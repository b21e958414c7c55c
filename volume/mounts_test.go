package volume_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/volume"
)

// ownMounts gives the rest of the test a mount namespace of its own. Its thread
// ends with it.
func ownMounts(t *testing.T) {
	t.Helper()
	needRoot(t)
	runtime.LockOSThread()
	must(t, errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")))
}

// Everything but the sink is read-only: not one write is needed elsewhere.
func TestReadOnlyRoot(t *testing.T) {
	dir := tmpfs(t, "")
	outside := t.TempDir()
	ownMounts(t)
	readOnly := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	must(t, unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &readOnly))
	t.Cleanup(func() { // for the folders of the test itself
		_ = unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
	})
	must(t, unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
	if err := os.WriteFile(outside+"/f", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Fatalf("the rest is writable: %v", err)
	}
	v := open(t, dir)
	commit(t, v, delivery)
	commit(t, v, delivery)
	must(t, v.Deliver())
	must(t, volume.ShredPath(dir, true))
	wantEmpty(t, dir)
	_, err := volume.Open(volume.Options{Dir: filepath.Join(outside, "made"), AllowDisk: true})
	wantProblem(t, err, plan.CodeSink, "read-only")
}

// An image made from nothing has no passwd file: numbers work, names are an
// error that tells why.
func TestNoAccountFiles(t *testing.T) {
	dir := tmpfs(t, "")
	ownMounts(t)
	must(t, unix.Mount("none", "/etc", "tmpfs", 0, ""))
	v := open(t, dir)
	wantProblem(t, v.CheckAccess(plan.File{Path: "f", Owner: "daemon"}), plan.CodeConfig, `owner "daemon" is not known here: there is no /etc/passwd`)
	wantProblem(t, v.CheckAccess(plan.File{Path: "f", Group: "daemon"}), plan.CodeConfig, `group "daemon" is not known here: there is no /etc/group`)
	must(t, v.CheckAccess(plan.File{Path: "f", Owner: "0", Group: "65532"}))
}

// A private mount is seen by the goroutine that opened it and by nobody else.
func TestPrivateMount(t *testing.T) {
	dir := filepath.Join(tmpfs(t, "mode=0755"), "sink")
	o := volume.Options{Dir: dir, MountSize: 64 << 10}
	if !isRoot() {
		_, err := volume.Open(o)
		wantProblem(t, err, plan.CodeSink, "needs the capability CAP_SYS_ADMIN")
		wantGone(t, dir)
		return
	}
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(dir+"/hidden", []byte("stays"), 0o600))
	v, err := volume.Open(o)
	must(t, err)
	commit(t, v, map[string]string{"a/f": "secret"})
	wantText(t, dir+"/a/f", "secret")
	wantMode(t, dir, 0o700)
	wantMode(t, dir+"/a", 0o700)
	outside := make(chan []string)
	go func() { outside <- names(t, dir) }()
	if got := <-outside; !slices.Equal(got, []string{"hidden"}) {
		t.Errorf("outside one sees %q", got)
	}
	wantMount(t, dir)
	err = v.Stage(plan.File{Path: "big"}, secret.New(make([]byte, 100_000)))
	wantProblem(t, err, plan.CodeIO, "of 65536 bytes")
	must(t, v.Shred())
	wantEmpty(t, dir)
	go func() { outside <- names(t, dir) }()
	if got := <-outside; !slices.Equal(got, []string{"hidden"}) {
		t.Errorf("outside one sees %q", got)
	}
}

// wantMount looks at the options of the mount itself (proc_pid_mountinfo(5)).
func wantMount(t *testing.T, dir string) {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(dir, &st))
	const want = unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC
	if st.Flags&want != want || st.Blocks*uint64(st.Bsize) != 64<<10 || st.Files != 1024 {
		t.Errorf("flags %x, %d bytes, %d inodes", st.Flags, st.Blocks*uint64(st.Bsize), st.Files)
	}
	mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return // hidden: see TestWithoutProc
	}
	must(t, err)
	probe := tmpfs(t, "")
	takes := unix.Mount("none", probe, "tmpfs", 0, "noswap") == nil
	t.Cleanup(func() { _ = unix.Unmount(probe, unix.MNT_DETACH) })
	mine := ""
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+dir+" ") {
			mine = line // the last one covers those before
		}
	}
	if mine == "" || strings.Contains(mine, "noswap") != takes {
		t.Errorf("the kernel takes noswap: %v; the mount is %q", takes, mine)
	}
}

func TestPrivateMountOnPlantedFolder(t *testing.T) {
	needRoot(t)
	base := tmpfs(t, "mode=1777")
	must(t, os.Mkdir(base+"/planted", 0o755))
	must(t, os.Chown(base+"/planted", plainUID, plainUID))
	_, err := volume.Open(volume.Options{Dir: base + "/planted", MountSize: 1 << 20})
	wantProblem(t, err, plan.CodeSink, "another user")
	_, err = volume.Open(volume.Options{Dir: "/sys/none/such", MountSize: 1 << 20})
	wantProblem(t, err, plan.CodeSink, "neither it nor its parent exists")
}
