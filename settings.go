package main

import (
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// Settings are the SECRETBOOT_… variables, each the text of the option of the
// same name. They are strings here because envconfig's own errors print the
// value and stop at the first; option.apply reads them, as it reads a flag.
type Settings struct {
	Config          string `split_words:"true"`
	From            string `split_words:"true"`
	Dev             string `split_words:"true"`
	File            string `split_words:"true"`
	Template        string `split_words:"true"`
	Env             string `split_words:"true"`
	Dir             string `split_words:"true"`
	AllowDisk       string `split_words:"true"`
	Mount           string `split_words:"true"`
	Timeout         string `split_words:"true"`
	Connections     string `split_words:"true"`
	AuthMethod      string `split_words:"true"`
	AuthMount       string `split_words:"true"`
	AuthRole        string `split_words:"true"`
	Auth            string `split_words:"true"`
	Expires         string `split_words:"true"`
	CI              string `split_words:"true"`
	CIExport        string `split_words:"true"`
	Receipt         string `split_words:"true"`
	LogLevel        string `split_words:"true"`
	LogFormat       string `split_words:"true"`
	Exec            string `split_words:"true"`
	Supervise       string `split_words:"true"`
	KillTimeout     string `split_words:"true"`
	Mask            string `split_words:"true"`
	FailOnLeak      string `split_words:"true"`
	Pty             string `split_words:"true"`
	Janitor         string `split_words:"true"`
	KeepCredentials string `split_words:"true"`
	Pristine        string `split_words:"true"`
	EnvFrom         string `split_words:"true"`
	EnvFromUpcase   string `split_words:"true"`
	EnvAllow        string `split_words:"true"`
	EnvDeny         string `split_words:"true"`
	DangerousEnv    string `split_words:"true"`
	User            string `split_words:"true"`
	NoNewPrivs      string `split_words:"true"`
	CapDrop         string `split_words:"true"`
	Refresh         string `split_words:"true"`
	OnChange        string `split_words:"true"`
	OnExpiry        string `split_words:"true"`
	KeepPrevious    string `split_words:"true"`
	Listen          string `split_words:"true"`
	ExitWith        string `split_words:"true"`
}

// byOption gives the settings by the name of their option.
func (s *Settings) byOption() map[string]string {
	return map[string]string{
		"config": s.Config, "from": s.From, "dev": s.Dev, "file": s.File, "template": s.Template, "env": s.Env,
		"dir": s.Dir, "allow-disk": s.AllowDisk, "mount": s.Mount, "timeout": s.Timeout, "connections": s.Connections,
		"auth-method": s.AuthMethod, "auth-mount": s.AuthMount, "auth-role": s.AuthRole, "auth": s.Auth,
		"expires": s.Expires, "ci": s.CI, "ci-export": s.CIExport,
		"receipt": s.Receipt, "log-level": s.LogLevel, "log-format": s.LogFormat,
		"exec": s.Exec, "supervise": s.Supervise, "kill-timeout": s.KillTimeout, "janitor": s.Janitor,
		"mask": s.Mask, "fail-on-leak": s.FailOnLeak, "pty": s.Pty,
		"keep-credentials": s.KeepCredentials, "pristine": s.Pristine,
		"env-from": s.EnvFrom, "env-from-upcase": s.EnvFromUpcase, "env-allow": s.EnvAllow, "env-deny": s.EnvDeny, "dangerous-env": s.DangerousEnv,
		"user": s.User, "no-new-privs": s.NoNewPrivs, "cap-drop": s.CapDrop,
		"refresh": s.Refresh, "on-change": s.OnChange, "on-expiry": s.OnExpiry, "keep-previous": s.KeepPrevious,
		"listen": s.Listen, "exit-with": s.ExitWith,
	}
}

// unknownVariable is a SECRETBOOT_… variable that means nothing to us, and the
// one that may have been meant. Kubernetes makes some for a service of our name.
type unknownVariable struct{ name, meant string }

// fromEnvironment applies the SECRETBOOT_… variables. An empty variable is not
// set. What is not known is given back, for a warning.
func (a *app) fromEnvironment(b *builder) (unknown []unknownVariable, err error) {
	isOurs := func(entry string) bool { return strings.HasPrefix(entry, "SECRETBOOT_") }
	if !slices.ContainsFunc(b.in.Environ, isOurs) {
		return nil, nil // to look for each of them takes longer than to read a small file
	}
	var s Settings
	if err := envconfig.Process("SECRETBOOT", &s); err != nil {
		return nil, &plan.Problem{Code: plan.CodeBug, What: "SECRETBOOT_… variables", Why: "cannot be read"}
	}
	var ps plan.Problems
	values := s.byOption()
	var known []string
	for _, o := range a.allOptions() {
		known = append(known, o.variable())
		value := values[o.name]
		if value == "" {
			continue
		}
		from := plan.Origin{Front: "environment", At: o.variable()}
		texts := []string{value}
		if o.list {
			texts = strings.FieldsFunc(value, func(r rune) bool { return r == '\n' })
		}
		for _, one := range texts {
			ps.Add(applied(o.apply(b, one, from), plan.CodeConfig, from))
		}
	}
	for _, entry := range b.in.Environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "SECRETBOOT_") && !slices.Contains(known, name) && name != "SECRETBOOT_DIR" {
			unknown = append(unknown, unknownVariable{name, plan.Nearest(name, known)})
		}
	}
	return unknown, ps.Err()
}
