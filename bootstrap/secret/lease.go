package secret

import (
	"errors"
	"time"
)

// Lease is how long the server lets something live: a dynamic secret, or a token.
type Lease struct {
	ID        string        // "" for a token
	TTL       time.Duration // from when it was told; 0: no end is known
	Renewable bool
}

// What can have become of what we hold. They are in the chains of problems that
// say more.
var (
	// ErrTokenLost: the token that we read with has expired or was revoked. Only
	// another login helps.
	ErrTokenLost = errors.New("secret: the token is gone")

	// ErrLeaseLost: the lease has expired or was revoked. Only another read helps.
	ErrLeaseLost = errors.New("secret: the lease is gone")

	// ErrNoRelogin: the login cannot be repeated with what was given to us.
	ErrNoRelogin = errors.New("secret: the login cannot be repeated")
)
