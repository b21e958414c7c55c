package container_test

import (
	"strings"
	"testing"
)

// testHealth: the image's HEALTHCHECK tells when the secrets are there, and only then.
func testHealth(t *testing.T, e *engine) {
	dir := e.folder(t)
	writeFile(t, dir+"/dev.yaml", "secret/data/app: { password: CANARY }\n", 0o600)
	e.build(t, "health", dir, `FROM secretboot
COPY --from=app /app /app
COPY --chown=65532:65532 dev.yaml /dev.yaml
ENV SECRETBOOT_DEV=/dev.yaml SECRETBOOT_FILE=pw=secret/app#password
`)
	start := func(args ...string) *container {
		c := e.named(t)
		e.do(t, append([]string{
			"run", "-d", "--name", c.name, "--network", "none", "--read-only", "--tmpfs", "/run/secrets",
			"--health-interval", "200ms", "--health-retries", "1", "--health-start-period", "1ms",
		}, args...)...)
		return c
	}
	c := start("health", "run", "--", "/app", "record")
	eventually(t, "it is healthy", func() bool { return c.inspect("{{.State.Health.Status}}") == "healthy" })
	e.do(t, "stop", c.name)
	if got := c.inspect("{{.State.ExitCode}}"); got != "0" {
		t.Errorf("code %s", got)
	}
	c = start("--entrypoint", "/app", "health", "record")
	eventually(t, "without a secret it is not", func() bool { return c.inspect("{{.State.Health.Status}}") == "unhealthy" })
	last := c.inspect("{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}")
	if !strings.HasPrefix(last, `69 secretboot: not ready "/run/secrets": nothing was delivered yet`) {
		t.Errorf("the probe said %s", last)
	}
}
