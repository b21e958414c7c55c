package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is an init of the shipped binary, as a step of a job that has ended.
type step struct {
	t         *testing.T
	bin, sink string
}

// TestExpiry looks at the process that shreds later from outside.
func TestExpiry(t *testing.T) {
	dir := t.TempDir()
	bin, dev := filepath.Join(dir, "secretboot"), filepath.Join(dir, "dev.yaml")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.WriteFile(dev, []byte("secret/data/app: { password: CANARY }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &step{t: t, bin: bin, sink: faultSink(t)}
	t.Run("holds nothing", func(t *testing.T) { s.on(t).testHoldsNothing(dev) })
	t.Run("SIGTERM", func(t *testing.T) { s.on(t).testTerm(dev) })
	t.Run("later delivery", func(t *testing.T) { s.on(t).testLater(dev) })
	t.Run("shredded before", func(t *testing.T) { s.on(t).testShreddedBefore(dev) })
	t.Run("not started", func(t *testing.T) { s.on(t).testNotStarted(dev) })
	t.Run("init killed", func(t *testing.T) { s.on(t).testInitKilled(dev) })
	t.Run("init failed", func(t *testing.T) { s.on(t).testInitFailed(dev) })
}

func (s *step) on(t *testing.T) *step { return &step{t: t, bin: s.bin, sink: s.sink} }

// init runs init in a process group of its own, which is killed when it has ended, as
// a runner does. Its output comes through pipes, which nobody may hold then.
func (s *step) init(dev, expires string) {
	s.t.Helper()
	cmd := exec.Command(s.bin, "init", "--dev", dev, "-f", "pw=secret/app#password", "--dir", s.sink, "--expires", expires)
	cmd.Env = []string{"VAULT_TOKEN=CANARY-token", "HOME=" + s.t.TempDir()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second // then it fails
	r, w, err := os.Pipe()           // a descriptor that a runner forgot to close
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	cmd.ExtraFiles = []*os.File{w}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%v\n%s", err, &out)
	}
	_ = w.Close()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		s.t.Errorf("somebody holds a pipe that init inherited: %v", err)
	}
}

// helpers are the processes that run our binary.
func (s *step) helpers() (pids []int) {
	for pid, stat := range processes(s.t) {
		exe, _ := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		if exe == s.bin && stat.state != "Z" && stat.state != "X" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// helper is the one that there must be.
func (s *step) helper() int {
	s.t.Helper()
	pids := s.helpers()
	if len(pids) != 1 {
		s.t.Fatalf("processes %v", pids)
	}
	return pids[0]
}

// wait waits until a condition holds.
func (s *step) wait(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (s *step) empty() bool {
	entries, err := os.ReadDir(s.sink)
	return err == nil && len(entries) == 0
}

func (s *step) term() {
	s.t.Helper()
	if err := syscall.Kill(s.helper(), syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.wait("no process", func() bool { return len(s.helpers()) == 0 })
}

func (s *step) testHoldsNothing(dev string) {
	t := s.t
	s.init(dev, "1h")
	pid := s.helper()
	proc := "/proc/" + strconv.Itoa(pid)
	if got := string(read(t, proc+"/cmdline")); got != "secretboot\x00__expire\x00" {
		t.Errorf("arguments %q", got)
	}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(read(t, proc+"/environ")), "\x00"), "\x00") {
		if name, _, _ := strings.Cut(entry, "="); name != "GODEBUG" && name != "GOMAXPROCS" {
			t.Errorf("it has the variable %s", entry)
		}
	}
	g := &guarded{t: t, janitor: pid}
	fds := g.descriptors()
	fds = slices.DeleteFunc(fds, func(fd string) bool { return strings.HasSuffix(fd, "anon_inode") }) // the runtime's own
	if want := []string{"0 /dev/null", "1 /dev/null", "2 /dev/null"}; !slices.Equal(fds, want) {
		t.Errorf("descriptors %q, want %q", fds, want)
	}
	if stat := processes(t)[pid]; stat.session != pid || stat.group != pid {
		t.Errorf("%+v, want a session of its own", stat)
	}
	if cwd, err := os.Readlink(proc + "/cwd"); cwd != "/" {
		t.Errorf("its folder is %s, %v", cwd, err)
	}
	if rss := residentKiB(string(read(t, proc+"/status"))); rss == 0 || rss > 12<<10 {
		t.Errorf("it has %d KiB in memory", rss)
	}
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		_ = syscall.Kill(pid, sig)
	}
	if got := string(read(t, s.sink+"/pw")); got != "CANARY" || s.helper() != pid {
		t.Errorf("delivered: %q", got)
	}
	s.term()
}

// testTerm: the end of its surroundings is the end of the files.
func (s *step) testTerm(dev string) {
	s.init(dev, "1h")
	s.term()
	if !s.empty() {
		s.t.Error("files are left")
	}
}

// testLater: the end of a delivery leaves one that came after it.
func (s *step) testLater(dev string) {
	s.init(dev, "1h")
	s.init(dev, "0")
	for _, pid := range s.helpers() { // unless it has seen already that nothing is left to do
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	s.wait("no process", func() bool { return len(s.helpers()) == 0 })
	if got := string(read(s.t, s.sink+"/pw")); got != "CANARY" {
		s.t.Errorf("delivered: %q", got)
	}
	s.init(dev, "1ms")
	s.wait("no file", s.empty)
	s.wait("no process", func() bool { return len(s.helpers()) == 0 })
}

// testShreddedBefore: what was shredded before needs nobody.
func (s *step) testShreddedBefore(dev string) {
	s.init(dev, "1s")
	pid := s.helper()
	if out, err := exec.Command(s.bin, "shred", s.sink).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	s.wait("no process "+strconv.Itoa(pid), func() bool { return len(s.helpers()) == 0 })
}

// testNotStarted: without the process that shreds nothing is delivered.
func (s *step) testNotStarted(dev string) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			s.t.Fatal("CI must run this as root")
		}
		s.t.Skip("to hide /proc takes root")
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `mount -t tmpfs none /proc && exec "$@"`, "sh",
		s.bin, "init", "--dev", dev, "-f", "pw=secret/app#password", "--dir", s.sink, "--expires", "1h")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 74 || !strings.Contains(string(out), "secretboot: expires: the process that would shred cannot be started: no such file or directory") {
		s.t.Errorf("code %d\n%s", code, out)
	}
	if !s.empty() {
		s.t.Error("files are left")
	}
}

// during makes an init whose only file has a command that runs once it is delivered.
func (s *step) during(dev, expires, command string) *exec.Cmd {
	s.t.Helper()
	config := filepath.Join(s.t.TempDir(), "secretboot.yaml")
	text := `files: [{ path: pw, secret: "secret/app#password", command: [` + command + `], command_timeout: 2m }]`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.bin, "init", "--dev", dev, "-c", config, "--dir", s.sink, "--expires", expires)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	return cmd
}

// testInitKilled: what init has delivered expires also when it is killed before its end.
// It does not while init is there, which may yet be about to deliver.
func (s *step) testInitKilled(dev string) {
	cmd := s.during(dev, "1ms", "sleep, '120'")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.wait("a file", func() bool { _, err := os.Stat(s.sink + "/pw"); return err == nil })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	s.wait("no file", s.empty)
	s.wait("no process", func() bool { return len(s.helpers()) == 0 })
}

// testInitFailed: where nothing is left to be shredded nobody waits for it.
func (s *step) testInitFailed(dev string) {
	if out, err := s.during(dev, "1h", "'false'").CombinedOutput(); err == nil || strings.Contains(string(out), "a process stays") {
		s.t.Errorf("%v\n%s", err, out)
	}
	s.wait("no process", func() bool { return len(s.helpers()) == 0 })
	if !s.empty() {
		s.t.Error("files are left")
	}
}
