package kubernetes_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// patience bounds every wait for the cluster.
	patience = 2 * time.Minute
	// repository is the root of the checkout, from here.
	repository = "../.."

	node   = "node"
	nodeIP = "10.88.0.1"
)

// cluster is a Kubernetes of one node, in namespaces of its own: neither the network of
// the machine nor a cluster or engine that runs on it is touched.
type cluster struct {
	dir    string // certificates, configuration, data, logs
	binary string // every part of it, see ./cluster
	app    string // testdata/shop
	cgroup string
	init   int // process 1 of its namespaces, as the machine numbers it
	up     bool
}

// startCluster brings one up and waits until its node can run pods. It skips the test
// where that is not possible; in CI it must be.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	binary, secretboot := needs(t)
	dir, err := os.MkdirTemp("", "sb-k8s-") // a short name: sockets are in it
	check(t, err)
	c := &cluster{dir: dir, binary: binary, app: dir + "/shop", cgroup: filepath.Base(dir)}
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	for _, d := range []string{"etcd", "containerd", "kubelet", "podlogs", "cni", "log", "images", "var", "var-work", "bin"} {
		mkdir(t, filepath.Join(dir, d))
	}
	c.compileApp(t)
	for _, part := range []string{"etcd", "kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		check(t, os.Symlink(binary, filepath.Join(dir, "bin", part)))
	}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
		check(t, os.Symlink(filepath.Join(filepath.Dir(binary), "containerd", program), filepath.Join(dir, "bin", program)))
	}
	writePKI(t, dir)
	c.writeConfigs(t)
	c.makeCgroups(t)
	c.boot(t)
	c.startParts(t, images(c.app, secretboot))
	return c
}

// needs finds what a cluster is made of.
func needs(t *testing.T) (binary, secretboot string) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "a cluster needs root")
	}
	for _, program := range []string{"runc", "ip", "mount", "iptables", "nsenter", "/usr/lib/cni/bridge", "/usr/lib/cni/host-local"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, err.Error())
		}
	}
	var paths []string
	for _, name := range []string{"k8s", "secretboot", "containerd/containerd", "vault", "plugins/kubernetes"} {
		path, err := filepath.Abs(filepath.Join(repository, "bin", name))
		check(t, err)
		if _, err := os.Stat(path); err != nil {
			missing(t, err.Error()+"; run `make e2e-kubernetes`")
		}
		paths = append(paths, path)
	}
	return paths[0], paths[1]
}

// missing skips a test for which something is not here. In CI it must be.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("CI must run this test: %s", what)
	}
	t.Skipf("SKIPPED, NOT PASSED: %s", what)
}

func (c *cluster) compileApp(t *testing.T) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", c.app, "./testdata/shop")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// boot makes the namespaces. They, and all that runs in them, end with the test: the
// kernel closes the pipe also when the test is killed.
func (c *cluster) boot(t *testing.T) {
	t.Helper()
	cmd := exec.Command("sh", "testdata/boot.sh", c.dir, c.app)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Unshareflags: syscall.CLONE_NEWNS,
	}
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		if !late.Stop() {
			t.Error("the cluster does not end")
		}
		c.removeCgroups(t)
	})
	if s := bufio.NewScanner(stdout); !s.Scan() || s.Text() != "ready" {
		_ = cmd.Process.Kill()
		t.Fatalf("no namespaces: %s", errs.String())
	}
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	c.init = cmd.Process.Pid
}

// enter makes a command line that runs within the cluster's namespaces.
func (c *cluster) enter(ctx context.Context, words ...string) *exec.Cmd {
	wd, _ := os.Getwd()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(c.init), "-m", "-n", "-p", "-i", "-u", "--wdns=" + wd, "--"}, words...)...)
	cmd.Env = []string{"PATH=" + c.dir + "/bin:" + os.Getenv("PATH"), "HOME=" + c.dir, "KUBECONFIG=" + c.dir + "/pki/admin.kubeconfig"}
	return cmd
}

// start runs a part of the cluster until the cluster ends; its log is in log/NAME.
func (c *cluster) start(t *testing.T, name string, env []string, words ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(c.dir, "log", name))
	check(t, err)
	defer log.Close()
	cmd := c.enter(context.Background(), words...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	check(t, cmd.Start())
	go func() { _ = cmd.Wait() }() // it ends with process 1
	t.Cleanup(func() {
		if t.Failed() && !c.up {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s: the log ends with\n%s", name, text[max(0, len(text)-1500):])
		}
	})
}

// startParts starts them in the order in which they need each other.
func (c *cluster) startParts(t *testing.T, all []image) {
	t.Helper()
	c.start(t, "containerd", nil, "containerd", "--config", c.dir+"/containerd.toml", "--log-level", "warn")
	c.start(t, "etcd", nil, "etcd", "--data-dir="+c.dir+"/etcd", "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380")
	c.start(t, "kube-apiserver", nil, append([]string{"kube-apiserver"}, apiserverFlags(c.dir)...)...)
	c.start(t, "dns", nil, c.app, "dns", vaultName, nodeIP)
	eventually(t, "containerd answers", func() bool { return c.try(t, "", "ctr", "version").code == 0 })
	for _, i := range all {
		c.do(t, "", "ctr", "-n", "k8s.io", "images", "import", i.archive(t, c.dir+"/images"))
	}
	eventually(t, "the API server answers", func() bool { return c.try(t, "", "kubectl", "get", "--raw=/readyz").code == 0 })
	c.start(t, "kube-controller-manager", nil, "kube-controller-manager", "--kubeconfig="+c.dir+"/pki/kcm.kubeconfig", "--leader-elect=false",
		"--secure-port=0", "--root-ca-file="+c.dir+"/pki/ca.crt", "--service-account-private-key-file="+c.dir+"/pki/sa.key",
		// Without its own role per controller the root authority is not published, and no pod starts.
		"--use-service-account-credentials", "--flex-volume-plugin-dir="+c.dir+"/none", "--kube-api-qps=500", "--kube-api-burst=500")
	c.start(t, "kube-scheduler", nil, "kube-scheduler", "--kubeconfig="+c.dir+"/pki/scheduler.kubeconfig", "--leader-elect=false", "--secure-port=0")
	c.start(t, "kubelet", nil, "kubelet", "--config="+c.dir+"/kubelet.yaml", "--kubeconfig="+c.dir+"/pki/kubelet.kubeconfig",
		"--hostname-override="+node, "--node-ip="+nodeIP, "--root-dir=/var/lib/kubelet")
	eventually(t, "the node is ready", func() bool {
		return c.try(t, "", "kubectl", "wait", "--for=condition=Ready", "node/"+node, "--timeout=10s").code == 0
	})
	eventually(t, "the root authority is published", func() bool { return c.try(t, "", "kubectl", "get", "cm/kube-root-ca.crt").code == 0 })
}

// result is what a command line ended with.
type result struct {
	code     int
	out, err string
}

// try runs a command line within the cluster to its end.
func (c *cluster) try(t *testing.T, stdin string, words ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := c.enter(ctx, words...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// do is for what must work; it gives standard output without the newline at its end.
func (c *cluster) do(t *testing.T, stdin string, words ...string) string {
	t.Helper()
	r := c.try(t, stdin, words...)
	if r.code != 0 {
		t.Fatalf("%s: code %d\n%s%s", strings.Join(words, " "), r.code, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

// kubectl is do for the command line of that name.
func (c *cluster) kubectl(t *testing.T, words ...string) string {
	t.Helper()
	return c.do(t, "", append([]string{"kubectl"}, words...)...)
}

// get gives a part of an object, by a JSONPath; "" while there is none.
func (c *cluster) get(t *testing.T, object, path string) string {
	t.Helper()
	return strings.TrimSpace(c.try(t, "", "kubectl", "get", "-n", "shop", object, "-o", "jsonpath="+path).out)
}

// makeCgroups makes the cluster's own, below which its pods are: one for each
// controller of version 1, or the one of version 2.
func (c *cluster) makeCgroups(t *testing.T) {
	t.Helper()
	root := "/sys/fs/cgroup"
	controllers, err := os.ReadFile(root + "/cgroup.controllers")
	if err != nil {
		folders, err := filepath.Glob(root + "/*/cgroup.procs")
		check(t, err)
		for _, f := range folders {
			mkdir(t, filepath.Join(filepath.Dir(f), c.cgroup))
		}
		return
	}
	for _, name := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(root+"/cgroup.subtree_control", []byte("+"+name), 0)
	}
	mkdir(t, filepath.Join(root, c.cgroup))
}

// removeCgroups removes them when the last task has left.
func (c *cluster) removeCgroups(t *testing.T) {
	t.Helper()
	own := func() (all []string) {
		for _, pattern := range []string{"/sys/fs/cgroup/*/" + c.cgroup, "/sys/fs/cgroup/" + c.cgroup} {
			found, _ := filepath.Glob(pattern)
			all = append(all, found...)
		}
		return all
	}
	eventually(t, "the cgroups are empty", func() bool {
		for _, root := range own() {
			var folders []string
			_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					folders = append(folders, path)
				}
				return nil
			})
			for i := len(folders) - 1; i >= 0; i-- {
				_ = syscall.Rmdir(folders[i])
			}
		}
		return len(own()) == 0
	})
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); <-time.After(250 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	check(t, os.MkdirAll(path, 0o755))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o600))
}
