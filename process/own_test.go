package process_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestEraseEnviron: a credential is gone from what others can read of our
// environment, also where it is there twice, and everything else stays.
func TestEraseEnviron(t *testing.T) {
	needRoot(t)
	l := newLines(t)
	cmd, _ := startConfined(t, l, "leave", func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, envRole+"=twice") })
	text, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "CANARY") || strings.Count(string(text), "VAULT_TOKEN=\x00") != 2 {
		t.Errorf("%q", text)
	}
	if !strings.HasPrefix(string(text), "A=1\x00") || !strings.HasSuffix(string(text), "\x00Z=stays\x00") {
		t.Errorf("%q", text)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	l.want("got 15")
	l.want("after 0 0 true true <nil>")
	_ = code(t, cmd)
}

// TestGuard: another process of the same user can read neither our environment
// nor our memory.
func TestGuard(t *testing.T) {
	needRoot(t)
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	l := newLines(t)
	cmd, _ := startConfined(t, l, "", func(cmd *exec.Cmd) { cmd.SysProcAttr.Credential = nobody })
	for _, name := range []string{"environ", "mem", "maps"} {
		path := "/proc/" + strconv.Itoa(cmd.Process.Pid) + "/" + name
		read := exec.Command("/proc/self/exe", path)
		read.Env, read.Stderr, read.SysProcAttr = environ("reader", ""), os.Stderr, &syscall.SysProcAttr{Credential: nobody}
		if got, err := read.Output(); err != nil || !strings.HasSuffix(string(got), "permission denied") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	l.want("got 15")
	_ = code(t, cmd)
}
