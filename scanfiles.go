package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process/mask"
)

// search looks for secrets in files. What it keeps is bounded, however much there
// is to find.
type search struct {
	exclude  []string
	set      *mask.Set
	report   scanReport
	problems plan.Problems
	more     int // problems that were not kept
}

// maxProblems bounds what is told of files that cannot be read.
const maxProblems = 100

// newSearch checks the patterns of what is left out.
func newSearch(exclude []string) (*search, error) {
	for _, glob := range exclude {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return nil, &plan.Problem{Code: plan.CodeUsage, What: "--exclude " + strconv.Quote(glob), Why: "it is no pattern", Fix: "use *, ? and [a-z], as in *.log"}
		}
	}
	return &search{exclude: exclude, report: scanReport{Hits: []scanHit{}, Skipped: []scanSkipped{}, Problems: []string{}}}, nil
}

// know says what is looked for.
func (s *search) know(values []mask.Secret) {
	set, skipped := mask.New(mask.Options{}, values...)
	s.set, s.report.Secrets = set, len(values)
	for _, left := range skipped {
		s.report.Skipped = append(s.report.Skipped, scanSkipped{left.Name, left.Why})
	}
}

// path looks through what a user named: a file, a folder, a pipe, or "-" for
// standard input. A link that was named is followed. The error is the cause of
// ctx; what cannot be read is kept.
func (s *search) path(ctx context.Context, name string) error {
	if name == "-" {
		before, told := s.report.Bytes, len(s.problems)
		s.read(ctx, "-", os.Stdin)
		if s.report.Bytes == before && len(s.problems) == told && context.Cause(ctx) == nil {
			s.problem(&plan.Problem{
				Code: plan.CodeIO, What: "scan: standard input", Why: "nothing came from it",
				Fix: "see whether the command before the pipe failed",
			})
		}
		return context.Cause(ctx)
	}
	s.name(name)
	info, err := os.Stat(name)
	switch {
	case err != nil:
		s.cannot(name, err)
	case info.IsDir():
		return s.folder(ctx, name)
	default:
		s.file(ctx, name, 0)
	}
	return context.Cause(ctx)
}

// folder looks through all below a folder, other file systems too. Links are not
// followed, and of what is no file only the name is looked at.
func (s *search) folder(ctx context.Context, root string) error {
	// With the slash the folder is walked that a link leads to.
	return filepath.WalkDir(root+"/", func(name string, d fs.DirEntry, err error) error {
		if ended := context.Cause(ctx); ended != nil {
			return ended
		}
		name = filepath.Clean(name)
		below, relErr := filepath.Rel(root, name)
		if relErr != nil {
			below = name
		}
		inside := below != "."
		switch {
		case inside && s.excluded(below) && d.IsDir():
			return fs.SkipDir
		case inside && s.excluded(below):
			return nil
		case err != nil:
			s.cannot(name, err)
			return nil
		case inside:
			s.name(name)
		}
		if d.Type().IsRegular() {
			s.file(ctx, name, syscall.O_NOFOLLOW)
		}
		return nil
	})
}

// excluded reports whether a path below a named one is left out.
func (s *search) excluded(below string) bool {
	for _, glob := range s.exclude {
		subject := path.Base(below)
		if strings.Contains(glob, "/") {
			subject = below
		}
		if yes, _ := path.Match(glob, subject); yes {
			return true
		}
	}
	return false
}

// file looks through one file. flag is for open(2).
func (s *search) file(ctx context.Context, name string, flag int) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|flag, 0) // the opening of a pipe must not wait
	if err != nil {
		s.cannot(name, err)
		return
	}
	defer f.Close()
	s.read(ctx, name, f)
}

func (s *search) read(ctx context.Context, name string, f *os.File) {
	s.report.Files++
	before := s.report.Found
	err := s.set.Scan(s.counted(ctx, f), s.found(name, "content"))
	if s.report.Found > before {
		s.report.FilesFound++
	}
	if err != nil && context.Cause(ctx) == nil {
		s.cannot(name, err)
	}
}

// name looks at the name of a file or folder, which is published with it.
func (s *search) name(name string) {
	w := s.set.Writer(io.Discard, s.found(name, "name"))
	_, _ = io.WriteString(w, filepath.Base(name))
	_ = w.Close()
}

// found counts the places of one file and keeps the first of all.
func (s *search) found(name, in string) func(mask.Hit) {
	return func(h mask.Hit) {
		s.report.Found++
		if len(s.report.Hits) < maxHits {
			s.report.Hits = append(s.report.Hits, scanHit{Secret: h.Name, Form: h.Kind, File: s.masked(name), In: in, Offset: h.Offset, Line: h.Line})
		}
	}
}

// masked is a name as it may be printed: it may hold a secret itself.
func (s *search) masked(name string) string {
	var b bytes.Buffer
	w := s.set.Writer(&b, nil)
	_, _ = io.WriteString(w, name)
	_ = w.Close()
	return b.String()
}

// cannot keeps why a file was not read.
func (s *search) cannot(name string, err error) {
	s.problem(&plan.Problem{
		Code: plan.CodeIO, What: "scan: " + strconv.Quote(s.masked(name)), Why: plan.PathCause(err),
		Fix: "let it be read, or leave it out with --exclude", Err: err,
	})
}

func (s *search) problem(p *plan.Problem) {
	if len(s.problems) == maxProblems {
		s.more++
		return
	}
	s.problems = append(s.problems, p)
	s.report.Problems = append(s.report.Problems, p.Error())
}

// unread gives what could not be read.
func (s *search) unread() error {
	if s.more > 0 {
		return append(s.problems, &plan.Problem{Code: plan.CodeIO, What: "scan", Why: strconv.Itoa(s.more) + " more files cannot be read"})
	}
	return s.problems.Err()
}

// counted reads f, which may be a pipe that nothing comes from, until ctx ends.
func (s *search) counted(ctx context.Context, f *os.File) io.Reader {
	info, err := f.Stat()
	waits := err != nil || !info.Mode().IsRegular()
	return readerFunc(func(b []byte) (int, error) {
		if waits {
			if err := awaitInput(ctx, f); err != nil {
				return 0, err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		n, err := f.Read(b)
		s.report.Bytes += int64(n)
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// glance is how often a wait for input looks whether it is to end, in milliseconds.
const glance = 100

// awaitInput waits until f can be read, or ctx ends. A named pipe that nobody has
// opened for writing yet cannot.
func awaitInput(ctx context.Context, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	ready := 0
	err = raw.Control(func(fd uintptr) {
		for ready <= 0 && ctx.Err() == nil {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor is small
			ready, _ = unix.Poll(fds, glance)
		}
	})
	return err
}
