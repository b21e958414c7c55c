package kubernetes_test

import (
	"os"
	"strings"
	"testing"
)

// admits waits until both policies are in force, which takes the API server up to a second.
func (s *shop) admits(t *testing.T) {
	t.Helper()
	text := s.annotated(t)
	eventually(t, "the policies are in force", func() bool {
		out := s.dryRun(t, text).out
		return strings.Contains(out, "secretboot-token") && s.dryRun(t, strings.Replace(text, "runAsUser: 1000", "runAsGroup: 1000", 1)).code != 0
	})
}

// annotated gives the example's pod, without its Deployment.
func (s *shop) annotated(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(examples + "/injected/deployment.yaml")
	check(t, err)
	_, template, _ := strings.Cut(string(text), "  template:\n")
	return "apiVersion: v1\nkind: Pod\n" + strings.Replace(strings.ReplaceAll("\n"+template, "\n    ", "\n"), "metadata:\n", "metadata:\n  name: tried\n  namespace: shop\n", 1)
}

// dryRun gives the pod as it would be created, or the refusal.
func (s *shop) dryRun(t *testing.T, text string) result {
	t.Helper()
	return s.try(t, text, "kubectl", "create", "--dry-run=server", "-o", "yaml", "-f", "-")
}

// testInjected: the injector's annotations alone bring the files, for the pod's own user.
func (s *shop) testInjected(t *testing.T) {
	s.kubectl(t, "apply", "-f", examples+"/injected/deployment.yaml")
	s.available(t, "shop-injected")
	pod := s.pod(t, "shop-injected")
	s.log(t, pod, "shop", file("0400", "1000:0", "db.env", dbEnv))
	if got := s.get(t, "pod/"+pod, "{.spec.initContainers[*].name} {.spec.initContainers[0].restartPolicy}"); got != "secretboot Always" {
		t.Errorf("the init containers are %q", got)
	}
}

// testTwoUsers: files that the pod's group may read serve containers with different users.
func (s *shop) testTwoUsers(t *testing.T) {
	text, err := os.ReadFile(examples + "/injected/deployment.yaml")
	check(t, err)
	_, container, _ := strings.Cut(string(text), "      containers:\n")
	container = strings.Replace(container, "          securityContext:\n", "          securityContext:\n            runAsUser: 1000\n", 1)
	head, _, _ := strings.Cut(string(text), "        - name: shop\n")
	head = strings.NewReplacer("name: shop-injected\n", "name: two-users\n", "app: shop-injected", "app: two-users", "runAsUser: 1000", "fsGroup: 3000",
		`agent-inject: "true"`, "agent-inject: \"true\"\n        vault.hashicorp.com/agent-inject-perms-db.env: \"0440\"").Replace(head)
	second := strings.NewReplacer("name: shop\n", "name: second\n", "runAsUser: 1000", "runAsUser: 2000").Replace(container)
	s.do(t, head+container+second, "kubectl", "apply", "-f", "-")
	s.available(t, "two-users")
	for _, name := range []string{"shop", "second"} {
		s.log(t, s.pod(t, "two-users"), name, file("0440", "65532:3000", "db.env", dbEnv))
	}
	s.kubectl(t, "delete", "-n", "shop", "deployment/two-users", "--wait=false") // its tokens are of the example's role
}

// testAdmitted: what the policy makes of pods that differ.
func (s *shop) testAdmitted(t *testing.T) {
	pod := s.annotated(t)
	for name, tt := range map[string]struct {
		oldnew []string
		want   []string
	}{
		"init only": {
			[]string{`agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/agent-pre-populate-only: \"true\""},
			[]string{"- init\n", "runAsUser: 1000"},
		},
		"other folder": {
			[]string{`agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/secret-volume-path: /secrets"},
			[]string{"mountPath: /secrets\n", "- --dir\n    - /secrets\n"},
		},
		"own init container after ours": {
			[]string{
				"  containers:\n", "  initContainers: [{ name: migrate, image: \"registry.example/shop:1\" }]\n  containers:\n",
				`agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/agent-init-first: \"true\"",
			},
			[]string{"name: migrate\n"},
		},
		"unknown user with modes": {
			[]string{"    runAsUser: 1000\n", "", `agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/agent-inject-perms-db.env: \"0444\""},
			[]string{"runAsUser: 65532"},
		},
		"the injector's other words": {
			[]string{`agent-inject: "true"`, "agent-inject: \"True\"\n    vault.hashicorp.com/agent-pre-populate-only: \"1\""},
			[]string{"- init\n", "runAsUser: 1000"},
		},
		"another login": {
			[]string{`agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/auth-type: approle\n    vault.hashicorp.com/agent-extra-secret: ids"},
			[]string{"mountPath: /vault/custom\n", "secretName: ids\n", "!jwt_file"},
		},
		"mounted above": {
			[]string{
				"    - name: shop\n", "    - name: shop\n      volumeMounts: [{ name: x, mountPath: /vault }, { name: x, mountPath: /vault/secrets-of-others }]\n",
				"  containers:\n", "  volumes: [{ name: x, emptyDir: {} }]\n  containers:\n",
			},
			[]string{"mountPath: /vault/secrets\n"},
		},
		"not asked for": {
			[]string{`agent-inject: "true"`, `agent-inject: "false"`},
			[]string{"!secretboot-"},
		},
	} {
		r := s.dryRun(t, strings.NewReplacer(tt.oldnew...).Replace(unrestricted(pod)))
		for _, want := range tt.want {
			no := strings.HasPrefix(want, "!")
			if want = strings.TrimPrefix(want, "!"); r.code != 0 || strings.Contains(r.out, want) == no {
				t.Errorf("%s: code %d, %q\n%s%s", name, r.code, want, r.out, r.err)
			}
		}
	}
	// Creating again what was injected changes nothing.
	once := s.dryRun(t, pod)
	again := s.dryRun(t, once.out)
	if strings.Count(once.out, "secretboot-secrets") != strings.Count(again.out, "secretboot-secrets") || again.code != 0 {
		t.Errorf("once:\n%s\nagain: %s%s", once.out, again.out, again.err)
	}
}

// unrestricted puts a pod where Pod Security does not look, so that a test of the
// policies need not please it.
func unrestricted(pod string) string {
	return strings.NewReplacer("namespace: shop", "namespace: default", "serviceAccountName: shop", "serviceAccountName: default").Replace(pod)
}

// testRefused: what cannot be done right is refused, with the reason, and what would go
// round the policy too.
func (s *shop) testRefused(t *testing.T) {
	pod := unrestricted(s.annotated(t))
	r := s.dryRun(t, pod)
	if r.code != 0 {
		t.Fatalf("not admitted: %s", r.err)
	}
	ours := r.out
	for name, tt := range map[string]struct {
		text string
		want string
	}{
		"injected by the injector": {
			strings.Replace(pod, `agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/agent-inject-status: injected", 1), "Vault Agent Injector was here",
		},
		"the injector's container": {
			strings.Replace(pod, "  containers:\n", "  initContainers: [{ name: vault-agent-init, image: \"vault:1\" }]\n  containers:\n", 1), "Vault Agent Injector was here",
		},
		"unknown user": {strings.Replace(pod, "    runAsUser: 1000\n", "", 1), "cannot be known"},
		"group mode without fsGroup": {
			strings.NewReplacer("    runAsUser: 1000\n", "", `agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/agent-inject-perms-db.env: \"0440\"").Replace(pod),
			"cannot be known",
		},
		"two users": {
			strings.Replace(pod, "  containers:\n", "  containers:\n    - { name: two, image: \"registry.example/shop:1\", securityContext: { runAsUser: 2000 } }\n", 1), "cannot be known",
		},
		"our name": {
			strings.Replace(pod, "  containers:\n", "  initContainers: [{ name: secretboot, image: \"registry.example/shop:1\" }]\n  containers:\n", 1), "is not the one that",
		},
		"our volume, on disk": {
			strings.Replace(pod, "  containers:\n", "  volumes: [{ name: secretboot-secrets, emptyDir: {} }]\n  containers:\n", 1), `a volume whose name begins with "secretboot-"`,
		},
		"another audience": {
			strings.Replace(ours, "audience: vault", "audience: kubernetes", 1), `a volume whose name begins with "secretboot-"`,
		},
		"another image":   {strings.Replace(ours, "image: registry.example/secretboot:1", "image: registry.example/shop:1", 1), "is not the one that"},
		"another command": {strings.Replace(ours, "    image: registry.example/secretboot:1", "    command: [/x]\n    image: registry.example/secretboot:1", 1), "is not the one that"},
		"another Vault":   {strings.Replace(ours, "value: https://vault.example:8200", "value: https://elsewhere.example", 1), "is not the one that"},
		"the token as well": {
			strings.Replace(pod, "    - name: shop\n", "    - name: shop\n      volumeMounts: [{ name: secretboot-token, mountPath: /t }]\n", 1), "for the container",
		},
		"another mount there": {
			strings.Replace(pod, "    - name: shop\n", "    - name: shop\n      volumeMounts: [{ name: x, mountPath: /vault/secrets }]\n", 1) + "  volumes: [{ name: x, emptyDir: {} }]\n",
			"something else is mounted",
		},
		"a mount inside": {
			strings.Replace(pod, "    - name: shop\n", "    - name: shop\n      volumeMounts: [{ name: x, mountPath: /vault/secrets/db.env }]\n", 1) + "  volumes: [{ name: x, emptyDir: {} }]\n",
			"something else is mounted",
		},
		"the same with a slash": {
			strings.Replace(pod, "    - name: shop\n", "    - name: shop\n      volumeMounts: [{ name: x, mountPath: /vault/secrets/ }]\n", 1) + "  volumes: [{ name: x, emptyDir: {} }]\n",
			"something else is mounted",
		},
		"neither true nor false": {strings.Replace(pod, `agent-inject: "true"`, `agent-inject: "yes"`, 1), "neither true nor false"},
		"unknown user, template alone": {
			strings.NewReplacer("    runAsUser: 1000\n", "", "    vault.hashicorp.com/agent-inject-secret-db.env: secret/data/shop/db\n", "").Replace(pod), "cannot be known",
		},
		"unknown user of a token": {
			strings.NewReplacer("    runAsUser: 1000\n", "", `agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/agent-inject-token: \"1\"\n    vault.hashicorp.com/agent-inject-perms-db.env: \"0444\"").Replace(pod),
			"cannot be known",
		},
		"another Vault, annotated": {
			strings.Replace(pod, `agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/service: https://elsewhere.example", 1), "names another Vault",
		},
		"the volume of a Secret": {
			strings.Replace(pod, "  containers:\n", "  volumes: [{ name: secretboot-tls, emptyDir: {} }]\n  containers:\n", 1), `a volume whose name begins with "secretboot-"`,
		},
		"another probe":     {strings.Replace(ours, "        - ready\n", "        - run\n", 1), "is not the one that"},
		"another binary":    {strings.Replace(ours, "    - mountPath: /etc/podinfo\n", "    - mountPath: /usr/local/bin\n      name: secretboot-tls\n    - mountPath: /etc/podinfo\n", 1), "is not the one that"},
		"more capabilities": {strings.Replace(ours, "        - ALL\n      readOnlyRootFilesystem", "        - KILL\n      readOnlyRootFilesystem", 1), "is not the one that"},
		"a folder for one": {
			strings.Replace(pod, `agent-inject: "true"`, "agent-inject: \"true\"\n    vault.hashicorp.com/secret-volume-path-db.env: /x", 1), "a folder for one secret",
		},
	} {
		if tt.text == pod || tt.text == ours {
			t.Errorf("%s: nothing was replaced", name)
		}
		if r := s.dryRun(t, tt.text); r.code == 0 || !strings.Contains(r.err, tt.want) {
			t.Errorf("%s: code %d, want %q\n%s", name, r.code, tt.want, r.err)
		}
	}
}
