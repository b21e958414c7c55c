package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// starts is what a start without a Vault costs, run by run, beside its neighbour.
type starts struct {
	hello, ours []sample
}

// measureStart lets the least Go program and secretboot replace themselves with
// the same command, in turns.
func (b *bench) measureStart(ctx context.Context) (s starts, err error) {
	dir, err := os.MkdirTemp(b.dir, "start-")
	if err != nil {
		return s, err
	}
	for i := range b.starts + 1 {
		hello, err := b.measure(ctx, filepath.Join(b.bin, "hello"), []string{"/bin/true"}, nil, dir)
		if err != nil {
			return s, fmt.Errorf("hello: %w", err)
		}
		ours, err := b.measure(ctx, b.secretboot, []string{"run", "--", "/bin/true"}, nil, dir)
		if err != nil {
			return s, fmt.Errorf("secretboot run: %w", err)
		}
		if i > 0 { // the first ones warm up
			s.hello, s.ours = append(s.hello, hello), append(s.ours, ours)
		}
	}
	return s, nil
}

// over gives by how much we were later than our neighbours: the quartiles.
func (s starts) over() (low, median, high time.Duration) {
	all := make([]time.Duration, len(s.ours))
	for i := range all {
		all[i] = s.ours[i].wall - s.hello[i].wall
	}
	return quartiles(all)
}

func (s starts) title() string {
	return fmt.Sprintf("Start to exec without a Vault, %d in turns", len(s.ours))
}

func (s starts) table() [][]string {
	rows := [][]string{{"program", "wall ms", "middle half", "ms over hello", "CPU ms", "peak MiB"}}
	_, over, _ := s.over()
	for _, of := range []struct {
		name, over string
		samples    []sample
	}{{"hello", "-", s.hello}, {"secretboot run -- true", ms(over), s.ours}} {
		r := &row{samples: of.samples}
		low, median, high := quartiles(r.walls())
		rows = append(rows, []string{of.name, ms(median), ms(low) + " to " + ms(high), of.over, ms(r.cpu()), mib(r.rss())})
	}
	return rows
}
