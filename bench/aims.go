package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// What we want.
const (
	aimFloor    = 1.25                 // times the floor, at most
	aimPeer     = 1.0                  // times any peer, less
	aimMany     = 10_000               // secrets that fit
	aimMemory   = 64 << 20             // into less than so much
	aimStart    = 3 * time.Millisecond // over the least Go program, at most
	aimSize     = 15 << 20             // of the binary, at most
	noSuchCells = "not measured"
)

// worst is the farthest of many from an aim.
type worst struct {
	value  float64
	where  string
	of     int // how many there were
	missed int
}

// see takes another one in.
func (w *worst) see(value float64, where string, missed bool) {
	w.of++
	if missed {
		w.missed++
	}
	if w.of == 1 || value > w.value {
		w.value, w.where = value, where
	}
}

// row says what an aim is and how it went.
func (w worst) row(aim, unit string) []string {
	if w.of == 0 {
		return []string{aim, noSuchCells, "", "", ""}
	}
	verdict := "holds"
	if w.missed > 0 {
		verdict = fmt.Sprintf("**missed in %d of %d**", w.missed, w.of)
	}
	return []string{aim, fmt.Sprintf("%.2f %s", w.value, unit), w.where, fmt.Sprint(w.of), verdict}
}

// aims gives the worst of each aim, as a table.
func (r report) aims() [][]string {
	var floor, best, noise, wall, cpu, rss, many, start, size worst
	for _, c := range r.cells {
		c.compare(&floor, &best, &wall, &cpu, &rss)
		c.noise(&noise)
		for _, row := range c.rows {
			if c.n >= aimMany && row.ours() && row.err == nil {
				many.see(float64(row.rss())/(1<<20), row.name+": "+c.String(), row.rss() >= aimMemory)
			}
		}
	}
	if len(r.start.ours) > 0 {
		_, over, _ := r.start.over()
		start.see(float64(over)/float64(time.Millisecond), "secretboot run -- true", over > aimStart)
	}
	if r.ownSize > 0 {
		size.see(float64(r.ownSize)/(1<<20), "secretboot", r.ownSize > aimSize)
	}
	noisy := noise.row("(how noisy the machine was: the floor's slowest run by its fastest)", "times")
	noisy[len(noisy)-1] = "" // no aim
	return [][]string{
		{"aim", "worst", "where", "compared", "so it"},
		floor.row("at most 1.25 times the floor", "times"),
		best.row("the same, of the fastest run of each", "times"),
		wall.row("ahead of every peer in wall time", "times"),
		cpu.row("ahead of every peer in CPU time", "times"),
		rss.row("ahead of every peer in memory", "times"),
		many.row("10,000 secrets under 64 MiB", "MiB"),
		start.row("start to exec without a Vault at most 3 ms over the least Go program", "ms"),
		size.row("binary at most 15 MiB", "MiB"),
		noisy,
	}
}

// compare lets each of our modes meet the floor and every peer of the cell.
func (c cell) compare(floor, best, wall, cpu, rss *worst) {
	for _, us := range c.rows {
		if !us.ours() || us.err != nil {
			continue
		}
		for _, other := range c.rows {
			if other.ours() || other.err != nil || other.without == c.auth {
				continue
			}
			_, times, _ := quartiles(ratios(us.walls(), other.walls()))
			where := us.name + " beside " + other.name + ": " + c.String()
			if !other.peer() {
				floor.see(times, us.name+": "+c.String(), times > aimFloor)
				times = float64(slices.Min(us.walls())) / float64(slices.Min(other.walls()))
				best.see(times, us.name+": "+c.String(), times > aimFloor)
				continue
			}
			wall.see(times, where, times >= aimPeer)
			times = float64(us.cpu()) / float64(other.cpu())
			cpu.see(times, where, times >= aimPeer)
			times = float64(us.rss()) / float64(other.rss())
			rss.see(times, where, times >= aimPeer)
		}
	}
}

// noise sees how much the floor's own runs differ.
func (c cell) noise(w *worst) {
	for _, r := range c.rows {
		if r.name == "floor" && len(r.samples) > 0 {
			w.see(float64(slices.Max(r.walls()))/float64(slices.Min(r.walls())), c.String(), false)
		}
	}
}

// failed reports whether a row is an error of the run. That a peer took longer
// than it was given is a result.
func (r *row) failed() bool {
	return r.err != nil && (!r.peer() || !errors.Is(r.err, errSlow))
}
