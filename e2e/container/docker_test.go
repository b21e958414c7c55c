package container_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// user is who the images run as: it has no name and owns nothing.
const user = 65532

// TestDocker is all that needs an engine.
func TestDocker(t *testing.T) {
	e := startEngine(t)
	e.images(t)
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *engine)
	}{
		{"image", testImage},
		{"codes", testCodes},
		{"own codes", testOwnCodes},
		{"signals", testSignals},
		{"orphans", testOrphans},
		{"stop", testStop},
		{"stop cut short", testStopCutShort},
		{"killed", testKilled},
		{"killed beside process 1", testKilledInside},
		{"restart", testRestart},
		{"hardened", testHardened},
		{"other users", testOtherUsers},
		{"without tmpfs", testWithoutTmpfs},
		{"terminal", testTerminal},
		{"vault", testVault},
		{"install", testInstall},
		{"example", testExample},
		{"compose", testCompose},
		{"health", testHealth},
		{"builder", testBuilder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.run(t, e)
		})
	}
}

// images makes those that the tests run: ours with the Dockerfile at the root, from
// files that are already built, since no registry has the compiler here; the image of an
// application; and that application with secretboot and a file that stands in for Vault.
func (e *engine) images(t *testing.T) {
	t.Helper()
	files := e.folder(t)
	built(t, "make", "-s", "-C", repository, "build")
	copyFile(t, filepath.Join(repository, "bin/secretboot"), files+"/secretboot")
	copyFile(t, "/etc/ssl/certs/ca-certificates.crt", files+"/ca-certificates.crt")
	e.build(t, "files", files, "FROM scratch\nCOPY . /out/\n")
	e.build(t, "secretboot", repository, filepath.Join(repository, "Dockerfile"), "--build-arg", "FILES=files", "--build-arg", "VERSION=1.2.3")

	app := e.folder(t)
	built(t, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", app+"/app", "./testdata/app")
	e.build(t, "app", app, "FROM scratch\nCOPY app /app\n")

	wrapped := e.folder(t)
	writeFile(t, wrapped+"/dev.yaml", "secret/data/app: { password: CANARY }\n", 0o600)
	e.build(t, "wrapped", wrapped, `FROM app
COPY --from=secretboot /usr/local/bin/secretboot /usr/local/bin/secretboot
COPY --chown=65532:65532 dev.yaml /dev.yaml
USER 65532:65532
ENV SECRETBOOT_DEV=/dev.yaml SECRETBOOT_FILE=pw=secret/app#password
ENTRYPOINT ["secretboot", "run", "--"]
`)
}

// built runs a command that builds.
func built(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// testImage: what is in our image, and what it says of itself.
func testImage(t *testing.T, e *engine) {
	var image struct {
		User        string
		Entrypoint  []string
		Cmd         []string
		Labels      map[string]string
		Healthcheck struct{ Test []string }
	}
	if err := json.Unmarshal([]byte(e.do(t, "inspect", "-f", "{{json .Config}}", "secretboot")), &image); err != nil {
		t.Fatal(err)
	}
	if image.User != "65532:65532" || !slices.Equal(image.Entrypoint, []string{"/usr/local/bin/secretboot"}) || image.Cmd != nil {
		t.Errorf("%+v", image)
	}
	if want := []string{"CMD", "/usr/local/bin/secretboot", "ready"}; !slices.Equal(image.Healthcheck.Test, want) {
		t.Errorf("healthcheck %q", image.Healthcheck.Test)
	}
	for label, want := range map[string]string{"title": "secretboot", "licenses": "Apache-2.0", "version": "1.2.3", "revision": "unknown"} {
		if got := image.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
	c := e.named(t)
	e.do(t, "create", "--name", c.name, "secretboot")
	got := e.files(t, c.name)
	for name, mode := range map[string]int64{
		"usr/local/bin/secretboot": 0o755, "etc/ssl/certs/ca-certificates.crt": 0o644,
		"usr/share/doc/secretboot/LICENSE": 0o644, "usr/share/doc/secretboot/THIRD_PARTY_LICENSES": 0o644,
	} {
		if got[name] != mode {
			t.Errorf("%s has the mode %o, want %o", name, got[name], mode)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("also in the image: %v", got)
	}
	if r := e.try(t, "run", "--rm", "--read-only", "--network", "none", "secretboot", "version"); r.code != 0 || !strings.HasPrefix(r.out, "secretboot ") {
		t.Errorf("%+v", r)
	}
}

// files lists the files that a container which was never started has, with their
// modes, but for those that the engine makes.
func (e *engine) files(t *testing.T, container string) map[string]int64 {
	t.Helper()
	engines := []string{".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "dev/console"}
	cmd := e.command("export", container)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int64{}
	for r := tar.NewReader(out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && !slices.Contains(engines, h.Name) {
			files[h.Name] = h.Mode & 0o7777
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return files
}
