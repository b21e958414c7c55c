package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/volume"
)

// traced are the system calls that can change a file system, its locks, or who
// may see what. Not every machine has, and not every strace knows, all of them.
const traced = "trace=?openat,?openat2,?creat,?mkdirat,?mknodat,?symlinkat,?linkat,?renameat,?renameat2,?unlinkat," +
	"?write,?pwrite64,?writev,?ftruncate,?truncate,?fchmod,?fchmodat,?fchmodat2,?fchown,?fchownat,?lchown,?chown,?chmod," +
	"?flock,?fsync,?utimensat,?fallocate,?mount,?move_mount"

// straced starts the test binary as an owner under strace, with more options for
// it. A real strace(1) is needed; CI installs it.
func straced(t *testing.T, dir, work string, options ...string) ([]byte, error) {
	t.Helper()
	tool, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have strace")
		}
		t.Skip("SKIPPED, NOT PASSED: there is no strace")
	}
	args := append([]string{"-f", "-y", "-qq", "-s", "64", "-e", "signal=none"}, options...)
	cmd := exec.Command(tool, append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), envHold+"="+dir, envWork+"="+work, envNoProc+"=", envUID+"=", "GORACE=atexit_sleep_ms=0", "GOMAXPROCS=1")
	return cmd.CombinedOutput()
}

// call is one system call of the owner's only thread that touches files.
type call struct{ thread, name, args, result string }

func (c call) String() string { return c.name + "(" + c.args + ") = " + c.result }

var callLine = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (.*)$`)

func parseTrace(t *testing.T, path string) []call {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var calls []call
	for line := range strings.Lines(string(text)) {
		if m := callLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			calls = append(calls, call{m[1], m[2], m[3], m[4]})
		}
	}
	return calls
}

// trace runs work to its end and gives the calls from the first that names the
// folder.
func trace(t *testing.T, dir, work string) []call {
	t.Helper()
	log := filepath.Join(t.TempDir(), "trace")
	out, err := straced(t, dir, work, "-o", log, "-e", traced)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls := parseTrace(t, log)
	first := slices.IndexFunc(calls, func(c call) bool { return strings.Contains(c.args, dir) })
	if first < 0 {
		t.Fatalf("no call names %s:\n%v", dir, calls)
	}
	return calls[first:]
}

// The trace of a whole life: not one write outside of the folder, no file
// whose mode or owner is wrong for an instant, nothing done by path that could
// be swapped, and no name visible before everything is complete.
func TestTrace(t *testing.T) {
	dir := tmpfs(t, "mode=0755")
	calls := trace(t, dir, "deliver")
	writes := regexp.MustCompile(`O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND`)
	created := 0
	for _, c := range calls {
		switch c.name {
		case "openat", "openat2":
			if !writes.MatchString(c.args) {
				continue
			}
			if !strings.Contains(c.args, "<"+dir) || strings.Contains(c.args, `"/`) {
				t.Errorf("opened for writing outside: %v", c)
			}
			if strings.Contains(c.args, "O_CREAT") {
				created++
				if !strings.Contains(c.args, "O_EXCL") || !strings.HasSuffix(c.args, ", 0600") || !strings.Contains(c.args, "O_NOFOLLOW") {
					t.Errorf("a file is not created safely: %v", c)
				}
			}
		case "creat", "truncate", "chmod", "chown", "lchown", "fchmodat", "fchmodat2", "fchownat", "linkat", "mknodat", "mount":
			t.Errorf("by path: %v", c)
		case "mkdirat", "symlinkat", "unlinkat", "renameat", "renameat2", "fchmod", "fchown":
			if !strings.Contains(c.args, "<"+dir) {
				t.Errorf("outside: %v", c)
			}
		}
	}
	if created != 3 {
		t.Errorf("%d files created, want the marker and two files", created)
	}
	wantOrder(t, calls)
}

// wantOrder wants each file made in the order that never shows it wrong.
func wantOrder(t *testing.T, calls []call) {
	t.Helper()
	one := func(pattern string) int {
		t.Helper()
		re := regexp.MustCompile(pattern)
		at := slices.IndexFunc(calls, func(c call) bool { return re.MatchString(c.String()) })
		if at < 0 {
			t.Fatalf("no call like %s in\n%v", pattern, calls)
		}
		return at
	}
	steps := []int{
		one(`mkdirat\(.*Z\.\w+", 0700\)`),
		one(`openat\(.*"pass", .*O_CREAT\|O_EXCL`),
		one(`fchmod\(.*/pass>, 0600\)`),
		one(`write\(.*/pass>`),
	}
	if isRoot() {
		steps = append(steps, one(`fchown\(.*/pass>, 1234, 1234\)`))
	}
	steps = append(steps,
		one(`fchmod\(.*/pass>, 0440\)`),
		one(`openat\(.*"other", .*O_CREAT\|O_EXCL`),
		one(`fchmod\(.*/other>, 0400\)`),
		one(`fchmod\(.*Z\.\w+>, 0755\)`), // of the generation: only now others may enter
		one(`symlinkat\("\.\.data/db"`),
		one(`symlinkat\(.*"\.\.data_tmp"`),
		one(`renameat2?\(.*"\.\.data_tmp", .*"\.\.data"`),
	)
	if !slices.IsSorted(steps) {
		t.Errorf("the order of the steps is %v in\n%v", steps, calls)
	}
	last := steps[len(steps)-1]
	for _, c := range calls[last+1:] {
		if c.name == "openat" && strings.Contains(c.args, "O_CREAT") {
			t.Errorf("after the switch: %v", c)
		}
	}
}

// every is n, and 1 in the long run: one of how many cases a test tries.
func every(n int) int {
	if os.Getenv(envLong) != "" {
		return 1
	}
	return n
}

// The owner is killed at every system call of its life. At the next start
// nothing that is half made can be seen, the residue is swept and what is
// foreign is untouched.
func TestKilledAtEverySystemCall(t *testing.T) {
	for _, c := range []struct {
		work   string
		before bool // an earlier delivery is there
	}{{"deliver", false}, {"deliver", true}, {"shred", false}} {
		t.Run(fmt.Sprint(c.work, " ", c.before), func(t *testing.T) {
			probe := killWorld(t, c.before)
			counts := map[string]int{} // by strace, for each thread from its beginning
			for i, call := range killable(t, probe, c.work) {
				counts[call.name]++
				if (i+len(c.work))%every(9) == 0 {
					killAt(t, c.work, c.before, call, counts[call.name])
				}
			}
		})
	}
}

// killable gives all calls of the thread that does the work.
func killable(t *testing.T, dir, work string) []call {
	t.Helper()
	log := filepath.Join(t.TempDir(), "trace")
	out, err := straced(t, dir, work, "-o", log, "-e", traced)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls := parseTrace(t, log)
	worker := calls[len(calls)-1].thread
	return slices.DeleteFunc(calls, func(c call) bool { return c.thread != worker })
}

func killWorld(t *testing.T, before bool) string {
	t.Helper()
	dir := tmpfs(t, "mode=0755")
	if before {
		deliver(t, dir, map[string]string{"db/pass": "before", "gone": "before"})
	}
	must(t, os.WriteFile(dir+"/foreign", []byte("foreign"), 0o604))
	return dir
}

func killAt(t *testing.T, work string, before bool, c call, n int) {
	t.Helper()
	dir := killWorld(t, before)
	where := fmt.Sprintf("%s %d, as in %v", c.name, n, c)
	kill(t, dir, work, where, c, n)
	wantWhole(t, dir, where, before)
	if _, err := os.Lstat(dir + "/db/pass"); volume.Ready(dir, time.Now()) == nil && (err != nil || work == "shred") {
		t.Errorf("killed at %s: it counts as ready, %v", where, err)
	}
	v, err := volume.Open(volume.Options{Dir: dir})
	if err != nil {
		t.Errorf("killed at %s: the next start: %v", where, err)
		return
	}
	wantWhole(t, dir, where, before)
	must(t, v.Shred())
	for _, name := range names(t, dir) {
		if kept := before && slices.Contains([]string{"db", "gone", "..data", "..secretboot"}, name); !kept && name != "foreign" && !(before && strings.HasSuffix(filepath.Join(dir, name), target(dir))) {
			t.Errorf("killed at %s: %s is left", where, name)
		}
	}
	wantText(t, dir+"/foreign", "foreign")
	wantMode(t, dir+"/foreign", 0o604)
}

// kill runs a life and ends it at the start of its nth system call of one name.
func kill(t *testing.T, dir, work, where string, c call, n int) {
	t.Helper()
	out, err := straced(t, dir, work, "-o", "/dev/null", "-e", "trace="+c.name, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", c.name, n))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("not killed at %s: %v: %s", where, err, out)
	}
}

// The same with two roots, both of them delivered to before: each root is whole
// by itself, and the next start delivers to both.
func TestRootsKilledAtEverySystemCall(t *testing.T) {
	world := func() string {
		dir := tmpfs(t, "mode=0755")
		must(t, errors.Join(os.Mkdir(dir+"/in", 0o755), os.Mkdir(dir+"/out", 0o755)))
		deliver(t, dir+"/in", map[string]string{"a": "old"})
		deliver(t, dir+"/out", map[string]string{"b": "old"})
		return dir
	}
	counts := map[string]int{}
	for i, c := range killable(t, world(), "roots") {
		counts[c.name]++
		if i%every(12) != 0 {
			continue
		}
		dir, where := world(), fmt.Sprintf("%s %d, as in %v", c.name, counts[c.name], c)
		kill(t, dir, "roots", where, c, counts[c.name])
		for _, path := range []string{"/in/a", "/out/b"} {
			if text, err := os.ReadFile(dir + path); err != nil || string(text) != "old" && string(text) != "new" {
				t.Errorf("killed at %s: %s holds %q, %v", where, path, text, err)
			}
		}
		o, files := twoRoots(dir)
		r, err := volume.OpenRoots(o, files, nil)
		if err != nil {
			t.Errorf("killed at %s: the next start: %v", where, err)
			continue
		}
		stageAll(t, r, files, "newest")
		must(t, r.Commit())
		wantAll(t, dir+"/in", files, "newest")
		must(t, r.Shred())
		wantEmpty(t, dir+"/in")
		wantEmpty(t, dir+"/out")
	}
}

func target(dir string) string {
	to, _ := os.Readlink(dir + "/..data")
	return to
}

// wantWhole wants each name to lead to nothing or to a whole file with the
// right mode, and the two files of one delivery to be there together.
func wantWhole(t *testing.T, dir, where string, before bool) {
	t.Helper()
	pass, errPass := os.ReadFile(dir + "/db/pass")
	_, errOther := os.ReadFile(dir + "/db/other")
	switch {
	case errors.Is(errPass, fs.ErrNotExist) && errors.Is(errOther, fs.ErrNotExist):
	case before && string(pass) == "before" && errors.Is(errOther, fs.ErrNotExist):
		wantMode(t, dir+"/db/pass", 0o400)
	case string(pass) == "held" && errOther == nil:
		wantMode(t, dir+"/db/pass", 0o440)
		wantMode(t, dir+"/db/other", 0o400)
	default:
		t.Errorf("killed at %s: pass is %q (%v), other %v", where, pass, errPass, errOther)
	}
}
