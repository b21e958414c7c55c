package volume_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

func TestMemfd(t *testing.T) {
	dir := tmpfs(t, "")
	f := plan.File{Path: "a/" + strings.Repeat("x", 255), Memfd: true, MemfdEnv: "A"}
	if isRoot() {
		f.Owner, f.Group = "1234", "4321"
	}
	r := openRoots(t, dir, []plan.File{f, {Path: "file"}})
	must(t, r.Stage(f, secret.New([]byte("secret"))))
	must(t, r.Stage(plan.File{Path: "file"}, secret.New([]byte("secret"))))
	if got := r.Descriptors(); len(got) != 0 {
		t.Errorf("before Commit: %v", got)
	}
	must(t, r.Commit())
	fd, ok := r.Descriptors()["A"]
	if !ok || fd < 3 {
		t.Fatalf("descriptors %v", r.Descriptors())
	}
	wantSealed(t, fd)
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
	if isRoot() && (st.Uid != 1234 || st.Gid != 4321 || st.Mode&0o7777 != 0o440) || !isRoot() && st.Mode&0o7777 != 0o400 {
		t.Errorf("owner %d:%d, mode %o", st.Uid, st.Gid, st.Mode)
	}
	if d := r.Delivered(); len(d) != 2 || !strings.HasPrefix(d[1].Path, "memfd:a/x") {
		t.Errorf("delivered %v", d)
	}
	if got := names(t, dir); len(got) != 4 {
		t.Errorf("in the folder: %q", got)
	}
	must(t, r.Deliver())
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("Deliver must leave the descriptor to the command: %v", err)
	}
	must(t, r.Shred())
	if len(r.Descriptors()) != 0 {
		t.Error("still open after Shred")
	}
}

func wantSealed(t *testing.T, fd int) {
	t.Helper()
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	must(t, err)
	const want = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if seals&want != want {
		t.Errorf("seals %x", seals)
	}
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	file := os.NewFile(uintptr(copied), "memfd")
	defer file.Close()
	if text, err := io.ReadAll(file); string(text) != "secret" || err != nil {
		t.Errorf("read from where the descriptor is: %q, %v", text, err)
	}
	for what, err := range map[string]error{
		"write": second(file.WriteAt([]byte("x"), 0)), "cut": file.Truncate(1), "grow": file.Truncate(100),
	} {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// A memfd is part of the whole: a file that cannot be staged takes it along.
func TestMemfdFailsWithTheRest(t *testing.T) {
	for _, dir := range []string{tmpfs(t, ""), ""} {
		r := openRoots(t, dir, nil)
		good := plan.File{Path: "a", Memfd: true}
		bad := plan.File{Path: "b", Memfd: true, Owner: "no such user"}
		before := lowestFree(t)
		must(t, r.Stage(good, secret.New([]byte("secret"))))
		wantProblem(t, r.Stage(bad, secret.New([]byte("secret"))), plan.CodeConfig, "not known")
		wantProblem(t, r.Commit(), plan.CodeBug, "could not be staged")
		if n := lowestFree(t); n != before || len(r.Descriptors()) != 0 {
			t.Errorf("%q: a descriptor is left: %d, %d, %v", dir, before, n, r.Descriptors())
		}
		for i := range 3 { // a later generation replaces it
			must(t, r.Stage(good, secret.New([]byte(fmt.Sprint(i)))))
			must(t, r.Commit())
		}
		if n := len(r.Descriptors()); n != 1 {
			t.Errorf("%d descriptors", n)
		}
		must(t, r.Shred())
	}
}
