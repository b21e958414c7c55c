package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// builder collects what options say: a part of the plan, and what concerns the
// command line alone.
type builder struct {
	in        declare.Input
	plan      plan.Plan
	fronts    []declare.Front // what --config and --from name
	logLevel  slog.Level
	logFormat string
}

// option is one setting of the command line, with its variable.
type option struct {
	name, short string
	kind        string // of its value, for the help; "" is a switch
	help        string
	list        bool // may be given more than once; its variable has one per line
	// The commands that have it. None is said: all of run, init and watch. What
	// looks at a plan, such as plan and doctor, has every option.
	run, init, watch bool

	apply func(b *builder, text string, from plan.Origin) error
}

// suits reports whether a command has the option.
func (o option) suits(cmd string) bool {
	if !o.run && !o.init && !o.watch {
		return true
	}
	switch cmd {
	case "run":
		return o.run
	case "init":
		return o.init
	case "watch":
		return o.watch
	}
	return true
}

func (o option) variable() string {
	return "SECRETBOOT_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}

// options is the table of all of them; flags, variables and the README's table
// come from it.
func options() []option {
	return []option{
		{name: "config", short: "c", kind: "FILE", help: "configuration file", apply: applyConfig},
		{name: "from", kind: "KIND[:PATH]", list: true, help: "a declaration of another kind, see secretboot help declarations", apply: applyFrom},
		{name: "dev", kind: "FILE", help: "a local YAML of paths and fields stands in for Vault", apply: text(func(b *builder) *plan.Setting[string] { return &b.plan.Vault.Dev })},
		{name: "file", short: "f", kind: "PATH=REF", list: true, help: "deliver a secret as a file", apply: applyFile},
		{name: "template", short: "t", kind: "SRC:PATH", list: true, help: "deliver a rendered template as a file", apply: applyTemplate},
		{name: "env", short: "e", kind: "NAME=REF", run: true, init: true, list: true, help: "deliver a secret as a variable of the command; with init, see --ci-export", apply: applyEnv},
		{name: "env-from", kind: "[PREFIX=]REF", run: true, init: true, list: true, help: "deliver every field of a secret as a variable of the command", apply: applyEnvFrom(false)},
		{name: "env-from-upcase", kind: "[PREFIX=]REF", run: true, init: true, list: true, help: "the same, with the fields' names in capitals", apply: applyEnvFrom(true)},
		{name: "dir", kind: "DIR", help: "the folder for files, on tmpfs", apply: inCwd(func(b *builder) *plan.Setting[string] { return &b.plan.Sink.Dir })},
		{name: "allow-disk", help: "accept a folder that is not in memory", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Sink.AllowDisk })},
		{name: "mount", kind: "MODE", help: "shared, or private: on a tmpfs of our own that only the command sees (run)", apply: applyWord(plan.MountNames(), plan.ParseMount, func(b *builder) *plan.Setting[plan.Mount] { return &b.plan.Sink.Mount })},
		{name: "timeout", kind: "DURATION", help: "for everything up to the start of the command; 0 is for ever (default 60s)", apply: duration(func(b *builder) *plan.Setting[time.Duration] { return &b.plan.Timeout })},
		{name: "connections", kind: "N", help: "requests to Vault under way at once (default 16); over HTTP/2 64 when not given", apply: applyConnections},
		{name: "auth-method", kind: "METHOD", help: "token, approle, kubernetes, jwt, …; found out when not given", apply: text(func(b *builder) *plan.Setting[string] { return &b.plan.Login.Method })},
		{name: "auth-mount", kind: "MOUNT", help: "where the auth method is mounted", apply: text(func(b *builder) *plan.Setting[string] { return &b.plan.Login.Mount })},
		{name: "auth-role", kind: "ROLE", help: "the role to log in to", apply: text(func(b *builder) *plan.Setting[string] { return &b.plan.Login.Role })},
		{name: "auth", kind: "KEY=VALUE", list: true, help: "a further key of vault.auth, such as jwt_file=PATH", apply: applyAuth},
		{name: "expires", kind: "DURATION", run: true, init: true, help: "shred what was delivered after that time; 0 is never (run, init)", apply: duration(func(b *builder) *plan.Setting[time.Duration] { return &b.plan.Expires })},
		{name: "ci", init: true, kind: "SYSTEM", help: "serve a step of a github or gitlab job, or auto: masks, and what later steps need (init)", apply: applyWord(plan.CINames(), plan.ParseCI, func(b *builder) *plan.Setting[plan.CI] { return &b.plan.CI })},
		{name: "ci-export", init: true, kind: "WHERE", help: "give variables to later steps of the job: env, output or file:PATH (init)", apply: applyWord(plan.CIExportNames(), plan.ParseCIExport, func(b *builder) *plan.Setting[string] { return &b.plan.CIExport })},
		{name: "receipt", kind: "PATH", help: "tell in a JSON file what was done, without a value", apply: inCwd(func(b *builder) *plan.Setting[string] { return &b.plan.Receipt })},
		{name: "log-level", kind: "LEVEL", help: "debug, info, warn or error (default info)", apply: applyLogLevel},
		{name: "log-format", kind: "FORMAT", help: "text or json (default text)", apply: applyLogFormat},
		{name: "exec", run: true, help: "replace ourselves with the command; delivered files stay", apply: applyMode(plan.RunReplace)},
		{name: "supervise", run: true, help: "wait for the command even when nothing is left to clean up", apply: applyMode(plan.RunSupervise)},
		{name: "kill-timeout", run: true, kind: "DURATION", help: "from SIGTERM to SIGKILL; 0 is for ever (default 6s)", apply: duration(func(b *builder) *plan.Setting[time.Duration] { return &b.plan.Run.KillTimeout })},
		{name: "mask", run: true, kind: "WHEN", help: "hide secrets in what the command prints: auto (when CI is set), on or off (default auto)", apply: applyWord(plan.SwitchNames(), plan.ParseMask, func(b *builder) *plan.Setting[plan.Mask] { return &b.plan.Run.Mask })},
		{name: "fail-on-leak", run: true, help: "mask, and end with 80 when a secret was printed and the command ended with 0", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.FailOnLeak })},
		{name: "pty", run: true, kind: "WHEN", help: "a terminal of its own for the command: auto (masked, and we have one), on or off (default auto)", apply: applyWord(plan.SwitchNames(), plan.ParsePTY, func(b *builder) *plan.Setting[plan.PTY] { return &b.plan.Run.PTY })},
		{name: "janitor", run: true, help: "a helper ends the command and shreds when we are killed (default true)", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.Janitor })},
		{name: "keep-credentials", run: true, help: "leave our own credentials in the command's environment", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.KeepCredentials })},
		{name: "env-allow", kind: "GLOB", list: true, run: true, help: "the command inherits only variables that match", apply: applyGlob(func(b *builder) *plan.Setting[[]string] { return &b.plan.Run.EnvAllow })},
		{name: "env-deny", kind: "GLOB", list: true, run: true, help: "the command does not inherit variables that match", apply: applyGlob(func(b *builder) *plan.Setting[[]string] { return &b.plan.Run.EnvDeny })},
		{name: "dangerous-env", run: true, help: "secrets may set variables such as PATH or LD_PRELOAD", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.DangerousEnv })},
		{name: "user", run: true, kind: "USER[:GROUP]", help: "who the command runs as, names or numbers; its files become that user's", apply: applyUser},
		{name: "no-new-privs", run: true, help: "the command can gain no privileges", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.NoNewPrivs })},
		{name: "cap-drop", kind: "NAME", list: true, run: true, help: "a capability that the command cannot have or get, or all", apply: applyCapDrop},
		{name: "pristine", run: true, help: "the command inherits no variable but those of --env-allow", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.Pristine })},
		{name: "refresh", kind: "DURATION", run: true, watch: true, help: "how often a secret without a lease is read again; 0 is never (default 5m)", apply: duration(func(b *builder) *plan.Setting[time.Duration] { return &b.plan.Refresh.Every })},
		{name: "on-change", kind: "ACTION", run: true, watch: true, help: "what follows: none, restart, signal:NAME or exec:PROGRAM (default none)", apply: applyOnChange},
		{name: "on-expiry", kind: "WHAT", run: true, watch: true, help: "when a secret has expired in spite of everything: keep, shred or stop (default keep)", apply: applyWord(plan.ExpiryNames(), plan.ParseExpiry, func(b *builder) *plan.Setting[plan.Expiry] { return &b.plan.OnExpiry })},
		{name: "keep-previous", kind: "DURATION", run: true, watch: true, help: "how long replaced files stay for who is reading them (default 30s)", apply: duration(func(b *builder) *plan.Setting[time.Duration] { return &b.plan.KeepPrevious })},
		{name: "listen", kind: "ADDRESS", run: true, watch: true, help: "answer probes and Prometheus at HOST:PORT or unix:PATH", apply: applyListen},
		{name: "exit-with", kind: "PID/PATH", watch: true, help: "end when this process is gone, or this file is there", apply: applyExitWith},
	}
}

// given is a flag's value: every text it was given, kept until all flags are
// known, so that all mistakes can be told at once.
type given struct {
	kind  string
	texts []string
}

func (g *given) String() string { return strings.Join(g.texts, ",") }
func (g *given) Type() string   { return g.kind }
func (g *given) Set(s string) error {
	g.texts = append(g.texts, s)
	return nil
}

// allOptions is the table, which is made once: each command line asks for it a
// dozen times.
func (a *app) allOptions() []option {
	if a.options == nil {
		a.options = options()
	}
	return a.options
}

// addFlags declares the options of a command.
func (a *app) addFlags(cmd *cobra.Command) {
	a.addSome(cmd, func(o option) bool { return o.suits(cmd.Name()) })
}

// addNamedFlags declares a few options only.
func (a *app) addNamedFlags(cmd *cobra.Command, names []string) {
	a.addSome(cmd, func(o option) bool { return slices.Contains(names, o.name) })
}

// addSome declares the options that a command wants. With an only command, the others
// get theirs when somebody looks at them: see allFlags.
func (a *app) addSome(cmd *cobra.Command, wants func(option) bool) {
	if a.only != "" && cmd.Name() != a.only {
		a.later = append(a.later, func() { a.addSome(cmd, wants) })
		return
	}
	cmd.Flags().SortFlags = false
	for _, o := range a.allOptions() {
		if wants(o) {
			o.addTo(cmd)
		}
	}
}

// allFlags declares what was put off.
func (a *app) allFlags() {
	a.only = ""
	for _, add := range a.later {
		add()
	}
	a.later = nil
}

func (o option) addTo(cmd *cobra.Command) {
	f := cmd.Flags().VarPF(&given{kind: o.kind}, o.name, o.short, o.help)
	if o.kind == "" {
		f.Value.(*given).kind, f.NoOptDefVal = "bool", "true"
	}
}

// fromFlags applies the flags that were given.
func (a *app) fromFlags(cmd *cobra.Command, b *builder) error {
	var ps plan.Problems
	for _, o := range a.allOptions() {
		f := cmd.Flags().Lookup(o.name)
		if f == nil || !f.Changed {
			continue
		}
		texts := f.Value.(*given).texts
		from := plan.Origin{Front: "flag", At: "--" + o.name}
		if !o.list && len(texts) > 1 {
			ps.Add(&plan.Problem{Code: plan.CodeUsage, What: from.At, Why: "given more than once", Fix: "give it once"})
			continue
		}
		for _, s := range texts {
			ps.Add(applied(o.apply(b, s, from), plan.CodeUsage, from))
		}
	}
	return ps.Err()
}

// applied makes a problem of what an option's apply said.
func applied(err error, code plan.Code, from plan.Origin) error {
	var p *plan.Problem
	var ps plan.Problems
	switch {
	case err == nil || errors.As(err, &ps):
		return err
	case errors.As(err, &p):
		if p.Code == plan.CodeUsage {
			p.Code = code // of a variable it is the configuration that is wrong
		}
		return p
	}
	return &plan.Problem{Code: code, What: from.At, Why: err.Error()}
}
