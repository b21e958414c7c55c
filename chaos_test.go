package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// envChaos is set by `make chaos`: the whole scorecard takes some minutes.
const envChaos = "CHAOS_TEST"

// chaosPage is the page that `make chaos` writes.
const chaosPage = "docs/reliability.md"

// score is one case of the scorecard and what came of it.
type score struct {
	name   string
	result string        // the exit code, or a count
	said   string        // the line on stderr, or what is worth to be told
	over   time.Duration // beyond what it may take
	peak   int64         // bytes of memory
	count  int           // of what it stands for; 0: 1
	failed bool
}

// chaosAxis is one row of the scorecard.
type chaosAxis struct {
	title  string
	means  string          // what it is to pass
	column string          // what the results are
	timed  bool            // there is a bound
	names  func() []string // of its cases
	run    func(t *testing.T, c *chaos) []score
}

// chaos is what the axes share.
type chaos struct {
	t     *testing.T
	bin   string // the folder with the binary
	start sync.Once
	vault *rig
}

// real gives the Vault that the cases share.
func (c *chaos) real(t *testing.T) *rig {
	t.Helper()
	c.start.Do(func() { c.vault = chaosVault(c.t) })
	return c.vault
}

// signalAxis is the one that the page shows as a matrix.
const signalAxis = "Signals"

func chaosAxes() []chaosAxis {
	const means = "the documented code; one line that names cause and item; nothing left, or what was delivered whole; no canary anywhere"
	faults := func(title, more string, workers int, cases func(*chaos) []faultCase) chaosAxis {
		return chaosAxis{
			title: title, means: means + more, column: "code", timed: true,
			names: func() []string { return faultNames(cases(nil)) },
			run:   func(t *testing.T, c *chaos) []score { return c.faults(t, cases(c), workers) },
		}
	}
	return []chaosAxis{
		faults("Network faults", "", 8, networkCases),
		faults("Servers", "", 4, serviceCases),
		faults("Hosts", "", 4, hostCases),
		faults("Bad inputs", "; refused with its line, field or name; 64 MiB at most", 4, func(*chaos) []faultCase { return badInputs() }),
		{
			title: signalAxis, means: "acted on or passed on as documented; one line, none where the command ended; nothing left", timed: true,
			names: signalNames, run: func(t *testing.T, c *chaos) []score { return c.signals(t) },
		},
		{
			title: "Kill points", means: "no half file is ever visible; the next start works; after its end nothing is left", column: "done",
			names: killNames, run: func(t *testing.T, c *chaos) []score { return c.kills(t) },
		},
		{
			title: "Masking", means: "no leak, all other bytes as they were", column: "cases",
			names: maskingNames, run: func(t *testing.T, c *chaos) []score { return c.masking(t) },
		},
		{
			title: "Peers", means: "ours is as documented; the others' are what was seen", column: "what was seen",
			names: peerNames, run: func(t *testing.T, c *chaos) []score { return c.peers(t) },
		},
	}
}

func faultNames(cases []faultCase) (names []string) {
	for _, c := range cases {
		names = append(names, c.name)
	}
	return names
}

// TestChaos runs the scorecard and writes its page. CHAOS_TEST is 1, or a regular
// expression for the axes to run; then nothing is written.
func TestChaos(t *testing.T) {
	which := os.Getenv(envChaos)
	if which == "" {
		t.Skip("SKIPPED, NOT PASSED: `make chaos` runs this")
	}
	rootOnly(t)
	t.Setenv("TMPDIR", "/var/tmp") // where no case has a folder of its own
	needTools(t)
	c := &chaos{t: t, bin: buildForFaults(t)}
	if err := os.Chmod(filepath.Dir(c.bin), 0o755); err != nil { // some cases are those of plain users
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err == nil { // a copy: no case sees our /tmp
		err = os.WriteFile(filepath.Join(c.bin, "forkless"), read(t, self), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]score{}
	only := regexp.MustCompile(strings.TrimSuffix(which, "1"))
	for _, a := range chaosAxes() {
		if !only.MatchString(a.title) {
			continue
		}
		began := time.Now()
		all[a.title] = a.run(t, c)
		t.Logf("%s: %v", a.title, time.Since(began).Round(time.Second))
	}
	if which == "1" {
		writeChaosPage(t, all)
	}
}

// each runs every case in one of some workers.
func each[C any](t *testing.T, workers int, cases []C, name func(C) string, run func(*testing.T, C) score) []score {
	scores := make([]score, len(cases))
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				ok := t.Run(name(cases[i]), func(t *testing.T) { scores[i] = run(t, cases[i]) })
				scores[i].name, scores[i].failed = name(cases[i]), !ok
			}
		})
	}
	for i := range cases {
		next <- i
	}
	close(next)
	wg.Wait()
	return scores
}

var (
	loggedLine = regexp.MustCompile(`level=([A-Z]+) msg=("[^"]*"|\S+)`)
	ownFolder  = regexp.MustCompile(`/var/tmp/\S*?/conf`)
	freeRoom   = regexp.MustCompile(`\d+ of \d+ bytes and \d+ of \d+ inodes`)
)

// told is what the page says of a case: the line on stderr, or that of the log which
// it is about, without what differs from run to run.
func (r *faultRow) told() string {
	said := freeRoom.ReplaceAllString(ownFolder.ReplaceAllString(r.said(), "CONF"), "N of N bytes and N of N inodes")
	if len(r.problems) > 0 {
		return said
	}
	if strings.HasPrefix(r.args, "run ") {
		said = "the command ran"
	}
	if r.logs != "" {
		for _, line := range r.log {
			if m := loggedLine.FindStringSubmatch(line); m != nil && regexp.MustCompile(r.logs).MatchString(line) {
				return said + "; logged: " + m[1] + " " + strings.Trim(m[2], `"`)
			}
		}
	}
	return said
}

// faults runs fault cases, each apart.
func (c *chaos) faults(t *testing.T, cases []faultCase, workers int) []score {
	return each(t, workers, cases, func(f faultCase) string { return f.name }, func(t *testing.T, f faultCase) score {
		r := &faultRow{faultCase: f, apart: true}
		r.run(t, c.bin)
		return score{result: fmt.Sprint(r.exit), said: r.told(), over: r.over, peak: r.peak}
	})
}

func cpus() int { return runtime.NumCPU() }

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(strings.TrimSpace(string(text)), "-")
	return release
}
