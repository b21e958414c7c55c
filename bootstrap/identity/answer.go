package identity

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// ask calls and reads the answer, one JSON object, into what.
func (c call) ask(ctx context.Context, into any) error {
	body, err := c.do(ctx)
	if err != nil {
		return err
	}
	defer clear(body)
	return c.decode(body, into)
}

// decode reads an answer of one JSON object into what. What encoding/json says
// about a bad one may hold a piece of it, so it is not repeated.
func (c call) decode(body []byte, into any) error {
	switch {
	case !utf8.Valid(body):
		return c.foreign("is not UTF-8").problem(c, "")
	case bytes.TrimSpace(body)[0] != '{' || json.Unmarshal(body, into) != nil:
		return c.foreign("is not the JSON object that was expected").problem(c, "")
	}
	return nil
}

// jwt gives a token of an answer as the member that a login takes.
func (c call) jwt(token string) (secret.Value, error) {
	if token == "" {
		return secret.Value{}, c.foreign("holds no token").problem(c, "")
	}
	if _, ok := claimsOf([]byte(token)); !ok {
		return secret.Value{}, c.foreign("holds no JSON Web Token").problem(c, "")
	}
	return secret.New([]byte(token)), nil
}

// claims are what may be read out of a token without knowing that it is
// genuine, and shown: when it ends, who made it, and for whom.
type claims struct {
	Issuer   string      `json:"iss"`
	Subject  string      `json:"sub"`
	Audience audience    `json:"aud"`
	Expires  json.Number `json:"exp"`
}

// audience is one text or a list of them (RFC 7519, 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*a = audience{one}
		return nil
	}
	var many []string
	err := json.Unmarshal(text, &many)
	*a = many
	return err
}

// claimsOf takes a signed token apart (RFC 7515, 7.1: three parts of base64url
// without padding). The signature is Vault's to verify.
func claimsOf(jwt []byte) (claims, bool) {
	parts := strings.Split(string(jwt), ".")
	if len(parts) != 3 || parts[2] == "" || !isBase64(parts[2]) {
		return claims{}, false
	}
	var header struct{}
	var c claims
	return c, isObject(parts[0], &header) && isObject(parts[1], &c)
}

func isBase64(s string) bool {
	_, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil
}

func isObject(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && bytes.HasPrefix(text, []byte("{")) && utf8.Valid(text) && json.Unmarshal(text, into) == nil
}

// ExpiresAt gives the time of a token's exp claim (RFC 7519, 4.1.4), for
// messages such as "the service account's token expired at …". It is false when
// jwt is no JSON Web Token or names no such time. Nothing is verified, so no
// decision may hang on it.
func ExpiresAt(jwt []byte) (time.Time, bool) {
	c, ok := claimsOf(bytes.TrimSpace(jwt))
	if !ok {
		return time.Time{}, false
	}
	seconds, err := c.Expires.Float64() // RFC 7519 allows a fraction
	if err != nil || seconds <= 0 || seconds > maxNumericDate {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}

// maxNumericDate is the last second of the year 9999: a later one cannot be
// written as RFC 3339.
const maxNumericDate = 253402300799

// Claims are what a token says of itself (RFC 7519, 4.1.1 to 4.1.3). A Vault
// role is bound to them, and none is secret.
type Claims struct {
	Issuer   string
	Subject  string
	Audience []string
}

// ClaimsOf gives a token's claims for messages about a login that was refused.
// It is false when jwt is no JSON Web Token. Nothing is verified, so no decision
// may hang on it.
func ClaimsOf(jwt []byte) (Claims, bool) {
	c, ok := claimsOf(bytes.TrimSpace(jwt))
	return Claims{Issuer: c.Issuer, Subject: c.Subject, Audience: c.Audience}, ok
}

// header checks that a credential can be sent in a header. What it is about is
// named, the credential never.
func header(what, fix string, v secret.Value) error {
	why := ""
	if v.Len() == 0 {
		why = "not given"
	}
	for _, b := range v.Reveal() {
		if b <= 0x20 || b >= 0x7f {
			why = "has a space, a line break or another unprintable character in it"
		}
	}
	if why == "" {
		return nil
	}
	return &plan.Problem{Code: plan.CodeConfig, What: what, Why: why, Fix: fix}
}
