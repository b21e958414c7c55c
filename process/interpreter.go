package process

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
)

// maxFirstLine is how much of a script's first line the kernel looks at
// (BINPRM_BUF_SIZE of Linux).
const maxFirstLine = 256

// Interpreter gives the program that the kernel starts to run path: what the
// first line of a script names after #!, or the dynamic loader of an ELF file;
// "" when it needs none. The error is syscall.ENOEXEC for a file that is neither.
// A file that we may execute and not read has none that we could tell.
func Interpreter(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, syscall.EACCES) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, maxFirstLine)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", syscall.ENOEXEC // it is empty
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		line, _, _ := strings.Cut(string(head[2:]), "\n")
		words := strings.Fields(line)
		if len(words) == 0 {
			return "", syscall.ENOEXEC
		}
		return words[0], nil
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return loader(f)
	}
	return "", syscall.ENOEXEC
}

// loader gives the dynamic loader that an ELF file names, "" for a static one.
func loader(f *os.File) (string, error) {
	file, err := elf.NewFile(f)
	if err != nil {
		return "", syscall.ENOEXEC
	}
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(p.Open(), syscall.PathMax))
		return strings.TrimRight(string(name), "\x00"), err
	}
	return "", nil
}
