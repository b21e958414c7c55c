package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

// running is a command under supervise, with what may be done to it.
type running struct {
	actions
	t    *testing.T
	dir  string // has the program child; where it was started
	out  string // the command's environment
	code chan int
	err  chan error
}

func startRunning(t *testing.T) *running {
	t.Helper()
	h := hooksFor(t)
	path, _ := lookupIn(h.target.environ, "PATH")
	t.Chdir(path)
	r := &running{t: t, dir: path, out: filepath.Join(t.TempDir(), "environ"), code: make(chan int, 1), err: make(chan error, 1)}
	tg := h.target
	tg.run.Command, tg.path = []string{"child", "environ", r.out, "wait", "exit", "7"}, filepath.Join(path, "child")
	tg.control, tg.log = process.NewControl(), slog.New(slog.DiscardHandler)
	r.actions = tg.actions()
	go func() {
		code, err := tg.supervise(append(h.target.environ, "GENERATION=1"), make(chan os.Signal, 1))
		r.code <- code
		r.err <- err
	}()
	r.await("GENERATION=1")
	return r
}

// await waits until the command has written its environment with an entry.
func (r *running) await(entry string) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(time.Millisecond) {
		text, _ := os.ReadFile(r.out)
		if strings.Contains(string(text), entry) {
			return
		}
	}
	r.t.Fatalf("the command has no %s", entry)
}

func TestActions(t *testing.T) {
	r := startRunning(t)
	if err := r.Restart(t.Context(), []string{"GENERATION=2"}); err != nil {
		t.Fatal(err)
	}
	r.await("GENERATION=2")
	for _, name := range []string{"child", "./child", filepath.Join(r.dir, "child")} {
		if err := r.Exec(t.Context(), execOf(name, "exit", "0"), ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		err := r.Exec(t.Context(), execOf(name, "exit", "3", "CANARY"), "")
		if want := "command " + name + ": it ended with code 3 after a secret changed; see what it wrote to standard error"; err == nil || err.Error() != want || plan.CodeOf(err) != plan.CodeData {
			t.Errorf("%v, want %s", err, want)
		}
	}
	slow := execOf("child", "deaf")
	slow.Timeout = 100 * time.Millisecond
	if err := r.Exec(t.Context(), slow, ""); err == nil || !strings.Contains(err.Error(), "did not end within 100ms after a secret changed, and was killed") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"none", "./none"} {
		if err := r.Exec(t.Context(), execOf(name), ""); plan.CodeOf(err) != plan.CodeConfig || !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Signal("STOP"); !errors.Is(err, plan.ErrStops) {
		t.Errorf("%v", err)
	}
	if err := r.Signal("HUP"); err != nil {
		t.Error(err)
	}
	if code, err := <-r.code, <-r.err; code != 7 || err != nil {
		t.Errorf("code %d, %v", code, err)
	}
	for what, err := range map[string]error{
		"signal": r.Signal("HUP"), "restart": r.Restart(t.Context(), nil), "exec": r.Exec(t.Context(), execOf("child"), ""),
	} {
		if !errors.Is(err, process.ErrEnded) {
			t.Errorf("%s of a command that has ended: %v", what, err)
		}
	}
}

// TestActionCannotRestart: it is what is said of a command that cannot be started.
func TestActionCannotRestart(t *testing.T) {
	r := startRunning(t)
	if err := os.Remove(filepath.Join(r.dir, "child")); err != nil {
		t.Fatal(err)
	}
	err := r.Restart(t.Context(), nil)
	_, ended := <-r.code, <-r.err
	for _, err := range []error{err, ended} {
		if plan.CodeOf(err) != plan.CodeNotFound || !strings.HasPrefix(err.Error(), "command child: not found") {
			t.Errorf("%v (code %d)", err, plan.CodeOf(err))
		}
	}
}

// TestActionWithoutFolder: the command is there; what is not is where it was started.
func TestActionWithoutFolder(t *testing.T) {
	err := startProblem("app", errors.Join(process.ErrFolder, os.ErrNotExist))
	if plan.CodeOf(err) != plan.CodeNotExecutable || !strings.HasPrefix(err.Error(), "command app: the working folder that we were started in cannot be entered") {
		t.Errorf("%v", err)
	}
}
