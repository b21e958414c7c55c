package render

import (
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// counter is randomness that a test can foresee.
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		c.n++
		b[i] = c.n
	}
	return len(b), nil
}

// lineCase is a format of names with texts: how its consumer reads it, and which
// texts it has no way to carry, said independently of the writer.
type lineCase struct {
	format  plan.Format
	read    func([]byte) (map[string]string, error)
	refused func(text string) bool
}

func lineCases() []lineCase {
	invalid := func(s string) bool { return !utf8.ValidString(s) }
	notEnv := func(s string) bool { return invalid(s) || strings.Contains(s, "\x00") }
	return []lineCase{
		{plan.FormatExport, readShell, func(s string) bool { return strings.Contains(s, "\x00") }},
		{plan.FormatDotenv, readDotenv, nil}, // its rules are the writer's own: see TestReferenceWhole
		{plan.FormatDockerEnv, readDocker, func(s string) bool {
			return notEnv(s) || strings.Contains(s, "\n") || strings.HasSuffix(s, "\r") || len(s) > 65000
		}},
		{plan.FormatSystemdEnv, readSystemd, func(s string) bool { return notEnv(s) || !systemdTakes(s) }},
		{plan.FormatProperties, readProperties, invalid},
		{plan.FormatGitHubEnv, readGitHub, notEnv},
		{plan.FormatGitHubOutput, readGitHub, notEnv},
	}
}

// writeLines writes fields and gives the whys of what was refused.
func writeLines(format plan.Format, fields map[string]any) (file []byte, whys string) {
	b, bad := Means{Random: &counter{}}.write(plan.Ref{Format: format}, fields)
	for _, f := range bad {
		whys += f.why + "; " + f.fix + "\n"
	}
	return b, whys
}

// oddTexts are values that some format or reader has trouble with, and many more
// made of their parts.
func oddTexts() []string {
	parts := []string{
		"a", " ", "\t", "\n", "\r", "\r\n", "\f", "\v", "\x00", "\x01", "\x1b", "\x7f", "'", `"`, "`", "$", "${", "}", "$(", ")", `\`, `\\`, `\n`,
		"!", "#", ";", "=", ":", "<<", "EOF", "%s", "%", "~", "*", "-", "&", "|", "é", "\u0085", "\u2028", "\ufeff", "\ufffe", "\ufdd0", "😀", "\xff", "\xc3",
		"export ", "\nX='y'", "secretboot_0102030405060708090a0b0c0d0e0f10", "true", "null", "1e3", "---", "[", "]", "{", "\u200b", "\ufffd",
	}
	random := rand.New(rand.NewPCG(1, 2))
	all := append([]string{"", strings.Repeat("x", 70_000), strings.Repeat("é\n", 1000)}, parts...)
	for range 1500 {
		var s strings.Builder
		for range 1 + random.IntN(6) {
			s.WriteString(parts[random.IntN(len(parts))])
		}
		all = append(all, s.String())
	}
	for b := range 256 {
		all = append(all, "a"+string([]byte{byte(b)})+"b")
	}
	return all
}

// TestLinesCarryOrRefuse: any text comes back exactly as it was, or is refused
// for a reason that the format has.
func TestLinesCarryOrRefuse(t *testing.T) {
	for _, c := range lineCases() {
		t.Run(c.format.String(), func(t *testing.T) {
			accepted := map[string]any{}
			for i, text := range oddTexts() {
				fields := map[string]any{"K": text}
				file, whys := writeLines(c.format, fields)
				if refused := whys != ""; c.refused != nil && refused != c.refused(text) {
					t.Errorf("%.60q: refused is %v: %s", text, refused, whys)
				}
				if whys != "" {
					checkWhys(t, whys, text)
					continue
				}
				if got, err := c.read(file); err != nil || len(got) != 1 || got["K"] != text {
					t.Errorf("%.60q: %v, got %.60q from %.80q", text, err, got, file)
				}
				accepted["K"+strings.Repeat("x", i%3)+string(rune('A'+i%26))+strings.Repeat("y", i/26)] = text
			}
			if len(accepted) < 200 {
				t.Fatalf("only %d texts were accepted", len(accepted))
			}
			file, whys := writeLines(c.format, accepted)
			got, err := c.read(file)
			if whys != "" || err != nil || len(got) != len(accepted) {
				t.Fatalf("together: %s %v, %d of %d", whys, err, len(got), len(accepted))
			}
			for name, text := range accepted {
				if got[name] != text {
					t.Errorf("together: %q became %q", text, got[name])
				}
			}
		})
	}
}

func checkWhys(t *testing.T, whys, text string) {
	t.Helper()
	if !strings.Contains(whys, " K: ") || strings.Count(whys, "\n") != 1 {
		t.Errorf("%q: the reason does not name the field: %q", text, whys)
	}
	if len(text) > 3 && strings.Contains(whys, text) {
		t.Errorf("%q: the reason holds the value: %q", text, whys)
	}
}

// TestLineNames: a name that the consumer would not take is refused, and one
// that is accepted comes back.
func TestLineNames(t *testing.T) {
	env := []string{"", "1A", "A-B", "A.B", "A B", "A=B", "A\nB", "é", "A\x00", "A'", "$A", "A\xff"}
	refused := map[plan.Format][]string{
		plan.FormatExport: append([]string{
			"UID", "EUID", "PPID", "BASHOPTS", "BASH_VERSINFO", "SHELLOPTS", "RANDOM", "OPTIND", "LINENO", "_", "SHLVL", "GROUPS",
		}, env...),
		plan.FormatDotenv:       env,
		plan.FormatSystemdEnv:   env,
		plan.FormatDockerEnv:    {"", "#A", "A B", "A=B", "A\nB", "A\x00", "A\tB", "A\u00a0B", "\ufeffA", "A\xff", "\u2028"},
		plan.FormatProperties:   {"A\xff"},
		plan.FormatGitHubEnv:    append([]string{"GITHUB_TOKEN", "RUNNER_OS", "NODE_OPTIONS", "node_options", "A<<B"}, env...),
		plan.FormatGitHubOutput: {"", "1A", "-A", "A.B", "A B", "A=B", "A\nB", "é", "A<<B", "A\x00"},
	}
	accepted := map[plan.Format][]string{
		plan.FormatExport:       {"A", "a_1", "_A", "BAS", "UIDS"},
		plan.FormatDotenv:       {"A", "a_1", "_", "UID"},
		plan.FormatSystemdEnv:   {"A", "a_1", "_"},
		plan.FormatDockerEnv:    {"A", "spring.datasource.url", "a-b", "1", "é", "A'", "$A", "A#"},
		plan.FormatProperties:   {"", " ", "a.b", "a b", "a=b", "a:b", "#a", "!a", "a\nb", "\t", `\`, "é😀", "\x00", `a\u0041`},
		plan.FormatGitHubEnv:    {"A", "a_1", "_", "CI", "github_sha", "NODE_ENV"},
		plan.FormatGitHubOutput: {"A", "a-b", "_"},
	}
	for _, c := range lineCases() {
		for _, name := range refused[c.format] {
			if b, whys := writeLines(c.format, map[string]any{name: "x"}); b != nil || !strings.Contains(whys, "cannot carry the field") {
				t.Errorf("%s: %q is accepted: %q, %s", c.format, name, b, whys)
			}
		}
		for _, name := range accepted[c.format] {
			file, whys := writeLines(c.format, map[string]any{name: "x"})
			if got, err := c.read(file); whys != "" || err != nil || !maps.Equal(got, map[string]string{name: "x"}) {
				t.Errorf("%s: %q: %s %v, got %q from %q", c.format, name, whys, err, got, file)
			}
		}
	}
}

// TestLineForms shows each format once.
func TestLineForms(t *testing.T) {
	fields := map[string]any{"B": "it's \"$1\"", "A": parseTree(t, `{"n": 1.50}`).Reveal()["n"], "C": true}
	for format, want := range map[plan.Format]string{
		plan.FormatExport:     "export A='1.50'\nexport B='it'\\''s \"$1\"'\nexport C='true'\n",
		plan.FormatDockerEnv:  "A=1.50\nB=it's \"$1\"\nC=true\n",
		plan.FormatSystemdEnv: "A=\"1.50\"\nB=\"it's \\\"\\$1\\\"\"\nC=\"true\"\n",
		plan.FormatProperties: "A=1.50\nB=it's \"$1\"\nC=true\n",
		plan.FormatGitHubEnv: "A<<secretboot_0102030405060708090a0b0c0d0e0f10\n1.50\nsecretboot_0102030405060708090a0b0c0d0e0f10\n" +
			"B<<secretboot_1112131415161718191a1b1c1d1e1f20\nit's \"$1\"\nsecretboot_1112131415161718191a1b1c1d1e1f20\n" +
			"C<<secretboot_2122232425262728292a2b2c2d2e2f30\ntrue\nsecretboot_2122232425262728292a2b2c2d2e2f30\n",
	} {
		if got, whys := writeLines(format, fields); whys != "" || string(got) != want {
			t.Errorf("%s: %s\n got %q\nwant %q", format, whys, got, want)
		}
	}
	if got, whys := writeLines(plan.FormatProperties, map[string]any{"a b": " é\n😀 "}); whys != "" || string(got) != "a\\ b=\\ \\u00e9\\n\\ud83d\\ude00 \n" {
		t.Errorf("%q, %s", got, whys)
	}
}

// TestLinesRefuseTogether: everything that is wrong is told at once, in order.
func TestLinesRefuseTogether(t *testing.T) {
	fields := parseTree(t, `{"list": [1], "map": {"k": "v"}, "null": null, "ok": "x", "a-b": "x", "nul": "CANARY\u0000"}`).Reveal()
	for _, format := range []plan.Format{
		plan.FormatExport, plan.FormatDotenv, plan.FormatSystemdEnv, plan.FormatGitHubEnv,
	} {
		name := format.String()
		want := name + ` cannot carry the field "a-b": the name of a variable has only letters, digits and _; use the format json or files
` + name + ` cannot carry the value of list: it is a list, not a text; use format: json or a template
` + name + ` cannot carry the value of map: it is a map, not a text; use format: json or a template
` + name + ` cannot carry the value of nul: it has a NUL byte; use the format json or files
the field null is null; 
`
		if _, whys := writeLines(format, fields); whys != want {
			t.Errorf("got:\n%s\nwant:\n%s", whys, want)
		}
	}
}

// TestGitHubDelimiter: a delimiter that the value has is not taken, whatever
// randomness gives, and a broken source of randomness is an error.
func TestGitHubDelimiter(t *testing.T) {
	first := "secretboot_0102030405060708090a0b0c0d0e0f10"
	second := "secretboot_1112131415161718191a1b1c1d1e1f20"
	text := "a\n" + first + "\nEVIL=x"
	file, f := Means{Random: &counter{}}.write(plan.Ref{Format: plan.FormatGitHubEnv}, map[string]any{"K": text})
	if want := "K<<" + second + "\n" + text + "\n" + second + "\n"; len(f) > 0 || string(file) != want {
		t.Errorf("got %q, %v", file, f)
	}
	for name, random := range map[string]io.Reader{"the same for ever": zeros{}, "broken": broken{}} {
		_, f := Means{Random: random}.write(plan.Ref{Format: plan.FormatGitHubEnv}, map[string]any{"K": "secretboot_" + strings.Repeat("0", 32)})
		if len(f) != 1 || f[0].code != plan.CodeBug {
			t.Errorf("%s: %v", name, f)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

// FuzzLines: a field of any name and text comes back through the reader of its
// consumer, alone and beside another, or is refused without telling the value.
func FuzzLines(f *testing.F) {
	for i := range lineCases() {
		for _, text := range []string{"it's", "a\nB='x'", `\`, "$(id)", "\x00", "\xff", "<<EOF\nEOF\n", " é\u2028", "\r", "x\\\n"} {
			f.Add(uint8(i), "K", text)
		}
	}
	cases := lineCases()
	f.Fuzz(func(t *testing.T, which uint8, name, text string) {
		c := cases[int(which)%len(cases)]
		fields := map[string]any{name: text, "OTHER": "o"}
		want := map[string]string{"OTHER": "o", name: text}
		if name == "OTHER" {
			want = map[string]string{name: text}
			fields = map[string]any{name: text}
		}
		file, whys := writeLines(c.format, fields)
		if whys != "" {
			if len(text) > 40 && strings.Contains(whys, text) && !strings.Contains(name, text) {
				t.Errorf("the reason holds the value: %q", whys)
			}
			return
		}
		if got, err := c.read(file); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v: %q became %q by way of %q", c.format, err, want, got, file)
		}
		if names := slices.Sorted(maps.Keys(want)); len(names) == 0 {
			t.Error("nothing was written")
		}
	})
}
