package render

import (
	"io/fs"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// fileFunctions read files, write files and execute other templates.
func fileFunctions() []*function {
	return []*function{
		{name: "file", fn: readFile},
		{name: "writeToFile", fn: writeToFile},
		{name: "executeTemplate", fn: executeTemplate},
		{name: "scratch", fn: func(r *run) *scratch { return r.scratch }},
	}
}

// noRoot is what the function file says when there is nothing to read from.
func noRoot() *failure {
	return &failure{
		code: plan.CodeConfig, why: "templates may read no file: no folder is configured for it",
		fix: "name the folder with template_root in the configuration file",
	}
}

// readFile gives the text of a file below the folder that was configured.
func readFile(r *run, path string) (string, error) {
	if r.in.File == nil {
		return "", noRoot()
	}
	if path = strings.TrimSpace(path); path == "" {
		return "", badData("the path is empty", "")
	}
	text, err := r.in.File(path)
	if err != nil {
		return "", safe(err, "the file cannot be read")
	}
	return string(text), nil
}

// written is a file that the template is writing.
type written struct {
	file plan.File
	text strings.Builder
}

// extras gives the files that were written.
func (r *run) extras() []File {
	var list []File
	for _, w := range r.files {
		list = append(list, File{File: w.file, Content: secret.New([]byte(w.text.String()))})
	}
	return list
}

// writeToFile asks for one more file: path, user, group, octal mode, perhaps
// flags ("append", "newline" or both with a comma), content. It prints nothing.
// An append adds to what this execution wrote to the path before.
func writeToFile(r *run, path, user, group, mode string, rest ...string) (string, error) {
	if len(rest) < 1 || len(rest) > 2 {
		return "", badData("writeToFile wants a path, a user, a group, a mode, perhaps flags, and the content", "")
	}
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || bits == 0 || bits > 0o777 {
		return "", badData("the mode must be octal text from 0001 to 0777", `write it as "0400"`)
	}
	joins, newline, fail := writeFlags(rest[:len(rest)-1])
	if fail != nil {
		return "", fail
	}
	f := plan.File{Path: path, Mode: fs.FileMode(bits), Owner: user, Group: group, Origin: r.p.origin}
	w, fail := r.open(f, joins)
	if fail != nil {
		return "", fail
	}
	content := rest[len(rest)-1]
	if newline {
		content += "\n"
	}
	if r.wrote += len(content); r.wrote > maxOutput {
		return "", tooMuch("the files would be larger than 16 MiB together")
	}
	w.text.WriteString(content)
	return "", nil
}

// writeFlags reads "append", "newline", both with a comma between them, or none.
func writeFlags(args []string) (joins, newline bool, fail *failure) {
	for flag := range strings.SplitSeq(strings.Join(args, ""), ",") {
		switch strings.TrimSpace(flag) {
		case "":
		case "append":
			joins = true
		case "newline":
			newline = true
		default:
			return false, false, badData("a flag is neither append nor newline", "")
		}
	}
	return joins, newline, nil
}

// open finds the file that was begun under this path, or begins it.
func (r *run) open(f plan.File, joins bool) (*written, *failure) {
	for _, w := range r.files {
		switch {
		case w.file.Path != f.Path:
		case !joins:
			return nil, badData("a file of this path was written already", `add to it with the flag "append"`)
		case w.file.Mode != f.Mode || w.file.Owner != f.Owner || w.file.Group != f.Group:
			return nil, badData("the file was begun with another mode, user or group", "give every part of it the same")
		default:
			return w, nil
		}
	}
	w := &written{file: f}
	r.files = append(r.files, w)
	return w, nil
}

// executeTemplate gives what a template that is defined here prints for data.
func executeTemplate(r *run, name string, data ...any) (string, error) {
	if len(data) > 1 {
		return "", badData("executeTemplate wants a name and one value at most", "")
	}
	if name == root || r.all.Lookup(name) == nil {
		return "", badData("no template of this name is defined", "")
	}
	var dot any
	if len(data) == 1 {
		dot = data[0]
	}
	defer func(depth int) { r.depth = depth }(r.depth)
	if _, err := r.enter(); err != nil {
		return "", err
	}
	out := &limited{}
	if err := r.all.ExecuteTemplate(out, name, dot); err != nil {
		return "", &located{r.p.executionProblem(err)}
	}
	return string(out.bytes()), nil
}
