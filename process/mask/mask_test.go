package mask

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// A bar is where one write ends and the next begins.
func TestMask(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1000)
	for _, c := range []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"nothing", []string{"hunter2"}, "no secret here", "no secret here"},
		{"empty text", []string{"hunter2"}, "", ""},
		{"no secrets", nil, "hunter2", "hunter2"},
		{"alone", []string{"hunter2"}, "hunter2", "***"},
		{"inside", []string{"hunter2"}, "<hunter2>", "<***>"},
		{"cut", []string{"hunter2"}, "<hun|ter2>", "<***>"},
		{"cut often", []string{"hunter2"}, "<h|u|n|t|e|r|2|>", "<***>"},
		{"empty writes", []string{"hunter2"}, "<hun||ter2|>|", "<***>"},
		{"only begun", []string{"hunter2"}, "<hunter", "<hunter"},
		{"begun again", []string{"hunter2"}, "hunterhunter2hunter", "hunter***hunter"},
		{"at the cut, begun before", []string{"hunter2hunter2x"}, "hunter2hunter2|hunter2x", "hunter2***"},
		{"prefix repeats across the cut", []string{"aaaab"}, "aaaa|aaab", "aaa***"},
		{"prefix repeats, longer", []string{"abab9secret"}, "abab|abab9secret", "abab***"},
		{"two, begun inside the other", []string{"ababX9", "abX9secret"}, "abab|abX9secret", "ab***"},
		{"overlap of equal length", []string{"abcXYZ", "XYZdef"}, "abcXYZdef", "***"},
		{"overlap, cut", []string{"abcXYZ", "XYZdef"}, "abc|XYZ|def", "***"},
		{"overlap, the other order", []string{"XYZdef", "abcXYZ"}, "-abcXYZdef-XYZdef-abcXYZ-", "-***-***-***-"},
		{"overlap that does not come", []string{"abcXYZ", "XYZdef"}, "abcXYZ|de-", "***de-"},
		{"overlap with itself", []string{"abcabc"}, "abcabcabc|abc", "***"},
		{"touching", []string{"secret1", "secret2"}, "secret1|secret2", "***"},
		{"apart by one", []string{"secret1", "secret2"}, "secret1|,|secret2", "***,***"},
		{"nested, short first", []string{"inner1", "<inner1>"}, "a<inner1>b", "a***b"},
		{"nested, outer does not come", []string{"inner1", "<inner1>>>"}, "a<inner1>|>b", "a<***>>b"},
		{"two inside, outer does not come", []string{"inner1", "inner2", "<inner1+inner2>>>"}, "a<inner1+inner2>|>b", "a<***+***>>b"},
		{"begins the same", []string{"password-1", "password-12345"}, "password-1234|password-12345", "***234***"},
		{"ends the same", []string{"long-ending", "ending"}, "ending, long-ending", "***, ***"},
		{"multibyte, cut in a character", []string{"pässwörter"}, "<p\xc3|\xa4ssw\xc3|\xb6rter>", "<***>"},
		{"binary", []string{"\x00\xff\xfe\x00\x01\x02"}, "\x00\x00\xff|\xfe\x00\x01\x02\x00", "\x00***\x00"},
		{"16 kB", []string{long}, "<" + long[:5000] + "|" + long[5000:] + ">", "<***>"},
		{"16 kB but for the last", []string{long}, long[:5000] + "|" + long[5000:len(long)-1] + "-", long[:len(long)-1] + "-"},
		{"one character", []string{"aaaaaa"}, "aaaaa-aaaa|aaaaaaaa-", "aaaaa-***-"},
		{"contains the mark", []string{"a***bc"}, "a***bc|a***b", "***a***b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := literals(c.secrets...)
			parts := split(c.text)
			if got := masked(t, s, parts...); got != c.want {
				t.Errorf("as cut: %q, want %q", got, c.want)
			}
			whole := bytes.Join(parts, nil)
			if got := masked(t, s, whole); got != c.want {
				t.Errorf("whole: %q, want %q", got, c.want)
			}
			if got := masked(t, s, bytewise(whole)...); got != c.want {
				t.Errorf("byte by byte: %q, want %q", got, c.want)
			}
			if got := string(oracle(s, whole)); got != c.want {
				t.Errorf("the oracle: %q, want %q", got, c.want)
			}
		})
	}
}

func TestMaskMultiLine(t *testing.T) {
	pem := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIHk1nFBuVJ3w\nAwEHoUQDQgAEzq0x\n-----END EC PRIVATE KEY-----\n"
	set, skipped := New(Options{}, Secret{"key", []byte(pem)})
	if len(skipped) != 0 {
		t.Fatalf("skipped: %v", skipped)
	}
	for _, c := range []struct{ name, text, want string }{
		{"whole", "<" + pem + ">", "<***\n>"},
		{"carriage returns", "<" + strings.ReplaceAll(pem, "\n", "\r\n") + ">", "<***\r\n>"},
		{"two carriage returns", strings.ReplaceAll(pem, "\n", "\r\r\n"), "-----BEGIN EC PRIVATE KEY-----\r\r\n***\r\r\n***\r\r\n-----END EC PRIVATE KEY-----\r\r\n"},
		{"on one line", strings.ReplaceAll(pem, "\n", " "), "-----BEGIN EC PRIVATE KEY----- *** *** -----END EC PRIVATE KEY----- "},
		{"without line ends", strings.ReplaceAll(pem, "\n", ""), "-----BEGIN EC PRIVATE KEY-----***-----END EC PRIVATE KEY-----"},
		{"one line", "key: AwEHoUQDQgAEzq0x", "key: ***"},
		{"its frame says nothing", "-----BEGIN EC PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----"},
		{"in JSON", `{"key":"` + strings.ReplaceAll(pem, "\n", `\n`) + `"}`, `{"key":"***\n"}`},
	} {
		if got := masked(t, set, []byte(c.text)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestSkipped(t *testing.T) {
	values := map[string]string{
		"empty": "", "blank": " \n\n", "short": "abcde", "true": "TRUE", "admin": "admin", "word": "Password\n",
		"port": "5432543", "date": "20260101", "stars": "************", "host": "localhost",
		"good": "abcdef", "digits": "202601011", "huge": strings.Repeat("0123456789", literalMax/10+1),
	}
	var list []Secret
	for name, v := range values {
		list = append(list, Secret{name, []byte(v)})
	}
	set, skipped := New(Options{}, list...)
	for _, s := range skipped {
		v := strings.TrimSpace(values[s.Name])
		if v != "" && v != "admin" && strings.Contains(s.Why, v) {
			t.Errorf("%s: the reason %q holds the value", s.Name, s.Why)
		}
		if s.Name == "good" || s.Name == "digits" {
			t.Errorf("%s was skipped: %s", s.Name, s.Why)
		}
	}
	if len(skipped) != len(values)-2 {
		t.Errorf("%d were skipped, want %d: %v", len(skipped), len(values)-2, skipped)
	}
	if got := masked(t, set, []byte("abcdef true 202601011 admin")); got != "*** true *** admin" {
		t.Errorf("got %q", got)
	}
}

func TestLongValueWithoutEncodings(t *testing.T) {
	var text strings.Builder
	for i := range encodedMax/16 + 1 {
		text.WriteString(strings.Repeat(string(rune('a'+i%26)), i%7+1))
		text.WriteString("0123456789abc\n")
	}
	set, skipped := New(Options{}, Secret{"store", []byte(text.String())})
	if len(skipped) != 1 || skipped[0].Name != "store" || !strings.Contains(skipped[0].Why, "encodings") {
		t.Errorf("skipped: %v", skipped)
	}
	if got := masked(t, set, []byte("<"+text.String()+">")); got != "<***\n>" {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestMark(t *testing.T) {
	set, _ := New(Options{Mark: "[hidden]"}, secrets("hunter2")...)
	if got := masked(t, set, []byte("a hunter2 b")); got != "a [hidden] b" {
		t.Errorf("got %q", got)
	}
}

func TestWipe(t *testing.T) {
	set, _ := New(Options{}, secrets("correct horse", "battery staple")...)
	patterns, nodes := set.patterns, set.current.Load().nodes
	set.Wipe()
	for _, p := range patterns[:cap(patterns)] {
		if len(bytes.Trim(p.text, "\x00")) != 0 {
			t.Fatal("a pattern is still there")
		}
	}
	for _, n := range nodes {
		if n != (node{}) {
			t.Fatal("a state is still there")
		}
	}
	if got := masked(t, set, []byte("correct horse")); got != "correct horse" {
		t.Errorf("a wiped set hides: %q", got)
	}
	set.Add(secrets("correct horse")...)
	if got := masked(t, set, []byte("correct horse")); got != "***" {
		t.Errorf("added again: %q", got)
	}
}

// More patterns than the filter's tables have room for.
func TestManyPatterns(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	values := make([]string, 70_000)
	for i := range values {
		values[i] = string(binaryText(r, 8))
	}
	set := literals(values...)
	var text, want []byte
	for i := range 1000 {
		text = append(append(text, "<"...), values[i*70]...)
		want = append(want, "<***"...)
	}
	if got := masked(t, set, text); got != string(want) {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
}
