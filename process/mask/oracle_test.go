package mask

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// oracle masks a whole text the slow and obvious way.
func oracle(s *Set, text []byte) []byte {
	covered := make([]bool, len(text))
	cover(covered, s, text)
	return withMarks(covered, s.mark, text)
}

// cover notes the bytes that belong to an occurrence of any pattern.
func cover(covered []bool, s *Set, text []byte) {
	for _, p := range s.patterns {
		for at := 0; ; at++ {
			i := bytes.Index(text[at:], p.text)
			if i < 0 {
				break
			}
			at += i
			for j := range p.text {
				covered[at+j] = true
			}
		}
	}
}

func withMarks(covered []bool, mark string, text []byte) []byte {
	var out []byte
	for i, c := range text {
		if !covered[i] {
			out = append(out, c)
		} else if i == 0 || !covered[i-1] {
			out = append(out, mark...)
		}
	}
	return out
}

// masked writes the parts one after the other and returns what came out.
func masked(t testing.TB, s *Set, parts ...[]byte) string {
	t.Helper()
	var out bytes.Buffer
	w := s.Writer(&out, nil)
	for _, p := range parts {
		if n, err := w.Write(p); n != len(p) || err != nil {
			t.Fatalf("Write of %d bytes: %d, %v", len(p), n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return out.String()
}

// literals is a Set that looks for the values as they are, without the forms, so
// that a case is about what it shows.
func literals(values ...string) *Set {
	s, _ := New(Options{Min: gram})
	for i, v := range values {
		s.names = append(s.names, fmt.Sprintf("s%d", i))
		s.patterns = append(s.patterns, pattern{[]byte(v), []owner{{i, "literal"}}})
	}
	s.patterns = unite(s.patterns)
	s.current.Store(build(s.patterns, s.names))
	return s
}

func secrets(values ...string) []Secret {
	var list []Secret
	for i, v := range values {
		list = append(list, Secret{fmt.Sprintf("s%d", i), []byte(v)})
	}
	return list
}

// split cuts at the bars.
func split(text string) [][]byte {
	var parts [][]byte
	for _, p := range strings.Split(text, "|") {
		parts = append(parts, []byte(p))
	}
	return parts
}

func bytewise(b []byte) [][]byte {
	var parts [][]byte
	for i := range b {
		parts = append(parts, b[i:i+1])
	}
	return parts
}
