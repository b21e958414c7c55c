// Command instructions holds what secretboot takes to the figures of the last
// commit: the instructions in user space of a few fixed runs, as ratios to those of a
// reference program in the same minute.
//
//	instructions [-write]    from this folder; `make instructions` builds what it needs
//
// It counts with `perf stat -e instructions:u` where the machine counts, else with
// valgrind's cachegrind, which counts the same but for the paths that a processor
// without some features takes. A machine may be busy with other things meanwhile:
// time has no part in it. The server is one of canned answers in this process.
//
// Two things are left out, because valgrind cannot follow them: the janitor of `run`
// (it starts as `version` does) and a command that takes our place.
//
// The exit status is 0 when no run takes a fifth more than last time, 1 when one
// does, 2 when nothing could be measured. Where neither of the two can count, that is a
// failure with CI=true, and elsewhere only said.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// runs is how often each run is counted; the least counts, because what else happens
// in a process only adds to it.
const runs = 2

var errNoCounter = errors.New("neither perf nor valgrind can count instructions here: install valgrind")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv("CI") == "true", os.Stdout)
	stop()
	os.Exit(code)
}

// run measures, and compares or writes. inCI says that nothing may be skipped.
func run(ctx context.Context, args []string, inCI bool, out io.Writer) int {
	f := flag.NewFlagSet("instructions", flag.ContinueOnError)
	write := f.Bool("write", false, "write the figures down instead of comparing with them")
	file := f.String("file", "ratios.txt", "`file` of the figures")
	bin := f.String("bin", "../../bin", "`folder` with secretboot and reference")
	if err := f.Parse(args); err != nil {
		return 2
	}
	now, err := measure(ctx, *bin)
	switch {
	case errors.Is(err, errNoCounter) && !inCI:
		fmt.Fprintln(out, "SKIPPED:", err)
		return 0
	case err == nil && *write:
		err = os.WriteFile(*file, now.text(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(out, "instructions:", err)
		return 2
	}
	if *write {
		fmt.Fprintf(out, "%s", now.text())
		return 0
	}
	last, err := readFigures(*file)
	if err != nil {
		fmt.Fprintln(out, "instructions:", err)
		return 2
	}
	return report(out, last, now)
}

// measure counts all runs, in turns.
func measure(ctx context.Context, bin string) (figures, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	count, err := counter(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/dev/shm", "secretboot-instructions-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(ctx, dir, bin)
	if err != nil {
		return nil, err
	}
	defer w.close()
	counts := map[string][]float64{}
	for range runs {
		for _, r := range w.cells() {
			n, err := w.once(ctx, count, r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			counts[r.name] = append(counts[r.name], n)
		}
	}
	return ratios(counts), nil
}
