package mask

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// texts makes texts out of pieces of secrets, so that near misses, overlaps and
// repetitions are what they consist of.
func makeText(r *rand.Rand, forms []pattern, n int) []byte {
	var text []byte
	for len(text) < n {
		switch p := forms[r.IntN(len(forms))].text; r.IntN(6) {
		case 0:
			text = append(text, p...)
		case 1:
			text = append(text, p[:r.IntN(len(p))]...)
		case 2:
			text = append(text, p[r.IntN(len(p)):]...)
		case 3:
			at := r.IntN(len(p))
			text = append(append(append(text, p[:at]...), '#'), p[at+1:]...)
		case 4:
			text = append(text, " ordinary log text, 42\n"[:1+r.IntN(22)]...)
		default:
			text = append(text, byte(r.Uint32()))
		}
	}
	return text
}

func makeSecret(r *rand.Rand) string {
	alphabets := []string{
		"ab", "abc'\"", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
		"0123456789abcdef", "a1 $&<>\\/%+='\"\t\né✓", "xyz\n",
	}
	alphabet := []rune(alphabets[r.IntN(len(alphabets))])
	var b strings.Builder
	for range 6 + r.IntN(30) {
		b.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

// Every place where 200 texts can be cut in two, with 20 secrets in all forms.
func TestEverySplit(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 4))
	for i := range 200 {
		var list []Secret
		for j := range 20 {
			list = append(list, Secret{fmt.Sprint(j), []byte(makeSecret(r))})
		}
		set, _ := New(Options{}, list...)
		text := makeText(r, set.patterns, 150)
		want := oracle(set, text)
		for cut := range len(text) + 1 {
			if got := masked(t, set, text[:cut], text[cut:]); got != string(want) {
				t.Fatalf("text %d cut at %d:\n got %q\nwant %q", i, cut, got, want)
			}
		}
		checkAdd(t, r, list, text)
		if got := masked(t, set, bytewise(text)...); got != string(want) {
			t.Fatalf("text %d byte by byte:\n got %q\nwant %q", i, got, want)
		}
		for _, p := range set.patterns {
			if !bytes.ContainsAny(p.text, "*") && bytes.Contains(want, p.text) {
				t.Fatalf("text %d: a form is left in the output", i)
			}
		}
	}
}

// FuzzMask checks against the oracle: what comes out, that cuts make no
// difference, that no form is left, and that the hits are where one is.
func FuzzMask(f *testing.F) {
	f.Add("aaaab\x00abab", "aaaaaaab", uint64(1), uint8(4))
	f.Add("abcXYZ\x00XYZdef", "-abcXYZdef-", uint64(2), uint8(1))
	f.Add("hunter2hunter2x\x00hunter2", "hunter2hunter2hunter2x", uint64(3), uint8(7))
	f.Add("first line of it\nsecond line of it", "", uint64(4), uint8(0))
	f.Add("p&ss'w\"rd\\<\x00 \t\x01é", "", uint64(5), uint8(3))
	f.Fuzz(func(t *testing.T, values, text string, seed uint64, width uint8) {
		if len(values) > 400 || len(text) > 4000 {
			t.Skip("the oracle is slow")
		}
		r := rand.New(rand.NewPCG(seed, 0))
		set, _ := New(Options{Min: gram}, secrets(strings.Split(values, "\x00")...)...)
		whole := []byte(text)
		if len(set.patterns) > 0 {
			whole = append(whole, makeText(r, set.patterns, r.IntN(600))...)
		}
		want := oracle(set, whole)
		if got := masked(t, set, whole); got != string(want) {
			t.Fatalf("whole:\n got %q\nwant %q", got, want)
		}
		if got := masked(t, set, cut(r, whole, int(width))...); got != string(want) {
			t.Fatalf("cut:\n got %q\nwant %q", got, want)
		}
		for _, p := range set.patterns {
			if !bytes.ContainsAny(p.text, "*") && bytes.Contains(want, p.text) {
				t.Fatal("a form is left in the output")
			}
		}
		checkHits(t, set, whole)
		checkAdd(t, r, secrets(strings.Split(values, "\x00")...), whole)
	})
}

// checkAdd adds half of the secrets in the middle of the text. They count from
// what is held back then; the others count everywhere.
func checkAdd(t *testing.T, r *rand.Rand, list []Secret, text []byte) {
	t.Helper()
	half, at := len(list)/2, r.IntN(len(text)+1)
	set, _ := New(Options{Min: gram}, list[:half]...)
	var out bytes.Buffer
	w := set.Writer(&out, func(Hit) {})
	w.Write(text[:at])
	covered := make([]bool, len(text))
	cover(covered, set, text)
	set.Add(list[half:]...)
	cover(covered[w.base:], set, text[w.base:])
	w.Write(text[at:])
	w.Close()
	if want := withMarks(covered, set.mark, text); !bytes.Equal(out.Bytes(), want) {
		t.Fatalf("added at %d, %d held back:\n got %q\nwant %q", at, at-int(w.base), out.Bytes(), want)
	}
}

// cut cuts at random, into parts of at most width+1 bytes.
func cut(r *rand.Rand, b []byte, width int) [][]byte {
	var parts [][]byte
	for len(b) > 0 {
		n := min(r.IntN(width+2), len(b))
		parts = append(parts, b[:n])
		b = b[n:]
	}
	return parts
}

// checkHits holds the hits of a scan against what is there: a form of that secret
// at that place and line, and every secret that is there is told of.
func checkHits(t *testing.T, set *Set, text []byte) {
	t.Helper()
	told := map[string]bool{}
	err := set.Scan(bytes.NewReader(text), func(h Hit) {
		told[h.Name] = true
		if want := 1 + bytes.Count(text[:h.Offset], []byte("\n")); h.Line != want {
			t.Fatalf("line %d, want %d", h.Line, want)
		}
		if !slices.ContainsFunc(set.patterns, func(p pattern) bool {
			return bytes.HasPrefix(text[h.Offset:], p.text) && slices.ContainsFunc(p.owners, func(o owner) bool {
				return set.names[o.secret] == h.Name && o.kind == h.Kind
			})
		}) {
			t.Fatalf("%+v is not there", h)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.patterns {
		if !bytes.Contains(text, p.text) {
			continue
		}
		for _, o := range p.owners {
			if !told[set.names[o.secret]] {
				t.Fatalf("secret %s (%s) was not told of", set.names[o.secret], o.kind)
			}
		}
	}
}
