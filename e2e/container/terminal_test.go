package container_test

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// onTerminal starts a command line on a terminal of its own, of 91 columns and 17
// lines, reads what it prints and gives the side with the keys.
func (c *container) onTerminal(cmd *exec.Cmd) *os.File {
	t := c.t
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 91, Row: 17}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	c.cmd = cmd
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.read(master)
	return master
}

// onTerminal starts docker run -it.
func (e *engine) onTerminal(t *testing.T, args ...string) (*container, *os.File) {
	t.Helper()
	c := e.named(t)
	return c, c.onTerminal(e.command(append([]string{"run", "-it", "--name", c.name}, args...)...))
}

// testTerminal: with -it the command has the terminal. What is typed reaches it, and
// a ctrl-C once; a ctrl-Z stops it and not the container.
func testTerminal(t *testing.T, e *engine) {
	press := func(to *os.File, keys string) {
		t.Helper()
		if _, err := to.WriteString(keys); err != nil {
			t.Fatal(err)
		}
	}
	c, keys := e.onTerminal(t, quick("wrapped", "/app", "terminal", "stoppable")...)
	c.want("ready 91x17")
	press(keys, "hello\r")
	c.want("hello") // the terminal's echo
	c.want("read hello")
	c.want("ready") // the size was set before, so that no signal of it comes now
	for range 3 {
		press(keys, "\x03")
		c.want("^Cgot 2")
	}
	press(keys, "\x1c")
	c.want(`^\got 3`)
	pids := e.pids(t, c.name) // in no order
	if len(pids) != 2 {
		t.Fatalf("processes %v: we and the command", pids)
	}
	if slices.Contains(children(t, pids[1]), pids[0]) {
		slices.Reverse(pids)
	}
	press(keys, "\x1a")
	eventually(t, "the command is stopped", func() bool { return state(pids[1]) == "T" })
	if got := state(pids[0]); got == "T" {
		t.Error("process 1 is stopped")
	}
	e.do(t, "kill", "-s", "CONT", c.name)
	c.want("^Zgot 18")
	e.do(t, "stop", c.name)
	c.want("got 15")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
}
