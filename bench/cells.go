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
	proved  sample // the run before the measured ones
	err     error  // the first wrong run; no more were made
}

// cell is one table of the report.
type cell struct {
	point
	rows []*row
}

// tooSlow is how long a proving run may take before it is the only one: what is
// as far away as that needs no precision.
const tooSlow = 15 * time.Second

// errSlow is the end of a run that took longer than -timeout.
var errSlow = errors.New("too slow")

// bench is everything that the runs share.
type bench struct {
	options
	server   *server
	dir      string // ours, on tmpfs
	progress io.Writer
}

// measureAll builds the helpers, starts the server and measures what the options
// ask for. All it started and wrote is gone when it returns.
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
	b.server, err = startServer(ctx, o, dir, o.points)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, b.server.stop()) }()
	rep, err = b.describe(ctx)
	switch {
	case err != nil:
		return rep, err
	case o.idle > 0:
		return rep, b.measureIdles(ctx, &rep)
	case o.scale > 0:
		rep.storms, err = b.measureStorms(ctx)
		return rep, err
	}
	for _, p := range o.points {
		c, err := b.measureCell(ctx, p)
		if err != nil {
			return rep, err
		}
		rep.cells = append(rep.cells, c)
	}
	if o.starts > 0 {
		rep.start, err = b.measureStart(ctx)
	}
	return rep, err
}

func (b *bench) measureIdles(ctx context.Context, rep *report) error {
	for _, p := range b.points {
		c, err := b.measureIdle(ctx, p)
		if err != nil {
			return err
		}
		rep.idle = append(rep.idle, c)
	}
	return nil
}

// build makes what is our own or pinned in go.mod; go build does nothing when
// it is there already.
func build(ctx context.Context, o options, progress io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", o.bin+"/",
		"./floor", "./hello", "./measure", "github.com/hashicorp/consul-template")
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
func (b *bench) measureCell(ctx context.Context, p point) (cell, error) {
	c := cell{point: p}
	for _, contestant := range b.chosen() {
		c.rows = append(c.rows, &row{contestant: contestant})
	}
	begin := time.Now()
	for _, r := range c.rows {
		if err := b.prove(ctx, r, p); err != nil {
			return c, err
		}
	}
	for round := 0; b.more(c, round, time.Since(begin)); round++ {
		for i := range c.rows {
			r := c.rows[(i+round)%len(c.rows)]
			if r.err != nil || r.once() {
				continue
			}
			s, err := b.runOnce(ctx, r.contestant, p, false)
			if b.failed(ctx, r, p, err); ctx.Err() != nil {
				return c, context.Cause(ctx)
			}
			if err == nil {
				if p.tls {
					s.Requests = r.proved.Requests
				}
				r.samples = append(r.samples, s)
			}
		}
	}
	fmt.Fprintf(b.progress, "%v: done in %v\n", p, time.Since(begin).Round(time.Second))
	return c, nil
}

// prove makes the first run, which is a warm-up as well. Of a contestant that is
// too slow it is the only one.
func (b *bench) prove(ctx context.Context, r *row, p point) error {
	s, err := b.runOnce(ctx, r.contestant, p, true)
	if b.failed(ctx, r, p, err); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.proved = s; err == nil && r.once() {
		r.samples = append(r.samples, s)
	}
	return nil
}

// once reports whether the proving run was the only one.
func (r *row) once() bool { return r.peer() && r.proved.wall > tooSlow }

func (b *bench) failed(ctx context.Context, r *row, p point, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	r.err = err
	fmt.Fprintf(b.progress, "%v: %s: %v\n", p, r.name, err)
}

// more decides whether a cell needs another round after so many.
func (b *bench) more(c cell, rounds int, took time.Duration) bool {
	alive := slices.ContainsFunc(c.rows, func(r *row) bool { return r.err == nil && !r.once() })
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
func (b *bench) runOnce(ctx context.Context, c contestant, pt point, prove bool) (s sample, err error) {
	dir, err := os.MkdirTemp(b.dir, c.name+"-")
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	j, err := b.newJob(ctx, dir, pt, prove)
	if err != nil {
		return s, err
	}
	backend, scheme := b.server.endpoint(pt)
	p, err := proxy.Listen(ctx, backend, pt.rtt)
	if err != nil {
		return s, err
	}
	j.addr = scheme + p.Addr()
	requests := 0
	run := func() error {
		s, err = b.start(ctx, c, j)
		return err
	}
	if pt.tls && prove {
		requests, err = b.server.audited(ctx, run)
	} else {
		err = run()
	}
	s.Stats = p.Close()
	if err != nil {
		return s, err
	}
	if pt.tls {
		s.Requests = requests
	}
	return s, errors.Join(j.plausible(s.Stats, prove), j.check(c.proof))
}

// plausible checks, because what a run delivered may be gone again, that all of
// it can have come: by requests, or by bytes where TLS hides
// those. No secret is shorter than its own text.
func (j job) plausible(s proxy.Stats, prove bool) error {
	if (!j.tls || prove) && s.Requests < j.n {
		return fmt.Errorf("%d secrets cannot come from %d requests", j.n, s.Requests)
	}
	if least := int64(j.n) * int64(len(j.server.values[0])); s.Bytes < least {
		return fmt.Errorf("%d secrets cannot come in %d bytes", j.n, s.Bytes)
	}
	return nil
}

// newJob makes the folders of a run below dir, and a token in case that the
// contestant cannot log in.
func (b *bench) newJob(ctx context.Context, dir string, p point, prove bool) (j job, err error) {
	j = job{conf: filepath.Join(dir, "conf"), out: filepath.Join(dir, "out"), server: b.server, point: p}
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

// start runs the contestant.
func (b *bench) start(ctx context.Context, c contestant, j job) (s sample, err error) {
	args, env, err := c.command(j)
	if err != nil {
		return s, err
	}
	return b.measure(ctx, c.binary(b.options), args, env, j.conf)
}

// measure runs a command in dir below the command measure and reads what that wrote.
// Its environment is env and what names folders.
func (b *bench) measure(ctx context.Context, binary string, args, env []string, dir string) (s sample, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, b.timeout, fmt.Errorf("%w: not done after %v", errSlow, b.timeout))
	defer cancel()
	logged, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return s, err
	}
	defer logged.Close()
	result := filepath.Join(dir, "result")
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "measure"), append([]string{result, binary}, args...)...)
	cmd.Env = append([]string{"PATH=" + b.path, "HOME=" + dir, "TMPDIR=" + dir}, env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, logged, logged
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
