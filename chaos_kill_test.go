package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killModes are the lives in which the binary is killed. Each ends by itself.
var killModes = []struct{ name, args, rest string }{
	{"init", "init", ""},
	{"run", "run", "-- true"},
	{"watch", "watch", "--exit-with WORK"},
}

// killSpans are what a row of the page is about.
var killSpans = []string{"start to publish", "publish to the end", "at random, over an earlier delivery"}

// randomTries is how many there are for each mode. Which thread is hit at a system call
// that is any differs from run to run, and some hit the command or the janitor.
const randomTries = 120

func killNames() (names []string) {
	for _, m := range killModes {
		for _, span := range killSpans {
			names = append(names, m.name+": "+span)
		}
	}
	return names
}

// killPoint is the nth time that a thread enters a system call; "all" is any.
type killPoint struct {
	mode   int
	span   int
	name   string
	n      int
	before bool // something was delivered before
}

func (k killPoint) String() string {
	return fmt.Sprintf("%s: %s %d", killModes[k.mode].name, k.name, k.n)
}

// kills kills the binary at each point, one after the other, and gives a score for
// each row.
func (c *chaos) kills(t *testing.T) []score {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("it needs strace")
	}
	var points []killPoint
	random := rand.New(rand.NewPCG(9, 3))
	for mode := range killModes {
		trace := c.traceLife(t, mode)
		points = append(points, trace.points...)
		for range randomTries {
			points = append(points, killPoint{mode, 2, "all", 1 + random.IntN(trace.most), true})
		}
	}
	rows := make([]score, len(killModes)*len(killSpans))
	for i := range rows {
		rows[i].name = killNames()[i]
	}
	count, reached := make([]int, len(rows)), make([]int, len(rows))
	scores := each(t, 4, points, killPoint.String, func(t *testing.T, k killPoint) score {
		for range 3 { // who comes to a call first differs from run to run
			if c.killAt(t, k) {
				return score{result: "killed"}
			}
		}
		return score{}
	})
	for i, s := range scores {
		row := points[i].mode*len(killSpans) + points[i].span
		count[row]++
		if s.result != "" {
			reached[row]++
		}
		rows[row].failed = rows[row].failed || s.failed
	}
	for i := range rows {
		rows[i].count = reached[i]
		rows[i].result = fmt.Sprintf("%d kills", reached[i])
		rows[i].said = fmt.Sprintf("of %d points; at the others a thread of another process was there first, or none came", count[i])
		if reached[i] == 0 {
			t.Errorf("%s: of %d points none was reached", rows[i].name, count[i])
		}
	}
	return rows
}

// tracedLife is what a trace shows.
type tracedLife struct {
	points []killPoint
	most   int // calls of one thread
}

// idle are calls of Go's scheduler and allocator, which change nothing that is left.
var idle = regexp.MustCompile(`^(futex|nanosleep|madvise|mmap|munmap|mprotect|rt_sig\w+|sigaltstack|gettid|getpid|tgkill|epoll_pwait|sched_\w+|clock_\w+|restart_syscall|exit|exit_group)$`)

var (
	enteredCall  = regexp.MustCompile(`^(\d+) +(\w+)\(`)
	threadMade   = regexp.MustCompile(`^(\d+) +(?:clone3?\(.*CLONE_THREAD.*|<\.\.\. clone3? resumed>.*) = (\d+)$`)
	publishedNow = regexp.MustCompile(`renameat2?\(.*"\.\.data_tmp".*"\.\.data"`)
)

// traceLife lets the binary live once, and lists the calls of its threads.
func (c *chaos) traceLife(t *testing.T, mode int) (l tracedLife) {
	w := newKillWorld(t, c, mode, false)
	log := filepath.Join(t.TempDir(), "trace")
	if code, out := w.straced("-o", log); code != 0 {
		t.Fatalf("%s ended with %d:\n%s", killModes[mode].name, code, out)
	}
	threads, calls, seen := map[string]bool{}, map[string]map[string]int{}, map[killPoint]bool{}
	span := 0
	for line := range strings.Lines(string(read(t, log))) {
		line = strings.TrimSuffix(line, "\n")
		if m := threadMade.FindStringSubmatch(line); m != nil && threads[m[1]] {
			threads[m[2]] = true
		}
		m := enteredCall.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if len(threads) == 0 {
			threads[m[1]] = true
		}
		if calls[m[1]] == nil {
			calls[m[1]] = map[string]int{}
		}
		calls[m[1]][m[2]]++
		calls[m[1]]["all"]++
		if !threads[m[1]] {
			continue
		}
		l.most = max(l.most, calls[m[1]]["all"])
		k := killPoint{mode: mode, span: span, name: m[2], n: calls[m[1]][m[2]]}
		other := k
		other.span = 1 - span
		if !idle.MatchString(k.name) && k.name != "execve" && !seen[k] && !seen[other] {
			seen[k] = true
			l.points = append(l.points, k)
		}
		if publishedNow.MatchString(line) {
			span = 1
		}
	}
	if span == 0 || len(l.points) < 40 {
		t.Fatalf("%s: %d calls, published: %v", killModes[mode].name, len(l.points), span == 1)
	}
	t.Logf("%s: %d points, up to %d calls in one thread", killModes[mode].name, len(l.points), l.most)
	return l
}

// killWorld is one folder and a server, and what was said there.
type killWorld struct {
	t          *testing.T
	bin        string
	mode       int
	sink, work string
	env        []string
	said       bytes.Buffer
}

func newKillWorld(t *testing.T, c *chaos, mode int, before bool) *killWorld {
	t.Helper()
	s := &faultServer{about: regexp.MustCompile("^$")}
	w := &killWorld{t: t, bin: filepath.Join(c.bin, "secretboot"), mode: mode, sink: faultSink(t), work: t.TempDir()}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.work, "TMPDIR=" + w.work, "VAULT_ADDR=" + plain(t, s).address,
		"VAULT_ROLE_ID=CANARY-role", "VAULT_SECRET_ID=CANARY-secret-id", "GOMAXPROCS=1", // the fewer threads there are, the more alike runs are
	}
	if before {
		if code, out := w.run(w.command("init", "")...); code != 0 {
			t.Fatalf("the delivery before: %d\n%s", code, out)
		}
	}
	return w
}

// command is a life of the binary.
func (w *killWorld) command(args, rest string) []string {
	words := []string{w.bin, args, "--dir", w.sink, "-f", "a=secret/data/x#y", "-f", "d/b=secret/data/x#y"}
	return append(words, strings.Fields(strings.ReplaceAll(rest, "WORK", w.work))...)
}

func (w *killWorld) straced(options ...string) (int, string) {
	m := killModes[w.mode]
	argv := append([]string{"strace", "-f", "-qq", "-e", "signal=none"}, options...)
	return w.run(append(argv, w.command(m.args, m.rest)...)...)
}

// run gives the exit code, or the number of a signal with a minus.
func (w *killWorld) run(argv ...string) (int, string) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = w.work, w.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 10*time.Second
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	hangs := time.AfterFunc(2*time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !hangs.Stop() {
		w.t.Errorf("it hangs: %q", argv)
	}
	w.said.Write(out.Bytes())
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		w.t.Fatal(err)
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -int(ws.Signal()), out.String()
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// killAt kills it there, and looks at what can be seen then, after the next start,
// and after its end. It tells whether the binary itself was killed.
func (c *chaos) killAt(t *testing.T, k killPoint) (killed bool) {
	w := newKillWorld(t, c, k.mode, k.before)
	code, out := w.straced("-o", "/dev/null", "-e", "trace="+k.name, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", k.name, k.n))
	if code != -int(syscall.SIGKILL) && code != 0 && code != 128+int(syscall.SIGKILL) && strings.Contains(out, "goroutine ") {
		t.Errorf("it ended with %d:\n%s", code, out)
	}
	w.wantWhole("killed")
	m := killModes[k.mode]
	if code, out := w.run(w.command(m.args, m.rest)...); code != 0 {
		t.Errorf("the next start ended with %d:\n%s", code, out)
	}
	w.wantWhole("the next start")
	if code, out := w.run(w.bin, "shred", w.sink); code != 0 && (m.name == "init" || !strings.Contains(out, "no marker")) {
		t.Errorf("shred ended with %d:\n%s", code, out)
	}
	for _, dir := range []string{w.sink, w.work} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left in the end: %v, %v", left, err)
		}
	}
	if form := leakIn(w.said.Bytes(), faultCanaries()); form != "" {
		t.Errorf("a secret is in the output (%s)", form)
	}
	return code == -int(syscall.SIGKILL)
}

// wantWhole wants both files to be there, whole and with their mode, or none.
func (w *killWorld) wantWhole(when string) {
	w.t.Helper()
	// From one generation: one look at the link.
	gen, err := os.Readlink(w.sink + "/..data")
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{"a", "d/b"} {
			if _, err := os.Stat(filepath.Join(w.sink, name)); err == nil {
				w.t.Errorf("%s: %s is there without a generation", when, name)
			}
		}
		return
	}
	for _, name := range []string{"a", "d/b"} {
		path := filepath.Join(w.sink, gen, name)
		text, err := os.ReadFile(path)
		if err != nil {
			w.t.Errorf("%s: one of the files: %v", when, err)
		}
		if err == nil && string(text) != faultValue {
			w.t.Errorf("%s: %s holds %d bytes that are not the secret", when, name, len(text))
		}
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o400 {
			w.t.Errorf("%s: %s has mode %v", when, name, info.Mode())
		}
	}
}
