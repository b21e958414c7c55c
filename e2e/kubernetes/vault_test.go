package kubernetes_test

import (
	"path/filepath"
	"testing"
)

const (
	vaultName = "vault.example" // what the examples call it
	rootToken = "root-of-the-tests"
)

// vaultServer is a real Vault beside the cluster, with the kubernetes auth method that
// asks the cluster's API server about tokens.
type vaultServer struct {
	c        *cluster
	dir, bin string
	env      []string // of the vault command line as root
}

// startVault starts one with TLS and puts its authority where the examples want it.
func (c *cluster) startVault(t *testing.T) *vaultServer {
	t.Helper()
	bin, err := filepath.Abs(filepath.Join(repository, "bin"))
	check(t, err)
	v := &vaultServer{c: c, dir: c.dir + "/vault", bin: bin}
	v.env = []string{"VAULT_ADDR=https://127.0.0.1:8200", "VAULT_CACERT=" + v.dir + "/vault-ca.pem", "VAULT_TOKEN=" + rootToken}
	mkdir(t, v.dir)
	c.start(t, "vault", nil, bin+"/vault", "server", "-dev", "-dev-tls", "-dev-tls-cert-dir="+v.dir, "-dev-tls-san="+vaultName, "-dev-tls-san="+nodeIP,
		"-dev-root-token-id="+rootToken, "-dev-no-store-token", "-dev-listen-address=0.0.0.0:8200", "-dev-plugin-dir="+bin+"/plugins")
	eventually(t, "Vault answers", func() bool { return v.try(t, "", "token", "lookup").code == 0 })
	c.kubectl(t, "create", "serviceaccount", "vault-reviewer", "-n", "kube-system")
	c.kubectl(t, "create", "clusterrolebinding", "vault-reviewer", "--clusterrole=system:auth-delegator", "--serviceaccount=kube-system:vault-reviewer")
	v.do(t, "", "audit", "enable", "file", "file_path="+v.dir+"/audit") // tells whether a request has come at all; see noToken
	v.do(t, "", "auth", "enable", "kubernetes")
	v.do(t, c.kubectl(t, "create", "token", "vault-reviewer", "-n", "kube-system", "--duration=24h"), "write", "auth/kubernetes/config",
		"kubernetes_host=https://127.0.0.1:6443", "kubernetes_ca_cert=@"+c.dir+"/pki/ca.crt", "token_reviewer_jwt=-", "disable_local_ca_jwt=true")
	return v
}

// try runs the vault command line as root.
func (v *vaultServer) try(t *testing.T, stdin string, words ...string) result {
	t.Helper()
	return v.c.try(t, stdin, append(append(append([]string{"env"}, v.env...), v.bin+"/vault"), words...)...)
}

func (v *vaultServer) do(t *testing.T, stdin string, words ...string) string {
	t.Helper()
	r := v.try(t, stdin, words...)
	if r.code != 0 {
		t.Fatalf("vault %v: code %d\n%s%s", words, r.code, r.out, r.err)
	}
	return r.out
}
