package container_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// container is one that `docker run` is attached to.
type container struct {
	t    *testing.T
	e    *engine
	name string
	cmd  *exec.Cmd
	ch   chan string // lines of both of its outputs
}

// run starts a container and gives it a name.
func (e *engine) run(t *testing.T, args ...string) *container {
	t.Helper()
	c := e.named(t)
	c.attach(e.command(append([]string{"run", "--name", c.name}, args...)...))
	return c
}

// attach starts a command line that runs the container, and reads its outputs.
func (c *container) attach(cmd *exec.Cmd) {
	c.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	c.cmd = cmd
	c.cmd.Stdout, c.cmd.Stderr = w, w
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	_ = w.Close()
	go c.read(r)
}

// named makes a name for a container that is removed at the end of the test.
func (e *engine) named(t *testing.T) *container {
	t.Helper()
	name := strings.NewReplacer("/", ".", " ", "_", "#", "_", ",", "_", ":", "_").Replace(t.Name()) + "." + strconv.FormatInt(time.Now().UnixNano(), 36)
	t.Cleanup(func() { _ = e.command("rm", "-f", "-v", name).Run() })
	return &container{t: t, e: e, name: name, ch: make(chan string, 4096)}
}

func (c *container) read(r io.ReadCloser) {
	defer close(c.ch)
	defer r.Close()
	for s := bufio.NewScanner(r); s.Scan(); {
		if line := strings.TrimSuffix(s.Text(), "\r"); !expected(line) {
			c.ch <- line
		}
	}
}

// expected tells of a line that every container without a Vault has.
func expected(line string) bool { return strings.Contains(line, `msg="DEVELOPMENT MODE: `) }

// unexpected is a text without those lines.
func unexpected(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !expected(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// next gives the next line; "" when there is none any more.
func (c *container) next() string {
	c.t.Helper()
	select {
	case s := <-c.ch:
		return s
	case <-time.After(patience):
		c.t.Fatal("no line came in time")
		return ""
	}
}

// want checks the next line.
func (c *container) want(line string) {
	c.t.Helper()
	if got := c.next(); got != line {
		c.t.Fatalf("got line %q, want %q", got, line)
	}
}

// end waits for the end, and gives the code and what is left to be read.
func (c *container) end() (code int, rest []string) {
	c.t.Helper()
	late := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	for s := range c.ch {
		rest = append(rest, s)
	}
	_ = c.cmd.Wait()
	return c.cmd.ProcessState.ExitCode(), rest
}

// inspect gives a part of what the engine knows of it.
func (c *container) inspect(format string) string {
	c.t.Helper()
	return c.e.do(c.t, "inspect", "-f", format, c.name)
}
