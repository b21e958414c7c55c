package kubernetes_test

import (
	"strings"
	"testing"
)

// variant applies an example under another name and with a role of that name, with some of
// its text replaced. Its policies are the example's, and one of its own name if there is one.
func (s *shop) variant(t *testing.T, example, name, namespace string, oldnew ...string) {
	t.Helper()
	s.v.do(t, "", "write", "auth/kubernetes/role/"+name, "bound_service_account_names=shop,doomed", "bound_service_account_namespaces=shop",
		"audience=vault", "token_policies=shop-"+example+","+name, "token_ttl=20m")
	text := s.kubectl(t, "kustomize", examples+"/"+example)
	oldnew = append(oldnew, "role: shop-"+example, "role: "+name, "name: secretboot-", "name: "+name+"-")
	for _, word := range []string{"name: ", "app: "} {
		oldnew = append(oldnew, word+"shop-"+example+"\n", word+name+"\n")
	}
	oldnew = append(oldnew, "namespace: shop\n", "namespace: "+namespace+"\n", "name: shop\n  labels", "name: "+namespace+"\n  labels",
		"kubernetes.io/enforce: restricted\n  name: shop\n", "kubernetes.io/enforce: restricted\n  name: "+namespace+"\n")
	s.do(t, strings.NewReplacer(oldnew...).Replace(text), "kubectl", "apply", "-f", "-")
}

// initError waits until a pod's init container has failed, and holds its termination
// message, which is what `kubectl describe pod` shows, to our line.
func (s *shop) initError(t *testing.T, namespace, app string, parts ...string) {
	t.Helper()
	var status, message string
	eventually(t, app+" is in Init:Error", func() bool {
		out := s.try(t, "", "kubectl", "get", "pods", "-n", namespace, "-l", "app="+app, "-o",
			`jsonpath={range .items[*]}{.status.initContainerStatuses[0].state.terminated.exitCode}{.status.initContainerStatuses[0].lastState.terminated.exitCode}|`+
				`{.status.initContainerStatuses[0].state.terminated.message}{.status.initContainerStatuses[0].lastState.terminated.message}{end}`).out
		status, message, _ = strings.Cut(out, "|")
		return status != "" && status != "0"
	})
	for _, part := range parts {
		if !strings.Contains(message, part) {
			t.Errorf("%s ended with %s: %q, which has no %q", app, status, message, part)
		}
	}
	if strings.Contains(message, "eyJ") {
		t.Error("a token is in the termination message")
	}
	if !strings.HasPrefix(status, "77") {
		t.Errorf("the code is %s, not 77", status)
	}
	if r := s.try(t, "", "kubectl", "get", "pods", "-n", namespace, "-l", "app="+app, "-o", "jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}"); r.out != "PodInitializing" {
		t.Errorf("the application is %q", r.out)
	}
}

func (s *shop) testWrongAccount(t *testing.T) {
	s.kubectl(t, "create", "serviceaccount", "other", "-n", "shop")
	s.variant(t, "init", "wrong-account", "shop", "serviceAccountName: shop\n", "serviceAccountName: other\n")
	s.initError(t, "shop", "wrong-account", "the role does not allow this service account", "check bound_service_account_names")
}

func (s *shop) testWrongNamespace(t *testing.T) {
	s.kubectl(t, "create", "namespace", "elsewhere")
	s.kubectl(t, "create", "configmap", "vault-ca", "-n", "elsewhere", "--from-file=ca.pem="+s.v.dir+"/vault-ca.pem")
	s.variant(t, "init", "wrong-namespace", "elsewhere")
	s.initError(t, "elsewhere", "wrong-namespace", "the role does not allow this Kubernetes namespace", "check bound_service_account_namespaces")
}

func (s *shop) testWrongAudience(t *testing.T) {
	s.variant(t, "init", "wrong-audience", "shop", "audience: vault\n", "audience: other\n")
	s.initError(t, "shop", "wrong-audience", "for another audience", "aud other")
}

// testDeletedAccount: a sidecar whose account was deleted is killed and started again: it
// cannot log in, and says why. The application and its files go on.
func (s *shop) testDeletedAccount(t *testing.T) {
	s.kubectl(t, "create", "serviceaccount", "doomed", "-n", "shop")
	s.variant(t, "sidecar", "deleted-account", "shop", "serviceAccountName: shop\n", "serviceAccountName: doomed\n")
	s.available(t, "deleted-account")
	pod := s.pod(t, "deleted-account")
	s.kubectl(t, "delete", "serviceaccount", "doomed", "-n", "shop")
	// The API server remembers for ten seconds that a token was good.
	token := "/var/lib/kubelet/pods/" + s.get(t, "pod/"+pod, "{.metadata.uid}") + "/volumes/kubernetes.io~projected/vault-token/token"
	eventually(t, "Vault refuses the token", func() bool {
		return s.v.try(t, "", "write", "auth/kubernetes/login", "role=deleted-account", "jwt=@"+token).code != 0
	})
	s.killContainer(t, pod, "secretboot")
	var message string
	defer func() {
		if t.Failed() {
			t.Log(s.describe(t, "deleted-account"))
		}
	}()
	eventually(t, "the sidecar cannot log in", func() bool {
		message = s.get(t, "pod/"+pod, "{.status.initContainerStatuses[0].lastState.terminated.message}")
		return message != ""
	})
	if !strings.Contains(message, "permission denied") || !strings.Contains(message, "role deleted-account") {
		t.Errorf("the termination message is %q", message)
	}
	if got := s.get(t, "pod/"+pod, "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].state.running.startedAt}"); !strings.HasPrefix(got, "0 2") {
		t.Errorf("the application: %q", got)
	}
	s.log(t, pod, "shop", file("0400", "65532:65532", "db.env", dbEnv))
}

// killContainer kills all processes of a running container, as the kernel does when it is
// out of memory.
func (s *shop) killContainer(t *testing.T, pod, container string) {
	t.Helper()
	id := s.get(t, "pod/"+pod, `{.status.initContainerStatuses[?(@.name=="`+container+`")].containerID}{.status.containerStatuses[?(@.name=="`+container+`")].containerID}`)
	s.do(t, "", "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", "-a", strings.TrimPrefix(id, "containerd://"))
}
