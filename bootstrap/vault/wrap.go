package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// wrapping is a response-wrapping token that holds an input of the login
// (https://developer.hashicorp.com/vault/docs/concepts/response-wrapping).
type wrapping struct {
	token   secret.Value
	what    string // it holds
	origin  plan.Origin
	setting string   // the name of what declares it
	expect  string   // the creation path that was declared; "" is none
	usual   []string // creation paths that are right when none was declared; + is one element
}

func (w wrapping) problem(code plan.Code, why, fix string) error {
	return &plan.Problem{Code: code, Origin: w.origin, What: "wrapped " + w.what, Why: why, Fix: fix}
}

// intercepted is the alarm: only one can unwrap, and it was not us.
func (w wrapping) intercepted(why string) error {
	return w.problem(plan.CodeUnwrapped, why+": possible interception",
		"find in Vault's audit log who used sys/wrapping/unwrap, revoke what it held, and wrap a new one")
}

// unwrap gives what the token holds: it is looked up first, the path that made
// it is checked, and only then is it unwrapped, once. One that was used
// before, or that has another creation path, is plan.CodeUnwrapped.
func (c *Client) unwrap(ctx context.Context, w wrapping) (*answer, error) {
	token := secret.New(wrappingToken(w.token.Reveal()))
	if !sendable(token.Reveal()) || token.Len() == 0 {
		return nil, w.problem(plan.CodeConfig, "the wrapping token has a space, a line break or another unprintable character in it", "give the token alone")
	}
	ans, err := c.do(ctx, request{
		method: http.MethodPut, path: "sys/wrapping/lookup", body: texts(map[string]secret.Value{"token": token}), token: nobody(), login: true,
	})
	if err != nil {
		return nil, w.failed(err)
	}
	path, _ := ans.Data["creation_path"].(string)
	if !w.rightPath(path, c.loginAs) {
		return nil, w.problem(plan.CodeUnwrapped, "it was made by "+cmp.Or(word(path), "another path")+" and not by "+w.wanted()+": possible interception",
			"wrap the answer of that path, or, if the first is right, say so with "+w.setting)
	}
	// The token is sent as the one who asks, and nowhere else: in the body as
	// well, it would be used up by the first of the two.
	ans, err = c.do(ctx, request{method: http.MethodPut, path: "sys/wrapping/unwrap", token: &token, login: true, once: true, linger: true})
	if err != nil {
		return nil, w.failed(err)
	}
	return ans, nil
}

// wrappingToken takes the token out of the JSON that Vault and its agent write
// for a wrapped answer; any other text is the token itself.
func wrappingToken(text []byte) []byte {
	text = bytes.TrimSpace(text)
	var found struct {
		Token    string `json:"token"`
		WrapInfo struct {
			Token string `json:"token"`
		} `json:"wrap_info"`
	}
	if len(text) == 0 || text[0] != '{' || json.Unmarshal(text, &found) != nil {
		return bytes.Clone(text)
	}
	return []byte(found.Token + found.WrapInfo.Token)
}

func (w wrapping) wanted() string {
	if w.expect != "" {
		return w.expect
	}
	return strings.Join(w.usual, " or ")
}

// rightPath reports whether the wrapping was made where it should have been.
// Vault puts the namespace before the path for those who look from above it.
func (w wrapping) rightPath(path, namespace string) bool {
	path = strings.Trim(path, "/")
	if namespace != "" {
		path = strings.TrimPrefix(path, namespace+"/")
	}
	if w.expect != "" {
		return path == strings.Trim(w.expect, "/")
	}
	for _, pattern := range w.usual {
		if matches(strings.Split(pattern, "/"), strings.Split(path, "/")) {
			return true
		}
	}
	return false
}

// matches compares element by element; a + in the pattern is any one. A mount
// may have slashes in it, so the pattern is split after it was made.
func matches(pattern, path []string) bool {
	if len(pattern) != len(path) {
		return false
	}
	for i, elem := range pattern {
		if elem != path[i] && (elem != "+" || path[i] == "") {
			return false
		}
	}
	return true
}

// failed tells a token that is not there any more from any other failure.
func (w wrapping) failed(err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	gone := f.status == http.StatusForbidden || f.status == http.StatusBadRequest &&
		(f.says("wrapping token is not valid or does not exist") || f.says("bad token"))
	if gone && f.code != plan.CodeProtocol {
		return w.intercepted("it was unwrapped before, or has expired")
	}
	var p *plan.Problem
	if errors.As(err, &p) {
		return plan.At(p, w.origin)
	}
	return err
}

// unwrapped is a secret id that was wrapped.
type unwrapped struct {
	id      secret.Value
	from    []byte // the digest of what it was wrapped in
	limited bool   // it is good for so many logins only
	left    int64  // how many those still are
}

// unwrap makes the secret id known: the one that was unwrapped already, or that
// of another wrapping token, which its file may hold by now. One that is used up
// is ErrNoRelogin.
func (p *postLogin) unwrap(ctx context.Context, c *Client) error {
	w := *p.wrapped
	w.token = p.secretID.fresh()
	digest := sha256.Sum256(w.token.Reveal())
	if k := p.kept; k != nil && bytes.Equal(k.from, digest[:]) {
		if k.limited && k.left <= 0 {
			return noRelogin(p.from, "the wrapped secret id has no use left", "wrap one that is good for more logins, or for any number, or put a new one into its file")
		}
		return nil
	}
	id, err := c.unwrapSecretID(ctx, w)
	if err != nil {
		return err
	}
	id.from = digest[:]
	p.kept = id
	p.done()
	return nil
}

// spent reports whether a refusal of a further login stays one: the secret id
// is what was refused, and no file may hold another one later.
func (p *postLogin) spent(f *fault) bool {
	if p.made == 0 || p.secretID == nil || p.secretID.handle.Kind == plan.HandleFile {
		return false
	}
	return f.says("invalid role or secret ID") || f.says("invalid secret id") || f.says("failed to validate")
}

// unwrapSecretID gives the secret id, and how many logins it is good for: one
// where the server does not say.
func (c *Client) unwrapSecretID(ctx context.Context, w wrapping) (*unwrapped, error) {
	ans, err := c.unwrap(ctx, w)
	if err != nil {
		return nil, err
	}
	text, ok := ans.Data["secret_id"].(string)
	if !ok || text == "" {
		return nil, w.problem(plan.CodeProtocol, "it held no secret id", "wrap the answer of auth/approle/role/…/secret-id")
	}
	number, _ := ans.Data["secret_id_num_uses"].(json.Number)
	uses, err := number.Int64()
	if err != nil {
		uses = 1
	}
	return &unwrapped{id: secret.New([]byte(text)), limited: uses != 0, left: uses}, nil
}
