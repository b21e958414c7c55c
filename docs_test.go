package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is some code on a page, fenced or indented, with what is said of it in a
// comment before it:
//
//	<!-- from: FILE -->      it stands in FILE to the letter, which a test executes
//	<!-- run: FILE -->       its commands are in FILE, a test or what the tests are started with
//	<!-- test: FILE -->      the test FILE reads this page and executes the block
//	<!-- output -->          it is what something prints
//	<!-- by hand: WHY -->    no test can execute it
//
// <!-- all blocks: KIND: FILE --> anywhere on a page is for those that have none.
type block struct {
	page, kind, by, text string
	line                 int
}

var (
	saysBlock = regexp.MustCompile(`^<!-- (from|run|test|output|by hand)(?:: (.+))? -->$`)
	saysPage  = regexp.MustCompile(`(?m)^<!-- all blocks: (run|test): (\S+) -->$`)
)

// blocks extracts all code from a page.
func blocks(t *testing.T, page string) (all []block) {
	t.Helper()
	text := string(read(t, page))
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		fenced := strings.HasPrefix(lines[i], "```")
		if !fenced && !(strings.HasPrefix(lines[i], "    ") && i > 0 && (lines[i-1] == "" || saysBlock.MatchString(lines[i-1]))) {
			continue
		}
		b := block{page: page, line: i + 1}
		before := i - 1
		if !fenced && lines[before] == "" && before > 0 {
			before-- // an indented block may have an empty line before it
		}
		if m := saysBlock.FindStringSubmatch(lines[before]); m != nil {
			b.kind, b.by = m[1], m[2]
		} else if m := saysPage.FindStringSubmatch(text); m != nil {
			b.kind, b.by = m[1], m[2]
		}
		from := i
		if fenced {
			for i, from = i+1, i+1; i < len(lines) && lines[i] != "```"; i++ {
			}
			b.text = strings.Join(lines[from:i], "\n") + "\n"
		} else {
			for i+1 < len(lines) && (strings.HasPrefix(lines[i+1], "    ") || lines[i+1] == "") {
				i++
			}
			b.text = strings.TrimRight(regexp.MustCompile(`(?m)^    `).ReplaceAllString(strings.Join(lines[from:i+1], "\n"), ""), "\n") + "\n"
		}
		all = append(all, b)
	}
	return all
}

// pages lists the pages for people.
func pages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*/README.md", "examples/*/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 20 {
		t.Fatalf("found %q only", all)
	}
	return all
}

// TestBlocks: every block of code that somebody may copy is executed by a test.
func TestBlocks(t *testing.T) {
	kinds := map[string]int{}
	for _, page := range pages(t) {
		for _, b := range blocks(t, page) {
			kinds[b.kind]++
			if why := b.unproven(t); why != "" {
				t.Errorf("%s:%d: %s:\n%s", page, b.line, why, b.text)
			}
		}
	}
	t.Logf("%v", kinds)
	if kinds["from"] < 40 || kinds["run"] < 10 {
		t.Fatalf("found %v only", kinds)
	}
}

// unproven says what a block lacks.
func (b block) unproven(t *testing.T) string {
	t.Helper()
	var by string
	if b.kind == "from" || b.kind == "run" || b.kind == "test" {
		text, err := os.ReadFile(b.by)
		if err != nil {
			return err.Error()
		}
		by = string(text)
	}
	switch b.kind {
	case "":
		return "nothing says who executes this block; see docs_test.go for what to write before it"
	case "from":
		if !regexp.MustCompile(`^(examples|testscripts|e2e)/|^(action\.yml|Dockerfile)$`).MatchString(b.by) {
			return b.by + " is no file that the tests execute"
		}
		if !strings.Contains(by, b.text) {
			return "it is not in " + b.by
		}
	case "run":
		for _, command := range b.commands() {
			target, isMake := strings.CutPrefix(command, "make ")
			target, _, _ = strings.Cut(target, " ")
			if !strings.Contains(by, command) && !(isMake && b.by == "Makefile" && strings.Contains(by, "\n"+target+":")) {
				return b.by + " does not run " + command
			}
		}
	case "test":
		if !strings.HasSuffix(b.by, "_test.go") || !strings.Contains(by, b.page) && !strings.Contains(by, "../"+b.page) {
			return b.by + " is no test that reads " + b.page
		}
	case "by hand":
		if b.by == "" {
			return "it is not said why no test executes this"
		}
	}
	return ""
}

// commands are the lines of a block without prompt, comment, our own name and what
// we start; with a prompt somewhere the other lines are output.
func (b block) commands() (all []string) {
	prompt := strings.Contains("\n"+b.text, "\n$ ")
	for line := range strings.Lines(b.text) {
		line, isCommand := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		line, _, _ = strings.Cut(line, "  #")
		line, _, _ = strings.Cut(line, " -- ")
		if line != "" && isCommand == prompt {
			all = append(all, strings.TrimSpace(strings.TrimPrefix(line, "secretboot ")))
		}
	}
	return all
}

// TestConfigurationBlocks has every block of docs/configuration.md understood as what
// it is: our own file, or the file of --dev, which has paths for keys.
func TestConfigurationBlocks(t *testing.T) {
	ours, n := filepath.Join(t.TempDir(), "secretboot"), 0
	if out, err := exec.Command("go", "build", "-o", ours, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, b := range blocks(t, "docs/configuration.md") {
		if b.kind != "test" || b.by != "docs_test.go" {
			continue
		}
		n++
		file := filepath.Join(t.TempDir(), "file.yaml")
		if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"plan", "-c", file}
		if strings.Contains(b.text, "/data/") && !strings.Contains(b.text, ":\n") {
			args = []string{"plan", "--dev", file, "-f", "a=" + strings.TrimSpace(b.text[:strings.Index(b.text, ":")])}
		}
		if out, err := exec.Command(ours, args...).CombinedOutput(); err != nil {
			t.Errorf("line %d: %v: %s in\n%s", b.line, err, out, b.text)
		}
	}
	if n < 15 {
		t.Errorf("found %d blocks only", n)
	}
}

// TestLinks: every link between the pages leads somewhere.
func TestLinks(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		text := string(read(t, page))
		for _, m := range regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]+))?\)`).FindAllStringSubmatch(text, -1) {
			n++
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if m[2] != "" && !slices.Contains(titles(string(read(t, target))), m[2]) {
				t.Errorf("%s: %s has no title #%s", page, target, m[2])
			}
		}
	}
	if n < 100 {
		t.Errorf("found %d links only", n)
	}
}

// titles gives the anchors that GitHub makes of a page's titles.
func titles(page string) (all []string) {
	for _, m := range regexp.MustCompile("(?m)^##* (.*)$").FindAllStringSubmatch(page, -1) {
		all = append(all, strings.ReplaceAll(strings.ToLower(regexp.MustCompile(`[^\w -]`).ReplaceAllString(m[1], "")), " ", "-"))
	}
	return all
}
