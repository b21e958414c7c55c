package process

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hiddenNeedle is text that is in memory only where it was written on purpose: what
// is compared with is its complement.
type hiddenNeedle []byte

func newHiddenNeedle() hiddenNeedle {
	n := make(hiddenNeedle, 12)
	_, _ = rand.Read(n)
	return n
}

// write writes it, again and again, into b.
func (n hiddenNeedle) write(b []byte) {
	for i := range b {
		b[i] = ^n[i%len(n)]
	}
}

// count tells how often it begins in a text.
func (n hiddenNeedle) count(text []byte) (found int) {
	for from := 0; ; {
		i := bytes.IndexByte(text[from:], ^n[0])
		if i < 0 || from+i+len(n) > len(text) {
			return found
		}
		from += i
		same := true
		for j := range n {
			same = same && text[from+j] == ^n[j]
		}
		if same {
			found++
		}
		from++
	}
}

// inOwnMemory counts it in all that this process can write to. What is read goes
// where no memory is allocated meanwhile.
func (n hiddenNeedle) inOwnMemory(t *testing.T) (found int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const room = 1 << 20
	buf, err := unix.Mmap(-1, 0, room, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(buf) }()
	for lines := bufio.NewScanner(bytes.NewReader(maps)); lines.Scan(); {
		var first, last uint64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &first, &last, &mode); err != nil || !strings.HasPrefix(mode, "rw") {
			continue
		}
		for at := first; at < last; at += room - uint64(len(n)) {
			got, _ := mem.ReadAt(buf[:min(room, last-at)], int64(at))
			found += n.count(buf[:got])
			clear(buf)
		}
	}
	return found
}

// TestWash: of what was let go of, whatever its size was, only what lies in stacks and
// at the odd ends of pages is left, where the collector alone leaves nearly everything.
func TestWash(t *testing.T) {
	n, keep := newHiddenNeedle(), [][]byte{}
	made := make(chan struct{})
	go func() { // on a stack that ends
		defer close(made)
		for size := 40; size < 20<<10; size += 1 + size/20 {
			for range 20 {
				n.write(make([]byte, size)) // up to 32 bytes could be on the stack
				keep = append(keep, make([]byte, size))
			}
		}
	}()
	<-made
	debug.FreeOSMemory()
	before := n.inOwnMemory(t)
	if before < 100_000 {
		t.Fatalf("it is there %d times only: the test proves nothing", before)
	}
	Wash()
	left := n.inOwnMemory(t)
	t.Logf("it is there %d times, of %d", left, before)
	if left > before/5 {
		t.Errorf("it is there %d times, of %d", left, before)
	}
	for _, b := range keep {
		if len(bytes.Trim(b, "\x00")) > 0 {
			t.Fatal("what is in use was changed")
		}
	}
	runtime.KeepAlive(keep)
}

// TestWashKeepsSettings: what it needs for itself is as it was afterwards.
func TestWashKeepsSettings(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	Wash()
	if now := runtime.GOMAXPROCS(0); now != before {
		t.Errorf("%d processors, %d before", now, before)
	}
}
