package container_test

import (
	"strings"
	"testing"
)

// testHardened: with all that can be taken away from a container, under the engine's
// own seccomp profile, everything works.
func testHardened(t *testing.T, e *engine) {
	hard := quick("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "32", "--memory", "64m")
	for mount, mode := range map[string]string{
		"/run/secrets": "", // what the engine makes when nothing is said: open to all
		"/run/secrets:uid=65532,gid=65532,mode=0700,size=1m,noexec": "",
		"/somewhere/else:uid=65532,mode=0700":                       "/somewhere/else",
	} {
		args := append(hard, "--tmpfs", mount)
		if mode != "" {
			args = append(args, "-e", "SECRETBOOT_DIR="+mode)
		}
		r := e.try(t, append(append([]string{"run"}, args...), "wrapped", "/app", "ls", "cat", "pw", "status", "write", "/x", "exit", "5")...)
		want := `0400 65532:65532 pw
CANARY
Uid: 65532 65532 65532 65532
Gid: 65532 65532 65532 65532
CapEff: 0000000000000000
CapBnd: 0000000000000000
NoNewPrivs: 1
Seccomp: 2
open /x: read-only file system
`
		if r.code != 5 || r.out != want || r.err != "" {
			t.Errorf("%s: code %d\n%s%s", mount, r.code, r.out, r.err)
		}
	}
}

// testOtherUsers: another user of the container, and root that gives its rights up for
// the command.
func testOtherUsers(t *testing.T, e *engine) {
	for _, tt := range []struct {
		options []string
		want    string
	}{
		{
			[]string{"--user", "1234:5678", "--tmpfs", "/run/secrets", "-e", "SECRETBOOT_DEV=/mine.yaml"},
			"0400 1234:5678 pw|Uid: 1234 1234 1234 1234|Gid: 5678 5678 5678 5678|CapEff: 0000000000000000|CapBnd: 00000000a80425fb|NoNewPrivs: 0|Seccomp: 2",
		},
		{
			[]string{
				"--user", "0", "--tmpfs", "/run/secrets", "--cap-drop", "ALL", "--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "CHOWN",
				"--cap-add", "FOWNER", "--cap-add", "KILL", "--cap-add", "DAC_OVERRIDE", "--cap-add", "SETPCAP", "-e", "SECRETBOOT_USER=1234:5678", "-e", "SECRETBOOT_NO_NEW_PRIVS=true", "-e", "SECRETBOOT_CAP_DROP=all",
			},
			"0400 1234:5678 pw|Uid: 1234 1234 1234 1234|Gid: 5678 5678 5678 5678|CapEff: 0000000000000000|CapBnd: 0000000000000000|NoNewPrivs: 1|Seccomp: 2",
		},
	} {
		dir := e.folder(t)
		writeFile(t, dir+"/dev.yaml", "secret/data/app: { password: CANARY }\n", 0o600)
		own(t, dir+"/dev.yaml", 1234)
		args := append(append([]string{"run", "-v", dir + "/dev.yaml:/mine.yaml:ro"}, quick(tt.options...)...), "wrapped", "/app", "ls", "status")
		r := e.try(t, args...)
		if got := strings.ReplaceAll(strings.TrimSpace(r.out), "\n", "|"); r.code != 0 || got != tt.want {
			t.Errorf("%q: code %d\n%s\n%s", tt.options, r.code, got, r.err)
		}
	}
}

// testWithoutTmpfs: nothing is mounted for us. The engine's own /dev/shm will do; where
// that is taken away too, a descriptor; and a folder on disk is refused.
func testWithoutTmpfs(t *testing.T, e *engine) {
	for _, tt := range []struct {
		options []string
		words   string
		code    int
		out     string
		err     string
	}{
		{nil, "ls cat pw", 0, "0400 65532:65532 pw\nCANARY\n", ""},
		{[]string{"--read-only"}, "cat pw", 0, "CANARY\n", ""},
		{[]string{"--read-only", "--ipc", "none"}, "cat pw", 125, "", "are no writable tmpfs"},
		{[]string{"-v", "/run/secrets"}, "cat pw", 0, "CANARY\n", ""},
		{[]string{"-v", "/run/secrets", "-e", "SECRETBOOT_DIR=/run/secrets"}, "cat pw", 125, "", "not in memory"},
		{[]string{"-e", "SECRETBOOT_MOUNT=private"}, "cat pw", 125, "", "a private mount needs the capability CAP_SYS_ADMIN"},
		{[]string{"--read-only", "--ipc", "none", "-e", "SECRETBOOT_FILE=", "-e", "SECRETBOOT_ENV=PW=secret/app#password"}, "env PW", 0, "CANARY\n", ""},
	} {
		args := append(append([]string{"run"}, quick(tt.options...)...), "wrapped", "/app")
		r := e.try(t, append(args, strings.Fields(tt.words)...)...)
		if r.code != tt.code || r.out != tt.out || !strings.Contains(r.err, tt.err) || tt.err == "" && r.err != "" {
			t.Errorf("%q: code %d\n%s%s", tt.options, r.code, r.out, r.err)
		}
	}
}
