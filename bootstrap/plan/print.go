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

// textTables gives the tables that have rows, each with its heading first.
func textTables(v View) [][][]string {
	all := [][][]string{
		{{"SETTING", "VALUE", "DECLARED AT"}},
		{{"LOGIN INPUT", "TAKEN FROM", "DECLARED AT"}},
		{{"MOUNT", "KV VERSION"}},
		{{"OPERATION", "PATH", "VERSION", "NOTE", "DECLARED AT"}},
		{{"FILE", "MODE", "OWNER", "FROM", "NOTE", "DECLARED AT"}},
		{{"VARIABLE", "FROM", "NOTE", "DECLARED AT"}},
		{{"COMMAND", "ARGUMENTS"}},
		{{"IGNORED", "REASON", "DECLARED AT"}},
	}
	add := func(i int, cells ...string) { all[i] = append(all[i], cells) }
	for _, s := range v.Settings {
		add(0, s.Name, s.Value, s.Origin)
	}
	for _, l := range v.Login {
		add(1, l.Name, l.From, l.Origin)
	}
	for _, kv := range v.KV {
		add(2, kv.Mount, kv.Version)
	}
	for _, r := range v.Reads {
		add(3, r.Operation, r.Path, versionText(r.Version), note(r.Optional), r.Origin)
	}
	for _, f := range v.Files {
		add(4, f.Path, f.Mode, ownerText(f.Owner, f.Group), f.Source.String(), note(f.Optional), f.Origin)
	}
	for _, s := range v.FileSets {
		from, note := s.describe()
		add(4, path.Join(s.Dir, "*"), s.Mode, ownerText(s.Owner, s.Group), from, note, s.Origin)
	}
	for _, e := range v.Env {
		add(5, e.Name, e.Source.String(), note(e.Optional), e.Origin)
	}
	for _, s := range v.EnvSets {
		add(5, s.Prefix+"*", s.Source.String(), "one variable per field", s.Origin)
	}
	if v.Command != "" {
		add(6, v.Command, strconv.Itoa(v.Args))
	}
	for _, i := range v.Ignored {
		add(7, i.What, i.Why, i.Origin)
	}
	return slices.DeleteFunc(all, func(rows [][]string) bool { return len(rows) == 1 })
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

// String gives the source in one line.
func (s ViewSource) String() string {
	text := "template " + s.Template
	if s.Template == "" {
		text = s.Secret
	}
	if s.Field != "" {
		text += "#" + s.Field
	}
	for _, extra := range []struct{ word, value string }{{"as", s.Format}, {"decoded from", s.Decode}} {
		if extra.value != "" {
			text += " " + extra.word + " " + extra.value
		}
	}
	if s.Default {
		text += " or a default"
	}
	return text
}

// describe gives the source of a set, which may be a search, and what it makes.
func (s ViewFileSet) describe() (from, note string) {
	if s.Find != "" {
		return "secrets below " + s.Find, "as many files as are found"
	}
	return s.Source.String(), "one file per field"
}

func note(optional bool) string {
	if optional {
		return "optional"
	}
	return ""
}

func versionText(n int) string {
	if n == 0 {
		return "newest"
	}
	return strconv.Itoa(n)
}

func ownerText(owner, group string) string {
	if group == "" {
		return owner
	}
	return owner + ":" + group
}

// octal gives the permission bits as chmod(1) takes them; 0 is the default.
func octal(m fs.FileMode) string {
	if m == 0 {
		m = 0o400
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
