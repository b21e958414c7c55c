package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSendState tells what a manager that is there, is not there, or does not read is
// told, and how long that takes.
func TestSendState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := sendState(path, notifyReady); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 64)
	if n, err := conn.Read(got); err != nil || string(got[:n]) != "READY=1" {
		t.Fatalf("it heard %q, %v", got[:n], err)
	}
	for address, want := range map[string]error{
		"/": errNotifyAddress, "@": errNotifyAddress, "relative": errNotifyAddress, "vsock:2:9999": errNotifyAddress,
		path + "x": unix.ENOENT, "@nobody-listens-here": unix.ECONNREFUSED, "/" + strings.Repeat("x", 200): unix.EINVAL,
	} {
		if err := sendState(address, notifyReady); !errors.Is(err, want) {
			t.Errorf("%.30s: %v, not %v", address, err, want)
		}
	}
	begin := time.Now()
	for err = nil; err == nil; { // until its queue is full
		err = sendState(path, notifyReady)
	}
	if took := time.Since(begin); !errors.Is(err, unix.EAGAIN) || took > 5*time.Second {
		t.Errorf("a manager that does not read: %v after %v", err, took)
	}
}

// TestUnitsVerify has systemd itself read the units of the examples.
func TestUnitsVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have systemd-analyze")
		}
		t.Skip("no systemd-analyze")
	}
	units, err := filepath.Glob("examples/systemd/*.service")
	if err != nil || len(units) < 3 {
		t.Fatalf("%q, %v", units, err)
	}
	dir := t.TempDir()
	for _, name := range []string{"secretboot", "shop"} {
		if err := os.Symlink("/bin/true", filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"verify", "--man=no", "--recursive-errors=no"}
	for _, unit := range units {
		// It wants the programs to be there.
		text := strings.ReplaceAll(string(read(t, unit)), "/usr/local/bin", dir)
		copied := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("%v\n%s", err, out)
	}
}
