package main

import (
	"slices"
	"testing"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
)

// TestUserVariables: HOME, USER and LOGNAME are those of the command's user, also
// where little is inherited; what is declared wins.
func TestUserVariables(t *testing.T) {
	inherited := []string{"HOME=/root", "USER=root", "LOGNAME=root", "A=1"}
	for _, c := range []struct {
		name     string
		user     *process.User
		pristine bool
		declared []string
		want     []string
	}{
		{"nobody else", nil, false, nil, []string{"HOME=/root", "USER=root", "LOGNAME=root", "A=1", "SECRETBOOT_DIR=/run/secrets"}},
		{"named", &process.User{UID: 5, GID: 5, Name: "app", Home: "/app"}, false, nil, []string{"HOME=/app", "USER=app", "LOGNAME=app", "A=1", "SECRETBOOT_DIR=/run/secrets"}},
		{"a number", &process.User{UID: 5, GID: 5}, false, nil, []string{"HOME=/", "A=1", "SECRETBOOT_DIR=/run/secrets"}},
		{"declared", &process.User{UID: 5, GID: 5}, false, []string{"USER=db"}, []string{"HOME=/", "A=1", "SECRETBOOT_DIR=/run/secrets", "USER=db"}},
		{"pristine", &process.User{UID: 5, GID: 5, Name: "app", Home: "/app"}, true, nil, []string{"SECRETBOOT_DIR=/run/secrets", "HOME=/app", "USER=app", "LOGNAME=app"}},
	} {
		run := plan.Run{Command: []string{"x"}, Pristine: plan.Set(c.pristine, plan.Origin{})}
		tg := &target{run: run, environ: inherited, privileges: process.Privileges{User: c.user}}
		if env, err := tg.environment(heldWith(t, true, c.declared...)); err != nil || !slices.Equal(env, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, env, err, c.want)
		}
	}
}
