package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// condition gives the words in brackets, all of them something that a script
// needs: in CI it is an error when the machine does not have it.
//
//	[root]       we are root
//	[disk]       the work folder is not in memory
//	[free:PATH]  nothing has that name
//	[postgres]   the server programs of PostgreSQL are installed
//	[slapd]      OpenLDAP's server is
//	[npm]        npm is
func condition(name string) (bool, error) {
	met := false
	switch kind, path, _ := strings.Cut(name, ":"); kind {
	case "root":
		met = os.Getuid() == 0
	case "disk":
		var st unix.Statfs_t
		if err := unix.Statfs(os.TempDir(), &st); err != nil {
			return false, err
		}
		met = uint32(st.Type) != unix.TMPFS_MAGIC && uint32(st.Type) != unix.RAMFS_MAGIC
	case "postgres":
		_, err := packageBinary("initdb", postgresPlaces)
		met = err == nil
	case "npm":
		_, err := exec.LookPath("npm")
		met = err == nil
	case "slapd":
		_, err := packageBinary("slapd", slapdPlaces)
		met = err == nil
	case "free":
		_, err := os.Lstat(path)
		met = errors.Is(err, fs.ErrNotExist)
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
	if !met && os.Getenv("CI") != "" {
		return false, fmt.Errorf("CI must give the tests [%s]", name)
	}
	return met, nil
}

// cmdShell runs a command line of sh like `sb`, for what only a shell can do to
// secretboot: a umask, a closed descriptor, a limit.
func cmdShell(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sh CODE TEXT")
	}
	cmd := exec.Command("sh", "-c", args[1])
	cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	runCommand(ts, cmd, args[0], args[1:])
}

// cmdShellBackground starts a command line of sh like `sb&`.
func cmdShellBackground(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shell& CODE TEXT")
	}
	cmd := exec.Command("sh", "-c", args[1])
	cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	startBackground(ts, cmd, args[0], args[1:])
}

// cmdProblem checks that secretboot said exactly these problems, one line each
// and in this order; each argument is a regular expression for a whole line.
// Lines of the log do not count, and the command may not have written to err.
func cmdProblem(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: problem REGEXP…")
	}
	var lines []string
	for line := range strings.Lines(ts.ReadFile("err")) {
		if !strings.HasPrefix(line, "time=") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(lines) != len(args) {
		ts.Fatalf("%d problems, not %d:\n%s", len(lines), len(args), strings.Join(lines, "\n"))
	}
	for i, want := range args {
		if !regexp.MustCompile("^secretboot: " + want + "$").MatchString(lines[i]) {
			ts.Fatalf("problem %d is\n%s\nand not\n%s", i+1, lines[i], want)
		}
	}
}

// cmdJSONLines checks that every line of a file is a JSON object.
func cmdJSONLines(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	if text == "" {
		ts.Fatalf("%s is empty", args[0])
	}
	for line := range strings.Lines(text) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); (err == nil) == neg {
			ts.Fatalf("%q: %v", line, err)
		}
	}
}

// cmdOwner checks UID:GID of a file.
func cmdOwner(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	st := info.Sys().(*syscall.Stat_t)
	if got := fmt.Sprintf("%d:%d", st.Uid, st.Gid); (got == args[0]) == neg {
		ts.Fatalf("%s belongs to %s", args[1], got)
	}
}

// cmdLink checks that a name is a symbolic link to a target that matches.
func cmdLink(ts *testscript.TestScript, neg bool, args []string) {
	target, err := os.Readlink(ts.MkAbs(args[0]))
	ts.Check(err)
	if regexp.MustCompile("^"+args[1]+"$").MatchString(target) == neg {
		ts.Fatalf("%s leads to %s", args[0], target)
	}
}

// witness is an address where no Vault is: it counts who tries to connect.
type witness struct{ asked atomic.Int32 }

// newWitness listens until the script ends and sets VAULT_ADDR.
func newWitness(ts *testscript.TestScript) *witness {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	w := &witness{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.asked.Add(1)
			_ = conn.Close()
		}
	}()
	ts.Setenv("VAULT_ADDR", "http://"+l.Addr().String())
	ts.Setenv("VAULT_TOKEN", "token-CANARY")
	return w
}

// quiet fails the script when somebody asked. A connection that is still in the
// kernel's queue counts too: one of our own is accepted after it.
func (w *witness) quiet(ts *testscript.TestScript) {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", strings.TrimPrefix(ts.Getenv("VAULT_ADDR"), "http://"))
	ts.Check(err)
	_, _ = conn.Read(make([]byte, 1)) // until it was accepted and closed
	ts.Check(conn.Close())
	if n := w.asked.Swap(0) - 1; n != 0 {
		ts.Fatalf("secretboot opened %d connections", n)
	}
}

// checkEnvironOf looks for a secret in the environment that a process shows.
func checkEnvironOf(ts *testscript.TestScript, b *background) {
	if b == nil {
		return
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.cmd.Process.Pid))
	if err == nil && current(ts).leaks(text) {
		ts.Fatalf("a secret is in the environment of secretboot itself")
	}
}
