package declare

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// fileEntry reads one entry of files: a file, or with `format: files` a folder
// with one file per field.
func (d *decoder) fileEntry(v value) {
	f := plan.File{Origin: d.origin(v)}
	var name *value
	src := &source{d: d}
	keys := src.fields()
	keys["path"] = func(v value) { name = &v }
	keys["mode"] = func(v value) { f.Mode = d.mode(v) }
	keys["owner"] = d.account(&f.Owner)
	keys["group"] = d.account(&f.Group)
	keys["memfd"] = func(v value) { f.Memfd, _ = d.flag(v) }
	keys["env"] = d.into(&f.MemfdEnv)
	keys["bundle"] = src.main(src.bundleOf)
	keys["refresh"] = d.refresh(&f.Refresh)
	d.hook(keys, &f.Command)
	before := len(d.problems)
	d.object(v, keys)
	if v.kind != kindMap {
		return
	}
	f.Source, f.Optional = src.finish(v), src.optional
	if f.Command.Kind == plan.ActionNone && v.has("command_timeout") {
		d.fail(v, "command_timeout says how long a command may take, and there is none", "add command, or leave it out")
	}
	if name == nil {
		d.fail(v, "it has no path", "add path: the name of the file")
	}
	if name == nil || len(d.problems) > before {
		return
	}
	if src.kind == fromBundle || f.Source.Ref != nil && f.Source.Ref.Format == plan.FormatFiles {
		d.fileSet(f, src, *name)
		return
	}
	if s, ok := d.str(*name); ok {
		f.Path = s
		d.plan.Files = append(d.plan.Files, f)
	}
}

// hook adds the keys of the command that follows a delivery.
func (d *decoder) hook(keys fields, a *plan.Action) {
	keys["command"] = func(v value) { a.Kind, a.Argv = plan.ActionExec, d.argv(v) }
	keys["command_timeout"] = func(v value) {
		var limit plan.Setting[time.Duration]
		d.duration(&limit)(v)
		a.Timeout = limit.Value
	}
}

// fileSet makes a set of what was read as a file. Its path is a folder and may
// be empty or ".", the sink itself.
func (d *decoder) fileSet(f plan.File, src *source, name value) {
	ref, what := plan.Ref{}, "a bundle"
	if f.Source.Ref != nil {
		ref, what = *f.Source.Ref, "format: files"
	}
	switch {
	case name.kind != kindString:
		d.fail(name, "it must be text", "")
	case ref.Field != "":
		d.fail(name, "format: files writes one file per field, and the secret names one field", "leave #FIELD out")
	case f.Memfd || f.MemfdEnv != "":
		d.fail(name, what+" writes into a folder, and a memfd is in none", "declare one memfd for each field")
	case ref.Default != nil:
		d.fail(name, "format: files has no use for a default", "leave default out")
	case f.Command.Kind != plan.ActionNone || f.Command.Timeout != 0:
		d.fail(name, what+" has no command of its own", "give the command to a file")
	case src.kind == fromBundle && f.Optional:
		d.fail(name, "a bundle is not optional as a whole", "say optional in its parts")
	default:
		dir := path.Clean(name.text)
		if dir == "." {
			dir = ""
		}
		set := plan.FileSet{Dir: dir, Ref: ref, Mode: f.Mode, Owner: f.Owner, Group: f.Group, Refresh: f.Refresh, Origin: f.Origin}
		if src.kind == fromBundle {
			set.Bundle = &src.bundle
		}
		d.plan.Sets = append(d.plan.Sets, set)
	}
}

// mode reads permission bits in octal. 400 without quotes is the number four
// hundred to YAML, whatever was meant, so it is refused.
func (d *decoder) mode(v value) fs.FileMode {
	digits, octal := strings.CutPrefix(v.text, "0o")
	octal = octal || strings.HasPrefix(v.text, "0") && len(v.text) > 1
	n, err := strconv.ParseUint(digits, 8, 32)
	switch {
	case v.kind == kindInt && !octal:
		d.fail(v, "it must be octal text, and this is a decimal number", `quote it, as in mode: "0400"`)
	case v.kind != kindInt && v.kind != kindString || err != nil || n > 0o777:
		d.fail(v, `it must be octal text from "0001" to "0777"`, `quote it, as in mode: "0400"`)
	case n == 0:
		d.fail(v, "nobody could read the file", `use mode: "0400"`)
	default:
		return fs.FileMode(n)
	}
	return 0
}
