package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	postgresPlaces = "/usr/lib/postgresql/*/bin" // Debian keeps the server programs off PATH
	postgresAdmin  = "admin"
)

// cmdPostgres serves `postgres`: a PostgreSQL server of this script's own, made
// by initdb and listening on 127.0.0.1 only, which wants a password of everybody.
// It sets
//
//	PGHOST, PGPORT, PGDATABASE  for psql, which is put on PATH, and for Vault's connection_url
//
// and writes the password of the superuser `admin` to the file pg-password.
func cmdPostgres(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 0 {
		ts.Fatalf("usage: postgres")
	}
	initdb, err := packageBinary("initdb", postgresPlaces)
	ts.Check(err)
	bin := filepath.Dir(initdb)
	owner := unprivileged(ts, "postgres", "nobody") // initdb and postgres refuse root
	dir := serverFolder(ts, owner)
	password := filepath.Join(dir, "password")
	ts.Check(os.WriteFile(password, []byte(newSecret(ts, "pg-password")), 0o600))
	if owner != nil {
		ts.Check(os.Chown(password, int(owner.Uid), int(owner.Gid)))
	}
	data := filepath.Join(dir, "data")
	create := exec.Command(initdb, "--pgdata="+data, "--username="+postgresAdmin, "--pwfile="+password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions")
	create.Dir = dir
	mustRun(ts, create, owner)
	port, err := freePort(context.Background())
	ts.Check(err)
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-h", "127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=8MB", "-c", "max_connections=20")
	server.Dir = dir
	launch(ts, server, owner, fmt.Sprintf("127.0.0.1:%d", port), syscall.SIGINT) // SIGINT: at once, without waiting for clients
	ts.Setenv("PGHOST", "127.0.0.1")
	ts.Setenv("PGPORT", strconv.Itoa(port))
	ts.Setenv("PGDATABASE", "postgres")
	ts.Setenv("PATH", bin+string(os.PathListSeparator)+ts.Getenv("PATH"))
	waitFor(ts, "the database", func() bool { _, err := psql(ts, "select 1"); return err == nil })
}

// psql asks the server of `postgres` as its superuser.
func psql(ts *testscript.TestScript, query string) (string, error) {
	initdb, err := packageBinary("initdb", postgresPlaces)
	ts.Check(err)
	cmd := exec.Command(filepath.Join(filepath.Dir(initdb), "psql"), "-X", "-w", "-A", "-t", "-c", query)
	cmd.Env = []string{
		"PGUSER=" + postgresAdmin, "PGPASSWORD=" + readWork(ts, "pg-password"),
		"PGHOST=" + ts.Getenv("PGHOST"), "PGPORT=" + ts.Getenv("PGPORT"), "PGDATABASE=" + ts.Getenv("PGDATABASE"),
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, out)
	}
	return string(out), nil
}

// readWork gives the text of a file of $WORK, wherever `cd` went.
func readWork(ts *testscript.TestScript, name string) string {
	text, err := os.ReadFile(filepath.Join(ts.Getenv("WORK"), name))
	ts.Check(err)
	return string(text)
}

// cmdPGUsers serves `[!] pgusers REGEXP`: a user of the database has a name
// that matches, or none has. Vault revokes leases in the background after it has
// revoked their token, so both are waited for.
func cmdPGUsers(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] pgusers REGEXP")
	}
	want := regexp.MustCompile("^(?:" + args[0] + ")$")
	state := map[bool]string{false: "a user", true: "no user"}[neg]
	waitFor(ts, state+" "+args[0], func() bool {
		names, err := psql(ts, "select rolname from pg_roles")
		ts.Check(err)
		for name := range strings.FieldsSeq(names) {
			if want.MatchString(name) {
				return !neg
			}
		}
		return neg
	})
}
