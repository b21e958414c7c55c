// Package declare turns what a user has already written down into a plan.Plan:
// one file per way to write it.
//
// A front reads its declaration through [Input] only, never asks Vault, and
// never takes a secret into the plan: where it meets one it leaves a
// plan.Handle, the place where [Resolve] finds the text when the login needs
// it. What a front cannot understand is an error with its place, never a
// default; all such problems of one declaration are returned together, as
// plan.Problems, and none of them repeats a value.
//
// The fronts of our own are [Config] (our YAML), [Environment] (the VAULT_…
// variables of the vault command) and [References] (vault:… references in inherited
// variables). Those for what the users of others have are, with their words for
// [ParseFrom]:
//
//   - [Annotations], annotations: of the Vault Agent Injector, at a pod
//   - [Flyte], flyte: secret requests of a Flyte task, at a pod
//   - [Agent], agent, and [ConsulTemplate], consul-template: their configuration
//   - [SecretProviderClass], secretproviderclass: of the Vault CSI provider
//   - [ExternalSecret], externalsecret and externalsecret-env: of the operator
//   - [BankVaults], env: bank-vaults references in variables
//   - [MLflow], mlflow: the variables of MLflow Secrets Auth
//   - [Manifest], manifest: a Kubernetes workload, with all of these that it has
//
// docs/declarations.md says what each understands, and where it differs from its
// original. [ParseFileFlag], [ParseTemplateFlag], [ParseEnvFlag] and [ParseAuthFlag]
// read the flags that declare something. Ranks and precedence are not decided here:
// see plan.Overlay and plan.Merge. [Write] goes the other way, from a plan to a
// configuration for Config, and [Manifest.Patch] to a patch of the workload.
package declare

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// MaxFile is the size in bytes up to which a file is read: a configuration, a
// template or the text behind a handle.
const MaxFile = 4 << 20

// Input is the outside world as a front sees it. A nil function finds nothing.
type Input struct {
	// Open opens a file by an absolute path or one relative to Cwd (main gives
	// a wrapper of os.Open). Its errors must match fs.ErrNotExist and
	// fs.ErrPermission where they apply.
	Open func(path string) (io.ReadCloser, error)

	Lookup  func(name string) (string, bool) // one variable
	Environ []string                         // all of them, as NAME=VALUE
	Home    string                           // the user's home folder; "" is none
	Cwd     string                           // absolute; relative paths of flags and variables start here
}

// Front is one way to write a plan down.
type Front interface {
	// Name is the word that selects the front, and the Front of its origins.
	Name() string

	// Declare gives the plan that the front found. found is false when there
	// was nothing of its kind, which is no error. The error is plan.Problems.
	Declare(in Input) (p plan.Plan, found bool, err error)
}

// variable gives the value of a variable; an empty one is not set.
func (in Input) variable(name string) (string, bool) {
	if in.Lookup == nil {
		return "", false
	}
	v, ok := in.Lookup(name)
	return v, ok && v != ""
}

// absolute gives a path that starts at the root, where Cwd allows it.
func (in Input) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(in.Cwd, path)
}

// read gives the bytes of a file of at most MaxFile bytes.
func (in Input) read(path string) (_ []byte, err error) {
	if in.Open == nil {
		return nil, fs.ErrNotExist
	}
	f, err := in.Open(in.absolute(path))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		return nil, errTooLarge
	}
	return data, err
}

// errTooLarge says that a file is larger than MaxFile.
var errTooLarge = fmt.Errorf("the file is larger than %d bytes", MaxFile)

// reason says in words why a file could not be read. The text of an unknown
// error is left out but for its innermost cause: the path is in the message
// already.
func reason(err error) string {
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "we may not read the file"
	case errors.As(err, &pathErr):
		return pathErr.Err.Error()
	}
	return err.Error()
}

// trimNewline cuts one newline at the end, which editors and `echo` leave.
func trimNewline(b []byte) []byte {
	if rest, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		return bytes.TrimSuffix(rest, []byte("\r"))
	}
	return b
}
