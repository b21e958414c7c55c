package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// scriptCommands are the words that testscripts have beside testscript's own.
//
//	sb CODE ARG…                 run secretboot in the foreground; it must end with CODE
//	sb& CODE ARG…                start it in the background; `end` waits for it
//	end [DURATION]               wait for the background one and check its code (at most 30s)
//	signal NAME                  send a signal to the background one
//	running [TEXT]               wait until the background one has printed TEXT (default: ready)
//	vault ARG…                   the vault command line as root of this script's own server
//	role NAME POLICYFILE         make an AppRole; sets VAULT_ROLE_ID and VAULT_SECRET_ID
//	vaultserver own [LISTENER…]  a server for this script alone; then also seal, unseal, stop;
//	                             LISTENER is tls, tls=NAME or unix, see vaults.own
//	vaultserver plugin NAME…     let the server know plugins of bin/plugins
//	vaultserver forget           leave out of `requests` what the server saw so far
//	vaultserver requests [NAME]  write what it saw to the file requests: all, or what has NAME in
//	                             its path or comes from a token with the policy NAME
//	vaultserver witness          VAULT_ADDR is no Vault; then quiet: nobody connected to it
//	fakevault KIND               VAULT_ADDR is no Vault either: html, empty, silent, redirect, talkative, hold or together
//	untouched                    nobody connected to where the last of these redirects
//	port down, port up           nobody listens at VAULT_ADDR; then the server does
//	fill PATH N FILE             write PATH1 to PATHN, each with the JSON object of a file
//	setenv NAME FILE             a variable with the text of a file, less the newline at its end
//	tmpfs NAME OPTION            mount a tmpfs at $WORK/NAME (root)
//	mode MODE FILE               the permission bits of a file
//	empty DIR                    nothing is in the folder
//	gone PATH…                   nothing is there
//	canary                       no secret of this script is where it must not be
//	oneline FILE                 exactly one line, ending with a newline
//	sh CODE TEXT, shell& …       like sb and sb&, for a command line of sh
//	problem REGEXP…              exactly these problems were told, one line each
//	jsonlines FILE               every line is a JSON object
//	owner UID:GID FILE           who a file belongs to
//	link NAME REGEXP             a symbolic link and its target
//	finding STATUS STEP REGEXP   the report of doctor --json in out has it, see cmdFinding
//	todo STEP…                   and these are to be mended, in this order
//	proven FILE ARG…             secretboot ends with 0 under a policy, and not with a line less
//	original CODE NAME ARG…      run bin/NAME, what a declaration was written for; its output is in theirs
//
// and the places that they need beside Vault, each told about where it is:
//
//	postgres, pgusers REGEXP     a database server; a user of it
//	ldapserver                   a directory with one user
//	issuer, idtoken FILE CLAIM…  who signs tokens, also for GitHub Actions; a signed token
//	tokenreview                  a Kubernetes API server that reviews those tokens
//	sts [KIND], sts login FILE   AWS's Security Token Service; a signed request for Vault's aws login
//	certs, keypair CERT KEY CA   certificates, good and bad; a certificate, its key and who signed it
//	gate NAME [WORD…]            a server before Vault that keeps what it sees, see cmdGate
//	proxy URL, proxy saw         a forward proxy, and what it was asked for
//	tracking AUTHORIZATION, saw  MLflow's server, see cmdTracking
//	client WORD …                Vault's client by itself, see cmdClient
//	tags TAG                     from here on sb is a binary with a build tag
//	manager [WORD…]              systemd, for what services tell it, see cmdManager
//	unit CODE FILE               what a unit of systemd starts, in the background
//	fetch STATUS METHOD URL …    ask a place directly
//
// and what comes by itself, see script_keep_test.go:
//
//	holds FILE TEXT              wait until a file holds a text
//	said REGEXP                  wait until err has a text that matches
//	metric REGEXP                wait until a line of the metrics at $WORK/s.sock matches
//	stamp OUT FILE…              write down inode and time of files
//	reader FILE, reader          a file is there each time that it is read, in between
//
// and the runner of a CI system, see script_ci_test.go:
//
//	step CODE ARG…               secretboot as a step of a GitHub job, with the runner's part
//	step& CODE ARG…, cancel      the same in the background; the job is cancelled
//	job CODE SYSTEM FILE [WHEN]  all steps of the job in a file, see runners.job
//	masked FILE                  the runner was told to mask each line of a file, and nothing else
//	vanish PATH…                 wait until nothing is there
//
// Output is in the files out and err, vault's in vaultout.
func scriptCommands(servers *vaults) map[string]func(*testscript.TestScript, bool, []string) {
	words := map[string]func(*testscript.TestScript, bool, []string){
		"sb":          cmdSecretboot,
		"sb&":         cmdBackground,
		"end":         cmdEnd,
		"signal":      cmdSignal,
		"running":     cmdRunning,
		"vault":       cmdVault,
		"role":        cmdRole,
		"vaultserver": servers.command,
		"tmpfs":       cmdTmpfs,
		"mode":        cmdMode,
		"empty":       cmdEmpty,
		"gone":        cmdGone,
		"canary":      cmdCanary,
		"demo":        cmdDemo,
		"oneline":     cmdOneLine,
		"fakevault":   cmdFakeVault,
		"untouched":   cmdUntouched,
		"port":        cmdPort,
		"setenv":      cmdSetenv,
		"fill":        cmdFill,
		"sh":          cmdShell,
		"shell&":      cmdShellBackground,
		"problem":     cmdProblem,
		"jsonlines":   cmdJSONLines,
		"owner":       cmdOwner,
		"link":        cmdLink,
		"finding":     cmdFinding,
		"todo":        cmdTodo,
		"proven":      cmdProven,
		"original":    cmdOriginal,
	}
	maps.Copy(words, placeCommands())
	maps.Copy(words, ciCommands())
	maps.Copy(words, keepCommands())
	return words
}

// background is the secretboot that a script started and did not wait for.
type background struct {
	cmd  *exec.Cmd
	want int
	done chan error
	args []string
	err  string // the file that it and its janitor write errors to
}

// secretboot makes the command line of the real binary under test.
func secretboot(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command(ts.Getenv("HARNESS_SECRETBOOT"), args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = scriptEnv(ts)
	return cmd
}

// scriptEnv is the whole environment of the script. testscript does not give
// it, so a program run in it tells.
func scriptEnv(ts *testscript.TestScript) []string {
	ts.Check(ts.Exec("child", "environ", ".environ"))
	var env []string
	for _, entry := range strings.Split(ts.ReadFile(".environ"), "\x00") {
		if name, _, _ := strings.Cut(entry, "="); !strings.HasPrefix(name, "HARNESS_") {
			env = append(env, entry)
		}
	}
	return env
}

// cmdSecretboot runs it in the foreground, with its output for `stdout`,
// `stderr` and the canary.
func cmdSecretboot(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: sb CODE ARG…")
	}
	runCommand(ts, secretboot(ts, args[1:]), args[0], args[1:])
}

// runCommand runs cmd to its end, which must have the wanted code and come
// before a minute is over. A command that hangs is asked to end before it is
// killed, so that it takes its own child along.
func runCommand(ts *testscript.TestScript, cmd *exec.Cmd, want string, args []string) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = 10 * time.Second // the output of an orphan is not waited for
	ts.Check(cmd.Start())
	hangs := time.AfterFunc(time.Minute, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
	})
	runErr := cmd.Wait()
	hangs.Stop()
	record(ts, args, out.Bytes(), errOut.Bytes())
	if code := exitCode(ts, runErr); code != number(ts, want) {
		ts.Fatalf("%s ended with %d, not %s", strings.Join(args, " "), code, want)
	}
}

// record makes the output visible to the script as files and keeps all output
// of the script for the canary.
func record(ts *testscript.TestScript, args []string, out, errOut []byte) {
	ts.Check(os.WriteFile(ts.MkAbs("out"), out, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), errOut, 0o600))
	remember(ts, args, out, errOut)
}

// remember keeps output for `canary`. What is in out and err stays as it is: a janitor
// may be writing there.
func remember(ts *testscript.TestScript, args []string, out, errOut []byte) {
	all, err := os.OpenFile(allOutput(ts), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer all.Close()
	_, err = fmt.Fprintf(all, "%s\n%s\n%s\n", strings.Join(args, " "), out, errOut)
	ts.Check(err)
	ts.Logf("[out]\n%s[err]\n%s", out, errOut)
}

// allOutput is the file with all that secretboot said in this script, wherever
// `cd` went.
func allOutput(ts *testscript.TestScript) string {
	return filepath.Join(ts.Getenv("WORK"), ".all-output")
}

func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			ts.Logf("killed by %v", ws.Signal())
			return -int(ws.Signal())
		}
		return exit.ExitCode()
	}
	ts.Fatalf("secretboot could not be run: %v", err)
	return -1
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	ts.Check(err)
	return n
}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	sig := unix.SignalNum("SIG" + args[0])
	if sig == 0 {
		ts.Fatalf("unknown signal %s", args[0])
	}
	ts.Check(current(ts).bg.cmd.Process.Signal(sig))
}

// cmdRunning waits until the background process or its child has printed a
// line with the given text (default: ready) to out or err.
func cmdRunning(ts *testscript.TestScript, _ bool, args []string) {
	want := "ready"
	if len(args) > 0 {
		want = args[0]
	}
	waitFor(ts, "the text "+want, func() bool {
		for _, name := range []string{"out", "err"} {
			if text, err := os.ReadFile(ts.MkAbs(name)); err == nil && bytes.Contains(text, []byte(want)) {
				return true
			}
		}
		return false
	})
}

// waitFor polls a condition; only the harness may, because it watches from outside.
func waitFor(ts *testscript.TestScript, what string, ok func() bool) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	said, _ := os.ReadFile(ts.MkAbs("err"))
	ts.Fatalf("waited 30 s in vain for %s; err is\n%s", what, said)
}

func cmdTmpfs(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, strings.Join(args[1:], ",")))
	ts.Defer(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); (got == args[0]) == neg {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

func cmdEmpty(ts *testscript.TestScript, neg bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if (len(entries) == 0) == neg {
		ts.Fatalf("%s holds %v", args[0], entries)
	}
}

func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	for _, path := range args {
		_, err := os.Lstat(ts.MkAbs(path))
		if errors.Is(err, fs.ErrNotExist) == neg {
			ts.Fatalf("%s: %v", path, err)
		}
	}
}

func cmdOneLine(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	if (strings.Count(text, "\n") == 1 && strings.HasSuffix(text, "\n")) == neg {
		ts.Fatalf("%s has %d lines", args[0], strings.Count(text, "\n"))
	}
}

func cmdSetenv(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSuffix(ts.ReadFile(args[1]), "\n"))
}

// cmdCanary looks for the word CANARY, which every secret of the scripts holds
// where it can, and for the tokens that the places signed, where no secret may be: in all output of secretboot so far,
// in every file below the work folder that the harness did not write, and in the arguments of its processes.
func cmdCanary(ts *testscript.TestScript, _ bool, args []string) {
	rememberLate(ts)
	said, err := os.ReadFile(allOutput(ts))
	if err != nil && current(ts).bg == nil {
		ts.Fatalf("secretboot was not run yet: %v", err)
	}
	if current(ts).leaks(said) {
		ts.Fatalf("a secret is in the output")
	}
	checkEnvironOf(ts, current(ts).bg)
	work := ts.Getenv("WORK")
	for _, dir := range append(args, filepath.Join(work, "home"), filepath.Join(work, "tmp")) {
		err := filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			text, readErr := os.ReadFile(path)
			if readErr == nil && current(ts).leaks(text) {
				ts.Fatalf("a secret is in %s", path)
			}
			return nil
		})
		ts.Check(err)
	}
	checkArguments(ts)
}

// checkArguments looks into the arguments of each process of this script: others run
// beside it, and those that stand for an operator may name a secret there.
func checkArguments(ts *testscript.TestScript) {
	self, err := os.Executable()
	ts.Check(err)
	mine := []byte("\x00WORK=" + ts.Getenv("WORK") + "\x00")
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		exe, _ := os.Readlink(proc + "/exe")
		environ, err := os.ReadFile(proc + "/environ")
		wiped := len(bytes.Trim(environ, "\x00")) == 0 && exe == self // the janitor's, say
		if err != nil || !wiped && !bytes.Contains(append([]byte{0}, environ...), mine) {
			continue
		}
		if text, err := os.ReadFile(proc + "/cmdline"); err == nil && current(ts).leaks(text) && !bytes.Contains(text, []byte("vault\x00kv")) {
			ts.Fatalf("a secret is in %s/cmdline", proc)
		}
	}
}

// leaks tells whether a text holds a secret of the script.
func (s *scriptState) leaks(text []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	holds := func(secret []byte) bool { return bytes.Contains(text, secret) }
	return holds([]byte("CANARY")) || slices.ContainsFunc(s.secrets, holds)
}

// freePort asks the kernel for a port that nobody has at the moment.
func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
