package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstall runs what docs/install.md says, below a folder of its own, and has bash
// complete a flag with what is there then.
func TestInstall(t *testing.T) {
	for _, tool := range []string{"make", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("CI must have %s", tool)
			}
			t.Skipf("no %s", tool)
		}
	}
	dir := t.TempDir()
	// The checkout's own bin stays as it is: another test may use it.
	cmd := exec.Command("sh", "-c", `make install PREFIX=/usr/local DESTDIR="$1" BIN="$1/build"`, "sh", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root := filepath.Join(dir, "usr/local")
	for path, mode := range map[string]os.FileMode{
		"bin/secretboot": 0o755, "share/man/man1/secretboot.1": 0o644, "share/bash-completion/completions/secretboot": 0o644,
		"share/doc/secretboot/LICENSE": 0o644, "share/doc/secretboot/THIRD_PARTY_LICENSES": 0o644,
		"share/zsh/site-functions/_secretboot": 0o644, "share/fish/vendor_completions.d/secretboot.fish": 0o644,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode().Perm()&^0o022 != mode&^0o022 || info.Size() == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	script := `set -e
. <(secretboot completion bash)
cmp <(secretboot completion bash) "$1/share/bash-completion/completions/secretboot"
complete -p secretboot
secretboot __complete run --fail-on`
	cmd = exec.Command("bash", "-c", script, "bash", root)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "__start_secretboot secretboot\n--fail-on-leak\t") {
		t.Errorf("%v\n%s", err, out)
	}
}
