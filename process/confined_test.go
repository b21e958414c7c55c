package process_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/process"
)

// specOf reads words for what a child is started with:
//
//	user=UID:GID[:GROUP…], nnp, drop=NUMBER or drop=all, core=N, here, leave
func specOf(words []string) process.Spec {
	spec := process.Spec{
		Path: "/proc/self/exe", Argv: append([]string{"child"}, strings.Fields(os.Getenv(envChild))...),
		Env: environ("child", os.Getenv(envReport), envCore+"=kept"), Log: slog.New(slog.DiscardHandler),
	}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "user":
			var ids []uint32
			for s := range strings.SplitSeq(value, ":") {
				n, _ := strconv.ParseUint(s, 10, 32)
				ids = append(ids, uint32(n))
			}
			spec.Privileges.User = &process.User{UID: ids[0], GID: ids[1], Groups: ids[2:]}
		case "nnp":
			spec.Privileges.NoNewPrivs = true
		case "drop":
			n, err := strconv.Atoi(value)
			spec.Privileges.Drop |= 1 << n
			if err != nil {
				spec.Privileges.Drop = process.AllCapabilities
			}
		case "core":
			n, _ := strconv.ParseUint(value, 10, 64)
			_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: n, Max: n})
		case "here":
			spec.Here = true
		case "leave":
			spec.Leave = true
		}
	}
	return spec
}

// confined stands for secretboot: it guards itself, forgets VAULT_TOKEN, and
// supervises or becomes (`replace`) a child with what specOf reads. With `fail`
// there is no such file. At the end it reports whether it is what it was.
func confined(words []string) int {
	spec := specOf(words)
	spec.Core = process.Guard()
	found := process.EraseEnviron(func(name string) bool { return name == "VAULT_TOKEN" })
	out := reporter()
	if slices.Contains(words, "fail") {
		spec.Path = "/nonexistent"
	}
	var err error
	if slices.Contains(words, "replace") {
		err = process.Replace(spec)
	} else {
		signals := make(chan os.Signal, 512)
		process.Notify(signals)
		_, err = process.Supervise(spec, signals)
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	_, opened := os.ReadFile("/proc/self/environ")
	_, _ = fmt.Fprintln(out, "after", unix.Geteuid(), dumpable, found, opened == nil, err)
	return 0
}

// twice becomes confined with arguments and variables that os/exec would not give.
func twice(words []string) int {
	env := slices.Concat([]string{"A=1", "VAULT_TOKEN=CANARY"}, environ("confined", os.Getenv(envReport), envChild+"="+os.Getenv(envChild)),
		[]string{"", "VAULT_TOKEN=CANARY-CANARY", "Z=stays"})
	_ = syscall.Exec("/proc/self/exe", slices.Concat([]string{"confined"}, words, []string{"", ""}), env)
	return 99
}

// reader reports how it fails to open a file.
func reader(words []string) int {
	_, err := os.ReadFile(words[0])
	fmt.Print(err)
	return 0
}

// allowed reports what Check says.
func allowed(words []string) int {
	spec := specOf(words)
	err := spec.Privileges.Check(slices.Contains(words, "replace"))
	for why, name := range map[error]string{
		process.ErrSetID: "setid", process.ErrMayNotBecome: "become", process.ErrMayNotSignal: "signal", process.ErrMayNotDrop: "drop", process.ErrUnmapped: "unmapped",
	} {
		if errors.Is(err, why) {
			_, _ = fmt.Fprint(os.Stdout, name, " ")
		}
	}
	return 0
}

// open lets every user write to the report.
func (l *lines) open() {
	l.t.Helper()
	dir := filepath.Dir(l.path)
	if err := errors.Join(os.Chmod(l.path, 0o622), os.Chmod(dir, 0o711), os.Chmod(filepath.Dir(dir), 0o711)); err != nil {
		l.t.Fatal(err)
	}
}

// startConfined starts the role with a child that waits for signals, and gives
// the child's pid when it is there.
func startConfined(t *testing.T, l *lines, words string, edit func(*exec.Cmd)) (cmd *exec.Cmd, child int) {
	t.Helper()
	l.open()
	cmd = exec.Command("/proc/self/exe", strings.Fields(words)...)
	cmd.Env = environ("confined", l.path, envChild+"=record", envCore+"=kept")
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{}
	if edit != nil {
		edit(cmd)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, l.want("ready ")[0]
}
