package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// What `make chaos` writes stands between these.
const (
	scoreBegin = "<!-- scorecard: written by make chaos -->\n"
	scoreEnd   = "<!-- end of the scorecard -->\n"
)

// TestReliabilityPage: the page has the cases of the scorecard, all of them and no
// other, and none of them failed.
func TestReliabilityPage(t *testing.T) {
	table := scorecardOf(t)
	if strings.Contains(table, "**FAILED**") {
		t.Errorf("%s has cases that failed", chaosPage)
	}
	for _, a := range chaosAxes() {
		_, section, found := strings.Cut(table, "\n### "+a.title+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		var have []string
		for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(section, -1) {
			have = append(have, m[1])
		}
		have = slices.DeleteFunc(have, func(s string) bool { return s == "case" || s == "signal" })
		want := a.names()
		if a.title == signalAxis {
			want = nil
			for _, n := range scoredSignals() {
				want = append(want, signalName(n))
			}
		}
		if !found || !slices.Equal(have, want) {
			t.Errorf("%s, %s: it has %d cases, and the suite %d; run `make chaos`\nhave %q\nwant %q", chaosPage, a.title, len(have), len(want), have, want)
		}
	}
}

func scorecardOf(t *testing.T) string {
	t.Helper()
	_, rest, found := strings.Cut(string(read(t, chaosPage)), scoreBegin)
	table, _, ended := strings.Cut(rest, scoreEnd)
	if !found || !ended {
		t.Fatalf("%s has no %q and %q", chaosPage, scoreBegin, scoreEnd)
	}
	return table
}

// writeChaosPage writes the scorecard into the page.
func writeChaosPage(t *testing.T, all map[string][]score) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %d processors, Linux %s.\n\n", time.Now().UTC().Format(time.DateOnly), cpus(), kernel())
	b.WriteString("| axis | cases | failed | at most beyond the bound | most memory | passed means |\n|---|--:|--:|--:|--:|---|\n")
	for _, a := range chaosAxes() {
		b.WriteString(a.summary(all[a.title]))
	}
	for _, a := range chaosAxes() {
		fmt.Fprintf(&b, "\n### %s\n\n", a.title)
		if a.title == signalAxis {
			signalMatrix(&b, all[a.title])
			continue
		}
		a.table(&b, all[a.title])
	}
	text := string(read(t, chaosPage))
	before, rest, _ := strings.Cut(text, scoreBegin)
	_, after, _ := strings.Cut(rest, scoreEnd)
	if err := os.WriteFile(chaosPage, []byte(before+scoreBegin+b.String()+"\n"+scoreEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// table has a row for each case; where nothing is said there is no column for it.
func (a chaosAxis) table(b *strings.Builder, scores []score) {
	says := slices.ContainsFunc(scores, func(s score) bool { return s.said != "" })
	last := func(text string) string {
		if !says {
			return ""
		}
		return " " + strings.ReplaceAll(text, "|", `\|`) + " |"
	}
	fmt.Fprintf(b, "| case | %s |%s\n|---|---|%s\n", a.column, last("what is said"), strings.ReplaceAll(last("---"), " ", ""))
	for _, s := range scores {
		fmt.Fprintf(b, "| %s | %s%s |%s\n", s.name, s.result, failure(s), last(s.said))
	}
}

// summary is the row of an axis.
func (a chaosAxis) summary(scores []score) string {
	var n, failed int
	var over time.Duration
	var peak int64
	for _, s := range scores {
		over, peak = max(over, s.over), max(peak, s.peak)
		n += max(s.count, 1)
		if s.failed {
			failed++
		}
	}
	beyond, memory := "–", "–"
	if a.timed {
		beyond = fmt.Sprintf("%d ms", over.Milliseconds())
	}
	if peak > 0 {
		memory = fmt.Sprintf("%d MiB", peak>>20)
	}
	return fmt.Sprintf("| [%s](#%s) | %d | %d | %s | %s | %s |\n", a.title, anchor(a.title), n, failed, beyond, memory, a.means)
}

func failure(s score) string {
	if s.failed {
		return " **FAILED**"
	}
	return ""
}

func anchor(title string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// signalMatrix has a row for each signal, and a column for each state.
func signalMatrix(b *strings.Builder, scores []score) {
	fmt.Fprintf(b, "| signal | %s |\n|---%s|\n", strings.Join(signalStates, " | "), strings.Repeat("|---", len(signalStates)))
	for i := 0; i+len(signalStates) <= len(scores); i += len(signalStates) {
		fmt.Fprintf(b, "| %s |", strings.TrimSuffix(scores[i].name, " "+signalStates[0]))
		for _, s := range scores[i : i+len(signalStates)] {
			fmt.Fprintf(b, " %s%s |", s.result, failure(s))
		}
		b.WriteString("\n")
	}
}
