package declare_test

import (
	"strings"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

func TestAuthFlag(t *testing.T) {
	in := declare.Input{Cwd: "/work"}
	var l plan.Login
	for _, arg := range []string{
		"jwt_file=jwt", "role_id_env=ROLE", "credentials_file=/key.json", "token_wrapped_env=W", "audience=a=b", "namespace=root", "type=iam",
		"remove_secret_id_file=true", "sts_endpoint=http://127.0.0.1:1",
	} {
		if err := declare.ParseAuthFlag(in, arg, plan.Origin{At: "--auth"}, &l); err != nil {
			t.Errorf("%s: %v", arg, err)
		}
	}
	want := `Login.Namespace = "root" @ --auth: namespace
Login.Inputs[credentials].Kind = 0x2
Login.Inputs[credentials].Name = "/key.json"
Login.Inputs[credentials].Origin = --auth: credentials_file
Login.Inputs[jwt].Kind = 0x2
Login.Inputs[jwt].Name = "/work/jwt"
Login.Inputs[jwt].Origin = --auth: jwt_file
Login.Inputs[role_id].Kind = 0x1
Login.Inputs[role_id].Name = "ROLE"
Login.Inputs[role_id].Origin = --auth: role_id_env
Login.Inputs[token_wrapped].Kind = 0x1
Login.Inputs[token_wrapped].Name = "W"
Login.Inputs[token_wrapped].Origin = --auth: token_wrapped_env
Login.Params[audience] = "a=b" @ --auth: audience
Login.Params[remove_secret_id_file] = "true" @ --auth: remove_secret_id_file
Login.Params[sts_endpoint] = "http://127.0.0.1:1" @ --auth: sts_endpoint
Login.Params[type] = "iam" @ --auth: type
`
	if got := dump(plan.Plan{Login: l}); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestAuthFlagRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"CANARY", "the value of --auth: it must be KEY=VALUE, such as jwt_file=/run/jwt (declared at --auth)"},
		{"=CANARY", "the value of --auth: it must be KEY=VALUE, such as jwt_file=/run/jwt (declared at --auth)"},
		{"hvs.CANARY=", "the value of --auth: it must be KEY=VALUE, such as jwt_file=/run/jwt (declared at --auth)"},
		{"Q0FOQVJZ==", "the value of --auth: it must be KEY=VALUE, such as jwt_file=/run/jwt (declared at --auth)"},
		{"jwt_file=", "the value of --auth: it must be KEY=VALUE, such as jwt_file=/run/jwt (declared at --auth)"},
		{
			"secret_id=CANARY",
			"the value of --auth: an input is given by its place here, not as text: others can read a command line (declared at --auth: secret_id); " +
				"use secret_id_file=PATH or secret_id_env=NAME",
		},
		{"method=jwt", "the value of --auth: it has an option of its own (declared at --auth: method); use --auth-method"},
		{"role=app", "the value of --auth: it has an option of its own (declared at --auth: role); use --auth-role"},
		{"jwt_fiel=CANARY", `the value of --auth: the key is unknown (declared at --auth: jwt_fiel); did you mean "jwt_file"?`},
		{"type=CANARY", "the value of --auth: it must be one of gce, iam (declared at --auth: type)"},
		{"remove_secret_id_file=CANARY", "the value of --auth: it must be one of true, false (declared at --auth: remove_secret_id_file)"},
		{"jwt_file=a jwt_env=B", "the value of --auth: the same input is given at --auth: jwt_file (declared at --auth: jwt_env); keep one of the two"},
		{"region=a region=a", "the value of --auth: it is given more than once (declared at --auth: region); keep one of the two"},
		{"namespace=a namespace=b", "the value of --auth: it is given more than once (declared at --auth: namespace); keep one of the two"},
	} {
		var l plan.Login
		var err error
		for arg := range strings.FieldsSeq(tt.args) {
			err = declare.ParseAuthFlag(declare.Input{}, arg, plan.Origin{At: "--auth"}, &l)
		}
		if err == nil || err.Error() != tt.want || plan.CodeOf(err) != plan.CodeUsage {
			t.Errorf("%s: %v\nwant %s", tt.args, err, tt.want)
		}
	}
}
