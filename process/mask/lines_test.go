package mask

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        []string
		why         string
	}{
		{"one line", "hunter22", []string{"hunter22"}, ""},
		{"space around it", "\n hunter22\r\n", []string{"hunter22"}, ""},
		{"a line may be shorter when it is alone", "hunter", []string{"hunter"}, ""},
		{"too short", "hunt\n", nil, "it has less than 6 bytes"},
		{"empty", "", nil, "it has less than 6 bytes"},
		{"common", "Password", nil, "it is a common word or number"},
		{"lines", "first-line\r\nsecond-line\rthird-line\n\n", []string{"first-line", "second-line", "third-line"}, ""},
		{"lines that say nothing", "-----BEGIN KEY-----\n{\n  true\n  MIIE-key  \n-----END KEY-----", []string{"MIIE-key"}, ""},
		{"nothing but those", "-----BEGIN KEY-----\n-----END KEY-----\n", nil, "it has no line that could not be in any text"},
		{"not text", "\x80\x81\x82\x83\x84\x85", nil, "it is not text"},
		{"too long", strings.Repeat("ab", literalMax), nil, "it has more than 262144 bytes"},
		{"long", strings.Repeat("ab", encodedMax), []string{strings.Repeat("ab", encodedMax)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, why := Lines([]byte(c.value))
			same := func(b []byte, s string) bool { return bytes.Equal(b, []byte(s)) }
			if !slices.EqualFunc(lines, c.want, same) || why != c.why {
				t.Errorf("%q, %q", lines, why)
			}
		})
	}
}
