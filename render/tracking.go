package render

import (
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
)

// tracking takes a credential for an MLflow server out of a secret that is written
// as MLflow Secrets Auth wants it: a token, which wins, or username and password.
// White space around each is no part of it. A basic login may stand in the token,
// as user:password.
func tracking(name string, fields map[string]any) (any, *failure) {
	token := trackingText(fields, plan.TrackingToken)
	user, password := trackingText(fields, plan.TrackingUsername), trackingText(fields, plan.TrackingPassword)
	basic := name != plan.TrackingToken
	switch {
	case token != "" && !basic:
		return token, nil
	case token != "":
		var ok bool
		if user, password, ok = strings.Cut(token, ":"); !ok || user == "" || password == "" {
			return nil, badData("a basic login takes the token for user:password, and it is not written so", "write username and password, or set MLFLOW_VAULT_AUTH_MODE=bearer")
		}
	case user == "" || password == "":
		return nil, noTracking(fields)
	case !basic:
		return nil, badData("bearer mode takes a token, and the secret has username and password", "write a token, or set MLFLOW_VAULT_AUTH_MODE=basic")
	}
	switch name {
	case plan.TrackingUsername:
		return user, nil
	case plan.TrackingPassword:
		return password, nil
	}
	return nil, unsupported("an MLflow login has no part of this name")
}

// trackingText gives a field that is text; "" for every other.
func trackingText(fields map[string]any, name string) string {
	text, _ := fields[name].(string)
	return strings.TrimSpace(text)
}

// noTracking says what keeps a secret from being a login.
func noTracking(fields map[string]any) *failure {
	for _, name := range []string{plan.TrackingToken, plan.TrackingUsername, plan.TrackingPassword} {
		switch v := fields[name].(type) {
		case nil, string:
		default:
			return badData("the field "+name+" must be text, and is "+kind(v), "")
		}
	}
	return missing("the secret has neither a token nor both username and password", "write one of the two; an empty text is none")
}
