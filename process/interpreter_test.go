package process

import (
	"errors"
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
