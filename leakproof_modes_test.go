package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// leakMode is one way in which secrets go through us.
type leakMode struct {
	name string
	args []string // of secretboot, with SINK for the folder
	ends func(l *leakRun)
	// keeps: delivered files stay, and are shredded by another secretboot.
	keeps bool
	// tells: the runner is told what to mask, so standard output has it.
	tells bool
}

// leakCommand reads what was delivered, says so and waits.
var leakCommand = []string{"--", "sh", "-c", `cat "${SECRETBOOT_DIR:-/nowhere}"/* 2>/dev/null; echo "$PW"; echo ready; read x || true`}

// leakModes are all that the proof is made for.
func leakModes() []leakMode {
	run := func(args ...string) []string {
		return slices.Concat([]string{"run", "--dir", "SINK", "--mask", "on"}, args, leakCommand)
	}
	const file, variable = "pw=secret/app#pw", "PW=secret/app#pw"
	waits := func(l *leakRun) { l.says("ready"); l.during(); l.end(0) }
	killed := func(l *leakRun) {
		l.says("ready")
		l.during()
		_ = l.cmd.Process.Kill()
		l.end(-int(syscall.SIGKILL))
	}
	quietly := []string{"--", "sh", "-c", `test -n "$PW" || test -s "$SECRETBOOT_DIR/pw" && echo ready; read x || true`}
	return []leakMode{
		{name: "init, then shred", args: []string{"init", "--dir", "SINK", "-f", file}, ends: func(l *leakRun) { l.end(0) }, keeps: true},
		{name: "init --expires", args: []string{"init", "--dir", "SINK", "-f", file, "--expires", "3s"}, ends: func(l *leakRun) { l.end(0) }},
		{name: "init --ci", args: []string{"init", "--ci", "github", "--dir", "SINK", "-f", file}, ends: func(l *leakRun) { l.end(0) }, keeps: true, tells: true},
		{name: "run with files", args: append([]string{"run", "--dir", "SINK", "-f", file}, quietly...), ends: waits},
		{name: "run with variables", args: append([]string{"run", "--supervise", "-e", variable}, quietly...), ends: waits},
		{name: "run --exec", args: append([]string{"run", "--exec", "--dir", "SINK", "-f", file}, quietly...), ends: waits, keeps: true},
		{name: "run --mount private", args: append([]string{"run", "--mount", "private", "-f", file}, quietly...), ends: waits},
		{name: "run --mask", args: run("-f", file, "-e", variable), ends: waits},
		{name: "run --pty", args: run("-f", file, "-e", variable, "--pty", "on"), ends: waits},
		{name: "run, killed", args: append([]string{"run", "--dir", "SINK", "-f", file}, quietly...), ends: killed},
		{name: "run --mask, killed", args: run("-f", file, "-e", variable), ends: killed},
		{name: "watch", args: []string{"watch", "--dir", "SINK", "-f", file, "--refresh", "1s", "--keep-previous", "1s"}, ends: rotateOnce},
	}
}

// rotateOnce changes the secret, and wants the one before to be gone when its time is.
func rotateOnce(l *leakRun) {
	path := filepath.Join(l.sink, "pw")
	holds := func(want string) func() bool {
		return func() bool { got, _ := os.ReadFile(path); return string(got) == want }
	}
	l.await("the first delivery", holds(l.value))
	before := newNeedle("value before", l.leakWorld.secret)
	l.put(l.rig, randomCore())
	l.await("the second delivery", holds(l.value))
	l.await("the end of the first", func() bool {
		s := &leakSearch{needles: []needle{before}}
		s.files(l.sink, -1)
		return len(s.found) == 0 && s.places > 2
	})
	l.during()
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	l.end(0)
}

// during looks at what nobody but the command may have while it runs.
func (l *leakRun) during() {
	l.t.Helper()
	s := l.search()
	s.but = func(place string) bool { return strings.Contains(place, l.sink) }
	alive := slices.DeleteFunc(l.ours(), func(pid int) bool {
		cmdline, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		return !strings.Contains(string(cmdline), "__janitor") // we and the command have what we have
	})
	s.file("/proc/" + strconv.Itoa(l.cmd.Process.Pid) + "/environ")
	s.everywhere([]string{l.home, l.sink}, nil, alive)
	if err := s.err(); err != nil {
		l.t.Errorf("while it runs:\n%v", err)
	}
}

// search begins one for all needles so far.
func (w *leakWorld) search() *leakSearch {
	w.gate.mu.Lock()
	defer w.gate.mu.Unlock()
	needles := slices.Clone(w.needles)
	for _, token := range w.gate.tokens {
		needles = append(needles, newNeedle("token", token))
	}
	return &leakSearch{needles: needles, since: w.began}
}

// ours are the processes that run our binary, and those that have what we mark all with.
func (w *leakWorld) ours() (pids []int) {
	pids = w.helpers()
	for pid, stat := range processes(w.t) {
		environ, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if strings.Contains("\x00"+string(environ), "\x00"+w.mark+"\x00") && stat.state != "Z" && stat.state != "X" && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestLeakProof: after each of our modes no secret, token or login input is anywhere
// on the machine, as it is or in another encoding.
func TestLeakProof(t *testing.T) {
	w := newLeakWorld(t)
	for _, m := range leakModes() {
		t.Run(m.name, func(t *testing.T) { w.on(t).prove(m) })
	}
	t.Run("run, killed before the switch", func(t *testing.T) { w.on(t).killedEarly() })
	t.Run("install", func(t *testing.T) { w.on(t).installed() })
	t.Run("disk", func(t *testing.T) { w.on(t).onDisk() })
}

// on is the same world for another test.
func (w *leakWorld) on(t *testing.T) *leakWorld {
	t.Cleanup(func() { w.t = nil })
	w.t = t
	return w
}

func (w *leakWorld) prove(m leakMode) {
	args := slices.Clone(m.args)
	for i, a := range args {
		args[i] = strings.Replace(a, "SINK", w.sink, 1)
	}
	l := w.start(w.rig, args...)
	m.ends(l)
	if m.keeps {
		w.shred()
	}
	l.nothingLeft(m.tells)
}

// shred has another secretboot destroy what was delivered.
func (w *leakWorld) shred() {
	w.t.Helper()
	s := w.search()
	if s.files(w.sink, -1); len(s.found) == 0 {
		w.t.Error("nothing was delivered: the proof would prove nothing")
	}
	w.start(w.rig, "shred", w.sink).end(0)
}

// nothingLeft waits for the end of all that was started, and looks everywhere.
func (l *leakRun) nothingLeft(tells bool) {
	l.t.Helper()
	l.await("no process of ours is left", func() bool { return len(l.ours()) == 0 })
	s := l.search()
	if !tells {
		s.look("standard output", []byte(l.out.String()))
	}
	s.look("standard error", []byte(l.err.String()))
	s.everywhere([]string{l.home, l.sink}, []int{l.cmd.Process.Pid}, nil)
	if err := s.err(); err != nil {
		l.t.Errorf("afterwards:\n%v", err)
	}
	l.t.Logf("%d places", s.places)
}

// killedEarly kills us when all is staged and nothing is visible yet.
func (w *leakWorld) killedEarly() {
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			w.t.Fatal("CI must have strace")
		}
		w.t.Skip("SKIPPED, NOT PASSED: there is no strace")
	}
	bin := w.bin
	w.bin = strace
	l := w.start(w.rig, "-f", "-qq", "-o", os.DevNull, "-e", "trace=renameat", "-e", "inject=renameat:signal=KILL:when=1", bin, "run", "--dir", w.sink, "-f", "pw=secret/app#pw", "--", "true")
	w.bin = bin
	l.end(-int(syscall.SIGKILL))
	l.nothingLeft(false)
}

// installed uses a copy that install made.
func (w *leakWorld) installed() {
	to := filepath.Join(w.home, "copy")
	w.start(w.rig, "install", to).end(0)
	w.bin, to = to, w.bin
	l := w.start(w.rig, "run", "--dir", w.sink, "-f", "pw=secret/app#pw", "--", "sh", "-c", `test -s "$SECRETBOOT_DIR/pw" && echo ready; read x || true`)
	l.says("ready")
	l.during()
	l.end(0)
	l.nothingLeft(false)
	w.bin = to
}

// onDisk delivers to a file system on a device of its own, and looks at the device.
func (w *leakWorld) onDisk() {
	image, dir := filepath.Join(w.t.TempDir(), "image"), w.t.TempDir()
	for _, command := range [][]string{
		{"truncate", "-s", "32M", image},
		{"mkfs.ext4", "-q", image},
		{"mount", "-o", "loop", image, dir},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			if os.Getenv("CI") != "" {
				w.t.Fatalf("CI must be able to mount an image: %v\n%s", err, out)
			}
			w.t.Skipf("SKIPPED, NOT PASSED: an image cannot be mounted: %v\n%s", err, out)
		}
	}
	w.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	onDevice := func() error {
		unix.Sync()
		s := w.search()
		s.device(image)
		s.places = max(s.places, 20)
		return s.err()
	}
	l := w.start(w.rig, "init", "--allow-disk", "--dir", dir, "-f", "pw=secret/app#pw")
	l.end(0)
	if onDevice() == nil {
		w.t.Error("what was delivered is not found on the device: the proof would prove nothing")
	}
	w.start(w.rig, "shred", dir).end(0)
	if err := onDevice(); err != nil {
		w.t.Errorf("on the device:\n%v", err)
	}
	l.nothingLeft(false)
}
