package kubernetes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// testRestart: the application's container is started again without its init container,
// and finds the files that are there. Under the wrapper it reads anew.
func (s *shop) testRestart(t *testing.T) {
	s.variant(t, "init", "restart", "shop")
	s.available(t, "restart")
	pod := s.pod(t, "restart")
	s.killContainer(t, pod, "shop")
	s.restarted(t, pod)
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv))
	if got := s.get(t, "pod/"+pod, "{.status.initContainerStatuses[0].restartCount}"); got != "0" {
		t.Errorf("the init container ran %s times more", got)
	}
}

// testKilled: all processes of the command and its supervisor are killed, and their files
// outlive them in the pod's volume. The next one sweeps the folder and delivers anew.
func (s *shop) testKilled(t *testing.T) {
	s.variant(t, "wrapper-volume", "killed", "shop")
	s.available(t, "killed")
	pod := s.pod(t, "killed")
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv))
	s.killContainer(t, pod, "shop")
	s.restarted(t, pod)
	s.log(t, pod, "shop", "API_KEY "+hash(apiKey), file("0400", "65532:65532", "db.env", dbEnv))
}

// testEvicted: a pod that takes more disk than it may is evicted. The kubelet gives it a
// second, whatever its grace period is: what has not ended by then is killed, and its token
// ends by itself. The files are gone either way.
func (s *shop) testEvicted(t *testing.T) {
	s.variant(t, "wrapper-volume", "evicted", "shop", "- env\n        - API_KEY\n", "- fill\n        - /disk\n",
		"      volumes:\n", "      volumes:\n      - { name: disk, emptyDir: { sizeLimit: 1Mi } }\n",
		"        - mountPath: /etc/vault\n", "        - { name: disk, mountPath: /disk }\n        - mountPath: /etc/vault\n")
	pod := s.pod(t, "evicted")
	defer func() {
		if t.Failed() {
			t.Log(s.describe(t, "evicted"))
		}
	}()
	eventually(t, "the pod is evicted", func() bool {
		return s.try(t, "", "kubectl", "get", "events", "-n", "shop", "--field-selector=reason=Evicted,involvedObject.name="+pod, "-o", "name").out != ""
	})
	var code string
	eventually(t, "its container has ended", func() bool {
		code = s.get(t, "pod/"+pod, "{.status.containerStatuses[0].state.terminated.exitCode}")
		return code != ""
	})
	if code != "0" && code != "137" {
		t.Errorf("the command ended with %s", code)
	}
	volumes := "/var/lib/kubelet/pods/" + s.get(t, "pod/"+pod, "{.metadata.uid}") + "/volumes/kubernetes.io~empty-dir"
	// There would be another pod, to the same end.
	s.kubectl(t, "delete", "-n", "shop", "deployment/evicted", "--wait=false")
	s.kubectl(t, "wait", "-n", "shop", "--for=delete", "pod", "-l", "app=evicted", "--timeout=100s")
	eventually(t, "its volumes are gone", func() bool { return s.try(t, "", "test", "-e", volumes+"/secrets").code != 0 })
}

// testOutOfMemory: the kernel kills the command, which is the largest of the container's
// processes, and the container ends with it. The next one delivers anew.
func (s *shop) testOutOfMemory(t *testing.T) {
	s.variant(t, "wrapper-volume", "out-of-memory", "shop", "- env\n        - API_KEY\n", "- eat\n", "memory: 128Mi\n", "memory: 64Mi\n")
	pod := s.pod(t, "out-of-memory")
	s.restarted(t, pod)
	if got := s.get(t, "pod/"+pod, "{.status.containerStatuses[0].lastState.terminated.exitCode}"); got != "137" {
		t.Errorf("the container ended with %q, not 137\n%s", got, s.describe(t, "out-of-memory"))
	}
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv))
}

func (s *shop) restarted(t *testing.T, pod string) {
	t.Helper()
	eventually(t, "the container is started again", func() bool {
		got := s.get(t, "pod/"+pod, "{.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].lastState.terminated.exitCode}")
		return got != "" && got[0] != '0'
	})
}

// testRotation: a change in Vault reaches the files of those that have a sidecar, and
// nobody's who has not.
func (s *shop) testRotation(t *testing.T) {
	const next = "CANARY-after-rotation"
	s.v.do(t, next, "kv", "put", "secret/shop/db", "username=app", "password=-")
	t.Cleanup(func() { s.v.do(t, password, "kv", "put", "secret/shop/db", "username=app", "password=-") })
	text := strings.Replace(dbEnv, password, next, 1)
	s.log(t, s.pod(t, "shop-sidecar"), "shop", file("0400", "65532:65532", "db.env", text), file("0400", "65532:65532", "api-key", apiKey))
	s.log(t, s.pod(t, "shop-injected"), "shop", file("0400", "1000:0", "db.env", text))
	if got := s.kubectl(t, "logs", "-n", "shop", s.pod(t, "shop-init"), "-c", "shop"); strings.Contains(got, hash(text)) {
		t.Error("an init container has rotated something")
	}
}

// testDelete: a pod that is deleted is gone within its grace period, because everything
// of ours ends by itself.
func (s *shop) testDelete(t *testing.T) {
	for _, name := range []string{"shop-sidecar", "shop-wrapper-volume", "shop-injected"} {
		pod := s.pod(t, name)
		grace := s.get(t, "pod/"+pod, "{.spec.terminationGracePeriodSeconds}")
		period, err := time.ParseDuration(grace + "s")
		check(t, err)
		if !strings.Contains(s.tokens(t), `"role": "`+name+`"`) {
			t.Errorf("%s has no token", name)
		}
		log := s.follow(t, pod)
		began := time.Now()
		s.kubectl(t, "delete", "-n", "shop", "deployment/"+name, "--wait=false")
		s.kubectl(t, "wait", "-n", "shop", "--for=delete", "pod/"+pod, "--timeout=100s")
		if took := time.Since(began); took > period {
			t.Errorf("%s: it took %v of %v", name, took, period)
		}
		last := log()
		s.noToken(t, name, last)
	}
}

// follow reads the log of a pod's containers until they have ended; the function it gives
// waits for that.
func (s *shop) follow(t *testing.T, pod string) func() string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := s.enter(ctx, "kubectl", "logs", "-n", "shop", pod, "--all-containers", "--follow", "--prefix")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	check(t, cmd.Start())
	return func() string {
		defer cancel()
		_ = cmd.Wait() // it ends with the containers
		return out.String()
	}
}

// noToken holds the end of what logged in with a role to what we promise: it has revoked
// its token, or it has said in the log that Vault gave no answer within the three seconds
// that it has for that. A token that is left and not spoken of is a failure.
func (s *shop) noToken(t *testing.T, role, log string) {
	t.Helper()
	left := func() bool { return strings.Contains(s.tokens(t), `"role": "`+role+`"`) }
	if left() && strings.Contains(log, "the token was not revoked") {
		t.Logf("%s: NOT REVOKED, and said so. What Vault has seen of it:\n%s", role, s.revocations(t))
		return
	}
	if left() {
		t.Errorf("a token of the role %s is left, and the log says nothing of it:\n%s", role, log)
	}
}

// revocations gives when Vault got and answered requests for one, from its audit log.
func (s *shop) revocations(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(read(t, s.v.dir+"/audit")) {
		var entry struct {
			Time, Type string
			Request    struct{ Path string }
		}
		if strings.Contains(line, "auth/token/revoke-self") && json.Unmarshal([]byte(line), &entry) == nil {
			fmt.Fprintln(&b, entry.Time, entry.Type, entry.Request.Path)
		}
	}
	return b.String()
}

// tokens gives the roles of the tokens that Vault knows.
func (s *shop) tokens(t *testing.T) string {
	t.Helper()
	var roles []string
	for _, accessor := range strings.Fields(strings.NewReplacer("[", "", "]", "", `"`, "", ",", "").Replace(s.v.do(t, "", "list", "-format=json", "auth/token/accessors"))) {
		roles = append(roles, s.v.try(t, "", "token", "lookup", "-format=json", "-accessor", accessor).out)
	}
	return strings.Join(roles, "\n")
}
