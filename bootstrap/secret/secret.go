// Package secret holds secret bytes so that they cannot be printed by mistake.
//
// A [Value] keeps its bytes behind a closure, which fmt, log/slog, encoding/json
// and reflection cannot look into; every formatting verb gives [Redacted].
// Reveal, on Value and on [Tree], is the only way out and easy to grep for.
//
// The package depends on the standard library only.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Redacted is what every attempt to print a secret gives.
const Redacted = "[secret]"

// ErrMarshal is returned by every attempt to marshal a secret.
var ErrMarshal = errors.New("secret: refusing to marshal a secret")

// Value is secret bytes. The zero Value is empty. Values cannot be compared.
type Value struct {
	_   [0]func()
	get func() []byte
}

// New makes a Value that owns b: the caller must not use b afterwards.
func New(b []byte) Value { return Value{get: func() []byte { return b }} }

// Reveal gives the bytes themselves, not a copy. Whoever calls it answers for
// where they go.
func (v Value) Reveal() []byte {
	if v.get == nil {
		return nil
	}
	return v.get()
}

// Len gives the number of bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Wipe overwrites the bytes with zeros. Copies that the runtime or a library
// made are out of its reach.
func (v Value) Wipe() { clear(v.Reveal()) }

// Format prints [Redacted] for every verb (fmt.Formatter).
func (v Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// String gives [Redacted].
func (v Value) String() string { return Redacted }

// LogValue gives [Redacted] (slog.LogValuer).
func (v Value) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalJSON always fails with [ErrMarshal].
func (v Value) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalText always fails with [ErrMarshal].
func (v Value) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// Tree is the data of one answer: strings, bools, json.Number (numbers keep
// their text), nil, []any and map[string]any. The zero Tree is empty.
type Tree struct {
	_   [0]func()
	get func() map[string]any
}

// NewTree makes a Tree that owns m.
func NewTree(m map[string]any) Tree { return Tree{get: func() map[string]any { return m }} }

// Reveal gives the map itself, not a copy; nil for the zero Tree.
func (t Tree) Reveal() map[string]any {
	if t.get == nil {
		return nil
	}
	return t.get()
}

// Format prints [Redacted] for every verb (fmt.Formatter).
func (t Tree) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// String gives [Redacted].
func (t Tree) String() string { return Redacted }

// LogValue gives [Redacted] (slog.LogValuer).
func (t Tree) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalJSON always fails with [ErrMarshal].
func (t Tree) MarshalJSON() ([]byte, error) { return nil, ErrMarshal }

// MarshalText always fails with [ErrMarshal].
func (t Tree) MarshalText() ([]byte, error) { return nil, ErrMarshal }

// Secret is one answer of the server: its data, and what may be shown about it.
type Secret struct {
	// Data is the answer's data member as the server sent it. For KV version 2
	// that is {"data": {…}, "metadata": {…}}.
	Data Tree

	KV2       bool // Data has the two levels of KV version 2
	Version   int  // of a KV v2 secret
	RequestID string
	LeaseID   string
	Lease     time.Duration
	Renewable bool
	Warnings  []string
	MountType string // of the engine that answers, such as kv; "" from an old server

	Auth *Auth // what a login or a new token answers with; else nil
	Wrap *Wrap // of an answer that is wrapped; else nil
}

// Auth is the auth member of an answer: a token and what may be shown about it.
type Auth struct {
	ClientToken      Value
	Accessor         string
	Policies         []string
	TokenPolicies    []string
	IdentityPolicies []string
	Metadata         map[string]string
	Orphan           bool
	EntityID         string
	Lease            time.Duration
	Renewable        bool
}

// Wrap is the wrap_info member of an answer: the token that unwraps it.
type Wrap struct {
	Token           Value
	Accessor        string
	TTL             time.Duration
	CreationTime    time.Time
	CreationPath    string
	WrappedAccessor string
}

// Fields gives the secret's own fields: below data for KV version 2.
func (s Secret) Fields() Tree {
	if !s.KV2 {
		return s.Data
	}
	inner, _ := s.Data.Reveal()["data"].(map[string]any)
	return NewTree(inner)
}
