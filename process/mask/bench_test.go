package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The secrets of the figures: passwords, tokens, hexadecimal keys and UUIDs, of 16
// to 64 bytes, as they are in most stores.
func benchSecrets(n int) []Secret {
	r := rand.New(rand.NewPCG(100, uint64(n)))
	draw := func(alphabet string, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return b
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	var list []Secret
	for i := range n {
		var v []byte
		switch i % 5 {
		case 0, 4:
			v = draw(letters+"!#$%&*+-/<=>?@^_~", 16+r.IntN(16))
		case 1:
			v = append([]byte("tok_"), draw(letters+"+/+/+/", 36)...)
		case 2:
			v = draw("0123456789abcdef", 64)
		default:
			h := draw("0123456789abcdef", 32)
			v = fmt.Appendf(nil, "%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
		}
		list = append(list, Secret{fmt.Sprintf("secret/app/%d#value", i), v})
	}
	return list
}

const benchSize = 4 << 20

func logText(r *rand.Rand, n int) []byte {
	words := []string{
		"GET", "POST", "/api/v1/users/", "/healthz", "connection", "accepted", "from", "timeout", "retry", "level=info",
		"msg=\"request done\"", "took", "ms", "worker", "started", "user", "session", "database", "query", "rows", "cache",
		"miss", "for", "the", "pool", "with", "status=200", "status=404", "bytes", "upstream", "trace_id",
	}
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "2026-11-22T08:%02d:%02d.%03dZ ", r.IntN(60), r.IntN(60), r.IntN(1000))
		for range 6 + r.IntN(8) {
			b.WriteString(words[r.IntN(len(words))])
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "id=%016x n=%d\n", r.Uint64(), r.IntN(100000))
	}
	return b.Bytes()[:n]
}

// nearMisses are the forms of the secrets, one after the other, each with one byte
// changed somewhere.
func nearMisses(r *rand.Rand, patterns []pattern, n int) []byte {
	var b []byte
	for len(b) < n {
		p := patterns[r.IntN(len(patterns))].text
		at := len(b) + r.IntN(len(p))
		b = append(b, p...)
		b[at] ^= 1
	}
	return b[:n]
}

func base64Text(r *rand.Rand, n int) []byte {
	return []byte(base64.StdEncoding.EncodeToString(binaryText(r, n)))[:n]
}

func hexText(r *rand.Rand, n int) []byte { return []byte(hex.EncodeToString(binaryText(r, n)))[:n] }

func binaryText(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// withHits is log text that has a secret in every line.
func withHits(r *rand.Rand, patterns []pattern, n int) []byte {
	var b []byte
	for line := range bytes.SplitAfterSeq(logText(r, n), []byte("\n")) {
		b = append(append(b, patterns[r.IntN(len(patterns))].text...), line...)
	}
	return b[:n]
}

func BenchmarkWrite(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 10, 100, 1000} {
		set, _ := New(Options{}, benchSecrets(n)...)
		texts := []struct {
			name string
			text []byte
		}{
			{"log", logText(r, benchSize)},
			{"near", nearMisses(r, set.patterns, benchSize)},
			{"hits", withHits(r, set.patterns, benchSize)},
			{"binary", binaryText(r, benchSize)},
			{"base64", base64Text(r, benchSize)},
			{"hex", hexText(r, benchSize)},
		}
		for _, text := range texts {
			b.Run(fmt.Sprintf("secrets=%d/%s", n, text.name), func(b *testing.B) {
				benchWrite(b, set, text.text, 32<<10)
			})
		}
		b.Run(fmt.Sprintf("secrets=%d/log-by-line", n), func(b *testing.B) { benchWrite(b, set, texts[0].text, 100) })
	}
}

// A six-byte secret among them makes the filter look at every third byte.
func BenchmarkWriteShortSecret(b *testing.B) {
	set, _ := New(Options{}, append(benchSecrets(100), Secret{"short", []byte("s3cr3t")})...)
	r := rand.New(rand.NewPCG(1, 1))
	b.Run("log", func(b *testing.B) { benchWrite(b, set, logText(r, benchSize), 32<<10) })
	b.Run("near", func(b *testing.B) { benchWrite(b, set, nearMisses(r, set.patterns, benchSize), 32<<10) })
	b.Run("binary", func(b *testing.B) { benchWrite(b, set, binaryText(r, benchSize), 32<<10) })
}

func benchWrite(b *testing.B, set *Set, text []byte, width int) {
	hits := 0
	w := set.Writer(io.Discard, func(Hit) { hits++ })
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		for rest := text; len(rest) > 0; {
			n := min(width, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	b.ReportMetric(float64(len(text))*float64(b.N)/1e6/(cpuTime(b)-before).Seconds(), "MB/cpu-s")
	b.ReportMetric(float64(len(set.patterns)), "patterns")
	b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
}

// cpuTime is what this process has used of the processors. By it a figure does
// not depend on who else uses the machine, as long as there is one thread.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchKeys are private keys of 1,700 bytes in PEM.
func benchKeys(n int) []Secret {
	r := rand.New(rand.NewPCG(100, uint64(n)))
	var list []Secret
	for i := range n {
		block := &pem.Block{Type: "PRIVATE KEY", Bytes: binaryText(r, 1217)}
		list = append(list, Secret{fmt.Sprintf("secret/tls/%d#key", i), pem.EncodeToMemory(block)})
	}
	return list
}

func BenchmarkBuild(b *testing.B) {
	for _, c := range []struct {
		name string
		list []Secret
	}{
		{"secrets=1", benchSecrets(1)},
		{"secrets=100", benchSecrets(100)},
		{"secrets=1000", benchSecrets(1000)},
		{"keys=10", benchKeys(10)},
		{"keys=100", benchKeys(100)},
	} {
		list := c.list
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			var set *Set
			before := cpuTime(b)
			for b.Loop() {
				set, _ = New(Options{}, list...)
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()*1e3/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(len(set.patterns)), "patterns")
			b.ReportMetric(float64(len(set.current.Load().nodes)), "states")
		})
	}
}

// The aim is 64 MiB for 100 secrets in all forms with two streams. All that was
// ever allocated counts, garbage too, so it is never more than that.
func TestMemory(t *testing.T) {
	list := benchSecrets(100)
	text := logText(rand.New(rand.NewPCG(1, 1)), 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	set, _ := New(Options{}, list...)
	stdout, stderr := set.Writer(io.Discard, nil), set.Writer(io.Discard, nil)
	stdout.Write(text)
	stderr.Write(text)
	runtime.ReadMemStats(&after)
	used := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d patterns, %d states, %d KiB allocated in all", len(set.patterns), len(set.current.Load().nodes), used>>10)
	if used > 64<<20 {
		t.Errorf("%d MiB", used>>20)
	}
	runtime.KeepAlive(stdout)
	runtime.KeepAlive(stderr)
}

func TestWriteDoesNotAllocate(t *testing.T) {
	set, _ := New(Options{}, benchSecrets(100)...)
	hits := 0
	w := set.Writer(io.Discard, func(Hit) { hits++ })
	text := withHits(rand.New(rand.NewPCG(1, 1)), set.patterns, 128<<10)
	for _, width := range []int{7, 100, 32 << 10, 100 << 10} {
		write := func() {
			for rest := text; len(rest) > 0; {
				n := min(width, len(rest))
				w.Write(rest[:n])
				rest = rest[n:]
			}
		}
		write()
		if n := testing.AllocsPerRun(3, write); n != 0 {
			t.Errorf("writes of %d bytes: %v allocations for the whole text", width, n)
		}
	}
	if hits == 0 {
		t.Error("the text has no hits")
	}
}
