package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// manager plays the part of a service manager that services tell of themselves
// (sd_notify(3)).
type manager struct {
	mu    sync.Mutex
	heard []string // PID STATE
}

// cmdManager serves
//
//	manager [abstract]     listen; sets NOTIFY_SOCKET, to a path or an abstract name
//	manager hears STATE    wait until the background process has said this
//	manager heard STATE…   it has said these since the start or the last of these, and nobody anything else
func cmdManager(ts *testscript.TestScript, neg bool, args []string) {
	state := current(ts)
	switch {
	case neg || len(args) > 0 && args[0] != "abstract" && state.manager == nil:
		ts.Fatalf("usage: manager [abstract], then manager hears STATE or heard STATE…")
	case len(args) == 0:
		state.manager = newManager(ts, filepath.Join(ts.Getenv("WORK"), "notify"))
	case args[0] == "abstract":
		state.manager = newManager(ts, fmt.Sprintf("@secretboot-test-%d-%s", os.Getpid(), filepath.Base(ts.Getenv("WORK"))))
	case args[0] == "hears" && len(args) == 2:
		waitFor(ts, args[1], func() bool { return slices.Contains(state.manager.states(), ts.Getenv("HARNESS_PID")+" "+args[1]) })
	case args[0] == "heard":
		var want []string
		for _, s := range args[1:] {
			want = append(want, ts.Getenv("HARNESS_PID")+" "+s)
		}
		if got := state.manager.states(); !slices.Equal(got, want) {
			ts.Fatalf("the manager heard %q, not %q", got, want)
		}
		state.manager.forget()
	default:
		ts.Fatalf("manager: unknown word %s", args[0])
	}
}

func newManager(ts *testscript.TestScript, address string) *manager {
	m := &manager{}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	ts.Check(err)
	raw, err := conn.SyscallConn()
	ts.Check(err)
	ts.Check(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }))
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
	ts.Setenv("NOTIFY_SOCKET", address)
	go m.listen(conn)
	return m
}

// listen keeps what is said and who said it: the kernel vouches for that.
func (m *manager) listen(conn *net.UnixConn) {
	text, oob := make([]byte, 4096), make([]byte, 512)
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(text, oob)
		if err != nil {
			return
		}
		said := "nobody " + string(text[:n])
		if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) == 1 {
			if cred, err := unix.ParseUnixCredentials(&messages[0]); err == nil {
				said = fmt.Sprint(cred.Pid, " ", string(text[:n]))
			}
		}
		m.mu.Lock()
		m.heard = append(m.heard, said)
		m.mu.Unlock()
	}
}

func (m *manager) states() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.heard)
}

func (m *manager) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = nil
}

// cmdUnit serves `unit CODE FILE`: it starts what a unit starts, in the background,
// as systemd does, with the unit's environment, credentials and runtime directory
// (systemd.exec(5)). The folders /usr/local/bin and /etc/shop are the work folder,
// %t is in memory. Users and the sandbox are not played.
func cmdUnit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: unit CODE FILE")
	}
	runtime := ts.Getenv("SINK")
	credentials := filepath.Join(runtime, "credentials")
	here := strings.NewReplacer("%d", credentials, "%t", runtime, "/usr/local/bin/secretboot", ts.Getenv("HARNESS_SECRETBOOT"),
		"/usr/local/bin", ts.Getenv("WORK"), "/etc/shop", ts.Getenv("WORK"))
	env, argv := scriptEnv(ts), []string(nil)
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		key, value, _ := strings.Cut(strings.TrimSpace(here.Replace(line)), "=")
		switch key {
		case "Environment":
			for _, entry := range strings.Fields(value) {
				if name, _, _ := strings.Cut(entry, "="); name != "VAULT_ADDR" && name != "VAULT_ROLE_ID" { // which are the script's
					env = append(env, entry)
				}
			}
		case "LoadCredential":
			id, file, _ := strings.Cut(value, ":")
			ts.Check(os.MkdirAll(credentials, 0o700))
			ts.Check(os.WriteFile(filepath.Join(credentials, id), []byte(ts.ReadFile(file)), 0o400))
		case "RuntimeDirectory":
			ts.Check(os.MkdirAll(filepath.Join(runtime, value), 0o700))
		case "ExecStart":
			argv = strings.Fields(value)
		}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = "/", append(env, "CREDENTIALS_DIRECTORY="+credentials)
	startBackground(ts, cmd, args[0], argv[1:])
}
