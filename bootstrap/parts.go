package bootstrap

import (
	"context"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Vault is one server seen as one identity; package vault has two.
type Vault interface {
	// Login gets a token.
	Login(ctx context.Context) error
	// Token is a copy of the token, after Login; empty when there is none.
	Token() secret.Value
	// Generation gives a function that carries out reads, each path once; body
	// is for a write. It may be called from several goroutines at once.
	Generation() func(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error)
	// HasLeases reports whether what was read ends with the token.
	HasLeases() bool
	Keeping
	// Close revokes what we own. It may be called twice.
	Close(ctx context.Context) error
	// Identify asks who we are to the server, for the record.
	Identify(ctx context.Context)
	// Record says who we are to the server and what was read.
	Record() (receipt.Server, receipt.Login, []receipt.Read)
}

// Keeping is what a Vault can do so that what was read stays true. Every request
// is tried once: whoever keeps waits by himself. Errors have [secret.ErrLeaseLost]
// or [secret.ErrTokenLost] in their chain when that is what they mean.
type Keeping interface {
	// Attempt is as Generation.
	Attempt() func(ctx context.Context, r plan.Read, body map[string]secret.Value) (secret.Secret, error)
	// TokenLease is that of the token we read with; the zero Lease when it has no
	// end, or is not ours to know.
	TokenLease(ctx context.Context) (secret.Lease, error)
	// RenewToken asks for so much more time for it.
	RenewToken(ctx context.Context, increment time.Duration) (secret.Lease, error)
	// RenewLease asks for so much more time for a lease.
	RenewLease(ctx context.Context, id string, increment time.Duration) (secret.Lease, error)
	// Relogin logs in again; the error has [secret.ErrNoRelogin] in its chain when
	// nobody could.
	Relogin(ctx context.Context) error
	// CurrentVersion gives the newest version of a KV version 2 secret, 0 when
	// that is deleted; ok is false when the value has to be read to know.
	CurrentVersion(ctx context.Context, r plan.Read) (version int, ok bool, err error)
	// Drop forgets leases that have ended.
	Drop(ids ...string)
	// RetryAfter is how long the server asked to wait; 0 when it did not.
	RetryAfter(err error) time.Duration
	// Rest closes the connections that nothing is asked over: they have buffers with
	// what was. It may be called at any time; the next request opens one.
	Rest()
}

// Sink is where files go; package volume has the real one.
type Sink interface {
	// Dir is the absolute path of the folder of relative paths; "" when there is none.
	Dir() string
	// Folders are the absolute paths of all folders that have files in them.
	Folders() []string
	// Descriptors are those of the memfds, by the variable for their path.
	Descriptors() map[string]int
	// Check tells whether a file of this path could be delivered.
	Check(path string) error
	// CheckAccess tells whether the mode, owner and group of a file can be given.
	CheckAccess(f plan.File) error
	// Stage writes a file where nobody looks for it yet.
	Stage(f plan.File, content secret.Value) error
	// Commit makes all staged files visible at once.
	Commit() error
	// Delivered lists the files of the last Commit.
	Delivered() []receipt.File
	// Deliver leaves the files to whoever comes after us.
	Deliver() error
	Rotating
	// Shred destroys what was staged or committed. It may be called twice.
	Shred() error
}

// Rotating is what a Sink can do when there is more than one Commit.
type Rotating interface {
	// Inherited reports whether somebody before us delivered what is there.
	Inherited() bool
	// Adopt makes that ours if it is, to the byte, what was staged, which is given
	// up then; false: it is not, and stays until Commit.
	Adopt() (bool, error)
	// Discard gives up what was staged.
	Discard() error
	// Prune unlinks what was replaced before a time.
	Prune(before time.Time) error
	// Retract destroys what was committed; Stage and Commit work afterwards.
	Retract() error
	// SetExpiry tells those who look at the folder how long it is good; the zero
	// time: without an end.
	SetExpiry(at time.Time) error
	// Mend puts back what others need to see that the folder is ours, where somebody
	// took it away.
	Mend() error
}

// Target is the process that the secrets are for; exec.go has it.
type Target interface {
	// Check tells, before anything else is done, whether it can be started.
	Check() error
}

// nothing is the Vault of a plan that reads nothing: no login is needed.
type nothing struct{}

func (nothing) Login(context.Context) error { return nil }
func (nothing) Token() secret.Value         { return secret.Value{} }
func (nothing) Generation() readFunc        { return nil }
func (nothing) HasLeases() bool             { return false }
func (nothing) Close(context.Context) error { return nil }
func (nothing) Attempt() readFunc           { return nil }
func (nothing) Drop(...string)              {}
func (nothing) Rest()                       {}

func (nothing) RetryAfter(error) time.Duration                   { return 0 }
func (nothing) Relogin(context.Context) error                    { return nil }
func (nothing) TokenLease(context.Context) (secret.Lease, error) { return secret.Lease{}, nil }

func (nothing) CurrentVersion(context.Context, plan.Read) (int, bool, error) { return 0, false, nil }

func (nothing) RenewToken(context.Context, time.Duration) (secret.Lease, error) {
	return secret.Lease{}, nil
}

func (nothing) RenewLease(context.Context, string, time.Duration) (secret.Lease, error) {
	return secret.Lease{}, nil
}

func (nothing) Identify(context.Context) {}
func (nothing) Record() (receipt.Server, receipt.Login, []receipt.Read) {
	return receipt.Server{}, receipt.Login{Method: "none"}, nil
}
