package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

const slapdPlaces = "/usr/sbin"

// cmdLDAPServer serves `ldapserver`: an OpenLDAP server of this script's own
// with the suffix dc=example,dc=com, one user (uid=app,ou=people) and one group
// that he is in (cn=apps,ou=groups). It sets LDAP_URL and writes the user's
// password to the file ldap-password.
func cmdLDAPServer(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: ldapserver")
	}
	slapd, err := packageBinary("slapd", slapdPlaces)
	ts.Check(err)
	dir := serverFolder(ts, nil)
	ts.Check(os.Mkdir(filepath.Join(dir, "data"), 0o700))
	config, entries := filepath.Join(dir, "slapd.conf"), filepath.Join(dir, "entries.ldif")
	ts.Check(os.WriteFile(config, fmt.Appendf(nil, ldapConfig, dir), 0o600))
	ts.Check(os.WriteFile(entries, fmt.Appendf(nil, ldapEntries, newSecret(ts, "ldap-password")), 0o600))
	mustRun(ts, exec.Command(filepath.Join(filepath.Dir(slapd), "slapadd"), "-f", config, "-l", entries), nil)
	port, err := freePort(context.Background())
	ts.Check(err)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	// A log level makes it stay in the foreground; 0 is nothing to say.
	launch(ts, exec.Command(slapd, "-d", "0", "-f", config, "-h", "ldap://"+addr), nil, addr, syscall.SIGTERM)
	ts.Setenv("LDAP_URL", "ldap://"+addr)
}

const ldapConfig = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
maxsize 16777216
suffix "dc=example,dc=com"
directory %s/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
`

const ldapEntries = `dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: uid=app,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: app
cn: App
sn: App
userPassword: %s

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: cn=apps,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: apps
member: uid=app,ou=people,dc=example,dc=com
`
