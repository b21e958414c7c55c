package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
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
	run         bool // for `run` only
	keeps       bool // for what keeps fresh: `run` and `watch`
	watch       bool // for `watch` only
	apply       func(b *builder, text string, from plan.Origin) error
}

// forCommand reports whether the option is about the command that `run` starts.
func (o option) forCommand() bool { return o.run || o.name == "env" }

// suits reports whether a command has the option. One that looks at a plan, such as
// plan and doctor, has all that any other has: wrapper, and not run itself.
func (o option) suits(cmd string, wrapper bool) bool {
	switch {
	case o.watch:
		return cmd == "watch" || wrapper && cmd != "run"
	case o.keeps:
		return cmd == "watch" || wrapper
	}
	return wrapper || !o.forCommand()
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
		{name: "env", short: "e", kind: "NAME=REF", list: true, help: "deliver a secret as a variable of the command", apply: applyEnv},
		{name: "env-from", kind: "[PREFIX=]REF", list: true, run: true, help: "deliver every field of a secret as a variable of the command", apply: applyEnvFrom(false)},
		{name: "env-from-upcase", kind: "[PREFIX=]REF", list: true, run: true, help: "the same, with the fields' names in capitals", apply: applyEnvFrom(true)},
		{name: "dir", kind: "DIR", help: "the folder for files, on tmpfs", apply: inCwd(func(b *builder) *plan.Setting[string] { return &b.plan.Sink.Dir })},
		{name: "allow-disk", help: "accept a folder that is not in memory", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Sink.AllowDisk })},
		{name: "mount", kind: "MODE", help: "shared, or private: on a tmpfs of our own that only the command sees (run)", apply: applyMount},
		{name: "timeout", kind: "DURATION", help: "for everything up to the start of the command; 0 is for ever (default 60s)", apply: duration(func(b *builder) *plan.Setting[time.Duration] { return &b.plan.Timeout })},
		{name: "connections", kind: "N", help: "requests to Vault under way at once (default 16)", apply: applyConnections},
		{name: "auth-method", kind: "METHOD", help: "token, approle, kubernetes, jwt, …; found out when not given", apply: text(func(b *builder) *plan.Setting[string] { return &b.plan.Login.Method })},
		{name: "auth-mount", kind: "MOUNT", help: "where the auth method is mounted", apply: text(func(b *builder) *plan.Setting[string] { return &b.plan.Login.Mount })},
		{name: "auth-role", kind: "ROLE", help: "the role to log in to", apply: text(func(b *builder) *plan.Setting[string] { return &b.plan.Login.Role })},
		{name: "auth", kind: "KEY=VALUE", list: true, help: "a further key of vault.auth, such as jwt_file=PATH", apply: applyAuth},
		{name: "receipt", kind: "PATH", help: "tell in a JSON file what was done, without a value", apply: inCwd(func(b *builder) *plan.Setting[string] { return &b.plan.Receipt })},
		{name: "log-level", kind: "LEVEL", help: "debug, info, warn or error (default info)", apply: applyLogLevel},
		{name: "log-format", kind: "FORMAT", help: "text or json (default text)", apply: applyLogFormat},
		{name: "exec", run: true, help: "replace ourselves with the command; delivered files stay", apply: applyMode(plan.RunReplace)},
		{name: "supervise", run: true, help: "wait for the command even when nothing is left to clean up", apply: applyMode(plan.RunSupervise)},
		{name: "kill-timeout", run: true, kind: "DURATION", help: "from SIGTERM to SIGKILL; 0 is for ever (default 6s)", apply: duration(func(b *builder) *plan.Setting[time.Duration] { return &b.plan.Run.KillTimeout })},
		{name: "janitor", run: true, help: "a helper ends the command and shreds when we are killed (default true)", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.Janitor })},
		{name: "keep-credentials", run: true, help: "leave our own credentials in the command's environment", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.KeepCredentials })},
		{name: "env-allow", kind: "GLOB", list: true, run: true, help: "the command inherits only variables that match", apply: applyGlob(func(b *builder) *plan.Setting[[]string] { return &b.plan.Run.EnvAllow })},
		{name: "env-deny", kind: "GLOB", list: true, run: true, help: "the command does not inherit variables that match", apply: applyGlob(func(b *builder) *plan.Setting[[]string] { return &b.plan.Run.EnvDeny })},
		{name: "dangerous-env", run: true, help: "secrets may set variables such as PATH or LD_PRELOAD", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.DangerousEnv })},
		{name: "user", run: true, kind: "USER[:GROUP]", help: "who the command runs as, names or numbers; its files become that user's", apply: applyUser},
		{name: "no-new-privs", run: true, help: "the command can gain no privileges", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.NoNewPrivs })},
		{name: "cap-drop", kind: "NAME", list: true, run: true, help: "a capability that the command cannot have or get, or all", apply: applyCapDrop},
		{name: "pristine", run: true, help: "the command inherits no variable but those of --env-allow", apply: toggle(func(b *builder) *plan.Setting[bool] { return &b.plan.Run.Pristine })},
		{name: "listen", kind: "ADDRESS", keeps: true, help: "answer probes and Prometheus at HOST:PORT or unix:PATH", apply: applyListen},
		{name: "exit-with", kind: "PID/PATH", watch: true, help: "end when this process is gone, or this file is there", apply: applyExitWith},
	}
}

func text(field func(*builder) *plan.Setting[string]) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		if s == "" {
			return errors.New("the value is empty")
		}
		*field(b) = plan.Set(s, o)
		return nil
	}
}

func applyEnvFrom(upcase bool) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		set, err := declare.ParseEnvFromFlag(s, o)
		if set.Upcase = upcase; err == nil {
			b.plan.EnvSets = append(b.plan.EnvSets, set)
		}
		return err
	}
}

// applyGlob adds one pattern to a list.
func applyGlob(field func(*builder) *plan.Setting[[]string]) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		glob, err := declare.ParseGlobFlag(s, o)
		if err == nil {
			*field(b) = plan.Set(append(field(b).Value, glob), o)
		}
		return err
	}
}

// inCwd takes a path relative to where we were started, as a shell would.
func inCwd(field func(*builder) *plan.Setting[string]) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		if s == "" {
			return errors.New("the value is empty")
		}
		if !filepath.IsAbs(s) {
			s = filepath.Join(b.in.Cwd, s)
		}
		*field(b) = plan.Set(s, o)
		return nil
	}
}

func toggle(field func(*builder) *plan.Setting[bool]) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("must be true or false")
		}
		*field(b) = plan.Set(v, o)
		return nil
	}
}

func duration(field func(*builder) *plan.Setting[time.Duration]) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < 0 {
			return errors.New("must be a duration such as 30s or 2m, or 0")
		}
		*field(b) = plan.Set(d, o)
		return nil
	}
}

func applyMode(m plan.RunMode) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		on, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("must be true or false")
		}
		have := b.plan.Run.Mode
		if on && have.IsSet && have.Value != m {
			return errors.New("--exec and --supervise exclude each other")
		}
		if on {
			b.plan.Run.Mode = plan.Set(m, o)
		}
		return nil
	}
}

func applyMount(b *builder, s string, o plan.Origin) error {
	m, ok := plan.ParseMount(s)
	if !ok {
		return errors.New("must be shared or private")
	}
	b.plan.Sink.Mount = plan.Set(m, o)
	return nil
}

func applyConnections(b *builder, s string, o plan.Origin) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1024 {
		return errors.New("must be a whole number from 1 to 1024")
	}
	b.plan.Vault.Connections = plan.Set(n, o)
	return nil
}

func applyConfig(b *builder, s string, o plan.Origin) error {
	if s == "" {
		return errors.New("the value is empty")
	}
	b.fronts = append(b.fronts, declare.Config{Path: s, Origin: o})
	return nil
}

func applyFrom(b *builder, s string, o plan.Origin) error {
	front, err := declare.ParseFrom(s, o)
	if err == nil {
		b.fronts = append(b.fronts, front)
	}
	return err
}

func applyFile(b *builder, s string, o plan.Origin) error {
	f, err := declare.ParseFileFlag(s, o)
	if err == nil {
		b.plan.Files = append(b.plan.Files, f)
	}
	return err
}

func applyTemplate(b *builder, s string, o plan.Origin) error {
	f, err := declare.ParseTemplateFlag(b.in, s, o)
	if err == nil {
		b.plan.Files = append(b.plan.Files, f)
	}
	return err
}

func applyEnv(b *builder, s string, o plan.Origin) error {
	e, err := declare.ParseEnvFlag(s, o)
	if err == nil {
		b.plan.Env = append(b.plan.Env, e)
	}
	return err
}

func applyAuth(b *builder, s string, o plan.Origin) error {
	return declare.ParseAuthFlag(b.in, s, o, &b.plan.Login)
}

func applyLogLevel(b *builder, s string, _ plan.Origin) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[s]
	if !ok {
		return errors.New("must be debug, info, warn or error")
	}
	b.logLevel = level
	return nil
}

func applyLogFormat(b *builder, s string, _ plan.Origin) error {
	if s != "text" && s != "json" {
		return errors.New("must be text or json")
	}
	b.logFormat = s
	return nil
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

// addFlags declares the options of a command.
func addFlags(cmd *cobra.Command, wrapper bool) {
	cmd.Flags().SortFlags = false
	for _, o := range options() {
		if o.suits(cmd.Name(), wrapper) {
			o.addTo(cmd)
		}
	}
}

// addNamedFlags declares a few options only.
func addNamedFlags(cmd *cobra.Command, names []string) {
	cmd.Flags().SortFlags = false
	for _, o := range options() {
		if slices.Contains(names, o.name) {
			o.addTo(cmd)
		}
	}
}

func (o option) addTo(cmd *cobra.Command) {
	f := cmd.Flags().VarPF(&given{kind: o.kind}, o.name, o.short, o.help)
	if o.kind == "" {
		f.Value.(*given).kind, f.NoOptDefVal = "bool", "true"
	}
}

// fromFlags applies the flags that were given.
func fromFlags(cmd *cobra.Command, b *builder) error {
	var ps plan.Problems
	for _, o := range options() {
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
