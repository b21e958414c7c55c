package process_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// needRoot skips what only root can try.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("CI must run this test as root")
	}
	t.Skip("SKIPPED, NOT PASSED: this test needs root")
}

// status gives the fields of /proc/PID/status.
func status(t *testing.T, pid int) map[string]string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

const noCaps = "0000000000000000"

func TestPrivileges(t *testing.T) {
	needRoot(t)
	all := status(t, os.Getpid())["CapBnd"]
	raw := func() string { // without NET_RAW
		n, _ := strconv.ParseUint(all, 16, 64)
		return fmt.Sprintf("%016x", n&^(1<<unix.CAP_NET_RAW))
	}()
	for words, want := range map[string]map[string]string{
		"user=65532:65533":                    {"Uid": "65532 65532 65532 65532", "Gid": "65533 65533 65533 65533", "Groups": "", "CapEff": noCaps, "CapPrm": noCaps, "CapBnd": all, "NoNewPrivs": "0"},
		"user=65532:0:7:8":                    {"Uid": "65532 65532 65532 65532", "Gid": "0 0 0 0", "Groups": "7 8"},
		"user=0:0:9":                          {"Uid": "0 0 0 0", "Groups": "9", "CapEff": all},
		"user=4294967294:65533 nnp drop=all":  {"Uid": "4294967294 4294967294 4294967294 4294967294", "CapBnd": noCaps, "CapInh": noCaps, "CapAmb": noCaps, "NoNewPrivs": "1"},
		"nnp":                                 {"Uid": "0 0 0 0", "NoNewPrivs": "1", "CapEff": all},
		"drop=all":                            {"Uid": "0 0 0 0", "NoNewPrivs": "0", "CapEff": noCaps, "CapPrm": noCaps, "CapBnd": noCaps},
		"drop=13":                             {"CapEff": raw, "CapPrm": raw, "CapBnd": raw, "CapInh": noCaps},
		"here user=65532:65533 nnp drop=all":  {"Uid": "65532 65532 65532 65532", "NoNewPrivs": "1", "CapBnd": noCaps},
		"core=4096 leave user=65532:65533":    {"Uid": "65532 65532 65532 65532"},
		"core=4096 leave nnp user=65532:1000": {"Gid": "1000 1000 1000 1000"},
	} {
		for _, mode := range []string{"", " replace"} {
			t.Run(words+mode, func(t *testing.T) {
				l := newLines(t)
				cmd, child := startConfined(t, l, words+mode, nil)
				got := status(t, child)
				for name, value := range want {
					if got[name] != value {
						t.Errorf("the child's %s is %q, want %q", name, got[name], value)
					}
				}
				checkSelf(t, cmd.Process.Pid, child, words)
				_ = cmd.Process.Signal(syscall.SIGTERM)
				l.want("got 15")
				if mode == "" {
					if after := l.next(); after != "after 0 0 true true <nil>" {
						t.Errorf("%s", after)
					}
				}
				_ = code(t, cmd)
			})
		}
	}
}

// checkSelf looks at what supervises, and at what the child inherited from it.
func checkSelf(t *testing.T, self, child int, words string) {
	t.Helper()
	limit, cwd := "0", ""
	if strings.Contains(words, "core=") {
		limit = "4096"
	}
	cwd, _ = os.Getwd()
	if got := coreLimit(t, child); got != limit {
		t.Errorf("the child's limit of core files is %s, want %s", got, limit)
	}
	if at, _ := os.Readlink("/proc/" + strconv.Itoa(child) + "/cwd"); at != cwd {
		t.Errorf("the child is in %s, want %s", at, cwd)
	}
	if self == child {
		return
	}
	mine, ours := status(t, os.Getpid()), status(t, self)
	for _, name := range []string{"Uid", "Gid", "Groups", "CapEff", "CapBnd", "NoNewPrivs"} {
		if strings.Contains(words, "here") && (name == "CapBnd" || name == "NoNewPrivs") {
			continue // the thread was given up for this
		}
		if ours[name] != mine[name] {
			t.Errorf("our own %s is %q, and was %q", name, ours[name], mine[name])
		}
	}
	if got := coreLimit(t, self); got != "0" {
		t.Errorf("our own limit of core files is %s", got)
	}
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(self) + "/task/*/cwd")
	for _, task := range tasks {
		if at, _ := os.Readlink(task); strings.Contains(words, "leave") && at != "/" {
			t.Errorf("%s is %s", task, at)
		}
	}
}

func coreLimit(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/limits")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "Max core file size")
	return strings.Fields(rest)[0]
}

// TestPrivilegesAmbient: what a user who is not root may do by ambient
// capabilities is not for the other user that it becomes.
func TestPrivilegesAmbient(t *testing.T) {
	needRoot(t)
	for _, mode := range []string{"", " replace"} {
		l := newLines(t)
		cmd, child := startConfined(t, l, "user=65532:65533"+mode, func(cmd *exec.Cmd) {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_KILL, unix.CAP_NET_RAW}
		})
		got := status(t, child)
		for _, name := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
			if got[name] != noCaps {
				t.Errorf("%s: the child's %s is %s", mode, name, got[name])
			}
		}
		if got["Uid"] != "65532 65532 65532 65532" {
			t.Errorf("%s: the child is %s", mode, got["Uid"])
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		l.want("got 15")
		_ = code(t, cmd)
	}
}

// TestReplaceFails: when there is nothing to become, we are still who we were.
func TestReplaceFails(t *testing.T) {
	needRoot(t)
	l := newLines(t)
	cmd := exec.Command("/proc/self/exe", "replace", "fail", "nnp", "drop=all", "user=65532:65532")
	cmd.Env, cmd.Stderr = environ("confined", l.path), os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if got := l.next(); got != "after 0 0 true true execve: no such file or directory" {
		t.Errorf("%s", got)
	}
}

// TestCheck: what the kernel would refuse is told before anything is done.
func TestCheck(t *testing.T) {
	needRoot(t)
	nobody := func(caps ...uintptr) *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: caps}
	}
	inside := &syscall.SysProcAttr{ // a user namespace with nobody but root
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappingsEnableSetgroups: true,
	}
	for _, c := range []struct {
		words, want string
		as          *syscall.SysProcAttr
	}{
		{"user=65532:65532 drop=all", "", nil},
		{"user=65532:65532", "become ", nobody()},
		{"user=0:0 replace", "become ", nobody(unix.CAP_SETUID)},
		{"user=65534:65534 nnp", "", nobody()},
		{"user=65534:1", "become ", nobody()},
		{"user=65532:65532", "signal ", nobody(unix.CAP_SETUID, unix.CAP_SETGID)},
		{"user=65532:65532 replace", "", nobody(unix.CAP_SETUID, unix.CAP_SETGID)},
		{"drop=13 nnp", "drop ", nobody()},
		{"drop=60", "", nobody()}, // the kernel does not have it: there is nothing to drop
		{"nnp drop=all", "", nobody(unix.CAP_SETPCAP)},
		{"user=65532:65532", "unmapped ", inside},
		{"user=0:0", "", inside},
	} {
		cmd := exec.Command("/proc/self/exe", strings.Fields(c.words)...)
		cmd.Env, cmd.Stderr, cmd.SysProcAttr = environ("allowed", ""), os.Stderr, c.as
		if got, err := cmd.Output(); err != nil || string(got) != c.want {
			t.Errorf("%s as %+v: %q, %v; want %q", c.words, c.as, got, err, c.want)
		}
	}
}

// TestCheckSetID: a file that gives its caller our rights must not give any others.
func TestCheckSetID(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "setid")
	if err := errors.Join(os.WriteFile(file, self, 0o755), os.Chmod(file, 0o755|os.ModeSetuid), os.Chmod(dir, 0o711), os.Chmod(filepath.Dir(dir), 0o711)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "user=0:0")
	cmd.Env, cmd.Stderr = environ("allowed", ""), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if got, err := cmd.Output(); err != nil || string(got) != "setid become " && string(got) != "become setid " && string(got) != "setid " {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPrivilegesThreads: the threads that are made for children end with them.
func TestPrivilegesThreads(t *testing.T) {
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	before := 0
	for i := range 100 {
		code, err := process.Supervise(process.Spec{
			Path: "/proc/self/exe", Argv: []string{"child", "exit", "3"}, Env: environ("child", ""), Log: slog.New(slog.DiscardHandler),
			Privileges: process.Privileges{NoNewPrivs: true},
		}, nil)
		if err != nil || code != 3 {
			t.Fatalf("%d, %v", code, err)
		}
		if i == 20 {
			before = threads()
		}
	}
	if now := threads(); now > before+20 {
		t.Errorf("there were %d threads, and now %d", before, now)
	}
	if got := status(t, os.Getpid())["NoNewPrivs"]; got != "0" {
		t.Errorf("we have no_new_privs %s ourselves", got)
	}
}

// TestAs: what can be seen as another user is what that user can see, and we are
// root again afterwards.
func TestAs(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	find := func() error {
		_, err := process.Find(file, "")
		return err
	}
	p := process.Privileges{User: &process.User{UID: 65532, GID: 65532}}
	for range 200 {
		if err := p.As(find); !errors.Is(err, syscall.EACCES) {
			t.Fatalf("%v", err)
		}
	}
	if got := status(t, os.Getpid())["Uid"]; got != "0 0 0 0" {
		t.Errorf("the main thread is %s", got)
	}
	if err := p.As(func() error { return process.MayEnter(dir) }); !errors.Is(err, syscall.EACCES) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(find(), process.MayEnter(dir)); err != nil || unix.Geteuid() != 0 {
		t.Errorf("%v", err)
	}
}
