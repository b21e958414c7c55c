package container_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exampleFolder copies the example to where it can be built.
func exampleFolder(t *testing.T, e *engine) string {
	t.Helper()
	dir := e.folder(t)
	for _, name := range []string{"docker/Dockerfile", "docker/secretboot.yaml", "docker/run.sh", "docker/compose.yaml", "docker/setup.sh", "docker/policy.hcl"} {
		copyFile(t, filepath.Join(repository, "examples", name), filepath.Join(dir, filepath.Base(name)))
	}
	return dir
}

// testInstall: the binary comes into somebody else's image through a volume.
func testInstall(t *testing.T, e *engine) {
	volume := e.named(t).name
	e.do(t, "volume", "create", volume)
	t.Cleanup(func() { e.do(t, "volume", "rm", volume) })
	e.do(t, append(append([]string{"run", "--user", "0", "-v", volume + ":/tools"}, quick("--read-only")...), "secretboot", "install", "/tools")...)
	dir := e.folder(t)
	writeFile(t, dir+"/dev.yaml", "secret/data/app: { password: CANARY }\n", 0o600)
	own(t, dir+"/dev.yaml", user)
	r := e.try(t, append(append([]string{"run"}, quick("-v", volume+":/tools:ro", "-v", dir+"/dev.yaml:/dev.yaml:ro", "--user", "65532:65532", "--tmpfs", "/run/secrets", "--entrypoint", "/tools/secretboot")...),
		"app", "run", "--dev", "/dev.yaml", "-f", "pw=secret/app#password", "--", "/app", "cat", "pw", "exit", "9")...)
	if r.code != 9 || r.out != "CANARY\n" || r.err != "" {
		t.Errorf("%+v", r)
	}
	r = e.try(t, append(append([]string{"run", "-v", volume + ":/tools:ro", "--user", "0"}, quick()...), "secretboot", "install", "/tools")...)
	if r.code != 74 || !strings.Contains(r.err, "install /tools/secretboot: read-only file system") {
		t.Errorf("%+v", r)
	}
}

// testExample builds examples/docker/Dockerfile and runs it with run.sh, against a real
// Vault.
func testExample(t *testing.T, e *engine) {
	dir := exampleFolder(t, e)
	e.build(t, "shop", dir, dir+"/Dockerfile")
	v := e.startVault(t)
	role, secretID := v.shop(t, e)
	before := v.tokens(t)
	c := e.named(t)
	database := e.named(t)
	e.do(t, "run", "-d", "--name", database.name, "--network", "none", "-e", "POSTGRES_PASSWORD_FILE=/password",
		"-v", textFile(t, e, "CANARY")+":/password:ro", "app", "/app", "serve", "127.0.0.1:5432")
	cmd := exec.Command("sh", dir+"/run.sh", "--name", c.name, "--network", "container:"+database.name, "-v", filepath.Dir(v.socket)+":/vault", "-e", "DATABASE=127.0.0.1:5432",
		"--health-interval", "200ms")
	cmd.Env = append(e.command().Env, "VAULT_ADDR=unix:///vault/vault.sock", "VAULT_ROLE_ID="+role, "SECRET_ID_FILE="+secretID)
	c.attach(cmd)
	for line := ""; line != "database: welcome"; {
		if line = c.next(); line != "database: welcome" && !strings.Contains(line, "level=INFO") {
			t.Fatalf("got %q", line)
		}
	}
	c.want("ready")
	eventually(t, "it is healthy", func() bool { return c.inspect("{{.State.Health.Status}}") == "healthy" })
	e.do(t, "stop", c.name)
	c.want("got 15")
	if code, rest := c.end(); code != 0 || len(rest) > 0 {
		t.Errorf("code %d, %q", code, rest)
	}
	if got := v.tokens(t); got != before {
		t.Errorf("%d tokens are left of %d", got, before)
	}
}

func textFile(t *testing.T, e *engine, text string) string {
	t.Helper()
	path := e.folder(t) + "/text"
	writeFile(t, path, text, 0o644)
	return path
}

// compose finds the plugin, or the program that was there before it.
func (e *engine) compose(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	words := []string{"-p", filepath.Base(dir), "-f", dir + "/compose.yaml"}
	cmd := e.command(append(append([]string{"compose"}, words...), args...)...)
	if e.command("compose", "version").Run() != nil {
		path, err := exec.LookPath("docker-compose")
		if err != nil {
			missing(t, "neither docker compose nor docker-compose is there")
		}
		cmd.Path, cmd.Args = path, append(append([]string{path}, words...), args...)
	}
	cmd.Dir = dir
	return cmd
}

// testCompose brings examples/docker/compose.yaml up: the application gets into the
// database with a password that both got from Vault, and `down` leaves no volume behind.
// Vault is the real one; the database only looks at the password.
func testCompose(t *testing.T, e *engine) {
	dir := exampleFolder(t, e)
	e.compose(t, dir) // or skip
	standIns(t, e)
	t.Cleanup(func() {
		if r := finish(t, e.compose(t, dir, "down", "-v", "-t", "1")); r.code != 0 {
			t.Errorf("down: %+v", r)
		}
	})
	if r := finish(t, e.compose(t, dir, "up", "-d")); r.code != 0 {
		t.Fatalf("up: %+v", r)
	}
	logs := func(service string) string { return finish(t, e.compose(t, dir, "logs", "--no-color", service)).out }
	eventually(t, "the database lets the application in", func() bool {
		return strings.Contains(logs("app"), "database: welcome") && strings.Contains(logs("app"), "ready")
	})
	if r := finish(t, e.compose(t, dir, "stop", "app", "db")); r.code != 0 {
		t.Errorf("stop: %+v", r)
	}
	for _, service := range []string{"app", "db", "setup", "tools"} {
		id := strings.TrimSpace(finish(t, e.compose(t, dir, "ps", "-a", "-q", service)).out)
		if got := e.do(t, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", id); got != "exited 0" {
			t.Errorf("%s: %s\n%s", service, got, logs(service))
		}
	}
	if !regexp.MustCompile(`(?m)got 15$`).MatchString(logs("app")) {
		t.Errorf("the application was not asked to end:\n%s", logs("app"))
	}
}

// standIns makes the images that compose.yaml takes from elsewhere: the real Vault, and
// a database that knows one password.
func standIns(t *testing.T, e *engine) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		missing(t, err.Error()+"; install busybox-static")
	}
	dir := e.folder(t)
	copyFile(t, busybox, dir+"/busybox")
	copyFile(t, vaultBinary(t), dir+"/vault")
	writeFile(t, dir+"/docker-entrypoint.sh", "#!/bin/sh\nexec /app serve :5432\n", 0o755)
	const shell = "COPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n"
	e.build(t, "hashicorp/vault:1.21", dir, "FROM scratch\n"+shell+"COPY vault /bin/vault\n")
	e.build(t, "postgres:17", dir, "FROM app\n"+shell+"COPY docker-entrypoint.sh /usr/local/bin/docker-entrypoint.sh\n")
}
