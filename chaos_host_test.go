package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// serviceNames are cases of TestFaults that the scorecard wants apart.
var serviceNames = []string{
	"status 500", "status 503 once, Retry-After in a second", "status 429, Retry-After in an hour",
	"a page with status 200", "status 307 to another host", "a redirect from https to http", "status 307 to a listed host",
	"half a body, then closed", "512 MiB in a gzip body of 512 KiB", "HTTP/2, stream broken off",
	"certificate expired", "certificate not valid yet", "certificate for another name", "certificate of an unknown authority",
	"client certificate wanted and not given", "http where https is asked for", "https where http is asked for", "sealed after the login",
}

// serviceCases are what a server and what is before it does wrong.
func serviceCases(c *chaos) (cases []faultCase) {
	for _, g := range faultGroups() {
		for _, f := range g.cases {
			if slices.Contains(serviceNames, f.name) {
				cases = append(cases, f)
			}
		}
	}
	const two = "init -f a=secret/data/x#y -f b=secret/data/z#y"
	return append(cases,
		faultCase{name: "GOAWAY after each answer", front: overTLS(http2), args: two, does: goesAway, hits: 2},
		faultCase{name: "Vault's clock two hours ahead", does: dated(2 * time.Hour), hits: 1},
		faultCase{name: "Vault's clock two hours behind", does: dated(-2 * time.Hour), hits: 1},
		faultCase{name: "Retry-After at a date that is over", does: once(retryBefore), hits: 2, timeout: "5s"},
		faultCase{
			name: "a real Vault that is sealed", front: func(t *testing.T, _ *faultServer) route { return route{address: c.sealedVault(t)} },
			code: 69, why: "Vault is sealed or not ready until the deadline",
		},
		faultCase{
			name: "a real Vault that does not know the token", front: func(t *testing.T, _ *faultServer) route { return route{address: c.real(t).server.addr} },
			code: 77, why: "secret secret/data/x: .*token",
		},
	)
}

// goesAway has the server of HTTP/2 end the connection after each answer.
func goesAway(s *faultServer, _ int, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	s.good(w, r)
}

func dated(by time.Duration) behaviour {
	return func(s *faultServer, _ int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		s.good(w, r)
	}
}

func retryBefore(_ *faultServer, _ int, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", time.Now().Add(-2*time.Hour).UTC().Format(http.TimeFormat))
	refuseWith(w, http.StatusTooManyRequests)
}

// sealedVault gives the address of a Vault of its own that is sealed.
func (c *chaos) sealedVault(t *testing.T) string {
	t.Helper()
	s := newRig(t)
	s.do(t, "operator", "seal")
	return s.server.addr
}

// plainUser is somebody who owns nothing.
const plainUser = 54321

func asPlainUser() []string {
	id := fmt.Sprint(plainUser)
	return []string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}
}

// injected has the kernel seem to lack system calls, or to forbid them.
func injected(errno string) front {
	const calls = "openat2,memfd_create,pidfd_open,pidfd_send_signal,landlock_create_ruleset,close_range,clone3"
	return on(func(r *route) {
		r.wrap = []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls, "-e", "inject=" + calls + ":error=" + errno}
	})
}

// on is a good server, and a host that change makes bad.
func on(change func(r *route)) front {
	return func(t *testing.T, s *faultServer) route {
		r := plain(t, s)
		change(&r)
		return r
	}
}

// mounted has a tmpfs with options for a folder.
func mounted(flags uintptr, options string) front {
	return on(func(r *route) {
		r.prepare = func(t *testing.T, at *faultPlace) {
			if err := unix.Mount("tmpfs", at.sink, "tmpfs", flags, options); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(at.sink, unix.MNT_DETACH) })
		}
	})
}

// owned gives a plain user what a case needs of its folders.
func owned(t *testing.T, at *faultPlace) {
	for _, dir := range []string{at.home, at.work, at.tmp, at.sink} {
		if err := os.Chown(dir, plainUser, plainUser); err != nil {
			t.Fatal(err)
		}
	}
	for dir := filepath.Dir(at.home); len(dir) > len("/var/tmp"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(at.shm, 0o755); err != nil {
		t.Fatal(err)
	}
}

// hostCases are what the machine lacks or refuses.
func hostCases(c *chaos) []faultCase {
	const two, command = "init -f a=secret/data/x#y -f b=secret/data/x#y", "run -f a=secret/data/x#y -- true"
	shell := func(script string) []string { return []string{"sh", "-c", script + ` && exec "$@"`, "sh"} }
	cases := []faultCase{
		{name: "ENOSPC: the folder is full", front: mounted(0, "size=4k"), args: two, code: 74, why: `no space|is full`},
		{name: "no inode is left", front: mounted(0, "nr_inodes=4"), args: two, code: 74, why: `no space|is full|inode`},
		{name: "EROFS: the folder is read-only", front: mounted(unix.MS_RDONLY, ""), code: 73, why: `read-only`},
		{name: "EACCES: the folder is another user's", front: on(func(r *route) { r.wrap = asPlainUser() }), code: 73, why: `permission denied|may not`},
		{name: "EMFILE: 8 descriptors", front: on(func(r *route) { r.wrap = []string{"prlimit", "--nofile=8:8"} }), args: command, code: 125, why: "too many open files"},
		{name: "EAGAIN: no process can be started", front: func(t *testing.T, s *faultServer) route {
			r := plain(t, s)
			r.wrap = []string{filepath.Join(c.bin, "forkless")}
			return r
		}, args: command, code: 126, why: "^command true: resource temporarily unavailable; raise the limit of processes", logs: "no janitor could be started"},
		{name: "ENOSYS: openat2, memfd_create, pidfd, landlock, close_range", front: injected("ENOSYS"), args: command, still: true},
		{name: "EPERM for the same", front: injected("EPERM"), args: command, still: true},
		{name: "no proc", front: func(t *testing.T, s *faultServer) route {
			r := plain(t, s)
			r.over = map[string]string{"/proc": t.TempDir()}
			return r
		}, args: command, still: true},
		{name: "hidepid=2 for proc, in a pid namespace of its own", front: on(func(r *route) {
			r.wrap = append([]string{"unshare", "--pid", "--fork"}, append(shell("mount -t proc -o hidepid=2 proc /proc"), asPlainUser()...)...)
			r.prepare = owned
		}), args: command, still: true},
		{name: "a cgroup with 24 MiB of memory", front: memoryCgroup, args: command, still: true},
	}
	for i := range cases {
		cases[i].about = "none/"
	}
	return cases
}

// memoryCgroup lets the binary and its command have 24 MiB (cgroups(7), version 1 or 2).
func memoryCgroup(t *testing.T, s *faultServer) route {
	r := plain(t, s)
	root, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(root); err != nil {
		root, limit = "/sys/fs/cgroup", "memory.max"
	}
	dir, err := os.MkdirTemp(root, "sb-chaos-")
	if err != nil {
		t.Skip("SKIPPED, NOT PASSED: no cgroup can be made: ", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := os.WriteFile(filepath.Join(dir, limit), []byte(fmt.Sprint(24<<20)), 0o600); err != nil {
		t.Skip("SKIPPED, NOT PASSED: ", err)
	}
	r.wrap = []string{"sh", "-c", "echo $$ >" + dir + `/cgroup.procs && exec "$@"`, "sh"}
	return r
}

// needTools tells what the host cases run.
func needTools(t *testing.T) {
	t.Helper()
	var missing []string
	for _, tool := range []string{"strace", "setpriv", "prlimit", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		t.Fatalf("it needs %s", strings.Join(missing, ", "))
	}
}

// forklessMain executes its arguments where no process can be started (seccomp(2)):
// threads, which are made by the same system call, can be.
func forklessMain() {
	const number, flags = 0, 16 // of struct seccomp_data
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_THREAD, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAGAIN)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	runtime.LockOSThread()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	}
	if err == nil {
		err = unix.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "forkless:", err)
	os.Exit(1)
}
