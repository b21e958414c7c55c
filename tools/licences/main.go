// Licences lists what is linked into a program with its licences, for a file that goes
// wherever the binary goes: MIT, BSD and Apache-2.0 want their text in every copy, and
// MPL-2.0 wants to be told where the source is.
//
//	licences [-check] FILE
//
// It is run in tools, and speaks of the module in the folder above. FILE is written, or
// with -check compared. It is an error, and nothing is written, when a module has no
// licence that we can read, or one that is not in the list of those that we may take.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/licensecheck"
)

// allowed are the licences that ours, Apache-2.0, may be shipped with in one binary, as
// SPDX names them. MPL-2.0 is by the file: what we link of it is unchanged, and its source
// is where the list says.
func allowed(spdx string) bool {
	return slices.Contains([]string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}, spdx)
}

// leastCovered is how much of a text must be that of known licences, in percent. The
// rest is names and years; a condition that was added would be more.
const leastCovered = 75

func main() {
	check := flag.Bool("check", false, "compare the file and write nothing")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *check); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(file string, check bool) error {
	modules, err := linked("..")
	if err != nil {
		return err
	}
	text, err := document(modules)
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(file, text, 0o644)
	}
	have, err := os.ReadFile(file)
	if err == nil && !bytes.Equal(have, text) {
		err = fmt.Errorf("%s is stale; run make licences", file)
	}
	return err
}

// module is one that is linked, with the folders of it that have a licence for
// something in the binary.
type module struct {
	path, version string
	root          string
	dirs          []string // of packages that are linked
	tags          string   // that it is linked with, and not without
}

// linked asks the toolchain what the program in dir consists of, on every platform and
// with the tags that it is built for, and adds the standard library.
func linked(dir string) ([]module, error) {
	byPath := map[string]*module{}
	for _, build := range [][2]string{{"amd64", ""}, {"arm64", ""}, {"amd64", "aws"}} {
		arch, tags := build[0], build[1]
		cmd := exec.Command("go", "list", "-deps", "-tags", tags, "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}", ".")
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		for line := range strings.Lines(string(out)) {
			f := strings.Split(strings.TrimSpace(line), "\t")
			if len(f) != 4 {
				continue // of the standard library, or ours
			}
			if byPath[f[0]] == nil {
				byPath[f[0]] = &module{path: f[0], version: f[1], root: f[2], tags: tags}
			}
			byPath[f[0]].dirs = append(byPath[f[0]].dirs, f[3])
		}
	}
	if len(byPath) == 0 {
		return nil, errors.New("the program consists of nothing")
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	root := strings.TrimSpace(string(goroot))
	all := []module{{path: "Go (its standard library and runtime)", root: root, dirs: []string{root}}}
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		all = append(all, *byPath[path])
	}
	return all, nil
}

// document writes the list, and then each text once.
func document(modules []module) ([]byte, error) {
	var list, texts bytes.Buffer
	var problems []error
	users := map[string][]string{} // of a text
	var order []string
	for _, m := range modules {
		found, err := m.read()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		spdx := strings.Join(found.spdx, " AND ")
		if m.tags != "" {
			spdx += ", with -tags " + m.tags
		}
		fmt.Fprintf(&list, "  %-62s %-15s %s\n", m.path, m.version, spdx)
		for _, text := range found.texts {
			if users[text] == nil {
				order = append(order, text)
			}
			users[text] = append(users[text], m.path)
		}
	}
	for _, text := range order {
		fmt.Fprintf(&texts, "%s\n%s\n%s\n\n%s\n", rule, strings.Join(users[text], "\n"), rule, text)
	}
	return slices.Concat([]byte(preface), list.Bytes(), []byte("\n\n"), texts.Bytes()), errors.Join(problems...)
}

const preface = `What is linked into secretboot, and the licences of it. secretboot itself is under
Apache-2.0, see LICENSE. Made by "make licences" from the modules: do not edit.

The source of each Go module is that of the version named here, unchanged, of which
"go mod download -json MODULE@VERSION" fetches a copy. A module under MPL-2.0 is among them.

`

var rule = strings.Repeat("-", 80)

// licences are those of one module.
type licences struct {
	spdx  []string
	texts []string
}

// licenceName are the names of files that have a licence or what it wants kept.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// read looks in the folder of each package and in those above it.
func (m module) read() (found licences, err error) {
	folders := []string{m.root}
	for _, dir := range m.dirs {
		for ; dir != m.root && strings.HasPrefix(dir, m.root); dir = filepath.Dir(dir) {
			folders = append(folders, dir)
		}
	}
	slices.Sort(folders)
	for _, dir := range slices.Compact(folders) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return found, err
		}
		for _, e := range entries {
			if e.IsDir() || !licenceName.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			if err := found.add(filepath.Join(dir, e.Name())); err != nil {
				return found, fmt.Errorf("%s: %s: %w", m.path, e.Name(), err)
			}
		}
	}
	if slices.Sort(found.spdx); len(found.spdx) == 0 {
		return found, fmt.Errorf("%s: no licence was found", m.path)
	}
	return found, nil
}

// add reads a file. A notice, or a grant of patents, is kept with the licence and is none.
func (l *licences) add(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(strings.ReplaceAll(string(b), "\r\n", "\n")) + "\n"
	if !utf8.ValidString(text) {
		return errors.New("it is no text")
	}
	l.texts = append(l.texts, text)
	if name := strings.ToLower(filepath.Base(file)); strings.HasPrefix(name, "notice") || strings.HasPrefix(name, "patents") {
		return nil
	}
	names, err := classify(text)
	for _, name := range names {
		if !slices.Contains(l.spdx, name) {
			l.spdx = append(l.spdx, name)
		}
	}
	return err
}

// classify gives the licences that a text consists of.
func classify(text string) (names []string, err error) {
	covered := licensecheck.Scan([]byte(text))
	for _, match := range covered.Match {
		if match.IsURL {
			continue
		}
		if !allowed(match.ID) {
			return nil, fmt.Errorf("%s is not among the licences that we may take", match.ID)
		}
		names = append(names, match.ID)
	}
	if covered.Percent < leastCovered {
		return nil, fmt.Errorf("only %.0f %% of it are the text of a licence that is known", covered.Percent)
	}
	return names, nil
}
