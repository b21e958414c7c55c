package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bench/proxy"
)

// settle is how long a contestant has to calm down after it has delivered.
const settle = 10 * time.Second

// ticksPerSecond is the unit of times in /proc/PID/stat; it is 100 on every
// architecture that Go runs on (sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// resident is one contestant that stays and keeps fresh.
type resident struct {
	name, note string
	binary     func(options) string
	command    func(job) (args, env []string, err error)
}

func residents() []resident {
	return []resident{
		{"secretboot-watch", "`secretboot watch`, asks for a version every 5 minutes", func(o options) string { return o.secretboot }, func(j job) ([]string, []string, error) {
			path, err := j.write("secretboot.yaml", secretbootFiles(j))
			return append([]string{"watch", "-c", path, "--dir", j.out}, j.login()...), j.credentials(), err
		}},
		{"agent", "`vault agent`, reads every 5 minutes (static_secret_render_interval)", func(o options) string { return o.vault }, func(j job) ([]string, []string, error) {
			return agent(j, agentFiles(j))
		}},
	}
}

// usage is what a process has used since its start.
type usage struct {
	cpu   time.Duration
	wakes int64 // voluntary context switches of all its threads (proc(5))
	rss   int64 // bytes, now
}

// idleRow is what one contestant used while nothing happened.
type idleRow struct {
	name  string
	usage usage // over the time
	err   error
}

// idleCell is one table of the report.
type idleCell struct {
	point
	took time.Duration
	rows []idleRow
}

// measureIdle lets all residents deliver, and then watches them at the same time.
func (b *bench) measureIdle(ctx context.Context, p point) (c idleCell, err error) {
	c = idleCell{point: p, took: b.idle}
	var started []*idler
	defer func() {
		for _, i := range started {
			err = errors.Join(err, i.stop())
		}
	}()
	for _, r := range residents() {
		i, err := b.startIdler(ctx, r, p)
		if err != nil {
			return c, fmt.Errorf("%s: %w", r.name, err)
		}
		started = append(started, i)
	}
	if err := pause(ctx, settle); err != nil {
		return c, err
	}
	before := make([]usage, len(started))
	for k, i := range started {
		if before[k], err = usageOf(i.cmd.Process.Pid); err != nil {
			return c, err
		}
	}
	if err := pause(ctx, b.idle); err != nil {
		return c, err
	}
	for k, i := range started {
		after, err := usageOf(i.cmd.Process.Pid)
		row := idleRow{name: i.name, usage: usage{after.cpu - before[k].cpu, after.wakes - before[k].wakes, after.rss}, err: err}
		if err == nil {
			row.err = i.job.checkFiles(i.job.out)
		}
		c.rows = append(c.rows, row)
	}
	return c, nil
}

// idler is one that runs.
type idler struct {
	resident
	cmd   *exec.Cmd
	job   job
	dir   string
	proxy *proxy.Proxy
}

// startIdler starts one and waits until it has delivered.
func (b *bench) startIdler(ctx context.Context, r resident, pt point) (*idler, error) {
	dir, err := os.MkdirTemp(b.dir, r.name+"-")
	if err != nil {
		return nil, err
	}
	j, err := b.newJob(ctx, dir, pt, false)
	if err != nil {
		return nil, err
	}
	backend, scheme := b.server.endpoint(pt)
	p, err := proxy.Listen(ctx, backend, pt.rtt)
	if err != nil {
		return nil, err
	}
	j.addr = scheme + p.Addr()
	args, env, err := r.command(j)
	if err != nil {
		return nil, err
	}
	logged, err := os.Create(filepath.Join(j.conf, "log"))
	if err != nil {
		return nil, err
	}
	defer logged.Close()
	cmd := exec.CommandContext(ctx, r.binary(b.options), args...)
	cmd.Env = append([]string{"PATH=" + b.path, "HOME=" + j.conf, "TMPDIR=" + j.conf}, env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.conf, logged, logged
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	i := &idler{r, cmd, j, dir, p}
	limit, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	for j.checkFiles(j.out) != nil {
		if err := pause(limit, 50*time.Millisecond); err != nil {
			return nil, errors.Join(fmt.Errorf("nothing delivered: %s", lastLine(logged.Name())), i.stop())
		}
	}
	return i, nil
}

// stop ends it. How it ends when told to does not matter.
func (i *idler) stop() error {
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	_ = i.cmd.Wait()
	i.proxy.Close()
	return os.RemoveAll(i.dir)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// usageOf reads /proc of a process.
func usageOf(pid int) (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name before it may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 22 {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	for _, field := range fields[11:13] { // utime and stime
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	if err != nil {
		return u, err
	}
	u.rss = pages * int64(os.Getpagesize())
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return u, err
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		var n int64
		if _, err := fmt.Sscan(rest, &n); err != nil {
			return u, fmt.Errorf("%s: %w", path, err)
		}
		u.wakes += n
	}
	return u, nil
}

func (c idleCell) title() string {
	return fmt.Sprintf("Idle for %v with %d secrets", c.took, c.n)
}

func (c idleCell) table() [][]string {
	rows := [][]string{{"contestant", "CPU ms", "share of a core", "voluntary switches a minute", "MiB"}}
	for _, r := range c.rows {
		if r.err != nil {
			rows = append(rows, []string{r.name, "failed", "", "", ""})
			continue
		}
		rows = append(rows, []string{
			r.name, fmt.Sprint(r.usage.cpu.Milliseconds()),
			fmt.Sprintf("%.3f %%", 100*r.usage.cpu.Seconds()/c.took.Seconds()),
			fmt.Sprintf("%.1f", float64(r.usage.wakes)/c.took.Minutes()), mib(r.usage.rss),
		})
	}
	return rows
}
