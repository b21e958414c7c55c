// Package receipt is the record of one bootstrap for those who audit it: who
// we were to Vault, what was read and under which request id, which leases hang
// on it, and which files came of it. It holds no value, and neither a token nor
// the name of a field.
//
// The request ids are those of Vault's audit log
// (https://developer.hashicorp.com/vault/docs/audit), so each line can be found
// there again. The package depends on the standard library only.
package receipt

import (
	"encoding/json"
	"time"
)

// Version is the version of the format.
const Version = 1

// Outcomes.
const (
	Delivered = "delivered" // everything is where it was declared
	Failed    = "failed"    // nothing is there, and what we owned is revoked
	Ended     = "ended"     // the command ended, and what we owned is shredded and revoked
)

// Receipt is one bootstrap. Times are UTC, in RFC 3339 with milliseconds.
type Receipt struct {
	Version   int       `json:"version"`
	Program   string    `json:"program"` // our name and version
	Started   Time      `json:"started"`
	Written   Time      `json:"written"`
	Outcome   string    `json:"outcome"`
	Code      int       `json:"code"` // the exit code of a failure, or the command's
	Server    Server    `json:"server"`
	Login     Login     `json:"login"`
	Reads     []Read    `json:"reads"`
	Files     []File    `json:"files"`
	Variables []string  `json:"variables"` // names
	Problems  []Problem `json:"problems"`
}

// Server is what was asked.
type Server struct {
	Address     string `json:"address"`
	Namespace   string `json:"namespace,omitempty"`
	Correlation string `json:"correlation_id,omitempty"` // in Vault's audit log with every request of this run
}

// Login is who we were.
type Login struct {
	Method      string   `json:"method"`
	Mount       string   `json:"mount,omitempty"`
	Role        string   `json:"role,omitempty"`
	Namespace   string   `json:"namespace,omitempty"`
	RequestID   string   `json:"request_id,omitempty"`
	DisplayName string   `json:"display_name,omitempty"`
	EntityID    string   `json:"entity_id,omitempty"`
	Accessor    string   `json:"accessor,omitempty"`
	Policies    []string `json:"policies,omitempty"`
	TokenType   string   `json:"token_type,omitempty"`
	Expires     Time     `json:"expires,omitzero"` // absent: never, or not known
	Revoked     bool     `json:"revoked"`
	NotRevoked  string   `json:"not_revoked,omitempty"` // why it could not be

	// Metadata is what the auth method says of us, such as the role's name.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Read is one answer, or the failure to get one.
type Read struct {
	Path      string `json:"path"` // as it was asked for
	Operation string `json:"operation"`
	RequestID string `json:"request_id,omitempty"`
	Version   int    `json:"version,omitempty"` // of a KV version 2 secret
	LeaseID   string `json:"lease_id,omitempty"`
	Renewable bool   `json:"renewable,omitempty"`
	Expires   Time   `json:"expires,omitzero"`
	Revoked   bool   `json:"revoked,omitempty"` // its lease
	Code      int    `json:"code,omitempty"`    // of a failure; such an answer has no id
}

// File is one delivered file.
type File struct {
	Path string `json:"path"` // absolute
	Mode string `json:"mode"` // four octal digits
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
}

// Problem is one reason of a failure.
type Problem struct {
	Code int    `json:"code"`
	Text string `json:"text"` // the line that was printed
}

// Time is an instant. The zero Time is none.
type Time struct{ time.Time }

// At gives t as it is written.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// After gives the instant d after t; none when d is not positive.
func After(t time.Time, d time.Duration) Time {
	if d <= 0 {
		return Time{}
	}
	return At(t.Add(d))
}

// JSON gives the receipt as indented JSON with a line break at its end. Lists
// that are empty are written as such.
func (r Receipt) JSON() ([]byte, error) {
	r.Version = Version
	r.Reads, r.Files = list(r.Reads), list(r.Files)
	r.Variables, r.Problems = list(r.Variables), list(r.Problems)
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
