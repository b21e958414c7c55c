package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// maxTemplateFile is the largest file that a template may read, in bytes.
const maxTemplateFile = 1 << 20

// templateFiles gives the files below a folder to templates. A path is relative
// to the folder, or absolute and below it. No symbolic link leads out of the
// folder (os.Root); what is no regular file or is too large is refused. The
// problems name no path: a template can compute it from a secret.
func templateFiles(dir plan.Setting[string]) (bootstrap.FileFunc, error) {
	root, err := os.OpenRoot(dir.Value)
	if err != nil {
		return nil, &plan.Problem{
			Code: plan.CodeConfig, Origin: dir.Origin, What: "template_root " + dir.Value, Why: "the folder cannot be opened", Err: err,
		}
	}
	_ = root.Close() // it was a test; a watch may find another folder there later
	return func(path string) ([]byte, error) {
		text, err := readBelow(dir.Value, path)
		if err != nil {
			return nil, fileProblem(err)
		}
		return text, nil
	}, nil
}

var (
	errNotRegular = errors.New("it is no regular file")
	errTooLarge   = errors.New("it is larger than 1 MiB")
)

func readBelow(dir, path string) ([]byte, error) {
	if filepath.IsAbs(path) {
		below, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		path = below
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold us
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errNotRegular
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTemplateFile+1))
	if len(text) > maxTemplateFile {
		return nil, errTooLarge
	}
	return text, err
}

// fileProblem says in words of ours why a file cannot be had: those of the
// system name the path.
func fileProblem(err error) error {
	p := &plan.Problem{Code: plan.CodeIO, Why: "the file cannot be read"}
	switch {
	case errors.Is(err, errNotRegular), errors.Is(err, errTooLarge):
		p.Why = "the file cannot be read: " + err.Error()
	case errors.Is(err, fs.ErrNotExist):
		p.Code, p.Why = plan.CodeMissing, "there is no such file below template_root"
	case errors.Is(err, fs.ErrPermission):
		p.Why = "the file may not be read by this user"
	case strings.Contains(err.Error(), "escapes"): // os has no error to compare with
		p.Code, p.Why = plan.CodeConfig, "the path leads out of template_root"
	}
	return p
}
