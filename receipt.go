package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
)

// receipts writes the receipt of one bootstrap. The zero value writes nothing.
type receipts struct {
	path    plan.Setting[string] // not set: none is wanted
	started time.Time
	job     *bootstrap.Job
	folders []string // that secrets are delivered to, as far as they are known
	log     *slog.Logger
}

// check tells, before anything is done, whether the receipt can be written.
func (r *receipts) check() error {
	info, err := os.Lstat(r.path.Value)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return r.problem(plan.CodeConfig, "there is something else than a file", errors.New("not a regular file"))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return r.problem(plan.CodeConfig, plan.PathCause(err), err)
	case err == nil && !isReceipt(r.path.Value):
		return r.problem(plan.CodeConfig, "there is a file that is no receipt", fs.ErrExist)
	}
	for dir := filepath.Dir(r.path.Value); ; dir = filepath.Dir(dir) {
		if slices.Contains(r.folders, dir) || dir != "/" && hasMarker(dir) {
			return r.problem(plan.CodeConfig, "it is in a folder of secrets", errors.New("in the sink"))
		}
		if dir == "/" || dir == "." {
			break
		}
	}
	if err := unix.Access(filepath.Dir(r.path.Value), unix.W_OK|unix.X_OK); err != nil {
		return r.problem(plan.CodeConfig, "its folder: "+plan.PathCause(err), err)
	}
	return nil
}

// isReceipt reports whether a file is one that we wrote, which may be replaced.
func isReceipt(path string) bool {
	f, err := openInput(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 256))
	return err == nil && (len(head) == 0 || bytes.Contains(head, []byte(`"program": "secretboot `)))
}

// hasMarker reports whether secretboot delivers to a folder.
func hasMarker(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, "..secretboot"))
	return err == nil
}

func (r *receipts) problem(code plan.Code, why string, err error) error {
	return &plan.Problem{
		Code: code, Origin: r.path.Origin, What: "receipt " + r.path.Value, Why: why, Fix: "name a file in a folder that we may write", Err: err,
	}
}

// write puts the receipt in place of an earlier one, at once and readable by
// us alone. Nothing was done before there was a job, so there is nothing to say.
func (r *receipts) write(outcome string, code int, ps plan.Problems) error {
	if !r.path.IsSet || r.job == nil {
		return nil
	}
	out := r.job.Receipt()
	out.Program, out.Started, out.Written = "secretboot "+version(), receipt.At(r.started), receipt.At(time.Now())
	out.Outcome, out.Code = outcome, code
	for _, p := range ps {
		out.Problems = append(out.Problems, receipt.Problem{Code: int(p.Code), Text: p.Error()})
	}
	text, err := out.JSON()
	if err != nil {
		return r.problem(plan.CodeBug, "cannot be encoded", err)
	}
	if err := replaceFile(r.path.Value, text); err != nil {
		return r.problem(plan.CodeIO, plan.PathCause(err), err)
	}
	return nil
}

// rewrite is write where a failure must not change the outcome any more.
func (r *receipts) rewrite(outcome string, code int, ps plan.Problems) {
	if err := r.write(outcome, code, ps); err != nil {
		r.log.Warn("the receipt was not written", slog.String("problem", err.Error()))
	}
}

// replaceFile writes a file beside path and gives it that name. It has mode 0600.
func replaceFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".secretboot-receipt-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	// A umask may have taken our own bits.
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o600)); err != nil {
		return errors.Join(err, f.Close())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
