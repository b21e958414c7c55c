package plan

import (
	"io"
	"path"
	"strconv"
	"strings"
)

// Inventory writes a table with one row for each secret and each place that it
// goes to: what it is, where it lives, who reads it, where it goes, how often it
// changes and how much of it is taken.
//
// readsOf gives what a plan reads, its templates included; it is called with a
// plan of one output at a time. The error is w's, or that of readsOf.
func Inventory(w io.Writer, p Plan, readsOf func(Plan) ([]Read, []Origin, error)) error {
	v := inventory{plan: &p, readsOf: readsOf, rows: [][]string{{"SECRET", "LIVES IN", "READ BY", "GOES TO", "ROTATION", "SCOPE", "DECLARED AT"}}}
	for _, f := range p.Files {
		v.source(f.Source, Plan{Files: []File{f}}, v.fileText(f), rotation(f.Refresh, p.Refresh), f.Origin)
	}
	for _, s := range p.Sets {
		v.set(s.Ref, s.Bundle, v.folderText(s), rotation(s.Refresh, p.Refresh), s.Origin)
	}
	for _, e := range p.Env {
		v.source(e.Source, Plan{Env: []Env{e}}, "variable "+e.Name, rotation(e.Refresh, p.Refresh), e.Origin)
	}
	for _, s := range p.EnvSets {
		v.set(s.Ref, s.Bundle, s.Title(), rotation(s.Refresh, p.Refresh), s.Origin)
	}
	if v.err != nil {
		return v.err
	}
	if len(v.rows) == 1 {
		_, err := io.WriteString(w, "no secret is declared\n")
		return err
	}
	return writeTable(w, v.rows)
}

type inventory struct {
	plan    *Plan
	readsOf func(Plan) ([]Read, []Origin, error)
	rows    [][]string
	err     error
}

// destination is where a secret goes.
type destination struct {
	to, rotation string
	from         Origin
}

func (v *inventory) row(secret, at, scope string, to destination) {
	if !strings.HasPrefix(to.rotation, "every ") {
		to.rotation = strings.TrimSuffix("at each start, "+to.rotation, ", ")
	}
	v.rows = append(v.rows, []string{secret, at, v.reader(), to.to, to.rotation, scope, to.from.String()})
}

// source adds the secrets of one file or variable; alone is a plan of it.
func (v *inventory) source(s Source, alone Plan, to, rotation string, from Origin) {
	d := destination{to, rotation, from}
	switch {
	case s.Token:
		v.row("the login's token", v.server(), "whole, ours", d)
	case s.Template != nil:
		v.template(alone, d)
	}
	for _, r := range s.Refs() {
		v.ref(r, "", d)
	}
}

// template adds what a template names, and that it computes further paths.
func (v *inventory) template(alone Plan, to destination) {
	reads, computed, err := v.readsOf(alone)
	if err != nil {
		v.err = err
		return
	}
	for _, r := range reads {
		v.row(r.Path, v.place(r), "what the template takes"+kindOf(r), to)
	}
	if len(computed) > 0 {
		v.row("not known before the template runs", v.server(), "what the template takes", to)
	}
	if len(reads)+len(computed) == 0 {
		v.row("none: the template reads nothing", "", "", to)
	}
}

func (v *inventory) set(r Ref, b *Bundle, to, rotation string, from Origin) {
	d := destination{to, rotation, from}
	if b == nil {
		v.ref(&r, "", d)
		return
	}
	for i := range b.Parts {
		part := &b.Parts[i]
		d.from = from
		if part.Origin != (Origin{}) {
			d.from = part.Origin
		}
		if f := part.Find; f != nil {
			at := v.place(Read{Path: f.Read, KV: KVLiteral})
			v.row(path.Join(f.Read, "*"), at, "each secret that is found, whole", d)
			continue
		}
		v.ref(&part.Ref, part.Key, d)
	}
}

func (v *inventory) ref(r *Ref, key string, to destination) {
	secret, scope := r.Read.Path, "the whole secret"
	switch {
	case r.Select == SelectTemplate:
		scope = "what a template takes of it"
	case r.Field != "":
		secret, scope = secret+"#"+r.Field, "one field"
	}
	if r.Level == LevelMetadata {
		scope += " of its metadata"
	}
	if key != "" {
		scope += ", as " + key
	}
	v.row(secret, v.place(r.Read), scope+kindOf(r.Read), to)
}

// kindOf says what is special about the request.
func kindOf(r Read) string {
	text := ""
	switch r.Op {
	case OpWrite:
		text = ", made for us"
	case OpList:
		text = ", names only"
	}
	if r.Version != 0 {
		text += ", version " + strconv.Itoa(r.Version)
	}
	if r.Optional {
		text += ", optional"
	}
	return text
}

// server names the server and the namespace of the secrets.
func (v *inventory) server() string {
	t := &v.plan.Vault
	if t.Dev.IsSet {
		return "the file " + t.Dev.Value
	}
	text := showURL(t.Address.Or("Vault"))
	if ns := SplitPath(t.Namespace.Or("")); ns != "" {
		text += " namespace " + ns
	}
	return text
}

// place adds the mount, where it is known.
func (v *inventory) place(r Read) string {
	text, secret := v.server(), SplitPath(r.Path)
	b := policy{plan: v.plan}
	mount, rule := b.mount(secret)
	at, _, found := strings.Cut(secret, "/data/")
	switch {
	case mount != "":
		return text + " mount " + mount + " (KV " + rule.String() + ")"
	case r.KV != KV1 && found:
		return text + " mount " + at + " (KV 2)"
	}
	return text
}

// reader says who reads.
func (v *inventory) reader() string {
	l := &v.plan.Login
	if v.plan.Vault.Dev.IsSet {
		return "us"
	}
	text := "login " + l.Method.Or("auto")
	if l.Mount.IsSet {
		text += " at auth/" + strings.TrimPrefix(SplitPath(l.Mount.Value), "auth/")
	}
	if l.Role.IsSet {
		text += " role " + l.Role.Value
	}
	return text
}

func (v *inventory) fileText(f File) string {
	kind, name := "file ", v.inSink(f.Path)
	if f.Memfd {
		kind, name = "memfd ", f.Path
	}
	return strings.TrimSpace(kind + name + " " + octal(f.Mode, f.Group) + " " + ownerText(f.Owner, f.Group))
}

func (v *inventory) folderText(s FileSet) string {
	return strings.TrimSpace("files " + path.Join(v.inSink(s.Dir), "*") + " " + octal(s.Mode, s.Group) + " " + ownerText(s.Owner, s.Group))
}

// inSink gives the whole path where the folder is known.
func (v *inventory) inSink(name string) string {
	if path.IsAbs(name) {
		return name
	}
	return path.Join(v.plan.Sink.Dir.Or(""), name)
}
