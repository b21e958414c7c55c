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
// (so many secrets at such a distance, with or without TLS, with such a login) they
// take turns, run by run, so that a noisy machine is noisy for all of them, and a
// ratio is the median of the ratios of runs that were neighbours. What each run
// delivered is checked; a wrong result fails the run, its contestant's cell and the
// exit status. Without a flag that chooses cells, those of design are measured.
//
// -start compares the start without a Vault with that of the least Go program. With
// -idle the secretboot and the Vault Agent that stay are compared: what they use
// while nothing happens. With -scale many bootstraps start at once against a Vault
// that limits its rate.
//
// The report goes to standard output, -out, or between the marks of -into, progress
// to standard error. The exit status is 0 when every run was right, 1 when one was
// not or nothing could be measured, 2 for a wrong command line. That we are slower
// than we want is told, and is no failure.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	points     []point
	only       []string
	runs       int // 0: adaptive
	starts     int // 0: not measured
	vault      string
	secretboot string
	bin        string
	out, into  string // empty: standard output
	markdown   bool
	idle       time.Duration // 0: bootstraps are timed
	scale      int           // 0: they are timed one by one
	limit      int           // requests a second, with scale
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

// command makes the report again.
func (o options) command() string {
	return "make bench BENCHFLAGS='" + strings.Join(o.given, " ") + "'"
}

// parse reads the command line. A flag that cannot be read is an error, as is
// a contestant that does not exist.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var a axes
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&a.secrets, "secrets", "", "`numbers` of secrets (default 1,20,100,1000, or the design when no flag chooses cells)")
	f.StringVar(&a.rtts, "rtt", "", "round-trip `times` that the proxy adds (default 0,10ms)")
	f.StringVar(&a.tls, "tls", "", "`on`, off or on,off (default off)")
	f.StringVar(&a.auths, "auth", "", "`logins`: approle, kubernetes or token, or several (default approle)")
	only := f.String("only", "", "contestants by `name`, comma-separated (default all): "+strings.Join(names(), ","))
	f.IntVar(&o.runs, "runs", 0, "runs of each contestant in each cell (default 5 to 15, until they are steady)")
	f.IntVar(&o.starts, "start", 0, "after the cells, compare so many `starts` without a Vault with those of the least Go program")
	f.StringVar(&o.bin, "bin", "../bin", "`folder` that floor, hello, measure and consul-template are built into")
	f.StringVar(&o.vault, "vault", "../bin/vault", "the vault `binary`: server and agent; its plugins are beside it")
	f.StringVar(&o.secretboot, "secretboot", "../bin/secretboot", "the secretboot `binary`")
	f.StringVar(&o.out, "out", "", "`file` for the report (default standard output)")
	f.StringVar(&o.into, "into", "", "Markdown `file` that has a part of the report between marks, which is replaced")
	f.BoolVar(&o.markdown, "md", false, "write the report as Markdown")
	f.DurationVar(&o.timeout, "timeout", 2*time.Minute, "the longest that one run may take")
	f.DurationVar(&o.idle, "idle", 0, "instead, leave those that stay alone for so `long`, and see what that costs")
	f.IntVar(&o.scale, "scale", 0, "instead, start so `many` at once")
	f.IntVar(&o.limit, "limit", 200, "with -scale, the `requests` a second that Vault answers")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.given = args
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.runs < 0 || o.starts < 0 || o.scale < 0 || o.timeout <= 0 || o.idle < 0 || o.limit < 1 {
		return o, errors.New("-runs, -start, -scale and -idle must not be negative, -timeout and -limit must be positive")
	}
	if (o.idle > 0 || o.scale > 0) && a.rtts == "" {
		a.rtts = "0"
	}
	if o.scale > 0 {
		a.secrets = cmp.Or(a.secrets, "3")
	}
	var err error
	o.points, err = a.points()
	return o, errors.Join(err, o.contestants(*only), o.absolute())
}

// contestants reads -only.
func (o *options) contestants(only string) error {
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
