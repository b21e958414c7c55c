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
	ErrLeaseLost = errors.New("secret: the lease has ended")
	ErrTokenLost = errors.New("secret: the token has ended")
	ErrNoRelogin = errors.New("secret: this login cannot be repeated")
)
