package volume

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRelative(t *testing.T) {
	long := strings.Repeat("x", 255)
	good := map[string]string{
		"a": "a", "a/b": "a/b", ".a/.b": ".a/.b", "a..": "a..", "a b": "a b", `a\b`: `a\b`, "ü/…": "ü/…", "...": "",
		"/sink/a": "a", "/sink/a/b": "a/b", long + "/" + long: long + "/" + long, "-rf": "-rf", "~": "~",
	}
	for in, want := range good {
		got, err := relative("/sink", in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gave %q, %v", in, got, err)
		}
	}
	bad := []string{
		"", "/", ".", "..", "a/..", "a/../b", "./a", "a/.", "a//b", "a/", "..data", "..secretboot", "..data/a", "a/..b",
		"/sink", "/sink/", "/sink/../a", "/sinks/a", "/etc/passwd", "//sink/a", "a\x00b", "a\nb", "a\x7f", "a\u0085", "\xff", long + "x",
		strings.TrimSuffix(strings.Repeat(long+"/", 16), "/"),
	}
	for _, in := range bad {
		if got, err := relative("/sink", in); err == nil {
			t.Errorf("%q gave %q, want an error", in, got)
		}
	}
	if got, err := relative("/", "/a"); got != "a" || err != nil {
		t.Errorf("below /: %q, %v", got, err)
	}
}

func TestGenerationName(t *testing.T) {
	name := generationName(time.Unix(1e9, 0))
	if !isGeneration(name) || !strings.HasPrefix(name, "..20010909T014640Z.") {
		t.Error(name)
	}
	for _, other := range []string{
		"", "..data", "..2001_09_09_01_46_40.123456789", name + "0", name[1:], strings.Replace(name, "Z", "z", 1),
		"..20011309T014640Z.0123456789abcdef", "..20010909T014640Z.0123456789abcdeg", "..20010909T014640Z.0123/56789abcde",
	} {
		if isGeneration(other) {
			t.Errorf("%q counts as ours", other)
		}
	}
}

// FuzzRelative compares the check of a path with the kernel's own judgement, of
// openat2(2) with RESOLVE_BENEATH: a path that it finds to leave the folder we
// refuse; one that we accept it creates in the folder under exactly that name, and
// nothing else appears.
func FuzzRelative(f *testing.F) {
	for _, seed := range []string{"a", "a/b/c", "..", "../x", "a/../../x", "/etc/x", "a//b", "..data", "a\x00", "\xff", "a/./b", "a/..", "..a/..", ".../x", strings.Repeat("x", 256)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		dir, err := os.MkdirTemp("/dev/shm", "fuzz-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		rel, refused := relative(dir, in)
		found, err := beneath(t, root, in, unix.O_PATH)
		if errors.Is(err, unix.EXDEV) && refused == nil && in[0] != '/' {
			t.Fatalf("accepted %q, which leaves the folder", in)
		}
		if err == nil {
			unix.Close(found)
		}
		if refused != nil {
			return
		}
		if err := root.MkdirAll(path.Dir(rel), 0o700); err != nil {
			t.Fatalf("accepted %q: %v", in, err)
		}
		fd, err := beneath(t, root, rel, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
		if err != nil {
			t.Fatalf("accepted %q: %v", in, err)
		}
		unix.Close(fd)
		if found := files(t, root); len(found) != 1 || found[0] != rel {
			t.Fatalf("accepted %q, created %q", in, found)
		}
	})
}

// beneath asks the kernel for a path that must not leave root nor meet a link.
func beneath(t *testing.T, root *os.Root, path string, flags uint64) (int, error) {
	t.Helper()
	self, err := root.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o600
	}
	return unix.Openat2(int(self.Fd()), path, &how)
}

func files(t *testing.T, root *os.Root) (found []string) {
	t.Helper()
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
