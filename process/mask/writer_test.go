package mask

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// What can no longer become a secret is there when Write returns.
func TestHoldsBackNoMore(t *testing.T) {
	var out bytes.Buffer
	w := literals("hunter2-secret", "terminal", "abcXYZ", "XYZdef").Writer(&out, nil)
	for _, step := range []struct{ write, want string }{
		{"Password: ", "Password: "},
		{"hun", ""},
		{"t", ""},
		{"ing\n", "hunting\n"},
		{"hunter", ""}, // "ter" begins terminal
		{"minal", "hun***"},
		{"hunter2-secret", ""}, // touches the mark before
		{" hunter2-secret", " ***"},
		{" abcXYZ", " ***"},
		{"de", ""}, // belongs to the mark or does not
		{"?", "de?"},
		{"abcXYZdef", "***"},
		{"abcXYZ", ""},
		{"!", "!"},
		{"abcX", ""},
	} {
		out.Reset()
		if _, err := io.WriteString(w, step.write); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.want {
			t.Errorf("after %q: %q, want %q", step.write, out.String(), step.want)
		}
	}
	out.Reset()
	if err := w.Close(); err != nil || out.String() != "abcX" {
		t.Errorf("Close: %q, %v", out.String(), err)
	}
}

func TestAddWhileStreaming(t *testing.T) {
	for _, c := range []struct{ name, before, after, want string }{
		{"later bytes", "rotated2 ", "rotated2", "rotated2 ***"},
		{"what is held back", "first-se rota", "ted2 ", "first-se *** "},
		{"held back whole", "<first-secret-rotated2", "!", "<***-***!"},
		{"held back whole, and the end", "<first-secret-rotated2", "", "<***-***"},
		{"held back, not the new one", "<first-secret-rot", "or", "<***-rotor"},
		{"touches what is hidden", "<first-secret", "rotated2>", "<***>"},
		{"cut across what was passed on", "xrotated", "2 rotated2", "xrotated2 ***"},
		{"the old one still counts", "first-", "secret", "***"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := literals("first-secret", "rota!!!!", "first-secret-rotated2???")
			var out bytes.Buffer
			hits := map[string]int{}
			w := set.Writer(&out, func(h Hit) { hits[h.Name]++ })
			io.WriteString(w, c.before)
			if skipped := set.Add(Secret{"new", []byte("rotated2")}); skipped != nil {
				t.Fatal(skipped)
			}
			io.WriteString(w, c.after)
			if err := w.Close(); err != nil || out.String() != c.want {
				t.Errorf("%q, %v; want %q", out.String(), err, c.want)
			}
			if hits["s0"] > 1 || hits["new"] > 1 {
				t.Errorf("told of twice: %v", hits)
			}
		})
	}
}

// Streams run while secrets are added; the race detector watches.
func TestAddFromAnotherGoroutine(t *testing.T) {
	set := literals("first-secret")
	var all sync.WaitGroup
	started := make(chan struct{}, 2)
	added := make(chan struct{})
	for range 2 {
		all.Go(func() {
			var out bytes.Buffer
			w := set.Writer(&out, func(Hit) {})
			for i := range 200 {
				io.WriteString(w, "first-secret second-secret\n")
				if i == 50 {
					started <- struct{}{}
				}
			}
			<-added
			out.Reset()
			io.WriteString(w, "first-secret second-secret\n")
			if out.String() != "*** ***\n" {
				t.Errorf("after Add has returned: %q", out.String())
			}
		})
	}
	<-started
	set.Add(Secret{"second", []byte("second-secret")})
	close(added)
	all.Wait()
}

type limited struct {
	bytes.Buffer
	left int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	n, _ := l.Buffer.Write(p[:min(l.left, len(p))])
	l.left -= n
	if n < len(p) {
		return n, l.err
	}
	return n, nil
}

func TestDestinationFails(t *testing.T) {
	full := errors.New("full")
	for _, c := range []struct {
		name string
		err  error
		want error
	}{{"with an error", full, full}, {"without a word", nil, io.ErrShortWrite}} {
		t.Run(c.name, func(t *testing.T) {
			dst := &limited{left: 10, err: c.err}
			w := literals("hunter2").Writer(dst, nil)
			if n, err := w.Write([]byte("a hunter2 ")); n != 10 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			if n, err := w.Write([]byte("b hunter2 c")); n != 0 || !errors.Is(err, c.want) {
				t.Errorf("Write: %d, %v", n, err)
			}
			if n, err := w.Write([]byte("d")); n != 0 || !errors.Is(err, c.want) {
				t.Errorf("Write after it: %d, %v", n, err)
			}
			if err := w.Close(); !errors.Is(err, c.want) {
				t.Errorf("Close: %v", err)
			}
			if dst.String() != "a *** b **" {
				t.Errorf("written: %q", dst.String())
			}
		})
	}
	dst := &limited{left: piece + 10, err: full}
	w := literals("hunter2").Writer(dst, nil)
	if n, err := w.Write(bytes.Repeat([]byte("."), 3*piece)); n != piece || !errors.Is(err, full) {
		t.Errorf("a long Write: %d, %v", n, err)
	}
}

func TestClose(t *testing.T) {
	dst := &limited{left: 5, err: io.EOF}
	w := literals("hunter2").Writer(dst, nil)
	io.WriteString(w, "hunter")
	if err := w.Close(); !errors.Is(err, io.EOF) || dst.String() != "hunte" {
		t.Errorf("the destination failed at the end: %v, %q", err, dst.String())
	}
	if err := w.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := w.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Write after it: %v", err)
	}
	if bytes.Contains(w.buf[:cap(w.buf)], []byte("hunte")) {
		t.Error("the buffer still has it")
	}
}

func TestHits(t *testing.T) {
	set, _ := New(Options{}, Secret{"db#password", []byte("hunter2+")}, Secret{"key", []byte("line one is this\nline two is this\n")}, Secret{"copy", []byte("hunter2+")})
	text := "a\nb hunter2+ c\n\naHVudGVyMis=\n68756e7465723 68756E746572322B\nline two is this\n" +
		"-line one is this\nline two is this\n-hunter2%2Bhunter2+\n"
	at := func(s string) int64 { return int64(strings.Index(text, s)) }
	want := []Hit{
		{"db#password", "literal", at("hunter2+"), 2},
		{"copy", "literal", at("hunter2+"), 2},
		{"db#password", "base64", at("aHVud"), 4},
		{"copy", "base64", at("aHVud"), 4},
		{"db#password", "hex", at("68756E"), 5},
		{"copy", "hex", at("68756E"), 5},
		{"key", "line", at("line two"), 6},
		{"key", "line", at("-line") + 1, 7},
		{"db#password", "url", at("hunter2%2B"), 9},
		{"copy", "url", at("hunter2%2B"), 9},
	}
	for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text))} {
		var got []Hit
		if err := set.Scan(r, func(h Hit) { got = append(got, h) }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%v\nwant\n%v", got, want)
		}
	}
}

func TestScanReadError(t *testing.T) {
	set := literals("hunter2")
	broken := errors.New("broken")
	hits := 0
	r := io.MultiReader(strings.NewReader("a hunter2"), iotest.ErrReader(broken))
	if err := set.Scan(r, func(Hit) { hits++ }); !errors.Is(err, broken) || hits != 1 {
		t.Errorf("%v, %d hits", err, hits)
	}
}
