package vault

import (
	"bytes"
	"cmp"
	"context"
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

// unwrapSecretID gives the secret id, and whether it is good for a limited
// number of logins.
func (c *Client) unwrapSecretID(ctx context.Context, w wrapping) (id secret.Value, limited bool, err error) {
	ans, err := c.unwrap(ctx, w)
	if err != nil {
		return id, false, err
	}
	text, ok := ans.Data["secret_id"].(string)
	if !ok || text == "" {
		return id, false, w.problem(plan.CodeProtocol, "it held no secret id", "wrap the answer of auth/approle/role/…/secret-id")
	}
	uses, _ := ans.Data["secret_id_num_uses"].(json.Number)
	return secret.New([]byte(text)), uses.String() != "0", nil
}
