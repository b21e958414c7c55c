package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/secret"
)

// answer is one JSON answer of the server, decoded.
type answer struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int64          `json:"lease_duration"` // seconds
	Renewable     bool           `json:"renewable"`
	Data          map[string]any `json:"data"`
	Warnings      []string       `json:"warnings"`
	Auth          *authInfo      `json:"auth"`
	Wrap          *wrapInfo      `json:"wrap_info"`
	MountType     string         `json:"mount_type"`
	Errors        []string       `json:"errors"`

	by *session // whose request it answers; nil: nobody's, or a token's that is not the client's own
}

// lease gives how long the answer's data is good for; 0 when it has no end.
func (a *answer) lease() time.Duration { return seconds(a.LeaseDuration) }

// seconds gives n seconds, at most what a Duration holds, 292 years. Anything
// below zero is as much in the past as -1.
func seconds(n int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Second)
	return time.Duration(max(-1, min(n, most))) * time.Second
}

// wrapInfo is the wrap_info member of an answer that is wrapped.
type wrapInfo struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int64     `json:"ttl"` // seconds
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor"`
}

// authInfo is the auth member of an answer: a token that was made.
type authInfo struct {
	ClientToken      string            `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies"`
	EntityID         string            `json:"entity_id"`
	Metadata         map[string]string `json:"metadata"`
	LeaseDuration    int64             `json:"lease_duration"` // seconds
	Renewable        bool              `json:"renewable"`
	TokenType        string            `json:"token_type"`
	Orphan           bool              `json:"orphan"`
	NumUses          int64             `json:"num_uses"` // 0: as many as one likes
}

// Reasons why bytes are no answer of Vault's.
var (
	errNotUTF8  = errors.New("it is not valid UTF-8")
	errNotJSON  = errors.New("it is not JSON")
	errTrailing = errors.New("something follows the JSON value")
	errTooMany  = errors.New("it has more than 250,000 values")
)

// maxValues bounds the values in an answer: each costs up to a hundred bytes of
// memory, however short it is in JSON.
const maxValues = 250_000

// decode reads one JSON object and nothing else. Numbers keep their text.
// Invalid UTF-8 is refused because encoding/json would replace it silently and
// so change a password.
func decode(body []byte) (*answer, error) {
	if !utf8.Valid(body) || loneSurrogate(body) {
		return nil, errNotUTF8
	}
	if valuesIn(body) > maxValues {
		return nil, errTooMany
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var a *answer
	if err := dec.Decode(&a); err != nil || a == nil {
		return nil, errNotJSON
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errTrailing
	}
	return a, nil
}

// valuesIn counts the values of a JSON text, at least; the name of a member
// counts as one.
func valuesIn(body []byte) (n int) {
	quoted := false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == ':' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}

// loneSurrogate reports whether an escape in the JSON is half of a pair
// (RFC 8259, section 8.2): no UTF-8 can say it, and encoding/json would put a
// replacement character into the value.
func loneSurrogate(body []byte) bool {
	for i := 0; i+1 < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		if i++; body[i] != 'u' {
			continue // an escaped character, a backslash among them
		}
		first := hex4(body[i+1:])
		if first < 0xd800 || first > 0xdfff {
			continue
		}
		rest := body[min(i+5, len(body)):]
		if first > 0xdbff || len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
			return true
		}
		if second := hex4(rest[2:]); second < 0xdc00 || second > 0xdfff {
			return true
		}
		i += 10
	}
	return false
}

// hex4 reads four hexadecimal digits; -1 when they are not there.
func hex4(b []byte) int64 {
	if len(b) < 4 {
		return -1
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return -1
	}
	return int64(n)
}

// secret turns an answer to a read into a Secret.
func (a *answer) secret() secret.Secret {
	s := secret.Secret{
		Data:      secret.NewTree(a.Data),
		RequestID: a.RequestID,
		LeaseID:   a.LeaseID,
		Lease:     a.lease(),
		Renewable: a.Renewable,
		Warnings:  a.Warnings,
		MountType: a.MountType,
	}
	if t := a.Auth; t != nil {
		s.Auth = &secret.Auth{
			ClientToken: secret.New([]byte(t.ClientToken)), Accessor: t.Accessor, Policies: t.Policies,
			TokenPolicies: t.TokenPolicies, IdentityPolicies: t.IdentityPolicies, Metadata: t.Metadata,
			Orphan: t.Orphan, EntityID: t.EntityID, Lease: seconds(t.LeaseDuration), Renewable: t.Renewable,
		}
	}
	if w := a.Wrap; w != nil {
		s.Wrap = &secret.Wrap{
			Token: secret.New([]byte(w.Token)), Accessor: w.Accessor, TTL: seconds(w.TTL),
			CreationTime: w.CreationTime, CreationPath: w.CreationPath, WrappedAccessor: w.WrappedAccessor,
		}
	}
	if meta, ok := kv2Metadata(a.Data); ok {
		s.KV2 = true
		if n, ok := meta["version"].(json.Number); ok {
			v, _ := n.Int64()
			s.Version = int(v)
		}
	}
	return s
}

// kv2Metadata recognises the two levels that only a KV version 2 read has.
func kv2Metadata(data map[string]any) (map[string]any, bool) {
	meta, ok := data["metadata"].(map[string]any)
	if !ok || len(data) != 2 {
		return nil, false
	}
	if _, ok := meta["created_time"]; !ok {
		return nil, false
	}
	inner, ok := data["data"]
	if !ok {
		return nil, false
	}
	_, isMap := inner.(map[string]any)
	return meta, isMap || inner == nil
}
