package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// memoryPoint is a process of ours at rest, and how many copies its memory may have.
type memoryPoint struct {
	what                string
	value, token, login int
	at                  func(w *leakWorld, look func(pid int, l *leakRun))
}

// leakSlack is what may be left over by chance: at the odd end of a page, or on the
// unused part of a stack, where nothing of ours can overwrite it.
const leakSlack = 2

// memoryPoints: the copies that are needed, and none besides. A secret that is read
// again to see whether it has changed is there once as it was read and once as it was
// delivered; our token once, to be revoked; the login input as we were given it, and as
// it was understood, for another login.
func memoryPoints() []memoryPoint {
	return []memoryPoint{
		{"`run` with files, `--refresh 0`", 0, 1, 2, runPoint("-f", "pw=secret/app#pw", "--refresh", "0")},
		{"`run` with variables, `--refresh 0`", 0, 1, 2, runPoint("-e", "PW=secret/app#pw", "--refresh", "0", "--supervise")},
		{"`run` with files", 2, 1, 2, runPoint("-f", "pw=secret/app#pw")},
		{"`run` with variables", 2, 1, 2, runPoint("-e", "PW=secret/app#pw", "--supervise")},
		{"`watch`", 2, 1, 2, watchPoint},
		{"`watch --refresh 1s`, the value before a rotation", 0, 3, 2, rotatedPoint},
		{"the janitor of `run`", 0, 0, 0, janitorPoint},
		{"the process of `init --expires`", 0, 0, 0, expirePoint},
	}
}

func runPoint(args ...string) func(w *leakWorld, look func(int, *leakRun)) {
	return func(w *leakWorld, look func(int, *leakRun)) {
		l := w.start(w.rig, slices.Concat([]string{"run", "--dir", w.sink}, args, []string{"--", "sh", "-c", "echo ready; read x || true"})...)
		l.says("ready")
		look(l.cmd.Process.Pid, l)
		l.end(0)
	}
}

func janitorPoint(w *leakWorld, look func(int, *leakRun)) {
	runPoint("-f", "pw=secret/app#pw")(w, func(pid int, l *leakRun) { look(childWith(w.t, pid, janitorWord), l) })
}

func watchPoint(w *leakWorld, look func(int, *leakRun)) {
	l := w.start(w.rig, "watch", "--dir", w.sink, "-f", "pw=secret/app#pw")
	l.await("the delivery", func() bool { return exists(filepath.Join(w.sink, "pw")) })
	look(l.cmd.Process.Pid, l)
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	l.end(0)
}

// rotatedPoint looks for the value that was replaced.
func rotatedPoint(w *leakWorld, look func(int, *leakRun)) {
	l := w.start(w.rig, "watch", "--dir", w.sink, "-f", "pw=secret/app#pw", "--refresh", "1s", "--keep-previous", "1s")
	delivered := func() bool {
		got, _ := os.ReadFile(filepath.Join(w.sink, "pw"))
		return string(got) == w.value
	}
	l.await("the delivery", delivered)
	l.looked = newNeedle("value", w.secret)
	w.put(w.rig, randomCore())
	l.await("the rotation", delivered)
	look(l.cmd.Process.Pid, l)
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	l.end(0)
}

func expirePoint(w *leakWorld, look func(int, *leakRun)) {
	l := w.start(w.rig, "init", "--dir", w.sink, "-f", "pw=secret/app#pw", "--expires", "1h")
	l.end(0)
	pids := w.helpers()
	if len(pids) != 1 {
		w.t.Fatalf("processes %v", pids)
	}
	look(pids[0], l)
	_ = syscall.Kill(pids[0], syscall.SIGTERM)
	l.await("its end", func() bool { return len(w.helpers()) == 0 })
}

// TestLeakCopies: what rests has in memory what it needs, and nothing else of a secret.
// LEAKPROOF_REPEAT=N does it so often, LEAKPROOF_SHOW=1 tells where the copies are.
func TestLeakCopies(t *testing.T) {
	w := newLeakWorld(t)
	times, _ := strconv.Atoi(os.Getenv("LEAKPROOF_REPEAT"))
	page := string(read(t, "docs/security.md"))
	for _, p := range memoryPoints() {
		t.Run(p.what, func(t *testing.T) {
			for range max(times, 1) {
				p.at(w.on(t), func(pid int, l *leakRun) { p.check(t, pid, l) })
			}
		})
		if row := fmt.Sprintf("| %s | %d | %d | %d |", p.what, p.value, p.token, p.login); !strings.Contains(page, row+"\n") {
			t.Errorf("docs/security.md has not the row\n%s", row)
		}
	}
}

// TestLeakCopiesFound: what init has in memory just before its end is found, so that
// a count of 0 means something. The kernel takes that memory back with init's end.
func TestLeakCopiesFound(t *testing.T) {
	w := newLeakWorld(t)
	held, goOn := w.gate.stopAt("PUT /v1/auth/token/revoke-self")
	defer goOn()
	l := w.start(w.rig, "init", "--dir", w.sink, "-f", "pw=secret/app#pw")
	select {
	case <-held:
	case <-time.After(time.Minute):
		t.Fatalf("it does not come to revoking its token\n%s", l.err.String())
	}
	counts := copies(t, l.cmd.Process.Pid, newNeedle("value", w.secret), w.gate.token(t), l.id)
	t.Logf("copies %v", counts)
	for name, n := range counts {
		if n == 0 || n > 20 {
			t.Errorf("%s: %d copies", name, n)
		}
	}
	goOn()
	l.end(0)
}

// check waits until a process has come to rest, and counts. Nobody who was given our
// memory could have more than that of a moment.
func (p memoryPoint) check(t *testing.T, pid int, l *leakRun) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &limit); err != nil || limit.Cur != 0 {
		t.Errorf("the limit of core files is %d, %v", limit.Cur, err)
	}
	value := newNeedle("value", l.leakWorld.secret)
	if l.looked.name != "" {
		value = l.looked
	}
	most := map[string]int{"value": p.value, "token": p.token, "login input": p.login}
	counts := map[string]int{}
	within := func() bool {
		counts = copies(t, pid, value, l.gate.token(t), l.id)
		for name, n := range counts {
			slack := leakSlack
			if most["token"] == 0 { // a process that was never given anything
				slack = 0
			}
			if n > most[name]+slack {
				return false
			}
		}
		return true
	}
	for end := time.Now().Add(30 * time.Second); !within(); <-time.After(250 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("copies %v, want %v", counts, most)
			return
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%s: %d", name, counts[name])
	}
}
