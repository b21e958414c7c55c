package render

import (
	"crypto/rand"
	"errors"
	"maps"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
)

// TestVariables: what is written is read back as it was.
func TestVariables(t *testing.T) {
	want := map[string]string{"B": "one\ntwo", "A": "x=y<<EOF", "EMPTY": ""}
	values := map[string]secret.Value{}
	for name, text := range want {
		values[name] = secret.New([]byte(text))
	}
	text, err := Variables(plan.FormatDotenv, values, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readDotenv(text.Reveal())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestVariablesRefused: each name and value that cannot be is told, without the value.
func TestVariablesRefused(t *testing.T) {
	values := map[string]secret.Value{"RUNNER_A": {}, "A": secret.New([]byte("CANARY\x00")), "OK": {}}
	_, err := Variables(plan.FormatGitHubEnv, values, rand.Reader)
	var ps plan.Problems
	if !errors.As(err, &ps) || len(ps) != 2 || plan.CodeOf(err) != plan.CodeData {
		t.Fatalf("%v", err)
	}
	const want = "variables: github-env cannot carry the value of A: it has a NUL byte; leave it out of them, and deliver it as a file"
	if ps[0].Error() != want {
		t.Errorf("%s", ps[0].Error())
	}
	if _, err := Variables(plan.FormatJSON, values, rand.Reader); plan.CodeOf(err) != plan.CodeBug {
		t.Errorf("%v", err)
	}
}
