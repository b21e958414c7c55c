package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// JSON writes the plan's View as indented JSON. The error is w's.
func JSON(w io.Writer, p Plan) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(NewView(p))
}

// Text writes the plan as tables for people; a table that would be empty is
// left out. It is no format for programs: JSON is. The error is w's.
func Text(w io.Writer, p Plan) error {
	tables := textTables(NewView(p))
	if len(tables) == 0 {
		_, err := io.WriteString(w, "nothing is declared\n")
		return err
	}
	for i, rows := range tables {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := writeTable(w, rows); err != nil {
			return err
		}
	}
	return nil
}

// tables are the tables of a plan, each with its heading as its first row.
type tables [][][]string

func (t *tables) start(heading ...string) { *t = append(*t, [][]string{heading}) }

// row adds a row to the table that was started last.
func (t tables) row(cells ...string) {
	last := &t[len(t)-1]
	*last = append(*last, cells)
}

// textTables gives the tables that have rows.
func textTables(v View) tables {
	var t tables
	t.login(v)
	t.reads(v)
	t.start("FURTHER PATHS")
	for _, at := range v.Computed {
		t.row("known only when the " + v.computing(at) + " at " + at + " runs")
	}
	t.outputs(v)
	t.start("COMMAND", "ARGUMENTS")
	if v.Command != "" {
		t.row(v.Command, strconv.Itoa(v.Args))
	}
	t.start("IGNORED", "REASON", "DECLARED AT")
	for _, i := range v.Ignored {
		t.row(i.What, i.Why, i.Origin)
	}
	return slices.DeleteFunc(t, func(rows [][]string) bool { return len(rows) == 1 })
}

// computing says what computes paths at a place.
func (v View) computing(at string) string {
	sources := []ViewSource{}
	for _, s := range v.FileSets {
		sources = append(sources, s.Source)
	}
	for _, s := range v.EnvSets {
		sources = append(sources, s.Source)
	}
	for _, s := range sources {
		if s.Bundle != nil && slices.ContainsFunc(s.Bundle.Parts, func(p ViewPart) bool { return p.Find != nil && p.Origin == at }) {
			return "search"
		}
	}
	return "template"
}

func (t *tables) login(v View) {
	t.start("SETTING", "VALUE", "DECLARED AT")
	for _, s := range v.Settings {
		t.row(s.Name, s.Value, s.Origin)
	}
	t.start("HEADER", "TAKEN FROM", "DECLARED AT")
	for _, h := range v.Headers {
		t.row(h.Name, h.From, h.Origin)
	}
	t.start("LOGIN INPUT", "TAKEN FROM", "DECLARED AT")
	for _, l := range v.Login {
		t.row(l.Name, l.From, l.Origin)
	}
	t.start("LOGIN INPUT FOUND", "TAKEN FROM") // nobody declared it
	for _, l := range v.Found {
		t.row(l.Name, l.From)
	}
}

func (t *tables) reads(v View) {
	t.start("MOUNT", "KV VERSION")
	for _, kv := range v.KV {
		t.row(kv.Mount, kv.Version)
	}
	t.start("OPERATION", "PATH", "VERSION", "NOTE", "DECLARED AT")
	for _, r := range v.Reads {
		t.row(r.Operation, r.Path, r.versionText(), r.note(), r.Origin)
	}
}

func (t *tables) outputs(v View) {
	t.start("FILE", "MODE", "OWNER", "FROM", "ROTATION", "NOTE", "DECLARED AT")
	for _, f := range v.Files {
		t.row(f.Path, f.Mode, ownerText(f.Owner, f.Group), f.Source.String(), f.Rotation, f.note(), f.Origin)
	}
	for _, s := range v.FileSets {
		t.row(path.Join(s.Dir, "*"), s.Mode, ownerText(s.Owner, s.Group), s.Source.String(), s.Rotation, perOf("file", s.Source), s.Origin)
	}
	t.start("VARIABLE", "FROM", "ROTATION", "NOTE", "DECLARED AT")
	for _, e := range v.Env {
		t.row(e.Name, e.Source.String(), e.Rotation, note(e.Optional), e.Origin)
	}
	for _, s := range v.EnvSets {
		name, note := s.Prefix+"*", perOf("variable", s.Source)
		if len(s.Take) > 0 {
			name, note = strings.Join(sortedKeys(s.Take), ", "), ""
		}
		t.row(name, s.Source.String(), s.Rotation, note, s.Origin)
	}
}

func writeTable(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = cellText(cell)
		}
		if _, err := io.WriteString(tw, strings.Join(cells, "\t")+"\n"); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// cellText keeps a strange name from breaking the table or the terminal.
func cellText(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

// note says what is special about the request.
func (r ViewRead) note() string {
	var notes []string
	if r.Optional {
		notes = append(notes, note(true))
	}
	if len(r.Sends) > 0 {
		notes = append(notes, "sends "+strings.Join(r.Sends, ", "))
	}
	if len(r.Else) > 0 {
		notes = append(notes, "or else "+strings.Join(r.Else, ", "))
	}
	if r.Finds != "" {
		notes = append(notes, "then each below "+r.Finds)
	}
	return strings.Join(notes, ", ")
}

func (f ViewFile) note() string {
	var notes []string
	if f.Optional {
		notes = append(notes, note(true))
	}
	if f.Memfd != "" {
		notes = append(notes, "memfd in "+f.Memfd)
	}
	if f.Command != "" {
		notes = append(notes, "then runs "+f.Command)
	}
	return strings.Join(notes, ", ")
}

// perOf says how many outputs a set gives.
func perOf(what string, s ViewSource) string {
	if s.Bundle != nil {
		return "one " + what + " per key"
	}
	return "one " + what + " per field"
}

func note(optional bool) string {
	if optional {
		return "optional"
	}
	return ""
}

// versionText is empty where nothing has versions.
func (r ViewRead) versionText() string {
	switch {
	case r.Operation != OpRead.String():
		return ""
	case r.Version == 0:
		return "newest"
	}
	return strconv.Itoa(r.Version)
}

func ownerText(owner, group string) string {
	if group == "" {
		return owner
	}
	return owner + ":" + group
}

// octal gives the permission bits as chmod(1) takes them; 0 is the default.
func octal(m fs.FileMode, group string) string {
	if m == 0 {
		m = DefaultMode(group)
	}
	return fmt.Sprintf("%04o", uint32(m.Perm()))
}

// place is String, except for HandleText: whoever declared that text showed it
// openly, but a log is open to more people than a declaration.
func (h Handle) place() string {
	if h.Kind == HandleText {
		return "the declaration itself"
	}
	return h.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
