package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// eachRegion shows all that a process has in memory, region by region, as a core file
// would: what /proc/PID/maps lists and can be read. It needs no debugger, and stops
// nothing: a process that works meanwhile is seen in part before, in part after.
func eachRegion(pid int, show func(name string, at uint64, text []byte)) error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return err
	}
	defer mem.Close()
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		from, to, ok := strings.Cut(words[0], "-")
		first, err1 := strconv.ParseUint(from, 16, 64)
		last, err2 := strconv.ParseUint(to, 16, 64)
		if !ok || err1 != nil || err2 != nil || !strings.HasPrefix(words[1], "r") {
			continue
		}
		name := "anonymous"
		if len(words) > 5 {
			name = words[5]
		}
		if name == "[vvar]" || name == "[vsyscall]" || name == "[vvar_vclock]" || last-first > 1<<30 {
			continue
		}
		text := make([]byte, last-first)
		n, _ := mem.ReadAt(text, int64(first)) // what was unmapped meanwhile
		show(name, first, text[:n])
	}
	return lines.Err()
}

// copies counts the needles in the memory of a process.
func copies(t *testing.T, pid int, needles ...needle) map[string]int {
	t.Helper()
	counts, size := map[string]int{}, 0
	err := eachRegion(pid, func(name string, at uint64, text []byte) {
		size += len(text)
		for _, n := range needles {
			counts[n.name] += n.count(text)
			if os.Getenv("LEAKPROOF_SHOW") != "" && n.count(text) > 0 {
				showCopies(t, n, name, at, text)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if size < 1<<20 {
		t.Fatalf("only %d bytes of process %d could be read", size, pid)
	}
	return counts
}

// showCopies tells where they are, for whoever hunts them: with LEAKPROOF_SHOW=1.
func showCopies(t *testing.T, n needle, region string, at uint64, text []byte) {
	for _, f := range n.forms {
		for from := 0; ; {
			i := bytes.Index(text[from:], f.text)
			if i < 0 {
				break
			}
			i += from
			from = i + 1
			t.Logf("%s %s at %x (%s): %q", n.name, f.name, at+uint64(i), region, text[max(0, i-60):min(len(text), i+len(f.text)+60)])
		}
	}
}
