package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
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
	Errors        []string       `json:"errors"`
}

// authInfo is the auth member of a login's answer.
type authInfo struct {
	ClientToken   string   `json:"client_token"`
	Accessor      string   `json:"accessor"`
	Policies      []string `json:"policies"`
	LeaseDuration int64    `json:"lease_duration"` // seconds
	Renewable     bool     `json:"renewable"`
	TokenType     string   `json:"token_type"`
}

// Reasons why bytes are no answer of Vault's.
var (
	errNotUTF8  = errors.New("it is not valid UTF-8")
	errNotJSON  = errors.New("it is not JSON")
	errTrailing = errors.New("something follows the JSON value")
)

// decode reads one JSON object and nothing else. Numbers keep their text.
// Invalid UTF-8 is refused because encoding/json would replace it silently and
// so change a password.
func decode(body []byte) (*answer, error) {
	if !utf8.Valid(body) {
		return nil, errNotUTF8
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

// secret turns an answer to a read into a Secret.
func (a *answer) secret() secret.Secret {
	s := secret.Secret{
		Data:      secret.NewTree(a.Data),
		RequestID: a.RequestID,
		LeaseID:   a.LeaseID,
		Lease:     time.Duration(a.LeaseDuration) * time.Second,
		Renewable: a.Renewable,
		Warnings:  a.Warnings,
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
