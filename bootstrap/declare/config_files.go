package declare

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

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
	before := len(d.problems)
	d.object(v, keys)
	if v.kind != kindMap {
		return
	}
	f.Source, f.Optional = src.finish(v), src.optional
	if name == nil {
		d.fail(v, "it has no path", "add path: the name of the file")
	}
	if name == nil || len(d.problems) > before {
		return
	}
	if f.Source.Ref != nil && f.Source.Ref.Format == plan.FormatFiles {
		d.fileSet(f, *name)
		return
	}
	if s, ok := d.str(*name); ok {
		f.Path = s
		d.plan.Files = append(d.plan.Files, f)
	}
}

// fileSet makes a set of what was read as a file. Its path is a folder and may
// be empty or ".", the sink itself.
func (d *decoder) fileSet(f plan.File, name value) {
	switch {
	case name.kind != kindString:
		d.fail(name, "it must be text", "")
	case f.Source.Ref.Field != "":
		d.fail(name, "format: files writes one file per field, and the secret names one field", "leave #FIELD out")
	case f.Memfd || f.MemfdEnv != "":
		d.fail(name, "format: files writes into a folder, and a memfd is in none", "declare one memfd for each field")
	case f.Source.Ref.Default != nil:
		d.fail(name, "format: files has no use for a default", "leave default out")
	default:
		dir := path.Clean(name.text)
		if dir == "." {
			dir = ""
		}
		d.plan.Sets = append(d.plan.Sets, plan.FileSet{
			Dir: dir, Ref: *f.Source.Ref, Mode: f.Mode, Owner: f.Owner, Group: f.Group, Origin: f.Origin,
		})
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
