package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/doctor"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/bootstrap/vault"
	"github.com/secretboot/secretboot/process"
	"github.com/secretboot/secretboot/volume"
)

func (a *app) doctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "doctor [flags] [-- COMMAND [ARG…]]",
		Short:   "check every step for real and say what to fix",
		Example: "  secretboot doctor -c secretboot.yaml -- ./app\n  secretboot doctor --no-login --json",

		DisableFlagsInUseLine: true,
	}
	cmd.Flags().SetInterspersed(false)
	a.addFlags(cmd)
	var o doctor.Order
	asJSON := cmd.Flags().Bool("json", false, "print the findings as JSON")
	cmd.Flags().BoolVar(&o.NoLogin, "no-login", false, "ask Vault nothing that needs a token")
	cmd.Flags().BoolVar(&o.UseUp, "use-up", false, "log in even where that uses up a wrapped secret, a secret id or a token")
	cmd.Flags().StringVar(&o.Probe, "probe", "", "try the delivered MLFLOW_TRACKING_… credentials at a `URL`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.doctor(cmd, o, *asJSON, args) }
	return cmd
}

// doctor examines everything, prints what it found and ends with the code of
// what is worst.
func (a *app) doctor(cmd *cobra.Command, o doctor.Order, asJSON bool, args []string) error {
	o.Plan, o.Declared = a.declared(cmd)
	if len(args) > 0 {
		o.Plan.Run.Command = args
	}
	a.quieter(cmd)
	a.forget(o.Plan)
	a.early()
	ctx, stop := a.untilSignal(cmd.Context())
	defer stop()
	if d := o.Plan.Timeout.Or(defaultTimeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	report := doctor.Examine(ctx, o, a.world(o.Plan))
	var sig *interrupted
	if errors.As(context.Cause(ctx), &sig) {
		return sig
	}
	a.childCode = int(report.Code)
	if asJSON {
		return written(doctor.JSON(a.stdout, report))
	}
	return written(doctor.Text(a.stdout, report, a.colors()))
}

// quieter leaves what went well out of the log, unless a level was asked for: the
// report says it all.
func (a *app) quieter(cmd *cobra.Command) {
	if _, asked := a.lookup("SECRETBOOT_LOG_LEVEL"); !asked && !cmd.Flags().Changed("log-level") {
		a.level.Set(slog.LevelWarn)
	}
}

// colors reports whether standard output is a terminal whose user has nothing
// against colors (https://no-color.org).
func (a *app) colors() bool {
	if no, _ := a.lookup("NO_COLOR"); no != "" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(os.Stdout.Fd()), unix.TCGETS)
	return err == nil
}

// world connects the doctor's steps to the real server, folders and command.
func (a *app) world(p plan.Plan) doctor.World {
	w := doctor.World{
		Resolver: net.DefaultResolver, Lookup: a.lookup, Ask: ask,
		Variable: func(name string, v secret.Value) error { return checkEnv(name, string(v.Reveal())) },
		Server:   func() (doctor.Server, error) { return a.bareServer(p) },
		Session:  func() (bootstrap.Vault, error) { return a.session(p) },
		Sink:     func() (volume.Options, error) { return a.wouldOpen(p) },
		Job: func(part plan.Plan, session bootstrap.Vault) (doctor.Job, error) {
			d := a.deps(part, nil, false)
			d.Vault = func() (bootstrap.Vault, error) { return session, nil }
			d.Sink, d.Log = nil, slog.New(slog.DiscardHandler)
			job, err := bootstrap.New(part, d)
			if err != nil {
				return nil, err
			}
			return job, nil
		},
	}
	if len(p.Run.Command) > 0 {
		w.Command = func() (string, error) { return a.findCommand(p) }
	}
	return w
}

// bareServer is the server as anybody sees it: without our login.
func (a *app) bareServer(p plan.Plan) (doctor.Server, error) {
	in := a.input()
	c, err := vault.Prepare(vault.Options{
		Vault: p.Vault, Login: plan.Login{Method: plan.Set("none", plan.Origin{})}, Proxy: http.ProxyFromEnvironment,
		Resolve: func(h plan.Handle) ([]byte, error) { return declare.Resolve(in, h) }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// session prepares the login. No file is removed, not even where a run would.
func (a *app) session(p plan.Plan) (bootstrap.Vault, error) {
	if p.Vault.Dev.IsSet {
		return vault.PrepareDev(p.Vault.Dev, a.logger())
	}
	in := a.input()
	c, err := vault.Prepare(vault.Options{
		Vault: p.Vault, Login: p.Login, Proxy: http.ProxyFromEnvironment, Log: a.logger(),
		Resolve: func(h plan.Handle) ([]byte, error) { return declare.Resolve(in, h) },
		Remove:  func(plan.Handle) error { return nil },
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// wouldOpen gives the folder that a run, or where there is nothing to run init,
// would open for relative paths.
func (a *app) wouldOpen(p plan.Plan) (volume.Options, error) {
	s := p.Sink
	o := volume.Options{Dir: s.Dir.Value, Origin: s.Dir.Origin}
	own := s.Mount.Or(plan.MountShared) == plan.MountPrivate
	if !s.Dir.IsSet && (own || volume.NeedsDir(p.Files, p.Sets)) {
		var err error
		runs := len(p.Run.Command)+len(p.Env)+len(p.EnvSets) > 0
		if o, err = volume.WouldChoose(a.lookup, runs, own); err != nil {
			return o, err
		}
	}
	o.AllowDisk = s.AllowDisk.Or(false)
	if own {
		o.MountSize = s.MountSize.Or(plan.DefaultMountSize)
	}
	return o, nil
}

// findCommand tells what would be started, through which interpreter and as whom.
func (a *app) findCommand(p plan.Plan) (string, error) {
	t := &target{run: p.Run, environ: a.environ}
	if err := t.Check(); err != nil {
		return "", err
	}
	said := t.path
	via, err := process.Interpreter(t.path)
	if via != "" {
		said += ", through " + via
	}
	if err == nil && via != "" {
		_, err = process.Find(via, "")
	}
	if err != nil {
		problem := startProblem(p.Run.Command[0], err)
		var told *plan.Problem
		if errors.As(problem, &told) && via != "" {
			told.Why = "its interpreter " + via + ": " + told.Why
		}
		return "", problem
	}
	uid := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(uid); err == nil {
		uid += " (" + u.Username + ")"
	}
	return said + ", as user " + uid + " and group " + strconv.Itoa(os.Getegid()), nil
}

// ask sends one GET with credentials, which no redirect takes any further.
func ask(ctx context.Context, q doctor.Question) (int, error) {
	bad := func(code plan.Code, why string) error {
		return &plan.Problem{
			Code: code, Origin: plan.Origin{Front: "flag", At: "--probe"}, What: "the server", Why: why, Fix: "check the URL, and that the server is up and reachable from here",
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.URL, nil)
	if err != nil {
		return 0, bad(plan.CodeUsage, "its URL cannot be asked")
	}
	header := string(q.Authorization.Reveal())
	if strings.ContainsFunc(header, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return 0, bad(plan.CodeData, "the credentials have a line break or another unprintable character in them, which no header can carry")
	}
	req.Header.Set("Authorization", header)
	req.Header.Set("User-Agent", "secretboot")
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 5 * time.Second, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return 0, bad(plan.CodeUnavailable, "it cannot be reached: "+vault.NetworkCause(err))
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}
