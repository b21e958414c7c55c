package main

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/sys/unix"
)

// faultCanaries are the secrets of the fault cases, each of which must be nowhere.
func faultCanaries() []string {
	return []string{faultValue, faultToken, "CANARY-role", "CANARY-secret-id"}
}

// encodings gives a secret as it is and in 13 encodings. It knows nothing of how the
// product does that.
func encodings(secret string) map[string]string {
	b := []byte(secret)
	all := map[string]string{
		"raw":          secret,
		"hex":          hex.EncodeToString(b),
		"hex, capital": strings.ToUpper(hex.EncodeToString(b)),
		"base32":       strings.TrimRight(base32.StdEncoding.EncodeToString(b[:len(b)/5*5]), "="),
	}
	for shift := range 3 { // what stands before it decides how bytes fall into groups of three
		padded := append(make([]byte, shift), b...)
		from, to := (shift*8+5)/6, len(padded)/3*4
		all[fmt.Sprintf("base64, shifted by %d", shift)] = base64.StdEncoding.EncodeToString(padded)[from:to]
		all[fmt.Sprintf("base64url, shifted by %d", shift)] = base64.URLEncoding.EncodeToString(padded)[from:to]
	}
	var percent, escaped, octal, wide strings.Builder
	for _, c := range b {
		fmt.Fprintf(&percent, "%%%02X", c)
		fmt.Fprintf(&escaped, `\u%04x`, c)
		fmt.Fprintf(&octal, `\%03o`, c)
	}
	for _, u := range utf16.Encode([]rune(secret)) {
		wide.WriteString(string([]byte{byte(u), byte(u >> 8)}))
	}
	all["percent"], all["JSON escapes"], all["octal"], all["UTF-16"] = percent.String(), escaped.String(), octal.String(), wide.String()
	return all
}

// leakIn names the first encoding of a secret in a text; "" is none.
func leakIn(text []byte, secrets []string) string {
	for _, s := range secrets {
		for name, form := range encodings(s) {
			if bytes.Contains(text, []byte(form)) {
				return name
			}
		}
	}
	return ""
}

// searchLeaks looks at all that a run apart can have left: what it said, its folders,
// /tmp and /dev/shm but for what was delivered, and core files. Nothing is left by
// name either, beside the folder itself.
func searchLeaks(t *testing.T, at faultPlace, said string, more func() []string) {
	t.Helper()
	secrets := faultCanaries()
	if more != nil {
		secrets = append(secrets, more()...)
	}
	if form := leakIn([]byte(said), secrets); form != "" {
		t.Errorf("a secret is in the output (%s)", form)
	}
	for _, dir := range []string{at.home, at.work, at.tmp, at.shm} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == dir || path == at.sink && dir == at.shm {
				if path == at.sink {
					return fs.SkipDir // checkLeft looks there
				}
				return err
			}
			t.Errorf("%s is left", path)
			if text, readErr := os.ReadFile(path); readErr == nil && leakIn(text, secrets) != "" {
				t.Errorf("a secret is in %s", path)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// watchArguments looks for secrets in the arguments of a process and of all that
// come from it, until done.
func watchArguments(t *testing.T, apart bool, pid int) (done func()) {
	if !apart {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			all := processes(t)
			for p := range all {
				if !descends(all, p, pid) {
					continue
				}
				text, _ := os.ReadFile("/proc/" + strconv.Itoa(p) + "/cmdline")
				if form := leakIn(text, faultCanaries()); form != "" {
					t.Errorf("a secret is in the arguments of process %d (%s)", p, form)
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

func descends(all map[int]procStat, p, from int) bool {
	for range 64 {
		if p == from {
			return true
		}
		if p <= 1 {
			return false
		}
		p = all[p].parent
	}
	return false
}

// fewDevices gives what stands for /dev: it has a termination log, as in a pod.
func fewDevices(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := errors.Join(os.Mkdir(dir+"/shm", 0o755), os.Symlink("/proc/self/fd", dir+"/fd"), os.WriteFile(dir+"/termination-log", nil, 0o666), os.Chmod(dir+"/termination-log", 0o666))
	for _, d := range []struct {
		name  string
		minor uint32
	}{{"null", 3}, {"zero", 5}, {"full", 7}, {"random", 8}, {"urandom", 9}} {
		err = errors.Join(err, unix.Mknod(dir+"/"+d.name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, d.minor))), os.Chmod(dir+"/"+d.name, 0o666))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkTerminationLog: it has the one line of the failure and its code, and else nothing.
func (r *faultRow) checkTerminationLog(t *testing.T, at faultPlace) {
	t.Helper()
	text := string(read(t, at.dev+"/termination-log"))
	if form := leakIn([]byte(text), faultCanaries()); form != "" {
		t.Errorf("a secret is in the termination log (%s)", form)
	}
	said, code, found := strings.Cut(strings.TrimSuffix(text, "\n"), " (code ")
	switch {
	case len(r.problems) == 0 && text == "", r.silent && text == "":
	case len(r.problems) > 0 && found && said == r.problems[0] && strings.Count(text, "\n") == 1:
		_, more, _ := strings.Cut(code, ")")
		if more != "" && more != fmt.Sprintf(" and %d more", len(r.problems)-1) {
			t.Errorf("the termination log ends with %q", more)
		}
	default:
		t.Errorf("the termination log is %q", text)
	}
}
