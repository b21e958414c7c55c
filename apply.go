package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// What the options do with a value, wherever it was given.

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

// alternatives gives names as "a, b or c".
func alternatives(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func applyOnChange(b *builder, s string, o plan.Origin) error {
	action, err := declare.ParseActionFlag(s, o)
	if err == nil {
		b.plan.Refresh.OnChange = plan.Set(action, o)
	}
	return err
}

// applyWord takes one of a few words.
func applyWord[T any](words []string, parse func(string) (T, bool), field func(*builder) *plan.Setting[T]) func(*builder, string, plan.Origin) error {
	return func(b *builder, s string, o plan.Origin) error {
		v, ok := parse(s)
		if !ok {
			return errors.New("must be " + alternatives(words))
		}
		*field(b) = plan.Set(v, o)
		return nil
	}
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
