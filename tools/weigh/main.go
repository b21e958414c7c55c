// Weigh tells what each module costs in a binary: the bytes of code and data by symbol,
// in KiB, of a binary that still has its symbols.
//
//	weigh BINARY
//
// What the linker makes of all of them together, such as the tables of the runtime, is
// nobody's: it is in the last line.
package main

import (
	"cmp"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: weigh BINARY")
		os.Exit(2)
	}
	if err := weigh(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "weigh:", err)
		os.Exit(1)
	}
}

func weigh(name string) error {
	modules, err := linked(name)
	if err != nil {
		return err
	}
	bytes, err := bySymbol(name, modules)
	if err != nil {
		return err
	}
	for _, m := range append(slices.Sorted(slices.Values(modules)), standard, nobody) {
		fmt.Printf("%6d  %s\n", bytes[m]>>10, m)
	}
	return nil
}

// linked lists the modules of a binary, those first of whose path another is the beginning.
func linked(name string) ([]string, error) {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return nil, err
	}
	modules := []string{info.Main.Path}
	for _, m := range info.Deps {
		modules = append(modules, m.Path)
	}
	slices.SortStableFunc(modules, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return modules, nil
}

// bySymbol adds up what each module has in the file.
func bySymbol(name string, modules []string) (map[string]uint64, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	bytes := map[string]uint64{}
	for _, s := range symbols {
		if int(s.Section) < len(f.Sections) && f.Sections[s.Section].Type != elf.SHT_NOBITS {
			bytes[owner(s.Name, modules)] += s.Size
		}
	}
	return bytes, nil
}

const standard, nobody = "the standard library and runtime", "made by the linker"

// owner finds the module of a symbol: its name begins with the path of its package, in
// which the linker writes a dot of the last element as %2e.
func owner(symbol string, modules []string) string {
	name := strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(symbol, "type:."), "go:"), "%2e", ".")
	for _, m := range modules {
		if rest, ok := strings.CutPrefix(name, m); ok && (rest == "" || strings.ContainsAny(rest[:1], "./")) {
			return m
		}
	}
	tables := []string{"runtime.findfunctab", "runtime.itablink", "runtime.pclntab", "runtime.typelink"}
	if strings.HasPrefix(symbol, "type:") || strings.HasPrefix(symbol, "go:") || slices.Contains(tables, symbol) {
		return nobody
	}
	return standard
}
