package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bench/proxy"
)

// How many rounds a cell has when -runs does not say: at least minRuns, then
// until the middle half of each contestant's times lies within steady of its
// median, at most maxRuns, and none is begun once the cell took maxCell.
const (
	minRuns = 5
	maxRuns = 15
	steady  = 0.10
	maxCell = 4 * time.Minute
)

// sample is what one run cost.
type sample struct {
	wall, cpu time.Duration
	rss       int64 // peak, bytes
	proxy.Stats
}

// row is one contestant in one cell. Samples of one index in different rows are
// of one round.
type row struct {
	contestant
	samples []sample
	err     error // the first wrong run; no more were made
}

// cell is one table of the report.
type cell struct {
	n    int
	rtt  time.Duration
	rows []*row
}

// bench is everything that the runs share.
type bench struct {
	options
	server   *server
	dir      string // ours, on tmpfs
	progress io.Writer
}

// measureAll builds the helpers, starts the server and measures every cell. All
// it started and wrote is gone when it returns.
func measureAll(ctx context.Context, o options, progress io.Writer) (rep report, err error) {
	if err := build(ctx, o, progress); err != nil {
		return rep, err
	}
	dir, err := os.MkdirTemp("/dev/shm", "secretboot-bench-")
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{options: o, dir: dir, progress: progress}
	b.server, err = startServer(ctx, o.vault, o.path, dir, slices.Max(o.secrets))
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	rep, err = b.describe(ctx)
	if err != nil {
		return rep, err
	}
	if o.idle > 0 {
		for _, n := range o.secrets {
			c, err := b.measureIdle(ctx, n)
			if err != nil {
				return rep, err
			}
			rep.idle = append(rep.idle, c)
		}
		return rep, nil
	}
	for _, rtt := range o.rtts {
		for _, n := range o.secrets {
			c, err := b.measureCell(ctx, n, rtt)
			if err != nil {
				return rep, err
			}
			rep.cells = append(rep.cells, c)
		}
	}
	return rep, nil
}

// build makes what is our own or pinned in go.mod; go build does nothing when
// it is there already.
func build(ctx context.Context, o options, progress io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", o.bin+"/",
		"./floor", "./measure", "github.com/hashicorp/consul-template")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	var errs []error
	for _, c := range o.chosen() {
		if _, err := os.Stat(c.binary(o)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w; build it, or leave it out with -only", c.name, err))
		}
	}
	return errors.Join(errs...)
}

func (o options) chosen() []contestant {
	return slices.DeleteFunc(contestants(), func(c contestant) bool { return !slices.Contains(o.only, c.name) })
}

// measureCell lets every contestant prove itself once and then run in turns,
// each round beginning with another one.
func (b *bench) measureCell(ctx context.Context, n int, rtt time.Duration) (cell, error) {
	c := cell{n: n, rtt: rtt}
	for _, contestant := range b.chosen() {
		c.rows = append(c.rows, &row{contestant: contestant})
	}
	begin := time.Now()
	for round := -1; b.more(c, round, time.Since(begin)); round++ {
		for i := range c.rows {
			r := c.rows[(i+max(round, 0))%len(c.rows)]
			if r.err != nil {
				continue
			}
			s, err := b.runOnce(ctx, r.contestant, n, rtt, round < 0)
			switch {
			case ctx.Err() != nil:
				return c, context.Cause(ctx)
			case err != nil:
				r.err = err
				fmt.Fprintf(b.progress, "%d secrets, %v: %s: %v\n", n, rtt, r.name, err)
			case round >= 0: // the proving run is a warm-up as well
				r.samples = append(r.samples, s)
			}
		}
	}
	fmt.Fprintf(b.progress, "%d secrets, %v: done in %v\n", n, rtt, time.Since(begin).Round(time.Second))
	return c, nil
}

// more decides whether a cell needs another round after so many.
func (b *bench) more(c cell, rounds int, took time.Duration) bool {
	alive := slices.ContainsFunc(c.rows, func(r *row) bool { return r.err == nil })
	switch {
	case !alive:
		return false
	case b.runs > 0:
		return rounds < b.runs
	case rounds < minRuns:
		return true
	case rounds >= maxRuns || took > maxCell:
		return false
	}
	return slices.ContainsFunc(c.rows, func(r *row) bool {
		low, median, high := quartiles(r.walls())
		return float64(high-low) > steady*float64(median)
	})
}

// runOnce lets one contestant run behind a fresh proxy and checks what it did.
func (b *bench) runOnce(ctx context.Context, c contestant, n int, rtt time.Duration, prove bool) (s sample, err error) {
	dir, err := os.MkdirTemp(b.dir, c.name+"-")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	j, err := b.newJob(ctx, dir, n, prove)
	if err != nil {
		return s, err
	}
	p, err := proxy.Listen(ctx, b.server.addr, rtt)
	if err != nil {
		return s, err
	}
	j.addr = "http://" + p.Addr()
	s, err = b.start(ctx, c, j)
	s.Stats = p.Close()
	if err != nil {
		return s, err
	}
	if s.Requests < n {
		return s, fmt.Errorf("%d secrets cannot come from %d requests", n, s.Requests)
	}
	return s, j.check(c.proof)
}

// newJob makes the folders of a run below dir, and a token in case that the
// contestant cannot log in.
func (b *bench) newJob(ctx context.Context, dir string, n int, prove bool) (j job, err error) {
	j = job{conf: filepath.Join(dir, "conf"), out: filepath.Join(dir, "out"), server: b.server, n: n}
	folders := []string{j.conf, j.out}
	if prove {
		j.copy = filepath.Join(dir, "copy")
		folders = append(folders, j.copy)
	}
	for _, f := range folders {
		if err := os.Mkdir(f, 0o700); err != nil {
			return j, err
		}
	}
	j.token, err = b.server.login(ctx)
	return j, err
}

// start runs the contestant below measure and reads what that wrote.
func (b *bench) start(ctx context.Context, c contestant, j job) (s sample, err error) {
	args, env, err := c.command(j)
	if err != nil {
		return s, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, b.timeout, fmt.Errorf("not done after %v", b.timeout))
	defer cancel()
	logged, err := os.Create(filepath.Join(j.conf, "log"))
	if err != nil {
		return s, err
	}
	defer logged.Close()
	result := filepath.Join(j.conf, "result")
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "measure"), append([]string{result, c.binary(b.options)}, args...)...)
	cmd.Env = append([]string{"PATH=" + b.path, "HOME=" + j.conf, "TMPDIR=" + j.conf}, env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.conf, logged, logged
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return s, context.Cause(ctx)
		}
		return s, err
	}
	text, err := os.ReadFile(result)
	if err != nil {
		return s, err
	}
	var exit int
	if _, err := fmt.Sscan(string(text), (*int64)(&s.wall), (*int64)(&s.cpu), &s.rss, &exit); err != nil {
		return s, err
	}
	if exit != 0 {
		return s, fmt.Errorf("exit status %d: %s", exit, lastLine(logged.Name()))
	}
	return s, nil
}

// lastLine gives the end of a log, for an error message. The secrets of this
// benchmark are random and its server is gone before the message is read.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
