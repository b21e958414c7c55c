package render

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// These tests have the real consumer of a format read what was written. One that
// every machine with our CI must have is an error when it is missing there.

// program finds a consumer, or skips the test loudly.
func program(t *testing.T, name string, everywhere bool) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case everywhere && os.Getenv("CI") != "":
		t.Fatalf("CI must have %s", name)
	default:
		t.Skipf("SKIPPED: there is no %s here: what it reads was NOT checked", name)
	}
	return path
}

// consume writes all texts that the format accepts into one file, lets read
// give them back, and compares. usable leaves out what read cannot show.
func consume(t *testing.T, format plan.Format, usable func(string) bool, read func(file string) map[string]string) {
	t.Helper()
	fields, want := map[string]any{}, map[string]string{}
	for i, text := range oddTexts() {
		if _, whys := writeLines(format, map[string]any{"K": text}); whys == "" && usable(text) {
			name := fmt.Sprintf("SB_%d", i)
			fields[name], want[name] = text, text
		}
	}
	b, whys := writeLines(format, fields)
	if whys != "" || len(want) < 200 {
		t.Fatalf("%d texts; %s", len(want), whys)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, b, 0o400); err != nil {
		t.Fatal(err)
	}
	got := read(file)
	maps.DeleteFunc(got, func(name, _ string) bool { return !strings.HasPrefix(name, "SB_") })
	for name, text := range want {
		if value, ok := got[name]; !ok || value != text {
			t.Errorf("%.80q became %.80q (%v)", text, value, ok)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d variables, want %d", len(got), len(want))
	}
}

func every(string) bool { return true }

// output gives what a program prints, which must not complain.
func output(t *testing.T, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"), "HOME=/nonexistent")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s", name, err, stderr.Bytes())
	}
	return out
}

func variables(nulSeparated []byte) map[string]string {
	vars := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(nulSeparated), "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		vars[name] = value
	}
	return vars
}

// TestShellsSource: sh, dash and bash source both formats, in any locale.
func TestShellsSource(t *testing.T) {
	for _, shell := range []string{"sh", "dash", "bash", "bash --posix"} {
		for format, keyword := range map[plan.Format]string{plan.FormatExport: "", plan.FormatDotenv: "set -a; "} {
			for _, locale := range []string{"C", "C.UTF-8"} {
				t.Run(shell+"/"+format.String()+"/"+locale, func(t *testing.T) {
					words := strings.Fields(shell)
					path := program(t, words[0], words[0] != "dash")
					consume(t, format, every, func(file string) map[string]string {
						args := append(words[1:], "-eu", "-c", keyword+`. "$1"; exec env -0`, "sh", file)
						return variables(output(t, []string{"LC_ALL=" + locale}, path, args...))
					})
				})
			}
		}
	}
}

// TestNodeReadsDotenv: Node's own reader, that of `node --env-file`.
func TestNodeReadsDotenv(t *testing.T) {
	const script = `const fs = require("fs"), {parseEnv} = require("util")
process.stdout.write(JSON.stringify(parseEnv(fs.readFileSync(process.argv[1], "utf8"))))`
	node := program(t, "node", false)
	consume(t, plan.FormatDotenv, every, func(file string) map[string]string {
		var vars map[string]string
		if err := json.Unmarshal(output(t, nil, node, "--no-warnings", "-e", script, file), &vars); err != nil {
			t.Fatal(err)
		}
		return vars
	})
}

// TestDockerReadsEnvFile: the docker command reads the file and sends what it
// found to a daemon, which is ours.
func TestDockerReadsEnvFile(t *testing.T) {
	docker := program(t, "docker", false)
	var created struct{ Env []string }
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/containers/create") {
			if err := json.NewDecoder(r.Body).Decode(&created); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"Id": "c0ffee"}`)
		}
	}))
	defer daemon.Close()
	consume(t, plan.FormatDockerEnv, every, func(file string) map[string]string {
		host := "DOCKER_HOST=tcp://" + daemon.Listener.Addr().String()
		output(t, []string{host, "DOCKER_CONFIG=" + t.TempDir()}, docker, "create", "--env-file", file, "image")
		return variables([]byte(strings.Join(created.Env, "\x00")))
	})
}

// TestSystemdReadsEnvironmentFile: systemd's generator of the user's environment
// reads its files with the parser of EnvironmentFile=. It expands variables after
// that and warns of empty ones, so such texts are left to readSystemd.
func TestSystemdReadsEnvironmentFile(t *testing.T) {
	generator := program(t, "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator", false)
	usable := func(s string) bool { return s != "" && !strings.Contains(s, "$") }
	consume(t, plan.FormatSystemdEnv, usable, func(file string) map[string]string {
		home := t.TempDir()
		if err := os.Mkdir(filepath.Join(home, "environment.d"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file, filepath.Join(home, "environment.d", "secret.conf")); err != nil {
			t.Fatal(err)
		}
		// It prints a line for each, in double quotes with escapes of C if need be.
		unescape := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\"`, `"`, "\\`", "`", `\$`, "$")
		vars := map[string]string{}
		for line := range strings.Lines(string(output(t, []string{"XDG_CONFIG_HOME=" + home}, generator))) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			if inner, ok := strings.CutPrefix(value, `"`); ok {
				value = unescape.Replace(strings.TrimSuffix(inner, `"`))
			}
			vars[name] = value
		}
		return vars
	})
}

// TestJavaLoadsProperties: both of its load methods.
func TestJavaLoadsProperties(t *testing.T) {
	java := program(t, "java", false)
	consume(t, plan.FormatProperties, every, func(file string) map[string]string {
		vars := map[string]string{}
		source, err := filepath.Abs("testdata/Load.java")
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(string(output(t, nil, java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", source, file)))
		if len(lines)%3 != 0 || len(lines) == 0 {
			t.Fatalf("java printed %d words", len(lines))
		}
		for group := range slices.Chunk(lines, 3) {
			if group[1] != group[2] {
				t.Errorf("the stream and the reader differ: %s", group)
			}
			name, nameErr := base64.StdEncoding.DecodeString(strings.TrimPrefix(group[0], "."))
			value, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(group[1], "."))
			if nameErr != nil || err != nil {
				t.Fatal(nameErr, err)
			}
			vars[string(name)] = string(value)
		}
		return vars
	})
}
