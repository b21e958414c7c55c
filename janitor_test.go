package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// killedWithin is how soon after we were killed nothing may be left.
const killedWithin = 2 * time.Second

// guarded is a run of the shipped binary, whose command has started.
type guarded struct {
	t       *testing.T
	cmd     *exec.Cmd
	sink    string
	group   int    // the command's process number, and its group's
	janitor int    // 0: there is none
	log     string // the file with its standard error
}

// TestJanitor: nothing is left when the supervisor is killed.
func TestJanitor(t *testing.T) {
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
	start := func(t *testing.T, sink, line string, more ...string) *guarded {
		return startGuarded(t, bin, dev, sink, line, more...)
	}
	t.Run("killed", func(t *testing.T) { testKilled(t, start) })
	t.Run("holds nothing", func(t *testing.T) { testJanitorHoldsNothing(t, start) })
	t.Run("ended first", func(t *testing.T) { testJanitorEndedFirst(t, start) })
	t.Run("both killed", func(t *testing.T) { testBothKilled(t, start) })
	t.Run("successor", func(t *testing.T) { testSuccessor(t, start) })
	t.Run("off", func(t *testing.T) { testJanitorOff(t, start) })
}

type starter func(t *testing.T, sink, line string, more ...string) *guarded

func startGuarded(t *testing.T, bin, dev, sink, line string, more ...string) *guarded {
	t.Helper()
	if sink == "" {
		sink = faultSink(t)
	}
	args := append([]string{"run", "--dev", dev, "-f", "pw=secret/app#password", "--dir", sink}, more...)
	g := &guarded{t: t, sink: sink, cmd: exec.Command(bin, append(args, "--", "sh", "-c", line)...)}
	g.cmd.Dir = t.TempDir()
	g.log = filepath.Join(g.cmd.Dir, "log")
	log, err := os.OpenFile(g.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	g.cmd.Stderr = log
	g.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.cmd.Dir, "VAULT_TOKEN=CANARY-token"}
	out, err := g.cmd.StdoutPipe()
	if err == nil {
		err = g.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.cmd.Process.Kill() })
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the command did not start: %v\n%s", err, read(t, g.log))
	}
	if _, err := fmt.Sscan(said, &g.group); err != nil {
		t.Fatalf("the command said %q", said)
	}
	t.Cleanup(func() { _ = syscall.Kill(-g.group, syscall.SIGKILL) })
	for _, pid := range childrenOf(t, g.cmd.Process.Pid) {
		if cmdline, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); bytes.HasSuffix(cmdline, []byte("\x00__janitor\x00")) {
			g.janitor = pid
		}
	}
	return g
}

func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	for pid, stat := range processes(t) {
		if stat.parent == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

type procStat struct {
	state                  string
	parent, group, session int
}

// processes lists what proc_pid_stat(5) says of every process.
func processes(t *testing.T) map[int]procStat {
	t.Helper()
	all := map[int]procStat{}
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		_, rest, _ := bytes.Cut(text, []byte(") "))
		var s procStat
		if _, err := fmt.Sscan(string(rest), &s.state, &s.parent, &s.group, &s.session); err == nil {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			all[pid] = s
		}
	}
	return all
}

// left tells what is left of a run: files, its process group, its janitor.
func (g *guarded) left() string {
	entries, err := os.ReadDir(g.sink)
	if err != nil || len(entries) > 0 {
		return fmt.Sprint("files ", entries, err)
	}
	for pid, s := range processes(g.t) {
		if (s.group == g.group || pid == g.janitor) && s.state != "Z" && s.state != "X" {
			return fmt.Sprint("process ", pid, " ", s)
		}
	}
	return ""
}

// wantNothing waits until nothing is left, and gives the time that it took.
func (g *guarded) wantNothing(d time.Duration) time.Duration {
	g.t.Helper()
	start := time.Now()
	left := g.left()
	for ; left != "" && time.Since(start) < d; left = g.left() {
		<-time.After(20 * time.Millisecond)
	}
	if left != "" {
		g.t.Errorf("after %v: %s\n%s", d, left, read(g.t, g.log))
	}
	return time.Since(start)
}

func (g *guarded) send(pid int, n syscall.Signal) {
	g.t.Helper()
	if err := syscall.Kill(pid, n); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guarded) end() int {
	g.t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { _ = g.cmd.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := g.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		g.t.Fatal(err)
	}
	if ws, ok := g.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -int(ws.Signal())
	}
	return g.cmd.ProcessState.ExitCode()
}

// killedCommands are commands that a supervisor that is killed leaves alone.
func killedCommands() []string {
	return []string{
		`echo $$; exec sleep 60`,
		`echo $$; sleep 60 & sleep 60 & wait`,                                            // a group
		`(sleep 60 & sleep 60 &) ; echo $$; exec sleep 60`,                               // orphans in it
		`trap '' TERM HUP INT; echo $$; while :; do sleep 60 & wait; done`,               // deaf
		`echo $$; kill -STOP $$; sleep 60`,                                               // stopped
		`setsid sh -c 'setsid sleep 3 >/dev/null 2>&1 &' & echo $$; wait; exec sleep 60`, // a daemon by double fork
	}
}

// testKilled kills the supervisor a hundred times.
func testKilled(t *testing.T, start starter) {
	commands := killedCommands()
	var mu sync.Mutex
	var longest time.Duration
	runs := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range runs {
				n := syscall.SIGKILL
				if i%10 == 9 {
					n = 34 // no Go program can catch it
				}
				g := start(t, "", commands[i%len(commands)])
				g.send(g.cmd.Process.Pid, n)
				took := g.wantNothing(killedWithin)
				if got := g.end(); got != -int(n) {
					t.Errorf("the supervisor ended with %d", got)
				}
				mu.Lock()
				longest = max(longest, took)
				mu.Unlock()
			}
		})
	}
	for i := range 100 {
		runs <- i
	}
	close(runs)
	wg.Wait()
	t.Logf("the longest took %v", longest)
}

// testJanitorHoldsNothing looks at the janitor from outside.
func testJanitorHoldsNothing(t *testing.T, start starter) {
	g := start(t, "", `echo $$; exec sleep 60`)
	proc := "/proc/" + strconv.Itoa(g.janitor)
	if got := string(read(t, proc+"/cmdline")); got != "secretboot\x00__janitor\x00" {
		t.Errorf("arguments %q", got)
	}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(read(t, proc+"/environ")), "\x00"), "\x00") {
		if name, _, _ := strings.Cut(entry, "="); name != "GODEBUG" && name != "GOMAXPROCS" {
			t.Errorf("it has the variable %s", entry)
		}
	}
	data, err := os.Readlink(filepath.Join(g.sink, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"0 socket", "1 /dev/null", "2 log", "anon_inode", g.sink, filepath.Join(g.sink, data)} // of the command and the folders
	slices.Sort(want)
	fds := g.descriptors()
	for end := time.Now().Add(10 * time.Second); !slices.Equal(fds, want) && time.Now().Before(end); fds = g.descriptors() {
		<-time.After(5 * time.Millisecond) // it may not have come to closing what it inherited
	}
	if !slices.Equal(fds, want) {
		t.Errorf("descriptors %q, want %q", fds, want)
	}
	if stat := processes(t)[g.janitor]; stat.session != g.janitor {
		t.Errorf("%+v, want a session of its own", stat)
	}
	if cwd, err := os.Readlink(proc + "/cwd"); cwd != "/" {
		t.Errorf("its folder is %s, %v", cwd, err)
	}
	rss := residentKiB(string(read(t, proc+"/status")))
	if rss == 0 || rss > 12<<10 {
		t.Errorf("it has %d KiB in memory", rss)
	}
	t.Logf("%d KiB in memory", rss)
	g.send(g.janitor, syscall.SIGTERM) // as a service manager does, to all at once
	g.send(g.cmd.Process.Pid, syscall.SIGTERM)
	if got := g.end(); got != 143 {
		t.Errorf("code %d", got)
	}
	if left := g.left(); left != "" { // it does not outlive us for a moment
		t.Error(left)
	}
}

// descriptors lists those of the janitor: the standard ones by number and what they
// are of, and sorted, what the others are of.
func (g *guarded) descriptors() (fds []string) {
	g.t.Helper()
	dir := "/proc/" + strconv.Itoa(g.janitor) + "/fd/"
	entries, err := os.ReadDir(dir)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range entries {
		to, _ := os.Readlink(dir + e.Name())
		kind, _, _ := strings.Cut(to, ":[")
		if kind = strings.TrimPrefix(kind, filepath.Dir(g.log)+"/"); len(e.Name()) == 1 && e.Name() < "3" {
			kind = e.Name() + " " + kind
		}
		fds = append(fds, kind)
	}
	slices.Sort(fds)
	return fds
}

func residentKiB(status string) (kib int) {
	_, rest, _ := strings.Cut(status, "VmRSS:")
	_, _ = fmt.Sscan(rest, &kib)
	return kib
}

// testJanitorEndedFirst: without it we clean up ourselves, as ever.
func testJanitorEndedFirst(t *testing.T, start starter) {
	g := start(t, "", `echo $$; exec sleep 60`)
	g.send(g.janitor, syscall.SIGKILL)
	g.send(g.cmd.Process.Pid, syscall.SIGTERM)
	if got := g.end(); got != 143 {
		t.Errorf("code %d", got)
	}
	if left := g.left(); left != "" {
		t.Error(left)
	}
}

// testBothKilled: the kernel ends the command, and the next start sweeps.
func testBothKilled(t *testing.T, start starter) {
	g := start(t, "", `echo $$; exec sleep 60`)
	g.send(g.janitor, syscall.SIGKILL)
	g.send(g.cmd.Process.Pid, syscall.SIGKILL)
	g.end()
	if text := string(read(t, filepath.Join(g.sink, "pw"))); text != "CANARY" {
		t.Errorf("%q is there: nothing is left to be swept", text)
	}
	next := start(t, g.sink, `echo $$; exec sleep 60`)
	if next.group == g.group || !strings.Contains(string(read(t, next.log)), "shredded what a secretboot that died left behind") {
		t.Errorf("log: %s", read(t, next.log))
	}
	g.janitor = 0
	next.send(next.cmd.Process.Pid, syscall.SIGTERM)
	next.end()
	g.wantNothing(killedWithin)
}

// testSuccessor: the janitor of one that was killed leaves alone what the next one
// in the same folder has.
func testSuccessor(t *testing.T, start starter) {
	g := start(t, "", `trap '' TERM; echo $$; while :; do sleep 60 & wait; done`) // the janitor waits a second for it
	g.send(g.cmd.Process.Pid, syscall.SIGKILL)
	g.end()
	next := start(t, g.sink, `echo $$; exec sleep 60`)
	for end := time.Now().Add(10 * time.Second); unix.Kill(g.janitor, 0) == nil && processes(t)[g.janitor].state != "Z"; <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the janitor does not end")
		}
	}
	if text := string(read(t, filepath.Join(g.sink, "pw"))); text != "CANARY" {
		t.Errorf("%q is there, want what was delivered", text)
	}
	next.send(next.cmd.Process.Pid, syscall.SIGTERM)
	next.end()
	if left := next.left(); left != "" {
		t.Error(left)
	}
}

// testJanitorOff: then the kernel ends the command, and the files stay.
func testJanitorOff(t *testing.T, start starter) {
	g := start(t, "", `trap '' TERM; echo $$; while :; do sleep 60 & wait; done`, "--janitor=false")
	if g.janitor != 0 {
		t.Error("there is a janitor")
	}
	g.send(g.cmd.Process.Pid, syscall.SIGKILL)
	g.end()
	for end := time.Now().Add(killedWithin); processes(t)[g.group].state != "" && processes(t)[g.group].state != "Z"; <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the command lives on")
		}
	}
	if text := string(read(t, filepath.Join(g.sink, "pw"))); text != "CANARY" {
		t.Errorf("%q is there", text)
	}
}
