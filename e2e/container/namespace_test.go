// Package container_test runs the binary that we ship as process 1: in a pid namespace,
// also on a terminal, and in containers from scratch of a real Docker engine, with our
// image and the examples for Docker.
package container_test

import (
	"io"
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

// namespaces start the binary as process 1 of a pid namespace, with a /proc that fits.
type namespaces struct{ dir, ours, app string }

// newNamespaces builds what runs in them, or skips the test where one may not make
// any. In CI one must.
func newNamespaces(t *testing.T) *namespaces {
	t.Helper()
	needRoot(t, "a pid namespace")
	built(t, "make", "-s", "-C", repository, "build")
	ours, err := filepath.Abs(filepath.Join(repository, "bin/secretboot"))
	if err != nil {
		t.Fatal(err)
	}
	n := &namespaces{dir: t.TempDir(), ours: ours}
	n.app = n.dir + "/app"
	built(t, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", n.app, "./testdata/app")
	writeFile(t, n.dir+"/dev.yaml", "secret/data/app: { password: CANARY }\n", 0o600)
	return n
}

// inNamespace mounts /proc, and becomes process 1.
const inNamespace = `mount -t proc proc /proc && exec "$@"`

// command makes a command line of the binary as process 1, with its files in dir; line
// is that of the shell that becomes it.
func (n *namespaces) command(dir, line string, options []string, words ...string) *exec.Cmd {
	args := append([]string{"-c", line, "sh", n.ours, "run", "--dev", n.dir + "/dev.yaml", "-f", "pw=secret/app#password", "--dir", dir}, options...)
	cmd := exec.Command("sh", append(append(args, "--", n.app), words...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	return cmd
}

// attached starts one, and reads what it prints.
func (n *namespaces) attached(t *testing.T, dir, line string, words ...string) *container {
	t.Helper()
	c := &container{t: t, ch: make(chan string, 4096)}
	c.attach(n.command(dir, line, nil, words...))
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// TestProcess1 is what a correct init does, in a pid namespace.
func TestProcess1(t *testing.T) {
	n := newNamespaces(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *namespaces)
	}{
		{"codes", testCodes1},
		{"signals", testSignals1},
		{"orphans", testOrphans1},
		{"nohup", testNohup1},
		{"standard output is closed", testClosedOutput1},
		{"pipe is leaked", testLeakedPipe1},
		{"many runs", testManyRuns1},
		{"storm", testStorm1},
		{"killed", testKilled1},
		{"terminal", testTerminal1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, n)
		})
	}
}

// each runs f for 0 to count-1, several at a time, each with a sink of its own.
func each(t *testing.T, count int, f func(t *testing.T, i int, dir string)) {
	t.Helper()
	const atOnce = 3
	for first := range atOnce {
		t.Run(strconv.Itoa(first), func(t *testing.T) {
			t.Parallel()
			dir := sink(t, 0)
			for i := first; i < count; i += atOnce {
				f(t, i, dir)
			}
		})
	}
}

func testCodes1(t *testing.T, n *namespaces) {
	each(t, 256, func(t *testing.T, want int, dir string) {
		r := finish(t, n.command(dir, inNamespace, nil, "exit", strconv.Itoa(want)))
		if r.code != want || r.err != "" {
			t.Errorf("exit %d gave %d: %s", want, r.code, r.err)
		}
		wantEmpty(t, dir)
	})
}

func testSignals1(t *testing.T, n *namespaces) {
	dir := sink(t, 0)
	c := n.attached(t, dir, inNamespace, "record")
	c.want("ready")
	send := func(s syscall.Signal) {
		t.Helper()
		if err := c.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	for s := syscall.Signal(1); s <= 64; s++ {
		if slices.Contains(kept(), int(s)) || s == syscall.SIGTERM {
			continue
		}
		for _, ours := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGCHLD, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGURG} {
			send(ours)
		}
		send(s)
		c.want("got " + strconv.Itoa(int(s)))
	}
	send(syscall.SIGTERM)
	c.want("got 15")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, and also told %q", code, rest)
	}
	wantEmpty(t, dir)
}

func testOrphans1(t *testing.T, n *namespaces) {
	c := n.attached(t, sink(t, 0), inNamespace, "orphans", "100", "parent")
	c.want("left 0")
	c.want("parent 1")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
}

// testNohup1: a SIGHUP that we were told to ignore the command ignores too.
func testNohup1(t *testing.T, n *namespaces) {
	c := n.attached(t, sink(t, 0), `trap "" HUP; `+inNamespace, "ignored", "1", "ignored", "2")
	c.want("ignored 1 true")
	c.want("ignored 2 false")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
}

// testClosedOutput1: what the command could not print is its business, and its files go.
func testClosedOutput1(t *testing.T, n *namespaces) {
	for _, line := range []string{`mount -t proc proc /proc && exec "$@" >&-`, `mount -t proc proc /proc && exec "$@" >&- 2>&- <&-`} {
		dir := sink(t, 0)
		r := finish(t, n.command(dir, line, nil, "cat", "pw", "exit", "4"))
		if r.code != 4 || r.out != "" || r.err != "" {
			t.Errorf("%s: %+v", line, r)
		}
		wantEmpty(t, dir)
	}
}

// testLeakedPipe1: a daemon that has our standard output does not keep us; as we are
// process 1 it ends with us, and then who reads the pipe has its end.
func testLeakedPipe1(t *testing.T, n *namespaces) {
	dir := sink(t, 0)
	c := n.attached(t, dir, inNamespace, "daemon", "exit", "4")
	c.want("daemon")
	if code, rest := c.end(); code != 4 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	wantEmpty(t, dir)
}

// testManyRuns1: the end of a command that ends at once is never missed.
func testManyRuns1(t *testing.T, n *namespaces) {
	runs := 100
	if long() {
		runs = 5000
	}
	each(t, runs, func(t *testing.T, i int, dir string) {
		if r := finish(t, n.command(dir, inNamespace, nil, "exit", "0")); r.code != 0 || r.err != "" {
			t.Errorf("run %d: %+v", i, r)
		}
		wantEmpty(t, dir)
	})
}

// testStorm1 sends signals without a pause while the command ends: our code is the
// command's or that of one of them, we do not hang, and nothing is left.
func testStorm1(t *testing.T, n *namespaces) {
	storm := []syscall.Signal{syscall.SIGWINCH, syscall.SIGHUP, syscall.SIGCONT, syscall.SIGUSR1, syscall.SIGINT, syscall.SIGUSR2, syscall.SIGALRM}
	codes := []int{7}
	for _, s := range storm {
		codes = append(codes, 128+int(s))
	}
	each(t, 200, func(t *testing.T, i int, dir string) {
		c := &container{t: t, ch: make(chan string, 4096)}
		c.attach(n.command(dir, inNamespace, nil, "say", "ready", "exit", "7"))
		c.want("ready")
		ended := make(chan struct{})
		go func() {
			for k := 0; ; k++ {
				select {
				case <-ended:
					return
				default:
					_ = c.cmd.Process.Signal(storm[k%len(storm)])
				}
			}
		}()
		code, _ := c.end()
		close(ended)
		if !slices.Contains(codes, code) {
			t.Errorf("run %d: %v", i, c.cmd.ProcessState)
		}
		wantEmpty(t, dir)
	})
}

// testKilled1: SIGKILL of process 1, a hundred times: the command is gone within 2 s,
// and what is left in a folder that outlives us is swept by the next start there.
func testKilled1(t *testing.T, n *namespaces) {
	dir := sink(t, 0)
	swept := func(c *container) {
		t.Helper()
		if line := c.next(); !strings.Contains(line, "shredded what a secretboot that died left behind") {
			t.Fatalf("got %q", line)
		}
	}
	for i := range 100 {
		c := n.attached(t, dir, inNamespace, "deaf")
		if i > 0 {
			swept(c)
		}
		c.want("ready")
		pids := children(t, c.cmd.Process.Pid)
		if len(pids) != 1 {
			t.Fatalf("processes %v beside us", pids)
		}
		start := time.Now()
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for living(pids) != 0 && time.Since(start) < 2*time.Second {
			<-time.After(time.Millisecond)
		}
		if pid := living(pids); pid != 0 {
			t.Fatalf("process %d lives on", pid)
		}
		if text, err := os.ReadFile(dir + "/pw"); string(text) != "CANARY" {
			t.Fatalf("%q, %v: nothing is left to be swept", text, err)
		}
		c.end()
	}
	c := n.attached(t, dir, inNamespace, "exit", "3")
	swept(c)
	if code, rest := c.end(); code != 3 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	wantEmpty(t, dir)
}

// children lists the processes that one has started (proc_pid_task(5)).
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	for _, path := range glob(t, "/proc/"+strconv.Itoa(pid)+"/task/*/children") {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// testTerminal1: with a terminal the command has it. A ctrl-C reaches it once; a ctrl-Z
// stops it and not us, for nobody could continue process 1, and it goes on at a SIGCONT.
func testTerminal1(t *testing.T, n *namespaces) {
	dir := sink(t, 0)
	c, keys := n.onTerminal(t, dir, "terminal", "stoppable")
	press := func(k string) {
		t.Helper()
		if _, err := io.WriteString(keys, k); err != nil {
			t.Fatal(err)
		}
	}
	c.want("ready 91x17")
	press("hello\r")
	c.want("hello") // the terminal's echo
	c.want("read hello")
	c.want("ready")
	for range 3 {
		press("\x03")
		c.want("^Cgot 2")
		press("\x1c")
		c.want(`^\got 3`)
	}
	command := children(t, c.cmd.Process.Pid)
	if len(command) != 1 {
		t.Fatalf("processes %v", command)
	}
	press("\x1a")
	eventually(t, "the command is stopped", func() bool { return state(command[0]) == "T" })
	if got := state(c.cmd.Process.Pid); got == "T" {
		t.Error("process 1 is stopped")
	}
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.want("^Zgot 18")
	press("\x03")
	c.want("^Cgot 2")
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.want("got 15")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	wantEmpty(t, dir)
}

func (n *namespaces) onTerminal(t *testing.T, dir string, words ...string) (*container, *os.File) {
	t.Helper()
	c := &container{t: t, ch: make(chan string, 4096)}
	keys := c.onTerminal(n.command(dir, inNamespace, nil, words...))
	t.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c, keys
}

// state gives that of a process, as in proc_pid_stat(5).
func state(pid int) string {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(text), ") ")
	word, _, _ := strings.Cut(rest, " ")
	return word
}
