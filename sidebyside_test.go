package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSideBySide renders the templates of testdata/sidebyside with the real vault
// agent, with the real consul-template, and with us, each from one configuration
// in the original's own words; the files must be the same, byte by byte. Variables
// of env_template are compared in the same way.
func TestSideBySide(t *testing.T) {
	s := newSideBySide(t)
	t.Run("agent", func(t *testing.T) {
		config := func(out string) string { return s.agentConfig(s.templates(out)) }
		s.write(t, "theirs.hcl", config(filepath.Join(s.dir, "agent"))+"exit_after_auth = true\n")
		s.write(t, "ours.hcl", config(filepath.Join(s.sink, "agent")))
		s.run(t, s.vault, "agent", "-config=theirs.hcl", "-log-level=error")
		s.run(t, s.ours, "init", "--from", "agent:ours.hcl")
		s.compare(t, "agent")
	})
	t.Run("consul-template", func(t *testing.T) {
		config := func(out string) string {
			return fmt.Sprintf("vault { address = %q\n vault_agent_token_file = %q\n renew_token = false }\n", s.server.addr, filepath.Join(s.dir, "token")) + s.templates(out)
		}
		s.write(t, "theirs-ct.hcl", config(filepath.Join(s.dir, "ct")))
		s.write(t, "ours-ct.hcl", config(filepath.Join(s.sink, "ct")))
		s.run(t, s.consulTemplate, "-config", "theirs-ct.hcl", "-once", "-log-level", "err")
		s.run(t, s.ours, "init", "--from", "consul-template:ours-ct.hcl")
		s.compare(t, "ct")
	})
	t.Run("variables", s.variables)
}

// sideBySide is what the contestants share.
type sideBySide struct {
	*rig
	consulTemplate string
	names          []string // of the templates, without .tmpl
}

func newSideBySide(t *testing.T) *sideBySide {
	t.Helper()
	s := &sideBySide{rig: newRig(t), consulTemplate: builtBinary(t, "consul-template")}
	s.ask(t, "sys/mounts/kv1", []byte(`{"type":"kv","options":{"version":"1"}}`))
	s.fill(t, "testdata/sidebyside/data.json")
	s.roles(t)
	paths, err := filepath.Glob("testdata/sidebyside/*.tmpl")
	if err != nil || len(paths) < 45 {
		t.Fatalf("%d templates, %v", len(paths), err)
	}
	for _, p := range paths {
		s.names = append(s.names, strings.TrimSuffix(filepath.Base(p), ".tmpl"))
	}
	return s
}

// roles makes the AppRole of the agent and the token of consul-template.
func (s *sideBySide) roles(t *testing.T) {
	s.write(t, "policy.hcl", `path "secret/*" { capabilities = ["read", "list"] }`+"\n"+`path "kv1/*" { capabilities = ["read", "list"] }`)
	s.do(t, "policy", "write", "app", filepath.Join(s.dir, "policy.hcl"))
	s.do(t, "auth", "enable", "approle")
	s.do(t, "write", "auth/approle/role/app", "token_policies=app")
	s.write(t, "role-id", s.do(t, "read", "-field=role_id", "auth/approle/role/app/role-id"))
	s.write(t, "secret-id", s.do(t, "write", "-f", "-field=secret_id", "auth/approle/role/app/secret-id"))
	s.write(t, "token", s.do(t, "token", "create", "-policy=app", "-field=token"))
}

// agentConfig is a configuration with the agent's own login before rest.
func (s *sideBySide) agentConfig(rest string) string {
	return fmt.Sprintf(`vault { address = %q }
auto_auth {
  method "approle" {
    config {
      role_id_file_path = %q
      secret_id_file_path = %q
      remove_secret_id_file_after_reading = false
    }
  }
}
`, s.server.addr, filepath.Join(s.dir, "role-id"), filepath.Join(s.dir, "secret-id")) + rest
}

// templates is a template block for each, with its file below out.
func (s *sideBySide) templates(out string) string {
	var b strings.Builder
	for _, name := range s.names {
		source, err := filepath.Abs("testdata/sidebyside/" + name + ".tmpl")
		if err != nil {
			return ""
		}
		fmt.Fprintf(&b, "template {\n  source = %q\n  destination = %q\n}\n", source, filepath.Join(out, name))
	}
	return b.String()
}

// run runs a contestant in the folder, with an environment that says nothing of
// Vault, and gives its output.
func (s *sideBySide) run(t *testing.T, binary string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir, cmd.Env = s.dir, []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH")}
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(binary), strings.Join(args, " "), err, &log)
	}
	return out
}

// compare compares what both made of every template.
func (s *sideBySide) compare(t *testing.T, folder string) {
	t.Helper()
	for _, name := range s.names {
		theirs, err := os.ReadFile(filepath.Join(s.dir, folder, name))
		if err != nil {
			t.Error(err)
			continue
		}
		ours, err := os.ReadFile(filepath.Join(s.sink, folder, name))
		if err != nil || !bytes.Equal(theirs, ours) {
			t.Errorf("%s: %v\ntheirs %q\nours   %q", name, err, theirs, ours)
		}
		if len(theirs) == 0 {
			t.Errorf("%s: the template gives nothing, so nothing is compared", name)
		}
	}
}

// variables has the agent and us start the same command with the same
// env_templates; ours has a file of a template in the same run, which the agent
// refuses.
func (s *sideBySide) variables(t *testing.T) {
	env := s.agentConfig(`
env_template "DB_USER" { contents = "{{ with secret \"secret/app\" }}{{ .Data.data.username }}{{ end }}" }
env_template "DB_PASSWORD" { contents = "{{ with secret \"kv1/app\" }}{{ .Data.password }}{{ end }}" }
env_template "LINES" { contents = "{{ with secret \"secret/app\" }}{{ .Data.data.lines }}{{ end }}" }
exec { command = ["env", "-0"] }
`)
	s.write(t, "env.hcl", env)
	s.write(t, "both.hcl", env+s.templates(filepath.Join(s.sink, "both")))
	theirs := variablesIn(s.run(t, s.vault, "agent", "-config=env.hcl", "-log-level=error"))
	ours := variablesIn(s.run(t, s.ours, "run", "--from", "agent:both.hcl"))
	for _, name := range []string{"DB_USER", "DB_PASSWORD", "LINES", "PATH"} {
		if theirs[name] != ours[name] || ours[name] == "" {
			t.Errorf("%s: theirs %q, ours %q", name, theirs[name], ours[name])
		}
	}
}

// variablesIn reads the output of env -0.
func variablesIn(out []byte) map[string]string {
	vars := map[string]string{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		vars[name] = value
	}
	return vars
}
