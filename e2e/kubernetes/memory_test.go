package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// grow makes a secret of what the examples need, and with extra also of 14 fields that
// nobody asked for, which is more than 32 MiB can be read into: one string may have 1 MiB.
func (s *shop) grow(t *testing.T, name, password string, extra bool) {
	t.Helper()
	fields := map[string]string{"username": "app", "password": password}
	for i := range 14 {
		if extra {
			fields[fmt.Sprint("extra", i)] = strings.Repeat("x", 900_000)
		}
	}
	text, err := json.Marshal(fields)
	check(t, err)
	s.v.do(t, string(text), "kv", "put", "secret/shop/"+name, "-")
}

// small is a variant of an example with half of its memory, and a secret of its own.
func (s *shop) small(t *testing.T, example, name string) {
	t.Helper()
	s.v.do(t, `path "secret/data/shop/`+name+`" { capabilities = ["read"] }`, "policy", "write", name, "-")
	s.variant(t, example, name, "shop", "secret/data/shop/db", "secret/data/shop/"+name, "memory: 64Mi\n", "memory: 32Mi\n")
}

// lastEnd gives how a pod's init container was last ended.
func (s *shop) lastEnd(t *testing.T, pod string) string {
	t.Helper()
	return s.get(t, "pod/"+pod, "{.status.initContainerStatuses[0].lastState.terminated.reason} {.status.initContainerStatuses[0].lastState.terminated.exitCode}")
}

// testSidecarOutOfMemory: the kernel kills the sidecar alone, again and again, as long as
// a secret is too large for its limit. The application goes on and its files stay whole;
// once the secret fits, what has changed is delivered.
func (s *shop) testSidecarOutOfMemory(t *testing.T) {
	const name, next = "sidecar-memory", "CANARY-that-fits"
	s.grow(t, name, password, false)
	s.small(t, "sidecar", name)
	s.available(t, name)
	pod := s.pod(t, name)
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv), file("0400", "65532:65532", "api-key", apiKey))
	before := s.kubectl(t, "logs", "-n", "shop", pod, "-c", "shop")

	s.grow(t, name, next, true)
	eventually(t, "the kernel has killed the sidecar", func() bool { return s.lastEnd(t, pod) == "OOMKilled 137" })
	if after := s.kubectl(t, "logs", "-n", "shop", pod, "-c", "shop"); after != before {
		t.Errorf("the application saw a change of its files: first\n%s\nthen\n%s", before, after)
	}
	s.grow(t, name, next, false)
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", strings.Replace(dbEnv, password, next, 1)))
	if got := s.get(t, "pod/"+pod, "{.status.containerStatuses[0].restartCount}"); got != "0" {
		t.Errorf("the application was started again %s times", got)
	}
	s.kubectl(t, "delete", "-n", "shop", "deployment/"+name, "--wait=false")
}

// testInitOutOfMemory: an init container that is killed for its memory says so through the
// kubelet, no file is there, and the application waits.
func (s *shop) testInitOutOfMemory(t *testing.T) {
	const name = "init-memory"
	s.grow(t, name, password, true)
	s.small(t, "init", name)
	pod := s.pod(t, name)
	eventually(t, "the kernel has killed the init container", func() bool { return s.lastEnd(t, pod) == "OOMKilled 137" })
	if got := s.get(t, "pod/"+pod, "{.status.containerStatuses[0].state.waiting.reason}"); got != "PodInitializing" {
		t.Errorf("the application is %q", got)
	}
	s.grow(t, name, password, false)
	s.available(t, name)
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv), file("0400", "65532:65532", "api-key", apiKey))
	s.kubectl(t, "delete", "-n", "shop", "deployment/"+name, "--wait=false")
}
