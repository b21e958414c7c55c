package container_test

import (
	"errors"
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
)

// quick are options of a container that needs neither a network nor a log.
func quick(more ...string) []string {
	return append([]string{"--rm", "--network", "none", "--log-driver", "none"}, more...)
}

// sink makes a folder of a user in memory on the machine, which a container can be given,
// so that one sees what is left in it after the container's end.
func sink(t *testing.T, owner int) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sb-docker-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	own(t, dir, owner)
	return dir
}

// on are the options that give a container a sink.
func on(dir string) []string { return []string{"-v", dir + ":/run/secrets"} }

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// testCodes: as process 1 we end with the command's code, whatever it is.
func testCodes(t *testing.T, e *engine) {
	const atOnce = 6
	var wg sync.WaitGroup
	for first := range atOnce {
		wg.Go(func() {
			for want := first; want < 256; want += atOnce {
				out, err := e.command(append(append([]string{"run"}, quick("wrapped")...), "/app", "exit", strconv.Itoa(want))...).CombinedOutput()
				got := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = exit.ExitCode()
				}
				if got != want {
					t.Errorf("exit %d gave %d, %v: %s", want, got, err, out)
				}
			}
		})
	}
	wg.Wait()
}

// testOwnCodes: the codes that are not the command's.
func testOwnCodes(t *testing.T, e *engine) {
	for _, tt := range []struct {
		options, command []string
		code             int
		says             string
	}{
		{nil, []string{"/app", "die", "9"}, 137, ""},
		{nil, []string{"/app", "die", "15"}, 143, ""},
		{nil, []string{"/app", "die", "1"}, 129, ""},
		{[]string{"-e", "SECRETBOOT_FILE=pw=secret/app#none"}, []string{"/app"}, 125, "secretboot: "},
		{[]string{"-e", "SECRETBOOT_KILL_TIMEOUT=soon"}, []string{"/app"}, 125, "SECRETBOOT_KILL_TIMEOUT"},
		{nil, []string{"/dev.yaml"}, 126, "secretboot: command /dev.yaml: permission denied"},
		{nil, []string{"/none"}, 127, "secretboot: command /none: not found"},
		{nil, []string{"none"}, 127, "secretboot: command none: not found"},
	} {
		args := append(append([]string{"run"}, quick(tt.options...)...), "wrapped")
		r := e.try(t, append(args, tt.command...)...)
		if r.code != tt.code || !strings.HasPrefix(r.err, "secretboot: ") && tt.says != "" || !strings.Contains(r.err, tt.says) {
			t.Errorf("%q: code %d, want %d: %s", tt.command, r.code, tt.code, r.err)
		}
	}
}

// kept are the signals that are not passed on, or that nobody can be told of:
// KILL, PIPE, CHLD, STOP, TTIN, TTOU, URG, PROF, and 32 to 34.
func kept() []int { return []int{9, 13, 17, 19, 21, 22, 23, 27, 32, 33, 34} }

// testSignals: each signal to process 1 reaches the command once, and those that are
// about us do not.
func testSignals(t *testing.T, e *engine) {
	c := e.run(t, quick("wrapped", "/app", "record")...)
	c.want("ready")
	kill := func(n int) { e.do(t, "kill", "-s", strconv.Itoa(n), c.name) }
	for _, n := range []int{13, 17, 21, 22, 23} {
		kill(n)
	}
	for n := 1; n <= 64; n++ {
		if slices.Contains(kept(), n) || n == int(syscall.SIGTERM) {
			continue
		}
		kill(n)
		c.want("got " + strconv.Itoa(n))
	}
	kill(int(syscall.SIGTERM))
	c.want("got 15")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, and also told %q", code, rest)
	}
}

// testOrphans: process 1 reaps what is not its own, and a daemon that has its outputs does
// not keep it.
func testOrphans(t *testing.T, e *engine) {
	c := e.run(t, quick("wrapped", "/app", "orphans", "100", "parent")...)
	c.want("left 0")
	c.want("parent 1")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	c = e.run(t, quick("wrapped", "/app", "daemon", "exit", "4")...)
	c.want("daemon")
	if code, rest := c.end(); code != 4 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
}

// testStop: `docker stop` asks the command to end; one that does not is killed by us
// before the engine kills us, and in either case nothing is left.
func testStop(t *testing.T, e *engine) {
	dir := sink(t, user)
	c := e.run(t, quick(append(on(dir), "wrapped", "/app", "record")...)...)
	c.want("ready")
	if text, err := os.ReadFile(filepath.Join(dir, "pw")); string(text) != "CANARY" {
		t.Errorf("delivered: %q, %v", text, err)
	}
	e.do(t, "stop", c.name)
	c.want("got 15")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	wantEmpty(t, dir)

	c = e.run(t, quick(append(on(dir), "-e", "SECRETBOOT_KILL_TIMEOUT=500ms", "wrapped", "/app", "deaf")...)...)
	c.want("ready")
	start := time.Now()
	e.do(t, "stop", "-t", "60", c.name)
	c.want("got 15")
	code, rest := c.end()
	if code != 137 || len(rest) != 1 || !strings.Contains(rest[0], "did not end in time") {
		t.Errorf("code %d, %q", code, rest)
	}
	if d := time.Since(start); d > patience {
		t.Errorf("it took %v", d)
	}
	wantEmpty(t, dir)
}

// testStopCutShort: an engine that is in more of a hurry than we kills us. What stays
// on a volume is swept by the next start.
func testStopCutShort(t *testing.T, e *engine) {
	dir := sink(t, user)
	c := e.run(t, quick(append(on(dir), "-e", "SECRETBOOT_KILL_TIMEOUT=0", "wrapped", "/app", "deaf")...)...)
	c.want("ready")
	e.do(t, "stop", "-t", "1", c.name)
	c.want("got 15")
	if code, rest := c.end(); code != 137 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "pw")); string(text) != "CANARY" {
		t.Errorf("%q, %v: nothing is left to be swept", text, err)
	}
	c = e.run(t, quick(append(on(dir), "wrapped", "/app", "exit", "3")...)...)
	if code, rest := c.end(); code != 3 || len(rest) != 1 || !strings.Contains(rest[0], "shredded what a secretboot that died left behind") {
		t.Errorf("code %d, %q", code, rest)
	}
	wantEmpty(t, dir)
}

// testKilled: SIGKILL to process 1 takes the command, and the tmpfs, with it.
func testKilled(t *testing.T, e *engine) {
	runs := 5
	if long() {
		runs = 100
	}
	for range runs {
		c := e.run(t, quick("--tmpfs", "/run/secrets", "wrapped", "/app", "deaf")...)
		c.want("ready")
		pids := e.pids(t, c.name)
		if len(pids) != 2 {
			t.Fatalf("processes %v: we and the command", pids)
		}
		e.do(t, "kill", c.name)
		for start := time.Now(); living(pids) != 0 && time.Since(start) < 2*time.Second; {
			<-time.After(time.Millisecond)
		}
		if pid := living(pids); pid != 0 {
			t.Errorf("after 2 s process %d lives on", pid)
		}
		if code, rest := c.end(); code != 137 || len(rest) > 0 {
			t.Errorf("code %d, %q", code, rest)
		}
	}
}

// testKilledInside: where we are not process 1 the janitor does what the kernel does
// there: the command is gone and the folder empty within 2 s.
func testKilledInside(t *testing.T, e *engine) {
	dir := sink(t, user)
	inside := e.run(t, quick(append(on(dir), "--init", "--entrypoint", "/app", "wrapped", "record")...)...)
	inside.want("ready")
	cmd := e.command("exec", inside.name, "secretboot", "run", "--", "/app", "deaf")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	eventually(t, "docker exec: we, the janitor and the command", func() bool {
		_, err := os.Stat(filepath.Join(dir, "pw"))
		pids = e.pids(t, inside.name)
		return err == nil && len(pids) == 2+3
	})
	for _, pid := range pids {
		if line, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); strings.HasPrefix(string(line), "secretboot\x00run\x00") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	eventually(t, "the folder is empty and the command gone", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == 0 && len(e.pids(t, inside.name)) == 2
	})
	if d := time.Since(start); d > 5*time.Second { // 2 s, and what a busy engine needs to look at processes
		t.Errorf("it took %v", d)
	}
	_ = cmd.Wait()
}

// pids gives the numbers that a container's processes have on the machine, where its
// cgroup is in version 1 or 2.
func (e *engine) pids(t *testing.T, name string) (pids []int) {
	t.Helper()
	id := e.do(t, "inspect", "-f", "{{.Id}}", name)
	for _, path := range glob(t, "/sys/fs/cgroup/pids/docker/"+id+"/cgroup.procs", "/sys/fs/cgroup/docker/"+id+"/cgroup.procs") {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func glob(t *testing.T, patterns ...string) (all []string) {
	t.Helper()
	for _, p := range patterns {
		paths, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, paths...)
	}
	return all
}

// living gives one of the processes that has not ended; 0 when all have.
func living(pids []int) int {
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if _, rest, ok := strings.Cut(string(text), ") "); err == nil && ok && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X") {
			return pid
		}
	}
	return 0
}

// testRestart: the engine starts the container again by its policy, which goes by our
// code; each time the secrets are delivered anew.
func testRestart(t *testing.T, e *engine) {
	c := e.named(t)
	e.do(t, "run", "-d", "--name", c.name, "--network", "none", "--restart", "on-failure:2", "--tmpfs", "/run/secrets", "wrapped", "/app", "cat", "pw", "exit", "7")
	eventually(t, "two restarts, and no third", func() bool {
		return c.inspect("{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}") == "2 exited 7"
	})
	r := e.try(t, "logs", c.name)
	if r.out != strings.Repeat("CANARY\n", 3) || r.err != "" {
		t.Errorf("%+v", r)
	}
	c = e.named(t)
	e.do(t, "run", "-d", "--name", c.name, "--network", "none", "--restart", "on-failure:2", "wrapped", "/app", "exit", "0")
	eventually(t, "the end", func() bool { return c.inspect("{{.RestartCount}} {{.State.Status}}") == "0 exited" })
}
