package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ args, wrong string }{
		{"-secrets 1,20 -rtt 0,10ms -only floor,agent -runs 3", ""},
		{"-secrets 0", "-secrets"},
		{"-secrets 1,", "-secrets"},
		{"-rtt 10", "-rtt"},
		{"-rtt -1ms", "-rtt"},
		{"-only floor,nobody", "nobody"},
		{"-runs -1", "-runs"},
		{"-tls on,off -auth approle,kubernetes", ""},
		{"-tls maybe", "-tls"},
		{"-auth ldap", "-auth"},
		{"-scale 500 -limit 0", "-limit"},
		{"-start -1", "-start"},
		{"-timeout 0s", "-timeout"},
		{"more", "more"},
	} {
		_, err := parse(strings.Fields(tc.args), io.Discard)
		switch {
		case tc.wrong == "" && err != nil:
			t.Errorf("%s: %v", tc.args, err)
		case tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)):
			t.Errorf("%s: got %v, want an error with %q", tc.args, err, tc.wrong)
		}
	}
}

func TestQuartiles(t *testing.T) {
	for _, tc := range []struct{ values, want []int }{
		{nil, []int{0, 0, 0}},
		{[]int{7}, []int{7, 7, 7}},
		{[]int{5, 1, 4, 2, 3}, []int{2, 3, 4}},
		{[]int{9, 9, 9, 100, 1}, []int{9, 9, 9}},
	} {
		low, median, high := quartiles(tc.values)
		if got := []int{low, median, high}; !slices.Equal(got, tc.want) {
			t.Errorf("%v: got %v, want %v", tc.values, got, tc.want)
		}
	}
}

// A machine that was twice as slow for a while must not show in a ratio.
func TestRatioIsOfNeighbours(t *testing.T) {
	base := []time.Duration{10, 10, 20, 20, 20}
	runs := []time.Duration{30, 30, 60, 60, 60}
	if _, got, _ := quartiles(ratios(runs, base)); got != 3 {
		t.Errorf("got %v, want 3", got)
	}
}

func TestMore(t *testing.T) {
	of := func(walls ...time.Duration) *row {
		r := &row{}
		for _, w := range walls {
			r.samples = append(r.samples, sample{wall: w})
		}
		return r
	}
	calm, noisy := of(100, 101, 99, 100, 100), of(100, 150, 60, 140, 100)
	failed := &row{err: io.EOF}
	for name, tc := range map[string]struct {
		runs, rounds int
		took         time.Duration
		rows         []*row
		want         bool
	}{
		"too few":        {rounds: minRuns - 1, rows: []*row{calm}, want: true},
		"steady":         {rounds: minRuns, rows: []*row{calm}},
		"one is noisy":   {rounds: minRuns, rows: []*row{calm, noisy}, want: true},
		"noisy for long": {rounds: maxRuns, rows: []*row{noisy}},
		"out of time":    {rounds: minRuns, took: maxCell + 1, rows: []*row{noisy}},
		"all failed":     {rounds: 1, rows: []*row{failed}},
		"as told":        {runs: 2, rounds: 2, rows: []*row{noisy}},
		"proving run":    {runs: 2, rounds: -1, rows: []*row{of()}, want: true},
	} {
		b := &bench{options: options{runs: tc.runs}}
		if got := b.more(cell{rows: tc.rows}, tc.rounds, tc.took); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		content string
		mode    os.FileMode
		right   bool
	}{
		"right":         {"value", 0o400, true},
		"wrong content": {"other", 0o400, false},
		"cut short":     {"valu", 0o400, false},
		"wide mode":     {"value", 0o444, false},
		"missing":       {"", 0, false},
	} {
		j := job{out: t.TempDir(), point: point{n: 1}, server: &server{values: []string{"value"}}}
		if tc.mode != 0 {
			if err := os.WriteFile(filepath.Join(j.out, "0"), []byte(tc.content), tc.mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.check(proofFiles); (err == nil) != tc.right {
			t.Errorf("%s: got %v", name, err)
		}
		if err := j.check(proofCommand); (err == nil) != (name == "missing") {
			t.Errorf("%s, after a command: got %v", name, err)
		}
	}
}

func TestCheckEnv(t *testing.T) {
	for content, right := range map[string]bool{
		"A=1\nBENCH_0=value\n": true,
		"BENCH_0=values\n":     false,
		"XBENCH_0=value\n":     false,
		"":                     false,
	} {
		j := job{copy: t.TempDir(), point: point{n: 1}, server: &server{values: []string{"value"}}}
		if err := os.WriteFile(filepath.Join(j.copy, "env"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := j.check(proofEnv); (err == nil) != right {
			t.Errorf("%q: got %v", content, err)
		}
	}
}

func msOf(n int) time.Duration { return time.Duration(n) * time.Millisecond }
