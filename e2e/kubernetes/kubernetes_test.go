// Package kubernetes_test applies the manifests and policies of examples/kubernetes, as they
// stand, to a real cluster with a real Vault beside it, and looks at what their pods
// come to. The cluster is Kubernetes' own programs, built from their Go modules (./cluster),
// with containerd and runc, in namespaces that end with the test.
package kubernetes_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const examples = repository + "/examples/kubernetes"

// What is in Vault, and what the examples make of it.
const (
	password = "CANARY-of-the-cluster"
	apiKey   = "CANARY-key"
	dbEnv    = "DB_USER=app\nDB_PASSWORD=" + password + "\n"
)

// TestKubernetes starts one cluster for all that is tried on it.
func TestKubernetes(t *testing.T) {
	c := startCluster(t)
	v := c.startVault(t)
	s := &shop{c, v}
	s.setUp(t)
	c.up = true
	t.Run("in", func(t *testing.T) {
		for name, test := range map[string]func(*shop, *testing.T){
			"init":            (*shop).testInit,
			"sidecar":         (*shop).testSidecar,
			"probes":          (*shop).testProbes,
			"wrapper-volume":  (*shop).testWrapperVolume,
			"wrapper-image":   (*shop).testWrapperImage,
			"job":             (*shop).testJob,
			"job-exit-with":   (*shop).testJobExitWith,
			"cronjob":         (*shop).testCronJob,
			"injected":        (*shop).testInjected,
			"two users":       (*shop).testTwoUsers,
			"doctor":          (*shop).testDoctor,
			"wrong account":   (*shop).testWrongAccount,
			"wrong namespace": (*shop).testWrongNamespace,
			"wrong audience":  (*shop).testWrongAudience,
			"deleted account": (*shop).testDeletedAccount,
			"restart":         (*shop).testRestart,
			"killed":          (*shop).testKilled,
			"out of memory":   (*shop).testOutOfMemory,
			"sidecar memory":  (*shop).testSidecarOutOfMemory,
			"init memory":     (*shop).testInitOutOfMemory,
			"token":           (*shop).testInjectedToken,
			"extra secret":    (*shop).testInjectedExtraSecret,
			"later":           (*shop).testLater,
			"evicted":         (*shop).testEvicted,
			"database":        (*shop).testDatabase,
			"refused":         (*shop).testRefused,
			"admitted":        (*shop).testAdmitted,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(s, t)
			})
		}
	})
	// What is in Vault changes, so nothing else may look.
	t.Run("rotation", s.testRotation)
	t.Run("delete", s.testDelete)
}

// TestPolicies holds the policy beside each example to what plan --policy prints of it.
func TestPolicies(t *testing.T) {
	_, secretboot := needs(t)
	policies, err := filepath.Glob(examples + "/*/policy.hcl")
	check(t, err)
	if len(policies) < 7 {
		t.Fatalf("found %q only", policies)
	}
	for _, path := range policies {
		dir := filepath.Base(filepath.Dir(path))
		from := []string{"-c", dir + "/secretboot.yaml"}
		if dir == "injected" {
			from = []string{"--from", "annotations:injected/deployment.yaml"}
		}
		cmd := exec.Command(secretboot, append([]string{"plan", "--policy"}, from...)...)
		cmd.Dir = examples
		got, err := cmd.Output()
		check(t, err)
		want, err := os.ReadFile(path)
		check(t, err)
		if string(got) != string(want) {
			t.Errorf("%s is not what plan --policy prints:\n%s", path, got)
		}
	}
}

// TestExamplesAreApplied fails for a file of the examples that nothing applies: the
// kustomization beside it, the script for Vault, or a test.
func TestExamplesAreApplied(t *testing.T) {
	var tests strings.Builder
	sources, err := filepath.Glob("*_test.go")
	check(t, err)
	for _, path := range sources {
		tests.WriteString(read(t, path))
	}
	script := read(t, examples+"/vault.sh")
	check(t, filepath.WalkDir(examples, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "README.md" {
			return err
		}
		folder, rel := filepath.Base(filepath.Dir(path)), strings.TrimPrefix(path, examples)
		kustomization := filepath.Join(filepath.Dir(path), "kustomization.yaml")
		applied := strings.Contains(tests.String(), `examples+"/`+folder+`"`) && (path == kustomization || strings.Contains(read(t, kustomization), d.Name()))
		if !applied && !strings.Contains(script, "/"+d.Name()) && !strings.Contains(tests.String(), `examples+"`+rel+`"`) {
			t.Errorf("nothing applies %s", path)
		}
		return nil
	}))
}

// TestPagesAreApplied: what docs/kubernetes.md and examples/kubernetes/README.md tell
// to apply is what the tests here apply.
func TestPagesAreApplied(t *testing.T) {
	var tests strings.Builder
	sources, err := filepath.Glob("*_test.go")
	check(t, err)
	for _, path := range sources {
		tests.WriteString(read(t, path))
	}
	n := 0
	for _, page := range []string{"../../docs/kubernetes.md", examples + "/README.md"} {
		fenced := false // such a block names the file that it is from
		for line := range strings.Lines(read(t, page)) {
			fenced = fenced != strings.HasPrefix(line, "```")
			line, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
			if !indented || fenced {
				continue
			}
			n++
			folder, applies := strings.CutPrefix(line, "kubectl apply -k ")
			known := map[string]string{"sh vault.sh": `examples+"/vault.sh"`, "kubectl create configmap vault-ca -n shop --from-file=ca.pem": `"configmap", "vault-ca", "-n", "shop"`}
			if want := known[line]; want != "" && strings.Contains(tests.String(), want) {
				continue
			}
			if !applies || !strings.Contains(tests.String(), `"apply", "-k", examples+"/`+filepath.Base(folder)+`"`) {
				t.Errorf("%s: no test does: %s", page, line)
			}
		}
	}
	if n < 5 {
		t.Errorf("found %d commands only", n)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	check(t, err)
	return string(text)
}

// shop is the cluster that the examples are made for.
type shop struct {
	*cluster
	v *vaultServer
}

// setUp does what somebody does once, before the examples.
func (s *shop) setUp(t *testing.T) {
	t.Helper()
	s.v.do(t, password, "kv", "put", "secret/shop/db", "username=app", "password=-")
	s.v.do(t, apiKey, "kv", "put", "secret/shop/api", "key=-")
	s.do(t, "", "env", "PATH="+s.v.bin+":"+os.Getenv("PATH"), s.v.env[0], s.v.env[1], s.v.env[2], "sh", examples+"/vault.sh")
	s.kubectl(t, "apply", "-k", examples+"/base")
	s.kubectl(t, "create", "configmap", "vault-ca", "-n", "shop", "--from-file=ca.pem="+s.v.dir+"/vault-ca.pem")
	s.kubectl(t, "create", "secret", "generic", "vault-tls", "-n", "shop", "--from-file=ca.pem="+s.v.dir+"/vault-ca.pem")
	s.kubectl(t, "apply", "-k", examples+"/injected")
	s.admits(t)
}

// pod gives the name of the newest pod with a label; it waits for it.
func (s *shop) pod(t *testing.T, app string) (name string) {
	t.Helper()
	eventually(t, "there is a pod of "+app, func() bool {
		all := strings.Fields(s.try(t, "", "kubectl", "get", "pods", "-n", "shop", "-l", "app="+app, "--sort-by=.metadata.creationTimestamp",
			"-o", "jsonpath={.items[*].metadata.name}").out)
		if len(all) > 0 {
			name = all[len(all)-1]
		}
		return name != ""
	})
	return name
}

// available waits for a Deployment's pod, and tells what it knows when it does not come.
func (s *shop) available(t *testing.T, name string) {
	t.Helper()
	if r := s.try(t, "", "kubectl", "wait", "-n", "shop", "--for=condition=Available", "deployment/"+name, "--timeout=100s"); r.code != 0 {
		t.Fatalf("%s%s\n%s", r.out, r.err, s.describe(t, name))
	}
}

// describe is for a failure.
func (s *shop) describe(t *testing.T, app string) string {
	t.Helper()
	return s.try(t, "", "kubectl", "describe", "pods", "-n", "shop", "-l", "app="+app).out +
		s.try(t, "", "kubectl", "logs", "-n", "shop", "-l", "app="+app, "--all-containers", "--prefix").out
}

// log waits until a container of a pod has printed all of the lines, in any place.
func (s *shop) log(t *testing.T, pod, container string, lines ...string) {
	t.Helper()
	var got string
	wanted := func() bool {
		got = s.try(t, "", "kubectl", "logs", "-n", "shop", pod, "-c", container).out
		for _, line := range lines {
			if !strings.Contains("\n"+got, "\n"+line+"\n") {
				return false
			}
		}
		return true
	}
	defer func() {
		if t.Failed() {
			t.Logf("%s/%s printed\n%s", pod, container, got)
		}
	}()
	eventually(t, fmt.Sprintf("%s/%s prints %q", pod, container, lines), wanted)
	if strings.Contains(got, "CANARY") {
		t.Errorf("a secret is in the log of %s/%s", pod, container)
	}
}

// file is how testdata/shop describes one.
func file(mode, owner, name, text string) string {
	return mode + " " + owner + " " + name + " " + hash(text)
}

func hash(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:32] }
