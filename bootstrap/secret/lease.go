package secret

import "time"

// Lease is how long a token, or what was read with one, is believed.
type Lease struct {
	ID        string        // "" for a token
	TTL       time.Duration // from when it was told; 0: it has no end
	Renewable bool
}
