package kubernetes_test

import (
	"path/filepath"
	"strings"
	"testing"
)

const (
	pgPort    = "5433"
	pgCreator = `CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';`
)

// startPostgres starts one for Vault's database engine. It is nobody's, because it refuses
// to be root's.
func (v *vaultServer) startPostgres(t *testing.T) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(found) == 0 {
		missing(t, "there is no PostgreSQL in /usr/lib/postgresql")
	}
	// The cluster's folder is root's alone, and /run ends with the cluster.
	bin, data := found[len(found)-1], "/run/postgres"
	nobody := []string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "-C", "/"}
	v.c.do(t, "", "install", "-d", "-o", "nobody", "-g", "nogroup", data)
	v.c.do(t, "CANARY-of-the-admin", "install", "-m", "0644", "/dev/stdin", data+"/pw")
	v.c.do(t, "", append(nobody, bin+"/initdb", "-D", data+"/data", "-U", "admin", "--pwfile="+data+"/pw", "-A", "scram-sha-256", "--no-sync")...)
	v.c.start(t, "postgres", nil, append(nobody, bin+"/postgres", "-D", data+"/data", "-k", data, "-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-p", pgPort)...)
	v.do(t, "", "secrets", "enable", "database")
	eventually(t, "Vault reaches PostgreSQL", func() bool {
		return v.try(t, "", "write", "database/config/pg", "plugin_name=postgresql-database-plugin", "allowed_roles=*", "username=admin", "password=CANARY-of-the-admin",
			"connection_url=postgresql://{{username}}:{{password}}@127.0.0.1:"+pgPort+"/postgres?sslmode=disable").code == 0
	})
	v.do(t, pgCreator, "write", "database/roles/shop", "db_name=pg", "default_ttl=10s", "max_ttl=20s", "creation_statements=-")
	v.do(t, `path "database/creds/shop" { capabilities = ["read"] }
path "secret/data/shop/api" { capabilities = ["read"] }
path "sys/leases/renew" { capabilities = ["update"] }
`, "policy", "write", "database", "-")
}

// testDatabase: a database user of ten seconds is renewed, and replaced before its twenty
// are over: what is in the file always gets in. At the end of the pod it is revoked.
func (s *shop) testDatabase(t *testing.T) {
	s.v.startPostgres(t)
	s.variant(t, "sidecar", "database", "shop", "secret/data/shop/db", "database/creds/shop", ".Data.data.", ".Data.")
	s.available(t, "database")
	pod := s.pod(t, "database")
	db := "/var/lib/kubelet/pods/" + s.get(t, "pod/"+pod, "{.metadata.uid}") + "/volumes/kubernetes.io~empty-dir/secrets/db.env"
	users := map[string]bool{}
	eventually(t, "there were three database users", func() bool {
		r := s.try(t, "", "sh", "-c", `. "$0"; PGPASSWORD=$DB_PASSWORD psql -h 127.0.0.1 -p `+pgPort+` -U "$DB_USER" postgres -Atc "select current_user"`, db)
		if user := strings.TrimSpace(r.out); r.code != 0 || !strings.HasPrefix(user, "v-") {
			t.Fatalf("what is in the file does not get in: %q %s", user, r.err)
		} else {
			users[user] = true
		}
		return len(users) == 3
	})
	s.kubectl(t, "delete", "-n", "shop", "deployment/database", "--wait=false")
	s.kubectl(t, "wait", "-n", "shop", "--for=delete", "pod/"+pod, "--timeout=100s")
	if r := s.v.try(t, "", "list", "sys/leases/lookup/database/creds/shop"); r.code == 0 {
		t.Errorf("leases are left:\n%s", r.out)
	}
}
