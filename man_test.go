package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manPage is made of the command tree, the options and the README's exit codes.
const manPage = "docs/man/secretboot.1"

// TestManPage holds the man page to the program, and has groff read it.
func TestManPage(t *testing.T) {
	want := manual(t)
	if *update {
		if err := os.WriteFile(manPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if string(read(t, manPage)) != want {
		t.Errorf("%s is stale; run go test -run TestManPage -update .", manPage)
	}
	if _, err := exec.LookPath("groff"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI must have groff")
		}
		t.Skip("no groff: nobody reads the page")
	}
	out, err := exec.Command("groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-P-cbou", manPage).CombinedOutput()
	if err != nil || strings.Contains(string(out), "warning") || strings.Contains(string(out), "error:") {
		t.Fatalf("groff: %v\n%s", err, out)
	}
	for _, o := range options() {
		if !strings.Contains(string(out), "--"+o.name) || !strings.Contains(string(out), o.variable()) {
			t.Errorf("who reads the page does not find --%s and %s", o.name, o.variable())
		}
	}
}

// manual writes the page in the macros of man(7).
func manual(t *testing.T) string {
	root := (&app{stdout: &output{to: t.Output()}, stderr: t.Output()}).commands()
	var b strings.Builder
	b.WriteString(`.\" Made by TestManPage of what the program says of itself: do not edit.` + "\n.TH SECRETBOOT 1 \"\" secretboot \"User Commands\"\n")
	section := func(title string) { b.WriteString(".SH " + title + "\n") }
	section("NAME")
	b.WriteString("secretboot \\- " + roff(strings.ToLower(root.Short[:1])+root.Short[1:]) + "\n")
	section("SYNOPSIS")
	for _, c := range root.Commands() {
		if c.Runnable() && c.Name() != "help" {
			fmt.Fprintf(&b, "%s\n.br\n", roff("secretboot "+c.Use))
		}
	}
	section("DESCRIPTION")
	b.WriteString(paragraphs(root.Long))
	section("COMMANDS")
	for _, c := range root.Commands() {
		if c.Name() != "help" {
			b.WriteString(manCommand(c))
		}
	}
	section("OPTIONS")
	b.WriteString(paragraphs("What a command takes of these, secretboot COMMAND --help lists. Behind each is its variable; an option that may be given more than once has one entry per line there."))
	for _, o := range options() {
		name := "--" + o.name
		if o.short != "" {
			name = "-" + o.short + ", " + name
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n.br\n%s\n", roff(strings.TrimSpace(name+" "+o.kind)), roff(o.help), roff(o.variable()))
	}
	section("EXIT STATUS")
	b.WriteString(manCodes(t))
	section("ENVIRONMENT")
	b.WriteString(paragraphs("VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT, VAULT_TOKEN and the other VAULT_… variables mean what they mean to vault(1).\n\n" +
		"SECRETBOOT_DIR tells the command of run where its files are.\n\nNOTIFY_SOCKET: run and watch tell systemd(1) when they are ready."))
	section("FILES")
	b.WriteString(".TP\n.I /run/secrets\nwhere files go when no folder is named, if it is a writable tmpfs\n.TP\n.I ~/.vault\\-token\na token that vault(1) has left there\n")
	section("SEE ALSO")
	b.WriteString("vault(1), systemd.exec(5), sd_notify(3), tmpfs(5)\n")
	return b.String()
}

// manCommand describes one command, with what flags it alone has.
func manCommand(c *cobra.Command) string {
	var b strings.Builder
	about := c.Short
	if c.Long != "" {
		about += ".\n\n" + c.Long
	}
	fmt.Fprintf(&b, ".SS %s\n%s", roff(c.Name()), paragraphs(about))
	shared := map[string]bool{"help": true}
	for _, o := range options() {
		shared[o.name] = true
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !shared[f.Name] {
			name, help := pflag.UnquoteUsage(f)
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace("--"+f.Name+" "+strings.TrimPrefix(name, "bool"))), roff(help))
		}
	})
	if c.Example != "" {
		b.WriteString(".PP\n.EX\n")
		for line := range strings.Lines(c.Example) {
			b.WriteString(roff(strings.TrimSuffix(line, "\n")) + "\n")
		}
		b.WriteString(".EE\n")
	}
	for _, sub := range c.Commands() {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(c.Name()+" "+sub.Name()), roff(sub.Short))
	}
	return b.String()
}

// manCodes takes the codes from the README.
func manCodes(t *testing.T) string {
	_, rest, _ := strings.Cut(string(read(t, "README.md")), "## Exit codes\n")
	part, _, _ := strings.Cut(rest, "\n## ")
	var b strings.Builder
	rows := 0
	for line := range strings.Lines(part) {
		if m := regexp.MustCompile(`^\| (\d+|128\+n) \| (.*) \|$`).FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			rows++
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", m[1], roff(strings.ReplaceAll(m[2], "`", "")))
		} else if !strings.HasPrefix(line, "|") && strings.HasSuffix(line, ":\n") {
			b.WriteString(".PP\n" + roff(strings.ReplaceAll(strings.TrimSpace(line), "`", "")) + "\n")
		}
	}
	if rows < 15 {
		t.Fatalf("README.md has %d exit codes only", rows)
	}
	return b.String()
}

// paragraphs writes a text whose paragraphs have an empty line between them; lines that
// are indented keep their form.
func paragraphs(text string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(part, " ") || strings.HasPrefix(part, "\t") {
			b.WriteString(".PP\n.EX\n")
			for line := range strings.Lines(part) {
				b.WriteString(roff(strings.TrimRight(line, "\n")) + "\n")
			}
			b.WriteString(".EE\n")
			continue
		}
		b.WriteString(".PP\n")
		for line := range strings.Lines(part) {
			b.WriteString(roff(strings.TrimSpace(line)) + "\n")
		}
	}
	return b.String()
}

// roff keeps the characters that mean something to troff.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`, "'", `\(aq`).Replace(strings.ReplaceAll(text, "\t", "        "))
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
