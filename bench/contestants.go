package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// contestant is one way to bootstrap.
type contestant struct {
	name   string
	binary func(options) string
	note   string // what a reader must know to compare
	// command writes the configuration of one run and gives its command line
	// (without the binary) and environment.
	command func(job) (args, env []string, err error)
	proof   proof
	without string // the login that it does not know, and is spared
}

// proof is how we know that a run delivered.
type proof uint8

const (
	// proofFiles: the files are there after the run.
	proofFiles proof = iota
	// proofCommand: what was delivered is gone when the command ends, so a run
	// before the measured ones has a command that keeps a copy. The measured ones
	// run true, must exit with 0, and must have made all the requests.
	proofCommand
	// proofEnv: the same, with variables.
	proofEnv
)

// job is one run of a contestant.
type job struct {
	conf   string // folder for the configuration, not looked at afterwards
	out    string // folder that files are delivered to; exists
	copy   string // folder for what a proving command saw; "" when the command is true
	addr   string // URL of the proxy
	token  string // a token made beforehand
	server *server
	point
}

// ours reports whether it is a mode of secretboot.
func (c contestant) ours() bool { return strings.HasPrefix(c.name, "secretboot") }

// peer reports whether it is what others have made.
func (c contestant) peer() bool { return !c.ours() && c.name != "floor" }

// contestants lists them in the order of the report.
func contestants() []contestant {
	ours := func(o options) string { return o.secretboot }
	vault := func(o options) string { return o.vault }
	built := func(name string) func(options) string {
		return func(o options) string { return filepath.Join(o.bin, name) }
	}
	return []contestant{
		{
			name: "floor", binary: built("floor"), command: floor,
			note: "the least there is to do: log in, read in parallel over 16 connections (TLS: HTTP/2), write 0400 files, revoke",
		},
		{
			name: "secretboot-init", binary: ours, command: secretbootInit,
			note: "`secretboot init`: files; revokes its token",
		},
		{
			name: "secretboot-run", binary: ours, command: secretbootRun, proof: proofCommand,
			note: "`secretboot run -- true`: files; shreds them and revokes when the command ends",
		},
		{
			name: "secretboot-env", binary: ours, command: secretbootEnv, proof: proofEnv,
			note: "`secretboot run -- true`: environment variables",
		},
		{
			name: "secretboot-mask", binary: ours, command: secretbootMask, proof: proofEnv,
			note: "`secretboot run --mask on -- true`: environment variables, and what the command prints is masked",
		},
		{
			name: "agent", binary: vault, command: agentTemplate,
			note: "`vault agent` with `exit_after_auth`: files; leaves its token alive",
		},
		{
			name: "agent-exec", binary: vault, command: agentExec, proof: proofEnv,
			note: "`vault agent` with `exec { command = [\"true\"] }`: environment variables; leaves its token alive. " +
				"It waits 2 s for further changes before it starts the command",
		},
		{
			name: "consul-template", binary: built("consul-template"), command: consulTemplate, without: approle,
			note: "`consul-template -once`: files; leaves its token alive; `renew_token` is off. It has no AppRole login and is given " +
				"a token made beforehand there, so it is no measure of the others in these cells",
		},
	}
}

func names() []string {
	var all []string
	for _, c := range contestants() {
		all = append(all, c.name)
	}
	return all
}

// text is the template of secret i, in the language all but the floor share.
func text(i int) string {
	return fmt.Sprintf(`{{ with secret "secret/data/bench/%d" }}{{ .Data.data.value }}{{ end }}`, i)
}

// variable is the name of secret i in an environment.
func variable(i int) string { return "BENCH_" + strconv.Itoa(i) }

func floor(j job) (args, env []string, err error) {
	return []string{j.out, strconv.Itoa(j.n)}, j.credentials(), nil
}

func secretbootInit(j job) (args, env []string, err error) {
	path, err := j.write("secretboot.yaml", secretbootFiles(j))
	return append([]string{"init", "-c", path, "--dir", j.out}, j.login()...), j.credentials(), err
}

func secretbootRun(j job) (args, env []string, err error) {
	path, err := j.write("secretboot.yaml", secretbootFiles(j))
	args = append([]string{"run", "-c", path, "--dir", j.out}, j.login()...)
	if j.copy != "" {
		return append(args, "--", "/bin/cp", "-RLp", j.out+"/.", j.copy), j.credentials(), err
	}
	return append(args, "--", "/bin/true"), j.credentials(), err
}

func secretbootEnv(j job) (args, env []string, err error) {
	var b strings.Builder
	b.WriteString("env:\n")
	for i := range j.n {
		fmt.Fprintf(&b, "  %s: secret/data/bench/%d#value\n", variable(i), i)
	}
	path, err := j.write("secretboot.yaml", b.String())
	args = append([]string{"run", "-c", path, "--dir", j.out}, j.login()...)
	return append(append(args, "--"), j.envCommand()...), j.credentials(), err
}

func secretbootMask(j job) (args, env []string, err error) {
	args, env, err = secretbootEnv(j)
	return slices.Insert(args, 1, "--mask", "on"), env, err
}

func secretbootFiles(j job) string {
	var b strings.Builder
	b.WriteString("files:\n")
	for i := range j.n {
		fmt.Fprintf(&b, "- {path: \"%d\", template: '%s'}\n", i, text(i)) // short: at most 1 MiB is read
	}
	return b.String()
}

// credentials gives the login in the environment: AppRole's, or a token, in Vault's own
// variables, or the file of the service account's token, which is for the floor.
func (j job) credentials() []string {
	env := []string{"VAULT_ADDR=" + j.addr}
	if j.tls {
		env = append(env, "VAULT_CACERT="+j.server.ca)
	}
	switch j.auth {
	case kubernetes:
		return append(env, "JWT_FILE="+j.server.jwt)
	case given:
		return append(env, "VAULT_TOKEN="+j.token)
	}
	return append(env, "VAULT_ROLE_ID="+j.server.roleID, "VAULT_SECRET_ID="+j.server.secretID)
}

// login is what secretboot must be told of the login.
func (j job) login() []string {
	if j.auth != kubernetes {
		return nil // the credentials say it
	}
	return []string{"--auth-method", kubernetes, "--auth-role", role, "--auth", "jwt_file=" + j.server.jwt}
}

func agentTemplate(j job) (args, env []string, err error) {
	return agent(j, "exit_after_auth = true\n"+agentFiles(j))
}

func agentFiles(j job) string {
	var b strings.Builder
	for i := range j.n {
		fmt.Fprintf(&b, "template {\n  contents = %q\n  destination = %q\n  perms = \"0400\"\n}\n",
			text(i), filepath.Join(j.out, strconv.Itoa(i)))
	}
	return b.String()
}

func agentExec(j job) (args, env []string, err error) {
	var b strings.Builder
	for i := range j.n {
		fmt.Fprintf(&b, "env_template %q {\n  contents = %q\n}\n", variable(i), text(i))
	}
	b.WriteString("exec {\n  command = [")
	for _, arg := range j.envCommand() {
		fmt.Fprintf(&b, "%q, ", arg)
	}
	b.WriteString("]\n  restart_on_secret_changes = \"never\"\n}\n")
	return agent(j, b.String())
}

// agent adds to a Vault Agent configuration what both modes need.
func agent(j job, rest string) (args, env []string, err error) {
	method, err := j.agentMethod()
	if err != nil {
		return nil, nil, err
	}
	conf, err := j.write("agent.hcl", fmt.Sprintf(`vault {
  address = %q
  ca_cert = %q
}
auto_auth {
  method {
%s
  }
}
template_config {
  exit_on_retry_failure = true
}
`, j.addr, j.caFile(), method)+rest)
	return []string{"agent", "-config=" + conf}, nil, err
}

// agentMethod is how Vault Agent logs in.
func (j job) agentMethod() (string, error) {
	if j.auth == kubernetes {
		return fmt.Sprintf("    type = %q\n    config = {\n      role = %q\n      token_path = %q\n    }", kubernetes, role, j.server.jwt), nil
	}
	if j.auth == given {
		path, err := j.write("token", j.token)
		return fmt.Sprintf("    type = \"token_file\"\n    config = {\n      token_file_path = %q\n    }", path), err
	}
	id, err := j.write("role_id", j.server.roleID)
	if err != nil {
		return "", err
	}
	secret, err := j.write("secret_id", j.server.secretID)
	return fmt.Sprintf(`    type = "approle"
    config = {
      role_id_file_path                   = %q
      secret_id_file_path                 = %q
      remove_secret_id_file_after_reading = false
    }`, id, secret), err
}

// caFile is the authority of the server, "" without TLS.
func (j job) caFile() string {
	if !j.tls {
		return ""
	}
	return j.server.ca
}

func consulTemplate(j job) (args, env []string, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "vault {\n  address = %q\n  renew_token = false\n", j.addr)
	if j.tls {
		fmt.Fprintf(&b, "  ssl {\n    ca_cert = %q\n  }\n", j.server.ca)
	}
	if j.auth == kubernetes {
		fmt.Fprintf(&b, "  k8s_auth_role_name = %q\n  k8s_service_account_token_path = %q\n", role, j.server.jwt)
	} else {
		env = []string{"VAULT_TOKEN=" + j.token}
	}
	b.WriteString("}\n")
	for i := range j.n {
		fmt.Fprintf(&b, "template {\n  contents = %q\n  destination = %q\n  perms = 0400\n}\n",
			text(i), filepath.Join(j.out, strconv.Itoa(i)))
	}
	conf, err := j.write("consul-template.hcl", b.String())
	return []string{"-once", "-config", conf}, env, err
}

// envCommand is what contestants start that deliver variables.
func (j job) envCommand() []string {
	if j.copy == "" {
		return []string{"/bin/true"}
	}
	return []string{"/bin/sh", "-c", "env >" + filepath.Join(j.copy, "env")}
}

func (j job) write(name, content string) (string, error) {
	path := filepath.Join(j.conf, name)
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// check compares what a run left, or its proving command saw, with the server.
func (j job) check(p proof) error {
	switch {
	case p == proofFiles:
		return j.checkFiles(j.out)
	case p == proofCommand && j.copy != "":
		return j.checkFiles(j.copy)
	case p == proofEnv && j.copy != "":
		return j.checkEnv()
	}
	for i := range j.n {
		if _, err := os.Stat(filepath.Join(j.out, strconv.Itoa(i))); err == nil {
			return fmt.Errorf("file %d is still there", i)
		}
	}
	return nil
}

func (j job) checkFiles(dir string) error {
	for i := range j.n {
		path := filepath.Join(dir, strconv.Itoa(i))
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if string(got) != j.server.values[i] || info.Mode().Perm() != 0o400 {
			return fmt.Errorf("file %d has the wrong content (%d bytes) or mode (%v)", i, len(got), info.Mode())
		}
	}
	return nil
}

func (j job) checkEnv() error {
	env, err := os.ReadFile(filepath.Join(j.copy, "env"))
	if err != nil {
		return err
	}
	for i := range j.n {
		if !strings.Contains("\n"+string(env), "\n"+variable(i)+"="+j.server.values[i]+"\n") {
			return fmt.Errorf("variable %s is missing or wrong", variable(i))
		}
	}
	return nil
}
