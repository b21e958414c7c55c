package volume

import (
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"time"
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

// FuzzRelative compares the check of a path with what os.Root makes of it: a path that we
// accept is created below the root under exactly that name, and nothing
// else appears; a path that leaves the root we refuse.
func FuzzRelative(f *testing.F) {
	for _, seed := range []string{"a", "a/b/c", "..", "../x", "a/../../x", "/etc/x", "a//b", "..data", "a\x00", "\xff", strings.Repeat("x", 256)} {
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
		if refused != nil {
			return
		}
		if err := root.MkdirAll(path.Dir(rel), 0o700); err != nil {
			t.Fatalf("accepted %q: %v", in, err)
		}
		file, err := root.OpenFile(rel, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatalf("accepted %q: %v", in, err)
		}
		file.Close()
		if found := files(t, root); len(found) != 1 || found[0] != rel {
			t.Fatalf("accepted %q, created %q", in, found)
		}
	})
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
