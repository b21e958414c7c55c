package render_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/render"
)

func TestTracking(t *testing.T) {
	const (
		noToken  = "bearer mode takes a token, and the secret has username and password"
		notBasic = "a basic login takes the token for user:password, and it is not written so"
		neither  = "the secret has neither a token nor both username and password"
	)
	for _, tt := range []struct {
		name                   string
		fields                 map[string]any
		token, user, password  string // or what is wrong
		code, userCode, pwCode plan.Code
	}{
		{name: "token", fields: map[string]any{"token": " CANARY\n"}, token: "CANARY", user: notBasic, password: notBasic, userCode: plan.CodeData, pwCode: plan.CodeData},
		{name: "pair in the token", fields: map[string]any{"token": "u:p:w"}, token: "u:p:w", user: "u", password: "p:w"},
		{name: "pair", fields: map[string]any{"username": " u ", "password": "\tp:w"}, token: noToken, code: plan.CodeData, user: "u", password: "p:w"},
		{name: "token wins", fields: map[string]any{"token": "a:b", "username": "u", "password": "p"}, token: "a:b", user: "a", password: "b"},
		{name: "empty token", fields: map[string]any{"token": " ", "username": "u", "password": "p"}, token: noToken, code: plan.CodeData, user: "u", password: "p"},
		{name: "token of another kind", fields: map[string]any{"token": json.Number("1"), "username": "u", "password": "p"}, token: noToken, code: plan.CodeData, user: "u", password: "p"},
		{name: "half a pair", fields: map[string]any{"username": "CANARY"}, token: neither, user: neither, password: neither, code: plan.CodeMissing, userCode: plan.CodeMissing, pwCode: plan.CodeMissing},
		{name: "empty password", fields: map[string]any{"username": "CANARY", "password": " "}, token: neither, user: neither, password: neither, code: plan.CodeMissing, userCode: plan.CodeMissing, pwCode: plan.CodeMissing},
		{name: "no user in the token", fields: map[string]any{"token": ":CANARY"}, token: ":CANARY", user: notBasic, password: notBasic, userCode: plan.CodeData, pwCode: plan.CodeData},
		{name: "no password in the token", fields: map[string]any{"token": "CANARY:"}, token: "CANARY:", user: notBasic, password: notBasic, userCode: plan.CodeData, pwCode: plan.CodeData},
		{name: "number", fields: map[string]any{"token": json.Number("123")}, token: "the field token must be text, and is a number", user: "the field token must be text", password: "the field token must be text", code: plan.CodeData, userCode: plan.CodeData, pwCode: plan.CodeData},
		{name: "map", fields: map[string]any{"username": "u", "password": map[string]any{"CANARY": "x"}}, token: "the field password must be text, and is a map", user: "the field password must be text", password: "the field password must be text", code: plan.CodeData, userCode: plan.CodeData, pwCode: plan.CodeData},
		{name: "null", fields: map[string]any{"token": nil}, token: neither, user: neither, password: neither, code: plan.CodeMissing, userCode: plan.CodeMissing, pwCode: plan.CodeMissing},
		{name: "nothing", fields: nil, token: neither, user: neither, password: neither, code: plan.CodeMissing, userCode: plan.CodeMissing, pwCode: plan.CodeMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkTracking(t, tt.fields, plan.TrackingToken, tt.token, tt.code)
			checkTracking(t, tt.fields, plan.TrackingUsername, tt.user, tt.userCode)
			checkTracking(t, tt.fields, plan.TrackingPassword, tt.password, tt.pwCode)
		})
	}
	checkTracking(t, map[string]any{"token": "a:b"}, "other", "an MLflow login has no part of this name", plan.CodeConfig)
}

// checkTracking takes one part out of a secret; code is 0 where want is its text.
func checkTracking(t *testing.T, fields map[string]any, part, want string, code plan.Code) {
	t.Helper()
	ref := plan.Ref{Read: plan.Read{Path: "secret/mlflow"}, Field: part, Select: plan.SelectTracking}
	got, err := render.Reference(t.Context(), ref, secret.Secret{Data: secret.NewTree(fields)}, render.Means{}, plan.Origin{At: "X"})
	if code == 0 {
		if err != nil || string(got.Reveal()) != want {
			t.Errorf("%s: %q, %v; want %q", part, got.Reveal(), err, want)
		}
		return
	}
	if err == nil || plan.CodeOf(err) != code || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%s: %v; want %q with code %d", part, err, want, code)
	}
}
