package plan

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// File is one file in the sink.
type File struct {
	Path     string // relative to the sink, slash-separated; or absolute
	Source   Source
	Mode     fs.FileMode // permission bits; 0 means DefaultMode
	Owner    string      // user name or number; "" is our own
	Group    string      // group name or number; "" is our own
	Optional bool        // left out when its secret is missing
	Refresh  Refresh
	Origin   Origin

	// Memfd: the file is in no file system. The command inherits a descriptor
	// of it; Path is its name only. MemfdEnv is the variable with the path
	// /proc/self/fd/N; "": see Variable.
	Memfd    bool
	MemfdEnv string

	// Command is run each time the file was delivered, the first time too, once
	// everything is in place: an ActionExec, or nothing. It is run once for all
	// files that ask for the same.
	Command Action
}

// Variable is the name of the variable that leads to a memfd: the one declared,
// or SECRETBOOT_FD_ and the path with _ for all but letters and digits.
func (f File) Variable() string {
	if f.MemfdEnv != "" {
		return f.MemfdEnv
	}
	return "SECRETBOOT_FD_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, f.Path)
}

// DefaultMode is the mode of a file that asks for none: its owner may read it,
// and its group too when a group was asked for.
func DefaultMode(group string) fs.FileMode {
	if group != "" {
		return 0o440
	}
	return 0o400
}

// IsWide reports whether a mode lets others in, or the group do more than read.
func IsWide(m fs.FileMode) bool { return m&0o037 != 0 }

// Give makes a user, and its group, the owner of the files that name none: both
// are numbers or names. They get the mode that they would have had without.
func (p *Plan) Give(owner, group string) {
	give := func(mode *fs.FileMode, o, g *string) {
		if *o != "" {
			return
		}
		if *o = owner; *g != "" {
			return
		}
		if *mode == 0 {
			*mode = DefaultMode("")
		}
		*g = group
	}
	p.Files, p.Sets = slices.Clone(p.Files), slices.Clone(p.Sets)
	for i := range p.Files {
		f := &p.Files[i]
		give(&f.Mode, &f.Owner, &f.Group)
	}
	for i := range p.Sets {
		s := &p.Sets[i]
		give(&s.Mode, &s.Owner, &s.Group)
	}
}

// FileSet is one declaration that gives many files: one per field of a secret,
// or one per key of a bundle.
type FileSet struct {
	Dir     string // below the sink, or absolute; "" is the sink itself
	Ref     Ref
	Bundle  *Bundle // instead of Ref
	Mode    fs.FileMode
	Owner   string
	Group   string
	Refresh Refresh
	Origin  Origin
}

// Env is one variable of the target process.
type Env struct {
	Name     string
	Source   Source
	Optional bool // left out when its secret is missing
	AnyName  bool // white space in the name is meant, see EnvSet
	Refresh  Refresh
	Origin   Origin
}

// EnvSet gives one variable per field of a secret, or per key of a bundle.
type EnvSet struct {
	Ref       Ref
	Bundle    *Bundle // instead of Ref
	Prefix    string
	Upcase    bool     // of the field's name, not of the prefix
	Allow     []string // shell patterns for the field's name; empty allows all
	Duplicate Duplicate

	// Take names the variables that are wanted, each with the field that it has;
	// nil: every field under its own name.
	Take map[string]string

	// AnyName delivers a field whose name no shell could use, such as a.b, as
	// execve(2) would: all but an empty name and one with = or NUL in it.
	AnyName bool

	Refresh Refresh
	Origin  Origin
}

// Declares reports whether a variable of the command is declared by its name: alone,
// as one of those that a set takes, or as the one that leads to a memfd.
func (p *Plan) Declares(variable string) bool {
	return slices.ContainsFunc(p.Env, func(e Env) bool { return e.Name == variable }) ||
		slices.ContainsFunc(p.EnvSets, func(s EnvSet) bool { _, ok := s.Take[variable]; return ok }) ||
		slices.ContainsFunc(p.Files, func(f File) bool { return f.Memfd && f.Variable() == variable })
}

// Variable gives the name that a field, or a key of a bundle, has as a variable, and
// why no variable can have it; "" when one can. wanted is false for a field that the
// set does not take. Take says its own.
func (s *EnvSet) Variable(field string) (name, why string, wanted bool) {
	if len(s.Allow) > 0 && !slices.ContainsFunc(s.Allow, func(glob string) bool {
		match, err := path.Match(glob, field)
		return err == nil && match
	}) {
		return "", "", false
	}
	what := "field's name"
	if s.Bundle != nil {
		what = "key"
	}
	if s.Upcase {
		field = strings.ToUpper(field)
	}
	name = s.Prefix + field
	if NotVariable(name) != "" && !s.AnyName || name == "" || strings.ContainsAny(name, "=\x00") {
		why = "the " + what + " makes no name of a variable"
	}
	return name, why, true
}

// Title names the variables, for people: variable A, or variables APP_*.
func (s EnvSet) Title() string {
	names := sortedKeys(s.Take)
	switch {
	case s.Take == nil:
		return "variables " + s.Prefix + "*"
	case len(names) == 1:
		return "variable " + names[0]
	}
	return "variables " + strings.Join(names, ", ")
}

// Duplicate says what happens when a variable of a set has the name of one that
// is declared before it or, for DuplicateKeep, inherited.
type Duplicate uint8

// The policies. An inherited variable is replaced, as by every declaration,
// unless it is to be kept.
const (
	DuplicateError Duplicate = iota
	DuplicateKeep
	DuplicateOverwrite
)
