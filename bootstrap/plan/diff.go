package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Diff writes what differs between two plans, as they are shown: a line that
// begins with - for what only the old one says and with + for what only the new
// one says, about each setting, input, read, file and variable. Where something
// was declared makes no difference, nor what a declaration says in vain. Templates
// are compared by the digests of their texts, whatever they are called. It reports
// whether they differ; the error is w's.
func Diff(w io.Writer, old, now View) (differ bool, err error) {
	before, after := entries(old), entries(now)
	var out strings.Builder
	for _, e := range before {
		i := slices.IndexFunc(after, func(o entry) bool { return o.name == e.name })
		if i < 0 {
			e.line(&out, "-", e.says)
			continue
		}
		for _, change := range []struct {
			sign string
			says []string
		}{{"-", less(e.says, after[i].says)}, {"+", less(after[i].says, e.says)}} {
			if len(change.says) > 0 {
				e.line(&out, change.sign, change.says)
			}
		}
	}
	for _, e := range after {
		if !slices.ContainsFunc(before, func(o entry) bool { return o.name == e.name }) {
			e.line(&out, "+", e.says)
		}
	}
	_, err = io.WriteString(w, out.String())
	return out.Len() > 0, err
}

// entry is one thing that a plan says something about.
type entry struct {
	name string
	says []string // name value, of what is not empty, in the order of the view's fields
}

func (e entry) line(out *strings.Builder, sign string, says []string) {
	text := sign + " " + e.name
	if len(says) > 0 {
		text += ": " + strings.Join(says, ", ")
	}
	out.WriteString(oneLine(text) + "\n")
}

// less gives what a has and b has not.
func less(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// entries takes a view apart.
func entries(v View) []entry {
	var c comparer
	each(&c, "setting", v.Settings, func(s ViewSetting) string { return s.Name }, "name")
	each(&c, "header", v.Headers, func(i ViewInput) string { return i.Name }, "name")
	each(&c, "login input", v.Login, func(i ViewInput) string { return i.Name }, "name")
	each(&c, "login input found", v.Found, func(i ViewInput) string { return i.Name }, "name")
	each(&c, "mount", v.KV, func(k ViewKV) string { return k.Mount }, "mount")
	each(&c, "", v.Reads, func(r ViewRead) string { return r.Operation + " " + r.Path }, "operation", "path")
	if n := len(v.Computed); n > 0 { // they are places only
		c.list = append(c.list, entry{"templates that compute paths", []string{strconv.Itoa(n)}})
	}
	each(&c, "file", v.Files, func(f ViewFile) string { return f.Path }, "path")
	each(&c, "folder", v.FileSets, func(s ViewFileSet) string { return strconv.Quote(s.Dir) }, "dir")
	each(&c, "variable", v.Env, func(e ViewEnv) string { return e.Name }, "name")
	each(&c, "variables", v.EnvSets, func(s ViewEnvSet) string { return s.Prefix + "*" }, "prefix")
	if v.Command != "" {
		c.list = append(c.list, entry{"command", []string{v.Command, fmt.Sprintf("arguments %d", v.Args)}})
	}
	return c.list
}

type comparer struct{ list []entry }

// each adds the entries of one list; told are the fields that the name has. A
// name that is there again is numbered.
func each[T any](c *comparer, kind string, list []T, name func(T) string, told ...string) {
	for _, one := range list {
		title := strings.TrimSpace(kind + " " + name(one))
		unique := title
		for n := 2; slices.ContainsFunc(c.list, func(e entry) bool { return e.name == unique }); n++ {
			unique = title + " (" + strconv.Itoa(n) + ")"
		}
		c.list = append(c.list, entry{unique, slices.DeleteFunc(says(one), func(s string) bool {
			field, _, _ := strings.Cut(s, " ")
			return slices.Contains(told, field)
		})})
	}
}

// says lists the fields of one entry by their names in JSON, so that none is
// forgotten.
func says(one any) []string {
	text, err := json.Marshal(one)
	if err != nil {
		return []string{err.Error()} // of strings, numbers and lists there is none
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var list []string
	flatten(dec, "", &list)
	return list
}

// flatten reads one JSON value and lists what is in it as NAME VALUE, with dots
// for what is nested. What is empty, every origin, and what a template is called, is left
// out.
func flatten(dec *json.Decoder, name string, list *[]string) {
	token, err := dec.Token()
	if err != nil {
		return
	}
	switch token {
	case json.Delim('{'):
		for dec.More() {
			key, _ := dec.Token()
			flatten(dec, strings.TrimPrefix(fmt.Sprintf("%s.%v", name, key), "."), list)
		}
		_, _ = dec.Token()
		return
	case json.Delim('['):
		for i := 0; dec.More(); i++ {
			flatten(dec, name+"["+strconv.Itoa(i)+"]", list)
		}
		_, _ = dec.Token()
		return
	}
	switch name[strings.LastIndexByte(name, '.')+1:] {
	case "origin", "template": // a template is called after the place where it stands
		return
	}
	switch token {
	case nil, false, "", json.Number("0"):
	case true:
		*list = append(*list, name)
	default:
		*list = append(*list, fmt.Sprintf("%s %v", name, token))
	}
}
