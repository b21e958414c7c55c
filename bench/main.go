// Command bench times whole bootstraps side by side: from the start of a
// process without a token to every secret in its file and, where the contestant
// does so, the token revoked.
//
//	bench [flags]          from this folder; `make bench` builds what it needs
//
// The contestants are secretboot, Vault Agent, consul-template and a floor: the
// least that any bootstrap must do (see floor). They talk to one Vault
// development server of the benchmark's own, through a proxy that adds a
// round-trip time and counts requests and connections (see proxy). Within a cell
// (so many secrets at such a distance) they take turns, run by run, so that a
// noisy machine is noisy for all of them, and a ratio is the median of the ratios
// of runs that were neighbours. What each run delivered is checked; a wrong
// result fails the run, its contestant's cell and the exit status.
//
// With -idle the secretboot and the Vault Agent that stay are compared: what they
// use while nothing happens.
//
// The report goes to standard output or -out, progress to standard error. The
// exit status is 0 when every run was right, 1 when one was not or nothing could
// be measured, 2 for a wrong command line.
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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	secrets    []int
	rtts       []time.Duration
	only       []string // empty: all
	runs       int      // 0: adaptive
	vault      string
	secretboot string
	bin        string
	out        string // empty: standard output
	markdown   bool
	idle       time.Duration // 0: bootstraps are timed
	timeout    time.Duration
	given      []string // the flags as they were given, for the report
	path       string   // PATH, the one variable that is handed on
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	opts.path = os.Getenv("PATH")
	rep, err := measureAll(ctx, opts, stderr)
	if err == nil {
		err = rep.save(opts, stdout)
	}
	if err = errors.Join(err, rep.failures()); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// parse reads the command line. A flag that cannot be read is an error, as is
// a contestant that does not exist.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	secrets := f.String("secrets", "1,20,100,1000", "`numbers` of secrets")
	rtts := f.String("rtt", "0,10ms", "round-trip `times` that the proxy adds")
	only := f.String("only", "", "contestants by `name`, comma-separated (default all): "+strings.Join(names(), ","))
	f.IntVar(&o.runs, "runs", 0, "runs of each contestant in each cell (default 5 to 15, until they are steady)")
	f.StringVar(&o.bin, "bin", "../bin", "`folder` that floor, measure and consul-template are built into")
	f.StringVar(&o.vault, "vault", "../bin/vault", "the vault `binary`: server and agent")
	f.StringVar(&o.secretboot, "secretboot", "../bin/secretboot", "the secretboot `binary`")
	f.StringVar(&o.out, "out", "", "`file` for the report (default standard output)")
	f.BoolVar(&o.markdown, "md", false, "write the report as Markdown")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "the longest that one run may take")
	f.DurationVar(&o.idle, "idle", 0, "instead, leave those that stay alone for so `long`, and see what that costs")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.given = args
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.runs < 0 || o.timeout <= 0 || o.idle < 0 {
		return o, errors.New("-runs and -idle must not be negative, -timeout must be positive")
	}
	return o, errors.Join(o.lists(*secrets, *rtts, *only), o.absolute())
}

// lists reads the flags that are lists.
func (o *options) lists(secrets, rtts, only string) error {
	for s := range strings.SplitSeq(secrets, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-secrets: %q is not a number from 1", s)
		}
		o.secrets = append(o.secrets, n)
	}
	for s := range strings.SplitSeq(rtts, ",") {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return fmt.Errorf("-rtt: %q is not a time such as 10ms", s)
		}
		o.rtts = append(o.rtts, d)
	}
	if only == "" {
		o.only = names()
		return nil
	}
	o.only = strings.Split(only, ",")
	for _, name := range o.only {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("-only: no contestant %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	return nil
}

// absolute makes the paths fit for processes that run elsewhere.
func (o *options) absolute() error {
	for _, p := range []*string{&o.bin, &o.vault, &o.secretboot} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}
