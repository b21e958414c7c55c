package main

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

func (a *app) installCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "install PATH",
		Short:   "copy this binary, as into a volume that the application's container shares",
		Example: "  secretboot install /run/secretboot/secretboot",
		Args:    cobra.ExactArgs(1), DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error { return install(args[0]) },
	}
}

// install copies the running binary to a path, or into a folder, with mode 0755.
// What is there is replaced at once: a process that runs it keeps the old one. A
// device or a pipe is no place for it, and stays.
func install(to string) error {
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, "secretboot")
	}
	fail := func(err error) error {
		return &plan.Problem{Code: plan.CodeIO, What: "install " + to, Why: plan.PathCause(err), Err: err}
	}
	if info, err := os.Lstat(to); err == nil && !info.Mode().IsRegular() && info.Mode().Type() != os.ModeSymlink {
		return &plan.Problem{Code: plan.CodeIO, What: "install " + to, Why: "there is something else than a file", Fix: "name a file or a folder"}
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return &plan.Problem{Code: plan.CodeIO, What: "install", Why: "our own binary cannot be read: " + plan.PathCause(err), Fix: "mount /proc", Err: err}
	}
	defer self.Close()
	part := filepath.Join(filepath.Dir(to), ".secretboot-"+rand.Text())
	if err := copyTo(part, self); err != nil {
		return fail(errors.Join(err, os.Remove(part)))
	}
	if err := os.Rename(part, to); err != nil {
		return fail(errors.Join(err, os.Remove(part)))
	}
	return nil
}

// copyTo makes a new executable file.
func copyTo(path string, from io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, from); err != nil {
		return err
	}
	if err := f.Chmod(0o755); err != nil { // whatever the umask is
		return err
	}
	return f.Sync()
}
