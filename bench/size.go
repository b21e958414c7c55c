package main

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// parts is what the binary consists of.
type parts struct {
	stripped int64            // of the file as it is shipped
	groups   map[string]int64 // bytes of code and data, by module or part of the standard library
}

// rest is what no symbol owns.
const rest = "tables of the runtime (line numbers, stack maps), types and text that belong to no package"

// takeApart builds the binary once more with its symbols and adds up their sizes.
// Its source is the folder above this one.
func takeApart(ctx context.Context, o options, progress io.Writer) (p parts, err error) {
	info, err := os.Stat(o.secretboot)
	if err != nil {
		return p, err
	}
	dir, err := os.MkdirTemp("", "secretboot-size-")
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary := filepath.Join(dir, "secretboot")
	if _, err := output(ctx, progress, "go", "build", "-trimpath", "-o", binary, "."); err != nil {
		return p, err
	}
	modules, err := output(ctx, progress, "go", "list", "-deps", "-f", "{{.ImportPath}} {{if .Module}}{{.Module.Path}}{{end}}", ".")
	if err != nil {
		return p, err
	}
	p = parts{stripped: info.Size()}
	if p.groups, err = add(binary, groupsOf(modules)); err != nil {
		return p, err
	}
	var known int64
	for _, n := range p.groups {
		known += n
	}
	p.groups[rest] += p.stripped - known
	return p, nil
}

// output runs a command in the folder above, without cgo as the binary is built.
func output(ctx context.Context, progress io.Writer, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stderr = "..", progress
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return out, nil
}

// groupsOf gives the group of each package, from lines of PACKAGE MODULE.
func groupsOf(list []byte) map[string]string {
	groups := map[string]string{}
	for line := range strings.Lines(string(list)) {
		pkg, module, _ := strings.Cut(strings.TrimSpace(line), " ")
		if module == "" {
			module = standard(pkg)
		}
		groups[pkg] = module
	}
	groups["main"] = groups["github.com/secretboot/secretboot"]
	return groups
}

// standard names the part of the standard library that a package is of.
func standard(pkg string) string {
	pkg = strings.TrimPrefix(pkg, "vendor/golang.org/x/")
	first, _, _ := strings.Cut(strings.TrimPrefix(pkg, "internal/"), "/")
	switch {
	case first == "crypto" || pkg == "hash" || strings.HasPrefix(pkg, "math/big"):
		return "standard library: crypto, TLS and certificates"
	case first == "net":
		return "standard library: net and net/http"
	case first == "runtime" || first == "abi" || first == "bytealg":
		return "standard library: the runtime"
	case pkg == "text/template" || pkg == "text/template/parse" || pkg == "html/template":
		return "standard library: templates"
	}
	return "standard library: everything else"
}

// add adds the sizes of the symbols of a binary up. What is zero at the start takes
// no place in the file.
func add(binary string, groups map[string]string) (map[string]int64, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	sums := map[string]int64{}
	for _, s := range symbols {
		if int(s.Section) >= len(f.Sections) || f.Sections[s.Section].Type == elf.SHT_NOBITS {
			continue
		}
		if group, ok := groups[packageOf(s.Name)]; ok {
			sums[group] += int64(s.Size)
		}
	}
	return sums, nil
}

// packageOf gives the package of a symbol such as net/http.(*Client).Do,
// type:*net/url.URL or go:itab.*os.File,io.Reader; a dot of an import path is %2e
// in its last element.
func packageOf(symbol string) string {
	for _, prefix := range []string{"type:.eq.", "type:.hash.", "type:", "go:itab."} {
		symbol = strings.TrimPrefix(symbol, prefix)
	}
	symbol = strings.TrimLeft(symbol, "*[]")
	if i := strings.IndexAny(symbol, "[(,{ "); i >= 0 {
		symbol = symbol[:i]
	}
	slash := strings.LastIndexByte(symbol, '/') + 1
	dot := strings.IndexByte(symbol[slash:], '.')
	if dot < 0 {
		return ""
	}
	return strings.ReplaceAll(symbol[:slash+dot], "%2e", ".")
}

// table lists the groups, the largest first.
func (p parts) table() [][]string {
	rows := [][]string{{"part", "KiB", "share"}}
	names := slices.SortedFunc(maps.Keys(p.groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.groups[b], p.groups[a]), cmp.Compare(a, b))
	})
	for _, name := range names {
		n := p.groups[name]
		rows = append(rows, []string{name, fmt.Sprint(n >> 10), fmt.Sprintf("%.1f %%", 100*float64(n)/float64(p.stripped))})
	}
	return append(rows, []string{"**the binary, stripped**", fmt.Sprint(p.stripped >> 10), "100 %"})
}

func (p parts) title() string { return "What the binary consists of" }
