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
	"math/big"
	mathrand "math/rand/v2"
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

// rotator is what both tests of rotations share: the real binary, a real folder,
// and a file that stands in for Vault, as nothing else is as fast.
type rotator struct {
	t               *testing.T
	dir, ours, sink string
	pairs           []keyPair
	log             *lockedBuffer
	n               int // the last rotation

	stop  chan struct{}
	wait  sync.WaitGroup
	looks atomic.Int64
}

func newRotator(t *testing.T) *rotator {
	t.Helper()
	r := &rotator{t: t, dir: t.TempDir(), pairs: keyPairs(t, 8), log: &lockedBuffer{}, stop: make(chan struct{})}
	r.ours = filepath.Join(r.dir, "secretboot")
	if out, err := exec.Command("go", "build", "-o", r.ours, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var err error
	if r.sink, err = os.MkdirTemp("/dev/shm", "sb-rotations-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(r.sink) })
	if err := os.WriteFile(filepath.Join(r.dir, "sb.yaml"), []byte(rotationsConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	r.write()
	return r
}

// start starts the binary.
func (r *rotator) start() *exec.Cmd {
	r.t.Helper()
	cmd := exec.Command(r.ours, "watch", "-c", filepath.Join(r.dir, "sb.yaml"), "--dev", filepath.Join(r.dir, "dev.yaml"), "--dir", r.sink)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{"HOME=" + r.dir, "PATH=/usr/bin:/bin"}, r.log, r.log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// rotate changes what is delivered, and waits until it is there.
func (r *rotator) rotate() {
	r.t.Helper()
	r.n++
	r.write()
	r.arrived()
}

func (r *rotator) arrived() {
	r.t.Helper()
	want := strconv.Itoa(r.n)
	r.await("rotation "+want, func() bool {
		text, err := os.ReadFile(filepath.Join(r.sink, "n"))
		return err == nil && string(text) == want
	})
}

// read starts four readers: two open ..data once, two follow the names.
func (r *rotator) read() {
	for i := range 4 {
		r.wait.Go(func() {
			for seen := 0; ; {
				select {
				case <-r.stop:
					return
				default:
				}
				n, err := lookOnce(r.sink, i%2 == 0)
				if err != nil || n < seen {
					r.t.Errorf("reader %d, after rotation %d: %d, %v", i, seen, n, err)
					return
				}
				seen = n
				r.looks.Add(1)
				time.Sleep(200 * time.Microsecond) // the binary needs the CPU too
			}
		})
	}
}

// end ends the readers, and then the binary, which leaves nothing.
func (r *rotator) end(cmd *exec.Cmd) {
	r.t.Helper()
	close(r.stop)
	r.wait.Wait()
	r.await("the end of what was replaced", func() bool { return generations(r.sink) == 1 })
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		r.t.Errorf("%v\n%s", err, r.log)
	}
	if left, err := os.ReadDir(r.sink); err != nil || len(left) > 0 {
		r.t.Errorf("left: %v, %v", left, err)
	}
}

// TestRotations switches as fast as it can, under readers that open ..data once
// and read below it, and such that follow the names: nobody sees a mixture of two
// generations, a part of a file, or none.
func TestRotations(t *testing.T) {
	r := newRotator(t)
	cmd := r.start()
	r.arrived()
	r.read()
	began := time.Now()
	var early footprint
	var err error
	for range rotations {
		r.rotate()
		if r.n == rotations/4 {
			early, err = footprintOf(cmd.Process.Pid)
		}
	}
	took := time.Since(began)
	late, lateErr := footprintOf(cmd.Process.Pid)
	r.end(cmd)
	t.Logf("%d rotations in %v, %d looks; RSS %d KiB, then %d; descriptors %d, then %d", rotations, took.Round(time.Millisecond), r.looks.Load(), early.rss, late.rss, early.fds, late.fds)
	if err := errors.Join(err, lateErr); err != nil || late.rss > early.rss+early.rss/4+2048 || late.fds > early.fds+2 {
		t.Errorf("%+v, then %+v; %v", early, late, err)
	}
}

// TestRotationsKilled kills the binary in the middle of its rotations, and starts it
// again, under the same readers: they see as little of that.
func TestRotationsKilled(t *testing.T) {
	r := newRotator(t)
	cmd := r.start()
	r.arrived()
	r.read()
	random := mathrand.New(mathrand.NewPCG(1, uint64(time.Now().UnixNano())))
	const kills = 40
	for range kills {
		r.rotate()
		r.n++
		r.write() // and somewhere in this one
		time.Sleep(time.Duration(random.IntN(12000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		cmd = r.start()
		r.arrived()
	}
	r.rotate() // the last one has begun to keep what it found
	r.end(cmd)
	t.Logf("killed %d times, %d looks", kills, r.looks.Load())
}

// await waits for what another process does.
func (r *rotator) await(what string, ok func() bool) {
	r.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ok() {
			return
		}
	}
	r.t.Fatalf("waited 30 s in vain for %s\n%.4000s", what, r.log)
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

// write replaces the file that stands in for Vault as an editor does.
func (r *rotator) write() {
	r.t.Helper()
	path, pair := filepath.Join(r.dir, "dev.yaml"), r.pairs[r.n%len(r.pairs)]
	text, err := json.Marshal(map[string]any{"secret/data/app": map[string]string{"n": strconv.Itoa(r.n), "crt": pair.crt, "key": pair.key}})
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
