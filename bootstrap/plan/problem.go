package plan

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Code is a class of failure and, at the same time, the exit code that tells it
// to the caller (sysexits.h where it has a fitting one, chroot(1) for the
// command's own).
type Code int

// The codes. README.md has the table for users.
const (
	CodeUsage         Code = 64  // the command line
	CodeData          Code = 65  // a template, or data that a format cannot carry
	CodeMissing       Code = 66  // a secret or a field that is not there
	CodeUnavailable   Code = 69  // Vault unreachable or sealed until the deadline
	CodeBug           Code = 70  // our own mistake
	CodeSink          Code = 73  // the sink cannot be used
	CodeIO            Code = 74  // the sink filled up, a file could not be read
	CodeProtocol      Code = 76  // the answer is not Vault's, or a refused redirect
	CodeDenied        Code = 77  // the login or a read was refused
	CodeConfig        Code = 78  // the configuration
	CodeUnwrapped     Code = 79  // a wrapped secret was unwrapped before us
	CodeLeak          Code = 80  // a secret showed up where it must not
	CodeOwn           Code = 125 // run: any failure of ours before the command started
	CodeNotExecutable Code = 126 // the command cannot be executed
	CodeNotFound      Code = 127 // the command was not found
)

// Problem is one failure, told in one line: what, where it was declared, why,
// and what to do. No field may hold a secret or a server's response body.
type Problem struct {
	Code   Code
	Origin Origin // zero: nobody declared it
	What   string // what failed, such as `file "db.env"`
	Why    string // the cause in words
	Fix    string // what to do next; "" when Why says it
	Err    error  // the cause for errors.Is and errors.As; never printed
}

// Error gives "what: why (declared at origin); fix" in one line.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(oneLine(p.What))
	if p.Why != "" {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(oneLine(p.Why))
	}
	if o := p.Origin.String(); o != "" {
		fmt.Fprintf(&b, " (declared at %s)", oneLine(o))
	}
	if p.Fix != "" {
		b.WriteString("; " + oneLine(p.Fix))
	}
	return b.String()
}

// Unwrap gives the cause.
func (p *Problem) Unwrap() error { return p.Err }

// oneLine keeps a message to one printable line, whatever a file name or a
// server put into it.
func oneLine(s string) string {
	if !strings.ContainsFunc(s, isControl) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) }

// Problems is every failure that was found at once, in the order found.
type Problems []*Problem

// Add appends what err holds: a *Problem, Problems, a join of them, or any
// other error as a bug.
func (ps *Problems) Add(err error) {
	switch e := err.(type) { //nolint:errorlint // a join is taken apart level by level
	case nil:
	case *Problem:
		*ps = append(*ps, e)
	case Problems:
		*ps = append(*ps, e...)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			ps.Add(one)
		}
	default:
		*ps = append(*ps, &Problem{Code: CodeOf(err), What: err.Error(), Err: err})
	}
}

// Err gives nil when there is no problem.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// Error gives one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the single problems.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// At gives err with o as its place when err is a problem that names none; any
// other err as it is.
func At(err error, o Origin) error {
	var p *Problem
	if errors.As(err, &p) && p.Origin == (Origin{}) {
		q := *p
		q.Origin = o
		return &q
	}
	return err
}

// CodeOf gives the code of the first problem in err, and CodeBug for an error
// that nobody classified.
func CodeOf(err error) Code {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return CodeBug
}

// PathCause gives the reason in an error from the operating system without the
// path, which the message names already: "permission denied".
func PathCause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "no such file or directory"
	}
	return "cannot be used"
}
