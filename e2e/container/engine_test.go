package container_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a container.
const patience = time.Minute

// repository is the root of the checkout, from here.
const repository = "../.."

// engine is a running dockerd of ours, in namespaces of its own, so that neither an
// engine that runs on the machine nor its network is touched.
type engine struct {
	dir string // its data, and the folder of what the test hands to containers
	cli string
	log string
}

// boot is process 1 of the engine's namespaces. It ends the engine, and with it the
// kernel everything in the namespace, when its standard input ends: also when the
// test was killed. "$@" is the engine's command line.
const boot = `
set -e
mount -t proc proc /proc
ip link set lo up
"$@" & engine=$!
read -r _ || true
kill "$engine"
wait "$engine"
`

// startEngine starts one, or skips the test where that is not possible. In CI it
// must be.
func startEngine(t *testing.T) *engine {
	t.Helper()
	needRoot(t, "a Docker engine")
	for _, program := range []string{"dockerd", "containerd", "runc", "ip", "mount", "iptables", "git", "make"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, err.Error())
		}
	}
	cli, err := buildKitClient()
	if err != nil {
		missing(t, err.Error())
	}
	dir, err := os.MkdirTemp("", "sb-docker-") // a short name: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{dir: dir, cli: cli, log: filepath.Join(dir, "log")}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e.start(t)
	return e
}

// missing skips a test for which something is not here. In CI it must be.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("CI must run this test: %s", what)
	}
	t.Skipf("SKIPPED, NOT PASSED: %s", what)
}

func needRoot(t *testing.T, what string) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, what+" needs root")
	}
}

// buildKitClient finds a docker that can build without the plugin that newer ones
// need for it: the one that belongs to the engine comes first.
func buildKitClient() (string, error) {
	dockerd, _ := exec.LookPath("dockerd")
	beside := filepath.Join(filepath.Dir(dockerd), "../bin/docker")
	for _, cli := range []string{beside, "docker"} {
		path, err := exec.LookPath(cli)
		if err != nil {
			continue
		}
		out, _ := exec.Command(path, "version", "--format", "{{.Client.Version}}").Output()
		old := strings.HasPrefix(string(out), "20.") || strings.HasPrefix(string(out), "19.")
		if old || exec.Command(path, "buildx", "version").Run() == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no docker with BuildKit")
}

// start runs dockerd and waits until it answers.
func (e *engine) start(t *testing.T) {
	t.Helper()
	config := filepath.Join(e.dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(e.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("sh", "-c", boot, "sh", "dockerd", "--host", e.host(), "--data-root", e.dir+"/data",
		"--exec-root", e.dir+"/exec", "--pidfile", e.dir+"/pid", "--config-file", config, "--exec-opt", "native.cgroupdriver=cgroupfs")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = stdin.Close()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the engine does not end")
			_ = cmd.Process.Kill() // process 1 of its namespace: the kernel ends the rest
			<-ended
		}
		if t.Failed() {
			text, _ := os.ReadFile(e.log)
			t.Logf("the engine's log ends with\n%s", text[max(0, len(text)-4000):])
		}
	})
	for end := time.Now().Add(patience); e.command("version").Run() != nil; <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the engine does not answer")
		}
	}
}

func (e *engine) host() string { return "unix://" + e.dir + "/docker.sock" }

// command makes a docker command line.
func (e *engine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(e.cli, args...)
	cmd.Env = []string{
		"PATH=" + filepath.Dir(e.cli) + ":" + os.Getenv("PATH"), "HOME=" + e.dir, "DOCKER_HOST=" + e.host(), "DOCKER_BUILDKIT=1",
		"COMPOSE_DOCKER_CLI_BUILD=1", "BUILDKIT_PROGRESS=plain",
	}
	return cmd
}

// result is what a command line ended with.
type result struct {
	code     int
	out, err string
}

// try runs a docker command line to its end.
func (e *engine) try(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, e.command(args...))
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), unexpected(errs.String())}
}

// do is for what must work; it gives standard output without the newline at its end.
func (e *engine) do(t *testing.T, args ...string) string {
	t.Helper()
	r := e.try(t, args...)
	if r.code != 0 {
		t.Fatalf("docker %s: code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

// build makes an image from a folder of files, the text of a Dockerfile or the path of
// one, and gives it a name.
func (e *engine) build(t *testing.T, name, folder, dockerfile string, args ...string) {
	t.Helper()
	if strings.Contains(dockerfile, "\n") {
		path := filepath.Join(t.TempDir(), "Dockerfile")
		if err := os.WriteFile(path, []byte(dockerfile), 0o600); err != nil {
			t.Fatal(err)
		}
		dockerfile = path
	}
	e.do(t, append([]string{"build", "-q", "-t", name, "-f", dockerfile, folder}, args...)...)
}

// folder makes a folder below the engine's that containers may look into.
func (e *engine) folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(e.dir, "files-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyFile copies one with its mode.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		t.Fatal(err)
	}
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err == nil {
		_, err = io.Copy(dst, src)
		err = errors.Join(err, dst.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition of containers.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
