package process_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/secretboot/secretboot/process"
)

// regenerated is a wrapper with a janitor, whose child is started again as often
// as its word says.
func regenerated(words []string) int {
	j, err := process.StartJanitor([]string{"cleaner"}, []byte(os.Getenv(envReport)))
	if err != nil {
		return 98
	}
	c, env := process.NewControl(), environ("child", os.Getenv(envReport))
	go func() {
		times, _ := strconv.Atoi(words[0])
		for c.Restarts() < times {
			_ = c.Restart(context.Background(), nth(env, c.Restarts()+1))
		}
	}()
	_, err = process.Supervise(process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, words[1:]...), Env: env, KillTimeout: 20 * time.Millisecond,
		Janitor: j, Control: c, Log: slog.New(slog.DiscardHandler),
	}, make(chan os.Signal, 1))
	if err != nil {
		return 99
	}
	j.Dismiss()
	return 0
}

// TestJanitorOfTheLast: the janitor knows the last child only, and ends that.
func TestJanitorOfTheLast(t *testing.T) {
	const times = 10
	l := newLines(t)
	cmd := exec.Command("/proc/self/exe", strconv.Itoa(times), "deaf")
	cmd.Env = environ("regenerated", l.path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	// Some children are killed before they have told of themselves.
	last := l.awaitQuiet(500 * time.Millisecond)
	janitor := janitorOf(t, cmd.Process.Pid)
	fds, err := os.ReadDir("/proc/" + strconv.Itoa(janitor) + "/fd")
	if err != nil || len(fds) > 10 {
		t.Errorf("the janitor has %d descriptors: %v, %v", len(fds), fds, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	var told []string
	for !slices.Contains(told, "cleaned 2") && !t.Failed() {
		told = append(told, l.next())
	}
	l.end() // which waits for the end of all
	if !slices.Contains(told, "got 15") {
		t.Errorf("after %q: %q", last, told)
	}
}

// awaitQuiet reads until there was nothing to be read for d, and gives the last line.
func (l *lines) awaitQuiet(d time.Duration) (last string) {
	l.t.Helper()
	for limit := time.After(patience); ; {
		select {
		case last = <-l.ch:
		case <-limit:
			l.t.Fatal("it does not become quiet")
		case <-time.After(d):
			if last != "" {
				return last
			}
		}
	}
}

// janitorOf finds the janitor among the children of a process.
func janitorOf(t *testing.T, pid int) int {
	t.Helper()
	for _, child := range childrenOf(t, pid) {
		argv, _ := os.ReadFile("/proc/" + strconv.Itoa(child) + "/cmdline")
		if strings.HasPrefix(string(argv), "cleaner\x00") {
			return child
		}
	}
	t.Fatal("there is no janitor")
	return 0
}

// childrenOf lists the children of a process, also those that wait to be reaped.
func childrenOf(t *testing.T, pid int) (children []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatalf("the children of %d: %v", pid, err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may be gone
		for word := range strings.FieldsSeq(string(text)) {
			n, _ := strconv.Atoi(word)
			children = append(children, n)
		}
	}
	return children
}

// TestProcess1Restarts: also as the first process of a namespace, to which real
// signals come all the time.
func TestProcess1Restarts(t *testing.T) {
	l := newLines(t)
	cmd := asProcess1(t, l, "generation family")
	l.want("ready")
	pid := l.want("generation 0")[0]
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = cmd.Process.Signal(syscall.SIGWINCH)
				_ = cmd.Process.Signal(syscall.SIGCONT)
			}
		}
	}()
	for n := 1; n <= 50; n++ {
		if err := cmd.Process.Signal(syscall.SIGPIPE); err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{} // the new child and the restart, in either order
		for len(told) < 2 && !t.Failed() {
			head, rest := cutFields(l.next(), 2)
			switch head {
			case "generation " + strconv.Itoa(n):
				told[head] = true
				was := pid
				first, _ := cutFields(rest, 1)
				if pid, _ = strconv.Atoi(strings.TrimSpace(first)); pid == was {
					t.Errorf("process %d again", pid)
				}
			case "again " + strconv.Itoa(n):
				told[head] = true
				if rest != " <nil>" {
					t.Errorf("restart %d: %s", n, rest)
				}
			}
		}
	}
	close(stop)
	<-stopped
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := code(t, cmd); got != 60 {
		t.Errorf("code %d, want 60", got)
	}
	l.end()
}

// TestTerminalAfterRestart: the new child has the terminal, and hears its keys once.
func TestTerminalAfterRestart(t *testing.T) {
	for name, words := range terminals {
		t.Run(name, func(t *testing.T) {
			s := sessionWith(t, "generation", words...)
			for range 3 {
				s.tell("again")
				s.want("got 15")
				told := []string{s.next(), s.next()}
				for _, line := range told {
					if _, rest := cutFields(line, 2); strings.HasPrefix(line, "generation") {
						pid, _ := cutFields(rest, 1)
						s.child, _ = strconv.Atoi(strings.TrimSpace(pid))
					}
				}
				if group, _ := s.front(); group != s.child {
					t.Errorf("the foreground is %d, want the child %d (%q)", group, s.child, told)
				}
				s.press("\x03")
				s.want("got 2")
			}
			s.tell("term")
			s.want("got 15")
			if got := s.next(); got != "shell: ended 13 true" {
				t.Errorf("%q", got)
			}
			_ = s.commands.Close()
			if got := code(t, s.cmd); got != 0 {
				t.Errorf("the shell ended with %d", got)
			}
		})
	}
}
