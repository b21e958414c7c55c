package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/secretboot/secretboot/bench/proxy"
)

// report is all that was found out.
type report struct {
	command string   // makes it again
	machine []string // what it was measured on and with, a line each
	sizes   [][]string
	notes   [][]string
	cells   []cell
	start   starts
	idle    []idleCell
	storms  []storm
	ownSize int64 // of the secretboot binary
}

// describe fills in what is known before the first run.
func (b *bench) describe(ctx context.Context) (report, error) {
	o := b.options
	r := report{command: o.command()}
	versions, err := versions(ctx, o.vault, filepath.Join(o.bin, "consul-template"))
	if err != nil {
		return r, err
	}
	distances, err := b.distances(ctx)
	if err != nil {
		return r, err
	}
	r.machine = []string{
		fmt.Sprintf("%d CPUs (%s), %s, %s/%s", runtime.NumCPU(), cpuModel(), runtime.Version(), runtime.GOOS, runtime.GOARCH),
		versions + ".",
		"Server, proxy and contestants share these CPUs: 1-minute load " + load() + " before, which is ours and others'. " + distances + ".",
		"Without TLS it is HTTP/1.1; with TLS (1.3, an authority made for it) Vault, the floor and secretboot speak HTTP/2.",
		"No limit of a contestant was changed: Vault Agent reads over 10 connections (max_connections_per_host), " +
			"consul-template over as many as it has reads under way (max_conns_per_host 0); both retry 12 times and have no rate limit.",
	}
	for _, c := range o.chosen() {
		r.notes = append(r.notes, []string{c.name, c.note})
		info, err := os.Stat(c.binary(o))
		if err != nil {
			return r, err
		}
		name := filepath.Base(c.binary(o))
		if c.ours() {
			r.ownSize = info.Size()
		}
		if !slices.ContainsFunc(r.sizes, func(row []string) bool { return row[0] == name }) {
			r.sizes = append(r.sizes, []string{name, mib(info.Size())})
		}
	}
	return r, nil
}

// versions asks vault and consul-template, which answer "NAME VERSION…".
func versions(ctx context.Context, binaries ...string) (string, error) {
	var all []string
	for _, binary := range binaries {
		out, err := exec.CommandContext(ctx, binary, "-version").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s -version: %w", binary, err)
		}
		words := strings.FieldsFunc(string(out), func(r rune) bool { return unicode.IsSpace(r) || r == ',' })
		if len(words) < 2 {
			return "", fmt.Errorf("%s -version: unexpected answer", binary)
		}
		all = append(all, words[0]+" "+words[1])
	}
	return strings.Join(all, ", "), nil
}

// distances measures what the proxy really adds: timers are late by a part of a
// millisecond.
func (b *bench) distances(ctx context.Context) (string, error) {
	var all []string
	var rtts []time.Duration
	for _, p := range b.points {
		rtts = append(rtts, p.rtt)
	}
	slices.Sort(rtts)
	for _, rtt := range slices.Compact(rtts) {
		p, err := proxy.Listen(ctx, b.server.addr, rtt)
		if err != nil {
			return "", err
		}
		took, err := exchange(ctx, "http://"+p.Addr()+"/v1/sys/health")
		p.Close()
		if err != nil {
			return "", err
		}
		all = append(all, fmt.Sprintf("%s ms at %v", ms(took), rtt))
	}
	return "One request and its answer on an open connection take " + strings.Join(all, ", "), nil
}

// exchange gives the median time of a request on a connection that is open.
func exchange(ctx context.Context, url string) (time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var all []time.Duration
	for i := range 10 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, err
		}
		begin := time.Now()
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return 0, err
		}
		if i > 0 { // the first one opens the connection
			all = append(all, time.Since(begin))
		}
	}
	_, median, _ := quartiles(all)
	return median, nil
}

// load is the machine's load average of the last minute (proc_loadavg(5)).
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown"
}

// failures joins the errors of all rows.
func (r report) failures() error {
	var errs []error
	for _, c := range r.cells {
		for _, row := range c.rows {
			if row.failed() {
				errs = append(errs, fmt.Errorf("%v: %s: %w", c, row.name, row.err))
			}
		}
	}
	for _, s := range r.storms {
		if s.err != nil {
			errs = append(errs, fmt.Errorf("%s: %d failed, the first so: %w", s.name, s.failed, s.err))
		}
	}
	for _, c := range r.idle {
		for _, row := range c.rows {
			if row.err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", c.title(), row.name, row.err))
			}
		}
	}
	return errors.Join(errs...)
}

// save writes the report where the options want it.
func (r report) save(o options, stdout io.Writer) error {
	var b bytes.Buffer
	if o.markdown || o.into != "" {
		r.write(&b, markdown)
	} else {
		r.write(&b, plain)
	}
	switch {
	case o.into != "":
		return replacePart(o.into, r.part(), b.String())
	case o.out != "":
		return os.WriteFile(o.out, b.Bytes(), 0o644)
	}
	_, err := stdout.Write(b.Bytes())
	return err
}

// part is the name of what was measured, for the marks of -into.
func (r report) part() string {
	switch {
	case len(r.storms) > 0:
		return "scale"
	case len(r.idle) > 0:
		return "idle"
	}
	return "cells"
}

// write lays the report out; table draws one table.
func (r report) write(w io.Writer, table func(w io.Writer, title string, rows [][]string)) {
	fmt.Fprintf(w, "\nMade with `%s`\n\n", r.command)
	machine := r.machine
	if r.part() != "cells" {
		machine = machine[:3] // the rest is about how contestants bootstrap
	}
	for _, line := range machine {
		fmt.Fprintf(w, "- %s\n", line)
	}
	if len(r.cells) > 0 {
		table(w, "The worst of each aim", r.aims())
	}
	for _, c := range r.cells {
		table(w, c.String(), c.table())
	}
	if len(r.start.ours) > 0 {
		table(w, r.start.title(), r.start.table())
	}
	for _, c := range r.idle {
		table(w, c.title(), c.table())
	}
	if len(r.storms) > 0 {
		table(w, stormTitle(r.storms), stormTable(r.storms))
	}
	if r.part() != "cells" {
		fmt.Fprintln(w)
		return
	}
	table(w, "What was run", append([][]string{{"contestant", "what it does"}}, r.notes...))
	table(w, "Size of the binaries, stripped", append([][]string{{"binary", "MiB"}}, r.sizes...))
	fmt.Fprintln(w)
}

// table gives the rows of a cell with their head.
func (c cell) table() [][]string {
	rows := [][]string{{
		"contestant", "wall ms", "fastest", "middle half", "times floor", "CPU ms", "peak MiB", "requests", "connections", "runs",
	}}
	var base []time.Duration
	for _, r := range c.rows {
		if r.name == "floor" {
			base = r.walls()
		}
	}
	for _, r := range c.rows {
		rows = append(rows, r.cells(base))
	}
	return rows
}

// cells gives one row of a table.
func (r *row) cells(base []time.Duration) []string {
	if r.err != nil {
		what := "failed"
		if !r.failed() {
			what = r.err.Error()
		}
		return []string{r.name, what, "", "", "", "", "", "", "", fmt.Sprint(len(r.samples))}
	}
	low, median, high := quartiles(r.walls())
	_, requests, _ := quartiles(collect(r, func(s sample) int { return s.Requests }))
	_, connections, _ := quartiles(collect(r, func(s sample) int { return s.Connections }))
	ratio := "-"
	if len(base) > 0 {
		_, q, _ := quartiles(ratios(r.walls(), base))
		ratio = fmt.Sprintf("%.2f", q)
	}
	return []string{
		r.name, ms(median), ms(slices.Min(r.walls())), ms(low) + " to " + ms(high), ratio, ms(r.cpu()), mib(r.rss()),
		fmt.Sprint(requests), fmt.Sprint(connections), fmt.Sprint(len(r.samples)),
	}
}

func (r *row) walls() []time.Duration {
	return collect(r, func(s sample) time.Duration { return s.wall })
}

// cpu gives the median of the processor time.
func (r *row) cpu() time.Duration {
	_, median, _ := quartiles(collect(r, func(s sample) time.Duration { return s.cpu }))
	return median
}

// rss gives the median of the peaks of memory, in bytes.
func (r *row) rss() int64 {
	_, median, _ := quartiles(collect(r, func(s sample) int64 { return s.rss }))
	return median
}

func collect[T any](r *row, of func(sample) T) []T {
	all := make([]T, len(r.samples))
	for i, s := range r.samples {
		all[i] = of(s)
	}
	return all
}

// ratios divides run by run: neighbours in time met the same noise.
func ratios(runs, base []time.Duration) []float64 {
	all := make([]float64, min(len(runs), len(base)))
	for i := range all {
		all[i] = float64(runs[i]) / float64(base[i])
	}
	return all
}

// quartiles gives the first, second and third quartile as values that occurred;
// zeros for no values.
func quartiles[T cmp.Ordered](values []T) (low, median, high T) {
	if len(values) == 0 {
		return low, median, high
	}
	s := slices.Sorted(slices.Values(values))
	last := len(s) - 1
	return s[last/4], s[last/2], s[last-last/4]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

func mib(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

// plain draws a table for a terminal.
func plain(w io.Writer, title string, rows [][]string) {
	fmt.Fprintf(w, "\n%s\n\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, "  "+strings.Join(row, "\t"))
	}
	_ = t.Flush() // to a buffer
}

// markdown draws a table for docs/benchmarks.md, with numbers to the right.
func markdown(w io.Writer, title string, rows [][]string) {
	fmt.Fprintf(w, "\n### %s\n\n", title)
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i > 0 || len(rows) == 1 {
			continue
		}
		fmt.Fprint(w, "|")
		for _, first := range rows[1] {
			side := "---|"
			if strings.ContainsFunc(first[:min(1, len(first))], unicode.IsDigit) {
				side = "--:|"
			}
			fmt.Fprint(w, side)
		}
		fmt.Fprintln(w)
	}
}
