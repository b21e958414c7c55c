package container_test

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// long tells whether the long tests are wanted in full.
func long() bool { return os.Getenv("DOCKER_TEST_LONG") != "" }

// clone makes one of the checkout, at its last commit.
func clone(t *testing.T, dir string) {
	t.Helper()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("git", "-c", "safe.directory=*", "clone", "-q", root, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("git clone: %v\n%s", err, out)
	}
}

// TestReproducible: two builds of one commit, in other folders, at other times, with
// another umask and other languages, are one binary; as is the one for the image.
func TestReproducible(t *testing.T) {
	var digests []string
	for i, where := range []string{"a", "somewhere/else/altogether"} {
		dir := filepath.Join(t.TempDir(), where)
		clone(t, dir)
		line := []string{"umask 022; exec make -s build", "umask 077; exec make -s bin/linux-amd64/secretboot"}[i]
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOARCH=amd64", "GOFLAGS=", "LANG="+[]string{"C", "de_DE.UTF-8"}[i], "TZ="+[]string{"UTC", "Asia/Tokyo"}[i])
		if long() {
			cmd.Env = append(cmd.Env, "GOCACHE="+t.TempDir()) // compiled anew, each package
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		digests = append(digests, digest(t, dir+"/bin/"+[]string{"secretboot", "linux-amd64/secretboot"}[i]))
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds differ: %s and %s", digests[0], digests[1])
	}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestPlatforms: what `make cross` builds is for the platform that it says, and static:
// nothing is asked to load it.
func TestPlatforms(t *testing.T) {
	built(t, "make", "-s", "-C", repository, "cross")
	for name, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		f, err := elf.Open(filepath.Join(repository, "bin/linux-"+name+"/secretboot"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Machine != machine || f.Class != elf.ELFCLASS64 || f.Type != elf.ET_EXEC {
			t.Errorf("%s: %v %v %v", name, f.Machine, f.Class, f.Type)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is not static: it has a %v", name, p.Type)
			}
		}
	}
}

// TestBuildContext: the build in a container gets what a clone has, neither more nor
// less, or its binary would be another one, marked as of a changed checkout.
func TestBuildContext(t *testing.T) {
	lines := func(name string) (list []string) {
		text, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				list = append(list, line)
			}
		}
		return list
	}
	if git, docker := strings.Join(lines(".gitignore"), "\n"), strings.Join(lines(".dockerignore"), "\n"); git != docker {
		t.Errorf(".gitignore has\n%s\n.dockerignore has\n%s", git, docker)
	}
}
