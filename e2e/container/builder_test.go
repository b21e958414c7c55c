package container_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// makeBuilder prints a tar of what stands for an image with Go: this machine's
// toolchain, the few programs that the Makefile calls with their libraries, and the
// modules, in $modules.
const makeBuilder = `
set -eu
for name in sh make find cp mkdir git; do
  file=$(command -v "$name")
  echo "$file"
  ldd "$file" | grep -o '/[^ ]*'
done | sort -u | sed 's,^/,,' >"$modules/list"
printf '%s\n' bin/sh etc/ssl/certs/ca-certificates.crt >>"$modules/list"
goroot=$(go env GOROOT)
exec tar -c -h -f - -C / -T "$modules/list" --transform "s,^${goroot#/},usr/local/go,;s,^${modules#/}/mod,go/pkg/mod," "${goroot#/}/bin" "${goroot#/}/pkg" "${goroot#/}/src" "${goroot#/}/go.env" "${goroot#/}/VERSION" "${modules#/}/mod"
`

// testBuilder builds the whole Dockerfile, its first stage as well, from a clone: the
// binary in the image of each platform is that of `make cross` in the clone.
func testBuilder(t *testing.T, e *engine) {
	if !long() {
		t.Skip("SKIPPED, NOT PASSED: to compile in containers takes minutes; make test-long does")
	}
	dir := e.folder(t)
	clone(t, dir+"/clone")
	sh := func(line string, env ...string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir, cmd.Env, cmd.Stderr = dir+"/clone", append(os.Environ(), env...), os.Stderr
		return cmd
	}
	modules := "modules=" + dir
	if err := sh(`GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" GOMODCACHE=$modules/mod GOFLAGS=-modcacherw exec go mod download`, modules).Run(); err != nil {
		t.Fatal(err)
	}
	tar := sh(makeBuilder, modules)
	load := e.command("import", "-c", "ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOPROXY=off GOMODCACHE=/go/pkg/mod GOTOOLCHAIN=local HOME=/go TMPDIR=/go/pkg", "-", "builder")
	pipe, err := tar.StdoutPipe()
	if err == nil {
		err = tar.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	load.Stdin = pipe
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := tar.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := sh("exec make -s cross").Run(); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		image := "from-source-" + arch
		e.build(t, image, dir+"/clone", dir+"/clone/Dockerfile", "--build-arg", "BUILDER=builder", "--platform", "linux/"+arch)
		if got := e.do(t, "inspect", "-f", "{{.Architecture}}", image); got != arch {
			t.Errorf("the image for %s is for %s", arch, got)
		}
		c := e.named(t)
		e.do(t, "create", "--platform", "linux/"+arch, "--name", c.name, image)
		e.do(t, "cp", c.name+":/usr/local/bin/secretboot", dir+"/"+arch)
		if got, want := digest(t, dir+"/"+arch), digest(t, filepath.Join(dir, "clone/bin/linux-"+arch+"/secretboot")); got != want {
			t.Errorf("the image has the binary %s, make cross gives %s", got, want)
		}
	}
	if r := e.try(t, append(append([]string{"run"}, quick()...), "from-source-"+runtime.GOARCH, "version")...); !strings.HasPrefix(r.out, "secretboot v0.0.0-") {
		t.Errorf("%+v", r) // it knows the commit
	}
}
