package bootstrap

import (
	"context"
	"errors"
	"log/slog"

	"github.com/secretboot/secretboot/bootstrap/secret"
)

// Variable is one variable for the target's environment.
type Variable struct {
	Name  string
	Value secret.Value
}

// Held is what a good run leaves behind: files, a token, variables. It has one
// owner, who calls Close or Release on every path.
type Held struct {
	Env []Variable

	job        *Job
	vault      Vault
	sink       Sink
	log        *slog.Logger
	token      bool        // our token was delivered
	generation *generation // what was delivered, and what it was made of
	takenOver  bool        // it has replaced what somebody before us delivered
}

// Dir is the folder of files with relative paths; "" when there are none.
func (h *Held) Dir() string {
	if h.sink == nil {
		return ""
	}
	return h.sink.Dir()
}

// Folders lists the folders that the files are in, which may be more than one.
func (h *Held) Folders() []string {
	if h.sink == nil {
		return nil
	}
	return h.sink.Folders()
}

// Descriptors are those of the memfds, by the variable for their path.
func (h *Held) Descriptors() map[string]int {
	if h.sink == nil {
		return nil
	}
	return h.sink.Descriptors()
}

// NeedsCare reports whether something has to be done when the target ends:
// files to be shredded, leases or a token that was delivered to be revoked. A
// memfd ends with its last holder.
func (h *Held) NeedsCare() bool { return len(h.Folders()) > 0 || h.vault.HasLeases() || h.token }

// Expire shreds the files while the target still runs; the token, the variables and
// what a target holds of a memfd stay. It may be called while others call Close,
// which tries again what could not be shredded.
func (h *Held) Expire() error {
	if h.sink == nil {
		return nil
	}
	return h.sink.Shred()
}

// Rest closes the connections to the server that nothing is asked over. It may be
// called at any time, also while Keep runs.
func (h *Held) Rest() { h.vault.Rest() }

// Release leaves the files to those who come after us. The token is revoked
// unless a lease hangs on it or it was delivered itself: what was just delivered
// would stop working. After it Close may still be called, and then revokes it.
func (h *Held) Release(ctx context.Context) error {
	if h.sink != nil {
		if err := h.sink.Deliver(); err != nil {
			return errors.Join(err, h.Close(ctx))
		}
	}
	switch {
	case h.token:
		h.log.Info("the token is kept, because it was delivered")
		return nil
	case h.vault.HasLeases():
		h.log.Info("the token is kept, because leases hang on it")
		return nil
	}
	h.revoke(ctx)
	return nil
}

// Close shreds the files, then revokes what we own. It may be called twice. A
// token that could not be revoked is a warning: it ends by itself.
func (h *Held) Close(ctx context.Context) error {
	h.generation.wipe(nil)
	for _, v := range h.Env {
		v.Value.Wipe()
	}
	var err error
	if h.sink != nil {
		if err = h.sink.Shred(); err != nil {
			err = h.sink.Shred() // what was in the way may have passed
		}
	}
	h.revoke(ctx)
	return err
}

func (h *Held) revoke(ctx context.Context) {
	if err := h.vault.Close(ctx); err != nil {
		h.log.Warn("the token was not revoked", slog.String("problem", err.Error()))
	}
}
