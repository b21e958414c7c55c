package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bench/proxy"
)

// storm is many bootstraps that start at once against one Vault.
type storm struct {
	name  string
	limit int    // requests a second that Vault answers; 0: all
	token string // the kind that the role gives: service or batch
	uses  int    // how often it may be used; 0: without end

	n, secrets int
	ends       []time.Duration // since the first start, of those that delivered
	started    time.Duration   // when the last one had been started
	failed     int
	err        error // of the first that failed
	clientCPU  time.Duration
	serverCPU  time.Duration
	counts     proxy.Stats
	writes     float64 // of Vault to its storage, deletions among them
	reads      float64
}

// measureStorms lets the same storm go over a Vault without and with a limit, and
// with tokens that Vault does not store.
func (b *bench) measureStorms(ctx context.Context) ([]storm, error) {
	all := []storm{
		{name: "no limit, service tokens", token: "service"},
		{name: "no limit, service tokens with just as many uses", token: "service", uses: most(b.points) + 1},
		{name: "no limit, batch tokens", token: "batch"},
		{name: fmt.Sprintf("%d requests a second, service tokens", b.limit), token: "service", limit: b.limit},
		{name: fmt.Sprintf("%d requests a second, batch tokens", b.limit), token: "batch", limit: b.limit},
	}
	for i := range all {
		if err := b.storm(ctx, &all[i]); err != nil {
			return nil, err
		}
		fmt.Fprintf(b.progress, "%s: %d of %d delivered\n", all[i].name, len(all[i].ends), b.scale)
	}
	return all, nil
}

// storm sets the role and the limit, and measures what Vault does meanwhile.
func (b *bench) storm(ctx context.Context, s *storm) error {
	s.n, s.secrets = b.scale, most(b.points)
	body := map[string]any{"token_policies": role, "token_ttl": "1h", "token_type": s.token, "token_num_uses": s.uses}
	if err := b.server.call(ctx, http.MethodPost, "auth/approle/role/"+role, body, nil); err != nil {
		return err
	}
	before, err := b.server.counters(ctx)
	if err != nil {
		return err
	}
	cpu, err := usageOf(b.server.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := b.limited(ctx, s.limit, func() error { return b.release(ctx, s) }); err != nil {
		return err
	}
	cpuAfter, err1 := usageOf(b.server.cmd.Process.Pid)
	after, err2 := b.server.counters(ctx)
	s.serverCPU = cpuAfter.cpu - cpu.cpu
	moved := func(name string) float64 {
		return after["vault_barrier_"+name+"_count"] - before["vault_barrier_"+name+"_count"]
	}
	s.writes, s.reads = moved("put")+moved("delete"), moved("get")+moved("list")
	return errors.Join(err1, err2)
}

// limited does something under a rate limit quota (Vault's
// sys/quotas/rate-limit), which counts the requests of one address.
func (b *bench) limited(ctx context.Context, rate int, do func() error) error {
	if rate == 0 {
		return do()
	}
	const quota = "sys/quotas/rate-limit/bench"
	if err := b.server.call(ctx, http.MethodPost, quota, map[string]any{"rate": rate, "interval": "1s"}, nil); err != nil {
		return err
	}
	err := do()
	if err := pause(ctx, 2*time.Second); err != nil { // or the next request would be over it
		return err
	}
	return errors.Join(err, b.server.call(ctx, http.MethodDelete, quota, nil, nil))
}

// release starts them all and waits for all.
func (b *bench) release(ctx context.Context, s *storm) (err error) {
	dir, err := os.MkdirTemp(b.dir, "storm-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := proxy.Listen(ctx, b.server.addr, b.points[0].rtt)
	if err != nil {
		return err
	}
	pt := point{n: s.secrets, rtt: b.points[0].rtt, auth: approle}
	jobs := make([]job, s.n)
	for i := range jobs {
		name := filepath.Join(dir, strconv.Itoa(i))
		jobs[i] = job{conf: name + ".conf", out: name, addr: "http://" + p.Addr(), server: b.server, point: pt}
		if err := errors.Join(os.Mkdir(jobs[i].conf, 0o700), os.Mkdir(jobs[i].out, 0o700)); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for _, j := range jobs {
		wg.Go(func() {
			started, cpu, err := b.bootstrap(ctx, j)
			end := time.Since(begin)
			mu.Lock()
			defer mu.Unlock()
			s.clientCPU += cpu
			s.started = max(s.started, started.Sub(begin))
			if err != nil {
				s.failed++
				s.err = cmp.Or(s.err, err)
				return
			}
			s.ends = append(s.ends, end)
		})
	}
	wg.Wait()
	s.counts = p.Close()
	slices.Sort(s.ends)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// bootstrap runs one init and checks its files.
func (b *bench) bootstrap(ctx context.Context, j job) (started time.Time, cpu time.Duration, err error) {
	args, env, err := secretbootInit(j)
	if err != nil {
		return started, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	logged, err := os.Create(filepath.Join(j.conf, "log"))
	if err != nil {
		return started, 0, err
	}
	defer logged.Close()
	cmd := exec.CommandContext(ctx, b.secretboot, args...)
	cmd.Env = append([]string{"PATH=" + b.path, "HOME=" + j.conf, "TMPDIR=" + j.conf}, env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.conf, logged, logged
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return started, 0, err
	}
	started = time.Now()
	err = cmd.Wait()
	cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err != nil {
		return started, cpu, fmt.Errorf("%w: %s", err, lastLine(logged.Name()))
	}
	return started, cpu, j.checkFiles(j.out)
}

// counters reads Vault's own (sys/metrics, in the text format of Prometheus).
func (s *server) counters(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/v1/sys/metrics?format=prometheus", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Vault-Token", s.root)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sys/metrics: %s", resp.Status)
	}
	all := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = v
		}
	}
	if _, ok := all["vault_barrier_put_count"]; !ok {
		return nil, fmt.Errorf("sys/metrics has no vault_barrier_put_count: %w", io.ErrUnexpectedEOF)
	}
	return all, lines.Err()
}

func stormTitle(all []storm) string {
	return fmt.Sprintf("%d times `secretboot init` at once, %d secrets each", all[0].n, all[0].secrets)
}

// stormTable has a column for each storm.
func stormTable(all []storm) [][]string {
	rows := [][]string{{"of a bootstrap, where nothing else is said"}}
	for _, s := range all {
		rows[0] = append(rows[0], s.name)
	}
	least := func(s storm) float64 { // log in, read, and revoke what can be revoked
		if s.token == "batch" {
			return float64(s.secrets + 1)
		}
		return float64(s.secrets + 2)
	}
	each := func(f func(storm) float64) func(storm) string {
		return func(s storm) string { return fmt.Sprintf("%.2f", f(s)/float64(s.n)) }
	}
	at := func(q float64) func(storm) string {
		return func(s storm) string {
			if len(s.ends) == 0 {
				return "-"
			}
			return fmt.Sprintf("%.1f", s.ends[int(q*float64(len(s.ends)-1))].Seconds())
		}
	}
	for _, line := range []struct {
		name string
		of   func(storm) string
	}{
		{"delivered, of all", func(s storm) string { return fmt.Sprintf("%d of %d", len(s.ends), s.n) }},
		{"last process started after, s", func(s storm) string { return fmt.Sprintf("%.1f", s.started.Seconds()) }},
		{"first delivered and gone after, s", at(0)},
		{"half of them after, s", at(0.5)},
		{"95 of 100 after, s", at(0.95)},
		{"the last after, s", at(1)},
		{"requests", each(func(s storm) float64 { return float64(s.counts.Requests) })},
		{"of these answered with 429", each(func(s storm) float64 { return float64(s.counts.Limited) })},
		{"requests more than log in, read and, with a service token, revoke", each(func(s storm) float64 { return float64(s.counts.Requests) - least(s)*float64(s.n) })},
		{"connections", each(func(s storm) float64 { return float64(s.counts.Connections) })},
		{"writes and deletions in Vault's storage", each(func(s storm) float64 { return s.writes })},
		{"reads and lists there", each(func(s storm) float64 { return s.reads })},
		{"CPU of Vault, ms", each(func(s storm) float64 { return float64(s.serverCPU.Milliseconds()) })},
		{"CPU of secretboot, ms", each(func(s storm) float64 { return float64(s.clientCPU.Milliseconds()) })},
	} {
		row := []string{line.name}
		for _, s := range all {
			row = append(row, line.of(s))
		}
		rows = append(rows, row)
	}
	return rows
}
