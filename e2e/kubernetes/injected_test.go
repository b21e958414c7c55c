package kubernetes_test

import (
	"strings"
	"testing"
)

// injects applies the example's Deployment under another name with more annotations.
func (s *shop) injects(t *testing.T, name string, annotations ...string) {
	t.Helper()
	text := strings.NewReplacer("name: shop-injected\n", "name: "+name+"\n", "app: shop-injected", "app: "+name,
		`agent-inject: "true"`, "agent-inject: \"true\"\n        vault.hashicorp.com/"+strings.Join(annotations, "\n        vault.hashicorp.com/"),
	).Replace(read(t, examples+"/injected/deployment.yaml"))
	s.do(t, text, "kubectl", "apply", "-f", "-")
	s.available(t, name)
}

// testInjectedToken: agent-inject-token brings Vault's token as one more file.
func (s *shop) testInjectedToken(t *testing.T) {
	s.injects(t, "injected-token", `agent-inject-token: "True"`)
	pod := s.pod(t, "injected-token")
	s.log(t, pod, "shop", file("0400", "1000:0", "db.env", dbEnv))
	if got := s.kubectl(t, "logs", "-n", "shop", pod, "-c", "shop"); !strings.Contains(got, "0400 1000:0 token ") {
		t.Errorf("there is no token:\n%s", got)
	}
	s.kubectl(t, "delete", "-n", "shop", "deployment/injected-token", "--wait=false")
}

// testInjectedExtraSecret: what a login other than the pod's own token needs comes from
// the Secret that agent-extra-secret names.
func (s *shop) testInjectedExtraSecret(t *testing.T) {
	s.v.do(t, "", "auth", "enable", "approle")
	s.v.do(t, "", "write", "auth/approle/role/shop", "token_policies=shop-injected", "token_ttl=20m")
	id := strings.TrimSpace(s.v.do(t, "", "read", "-field=role_id", "auth/approle/role/shop/role-id"))
	secret := strings.TrimSpace(s.v.do(t, "", "write", "-f", "-field=secret_id", "auth/approle/role/shop/secret-id"))
	s.kubectl(t, "create", "secret", "generic", "approle", "-n", "shop", "--from-literal=role-id="+id, "--from-literal=secret-id="+secret)
	s.injects(t, "injected-extra", "agent-extra-secret: approle", "auth-type: approle", "auth-path: auth/approle",
		"auth-config-role-id-file-path: /vault/custom/role-id", "auth-config-secret-id-file-path: /vault/custom/secret-id",
		`auth-config-remove-secret-id-file-after-reading: "false"`)
	pod := s.pod(t, "injected-extra")
	s.log(t, pod, "shop", file("0400", "1000:0", "db.env", dbEnv))
	if log := s.kubectl(t, "logs", "-n", "shop", pod, "-c", "secretboot"); !strings.Contains(log, "method=approle") {
		t.Errorf("the login was another one:\n%s", log)
	}
	s.kubectl(t, "delete", "-n", "shop", "deployment/injected-extra", "--wait=false")
}

// testLater: what a pod was created with stays. Its annotations are read again by a
// container that is restarted, its image may be changed, and a container for debugging
// may mount what the pod has.
func (s *shop) testLater(t *testing.T) {
	s.do(t, strings.Replace(s.annotated(t), "name: tried\n", "name: later\n", 1), "kubectl", "create", "-f", "-")
	const debugger = `{"spec": {"ephemeralContainers": [{"name": "look", "image": "registry.example/shop:1",
		"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}@}]}}`
	patch := func(mounts string) []string {
		return []string{"patch", "pod/later", "--subresource=ephemeralcontainers", "-p", strings.Replace(debugger, "@", mounts, 1)}
	}
	for name, tt := range map[string]struct {
		words []string
		want  string // in the refusal; "" there is none
	}{
		"another secret":       {[]string{"annotate", "--overwrite", "pod/later", "vault.hashicorp.com/agent-inject-secret-db.env=secret/data/other"}, "stay as they were"},
		"one more":             {[]string{"annotate", "pod/later", "vault.hashicorp.com/agent-inject-secret-more=secret/data/other"}, "stay as they were"},
		"no annotation":        {[]string{"annotate", "pod/later", "vault.hashicorp.com/agent-inject-"}, "stay as they were"},
		"another image":        {[]string{"set", "image", "pod/later", "secretboot=registry.example/shop:1"}, `the image of the container "secretboot"`},
		"a debugger's token":   {patch(`, "volumeMounts": [{"name": "secretboot-token", "mountPath": "/t"}]`), "is for the container"},
		"a debugger":           {patch(""), ""},
		"others' annotation":   {[]string{"annotate", "pod/later", "shop.example/x=y"}, ""},
		"a label":              {[]string{"label", "pod/later", "x=y"}, ""},
		"the application's":    {[]string{"set", "image", "pod/later", "shop=registry.example/shop:2"}, ""},
		"a finalizer, as Jobs": {[]string{"patch", "pod/later", "-p", `{"metadata": {"finalizers": ["shop.example/x"]}}`}, ""},
	} {
		r := s.try(t, "", append(append([]string{"kubectl"}, tt.words...), "-n", "shop", "--dry-run=server")...)
		if refused := r.code != 0; refused != (tt.want != "") || !strings.Contains(r.err, tt.want) {
			t.Errorf("%s: code %d, want %q\n%s%s", name, r.code, tt.want, r.out, r.err)
		}
	}
	s.kubectl(t, "delete", "-n", "shop", "pod/later", "--wait=false")
}
