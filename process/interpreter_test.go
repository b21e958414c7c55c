package process

import (
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestInterpreter(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, text, want string
		err              error
	}{
		{"plain", "#!/bin/sh\necho\n", "/bin/sh", nil},
		{"spaces", "#! \t/usr/bin/env  python3\n", "/usr/bin/env", nil},
		{"one-line", "#!/bin/sh", "/bin/sh", nil},
		{"nothing-named", "#!\n/bin/sh\n", "", syscall.ENOEXEC},
		{"no-first-line", "echo\n", "", syscall.ENOEXEC},
		{"empty", "", "", syscall.ENOEXEC},
		{"broken-elf", "\x7fELF" + strings.Repeat("\xff", 300), "", syscall.ENOEXEC},
		{"short-elf", "\x7fELF", "", syscall.ENOEXEC},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.text), 0o700); err != nil {
			t.Fatal(err)
		}
		got, err := Interpreter(path)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	if _, err := Interpreter(filepath.Join(dir, "absent")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("absent: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Interpreter(self); err != nil { // static or not, as it was built
		t.Errorf("a Go program: %v", err)
	}
}

// TestInterpreterOfPrograms compares with what the standard library reads in the
// programs of this machine.
func TestInterpreterOfPrograms(t *testing.T) {
	paths, err := filepath.Glob("/usr/bin/*")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, path := range paths {
		f, err := elf.Open(path)
		if err != nil {
			continue // a script, or not for us to read
		}
		want := ""
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				name, err := io.ReadAll(p.Open())
				if err != nil {
					t.Fatal(err)
				}
				want = strings.TrimRight(string(name), "\x00")
			}
		}
		_ = f.Close()
		if got, err := Interpreter(path); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
		compared++
	}
	if compared < 20 {
		t.Errorf("only %d programs", compared)
	}
}
