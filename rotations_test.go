package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// rotations is how many switches the readers of TestRotations live through.
const rotations = 1000

const rotationsConfig = `
refresh: { every: 5ms, splay: 0s }
keep_previous: 1s
files:
  - { path: n, secret: "secret/app#n" }
  - { path: tls.crt, secret: "secret/app#crt" }
  - { path: tls.key, secret: "secret/app#key" }
  - { path: deep/er/n, secret: "secret/app#n" }
`

// TestRotations switches as fast as it can, under readers that open ..data once
// and read below it, and such that follow the names: nobody sees a mixture of two
// generations, a part of a file, or none. The binary, the folder and the readers are
// real; a file stands in for Vault, as nothing else is as fast.
func TestRotations(t *testing.T) {
	dir, ours := t.TempDir(), ""
	ours = filepath.Join(dir, "secretboot")
	if out, err := exec.Command("go", "build", "-o", ours, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	sink, err := os.MkdirTemp("/dev/shm", "sb-rotations-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sink) })
	dev := filepath.Join(dir, "dev.yaml")
	pairs := keyPairs(t, 8)
	writeDev(t, dev, 0, pairs)
	if err := os.WriteFile(filepath.Join(dir, "sb.yaml"), []byte(rotationsConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	cmd := exec.Command(ours, "watch", "-c", filepath.Join(dir, "sb.yaml"), "--dev", dev, "--dir", sink)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	await(t, log, "the first generation", func() bool { _, err := os.Stat(filepath.Join(sink, "..data")); return err == nil })

	stop := make(chan struct{})
	var wait sync.WaitGroup
	var looks atomic.Int64
	for i := range 4 {
		wait.Go(func() {
			for seen := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				n, err := lookOnce(sink, i%2 == 0)
				if err != nil || n < seen {
					t.Errorf("reader %d at rotation %d: %v", i, n, err)
					return
				}
				seen = n
				looks.Add(1)
				time.Sleep(200 * time.Microsecond) // the binary needs the CPU too
			}
		})
	}
	began := time.Now()
	early := footprint{}
	for n := 1; n <= rotations; n++ {
		writeDev(t, dev, n, pairs)
		want := strconv.Itoa(n)
		await(t, log, "rotation "+want, func() bool {
			text, err := os.ReadFile(filepath.Join(sink, "n"))
			return err == nil && string(text) == want
		})
		if n == rotations/4 {
			early, err = footprintOf(cmd.Process.Pid)
		}
	}
	took := time.Since(began)
	late, lateErr := footprintOf(cmd.Process.Pid)
	close(stop)
	wait.Wait()
	t.Logf("%d rotations in %v, %d looks; RSS %d KiB, then %d; descriptors %d, then %d", rotations, took.Round(time.Millisecond), looks.Load(), early.rss, late.rss, early.fds, late.fds)
	if err := errors.Join(err, lateErr); err != nil || late.rss > early.rss+early.rss/4+2048 || late.fds > early.fds+2 {
		t.Errorf("%+v, then %+v; %v", early, late, err)
	}
	await(t, log, "the end of what was replaced", func() bool { return generations(sink) == 1 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	if left, err := os.ReadDir(sink); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// await waits for what another process does.
func await(t *testing.T, log fmt.Stringer, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited 30 s in vain for %s\n%.4000s", what, log)
}

// generations counts the folders of generations in a sink.
func generations(sink string) (n int) {
	entries, _ := os.ReadDir(sink)
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "..") {
			n++
		}
	}
	return n
}

// lookOnce reads one generation, and tells which. With held it opens ..data once;
// else it goes by the names, each of which may be of another generation.
func lookOnce(sink string, held bool) (n int, err error) {
	read := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(sink, name)) }
	if held {
		root, err := os.OpenRoot(filepath.Join(sink, "..data"))
		if err != nil {
			return 0, err
		}
		defer root.Close()
		read = root.ReadFile
	}
	texts := map[string]string{}
	for _, name := range []string{"n", "tls.crt", "tls.key", "deep/er/n"} {
		text, err := read(name)
		if err == nil && len(text) == 0 {
			err = errors.New(name + " is empty")
		}
		if err != nil {
			return 0, err
		}
		texts[name] = string(text)
	}
	if n, err = strconv.Atoi(texts["n"]); err != nil || !held {
		return n, err
	}
	if _, err := tls.X509KeyPair([]byte(texts["tls.crt"]), []byte(texts["tls.key"])); err != nil {
		return n, err
	}
	if texts["deep/er/n"] != texts["n"] {
		return n, errors.New("two files of one generation differ")
	}
	return n, nil
}

type keyPair struct{ crt, key string }

func keyPairs(t *testing.T, n int) (pairs []keyPair) {
	t.Helper()
	for i := range n {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), NotAfter: time.Now().Add(time.Hour)}
		crt, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, keyPair{
			string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: crt})),
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		})
	}
	return pairs
}

// writeDev replaces the file that stands in for Vault as an editor does.
func writeDev(t *testing.T, path string, n int, pairs []keyPair) {
	t.Helper()
	pair := pairs[n%len(pairs)]
	text, err := json.Marshal(map[string]any{"secret/data/app": map[string]string{"n": strconv.Itoa(n), "crt": pair.crt, "key": pair.key}})
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}
