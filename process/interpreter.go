package process

import (
	"bytes"
	"encoding/binary"
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
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return loader(f, head)
	}
	return "", syscall.ENOEXEC
}

// elfLayout says where an ELF header, and an entry of its program headers, has
// what we look for (elf(5)): offsets in bytes, and the size of a number.
type elfLayout struct {
	phoff, phentsize, phnum int
	offset, filesz          int
	word                    int
}

// loader gives the dynamic loader that an ELF file names, "" for a static one.
// debug/elf would read it too, but brings DWARF and zstd: 160 KiB of our binary.
func loader(f io.ReaderAt, head []byte) (string, error) {
	const ptInterp, class64, bigEndian = 3, 2, 2
	at := elfLayout{phoff: 28, phentsize: 42, phnum: 44, offset: 4, filesz: 16, word: 4}
	if len(head) < 64 {
		return "", syscall.ENOEXEC
	}
	if head[4] == class64 {
		at = elfLayout{phoff: 32, phentsize: 54, phnum: 56, offset: 8, filesz: 32, word: 8}
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == bigEndian {
		order = binary.BigEndian
	}
	number := func(b []byte, from int) int64 {
		if at.word == 8 {
			return int64(order.Uint64(b[from:])) //nolint:gosec // one that is negative then cannot be read
		}
		return int64(order.Uint32(b[from:]))
	}
	size, count := int64(order.Uint16(head[at.phentsize:])), int64(order.Uint16(head[at.phnum:]))
	if size < int64(at.filesz+at.word) {
		return "", syscall.ENOEXEC
	}
	entry := make([]byte, size)
	for i := range count {
		if _, err := f.ReadAt(entry, number(head, at.phoff)+i*size); err != nil {
			return "", syscall.ENOEXEC
		}
		if order.Uint32(entry) != ptInterp {
			continue
		}
		name := make([]byte, min(max(number(entry, at.filesz), 0), syscall.PathMax))
		if _, err := f.ReadAt(name, number(entry, at.offset)); err != nil {
			return "", syscall.ENOEXEC
		}
		return strings.TrimRight(string(name), "\x00"), nil
	}
	return "", nil
}
