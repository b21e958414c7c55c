package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// tolerance is how much more than last time a run may take.
const tolerance = 0.20

// figures are the instructions of runs by name, as multiples of the reference's.
type figures map[string]float64

// ratios divides the least of each run by the reference's.
func ratios(counts map[string][]float64) figures {
	now := figures{}
	for name := range counts {
		if name != reference {
			now[name] = slices.Min(counts[name]) / slices.Min(counts[reference])
		}
	}
	return now
}

// text is the file of the figures.
func (f figures) text() []byte {
	var b bytes.Buffer
	b.WriteString("# Instructions of runs, as multiples of the reference's. Written by: make instructions-write\n")
	for _, name := range slices.Sorted(maps.Keys(f)) {
		fmt.Fprintf(&b, "%s %.2f\n", name, f[name])
	}
	return b.Bytes()
}

// readFigures reads what text wrote.
func readFigures(path string) (figures, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := figures{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, number, _ := strings.Cut(line, " ")
		if f[name], err = strconv.ParseFloat(number, 64); err != nil || f[name] <= 0 {
			return nil, fmt.Errorf("%s: %q is not NAME RATIO", path, line)
		}
	}
	if len(f) == 0 {
		return nil, errors.New(path + ": there are no figures")
	}
	return f, nil
}

// report compares, and gives the exit status. A run that only one of the two has is
// as bad as a loss: nothing would hold it.
func report(out io.Writer, last, now figures) int {
	status := 0
	for _, name := range slices.Sorted(maps.Keys(union(last, now))) {
		was, is := last[name], now[name]
		verdict := "as it was"
		switch {
		case was == 0 || is == 0:
			verdict, status = "NOT IN BOTH: run make instructions-write", 1
		case is > was*(1+tolerance):
			verdict, status = "LOST: see what it does that it did not do, or run make instructions-write and say why", 1
		case is < was*(1-tolerance):
			verdict = "better: run make instructions-write, so that it stays so"
		}
		fmt.Fprintf(out, "%-8s %5.2f, was %5.2f: %s\n", name, is, was, verdict)
	}
	return status
}

func union(a, b figures) figures {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
