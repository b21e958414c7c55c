package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/vault"
)

// login logs in as a run would, unless that uses something up, and asks who we
// are then.
func (e *exam) login(ctx context.Context) {
	dev := e.order.Plan.Vault.Dev.IsSet
	switch {
	case !dev && e.order.NoLogin:
		e.stranger("--no-login was given")
		return
	case !dev && e.server == nil:
		e.stranger(e.unserved)
		return
	}
	session, err := e.world.Session()
	if err != nil {
		e.asNobody = "the login cannot be made"
		e.fail(stepLogin, "", err)
		return
	}
	examiner, ok := session.(Examiner)
	if !ok {
		e.session, e.read = session, session.Generation()
		e.skip(stepLogin, "", "a local file stands in for Vault")
		return
	}
	if uses := examiner.UsesUp(); uses != "" && !e.order.UseUp {
		e.asNobody = "no login: it would use up " + uses
		e.add(Finding{Step: stepLogin, Status: Skipped, Detail: "it would use up " + uses, Fix: "to log in all the same: --use-up"})
		return
	}
	e.opened = session
	if err := session.Login(ctx); err != nil {
		e.asNobody = "no login"
		e.fail(stepLogin, "", err)
		return
	}
	e.session, e.examiner, e.read = session, examiner, session.Generation()
	e.whoami(ctx)
}

// stranger skips the login.
func (e *exam) stranger(why string) {
	e.asNobody = "no login"
	e.skip(stepLogin, "", why)
}

// whoami tells who we are, and stops before a given token is used up.
func (e *exam) whoami(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	id, err := e.examiner.Whoami(ctx)
	if err != nil && plan.CodeOf(err) != plan.CodeDenied {
		e.session, e.asNobody = nil, "no login"
		e.fail(stepLogin, "", err)
		return
	}
	if err != nil {
		e.unknownToken(err)
		return
	}
	said := who(id)
	switch {
	case id.Given && id.Uses > 0 && !e.order.UseUp:
		e.session, e.asNobody = nil, "the token is good for a limited number of requests"
		e.add(Finding{
			Step: stepLogin, Status: Skipped, Detail: "to go on would use up the token: it is good for " + plural(int(id.Uses), "further request", "further requests") + "; " + said,
			Fix: "to go on all the same: --use-up",
		})
	case slices.Contains(id.Policies, "root"):
		e.warn(stepLogin, "", said+": a root token may do everything", "log in with a role that has only the policy it needs, see secretboot plan")
	case id.TTL > 0 && id.TTL < time.Minute:
		e.warn(stepLogin, "", said, "the token ends very soon: get a new one, or raise its TTL")
	default:
		e.ok(stepLogin, "", said)
	}
}

// unknownToken is for a token that may not look itself up: its policies lack
// even what the policy `default` allows, or it is not valid at all.
func (e *exam) unknownToken(err error) {
	if vault.TokenRefused(err) {
		e.session, e.asNobody = nil, "no login"
		e.fail(stepLogin, "", err)
		return
	}
	_, login, _ := e.session.Record()
	said := "method " + login.Method
	if login.Accessor != "" {
		said += "; policies " + strings.Join(login.Policies, ", ") + "; accessor " + login.Accessor
	}
	e.ok(stepLogin, "", said+"; the token may not look itself up")
}

// who describes an identity. An accessor is no token: it can do nothing but name
// one to those who may act on it.
func who(id vault.Identity) string {
	name := id.DisplayName
	if name == "" {
		name = "a token without a name"
	}
	parts := []string{name, "policies " + strings.Join(id.Policies, ", ")}
	if id.TTL > 0 {
		parts = append(parts, "TTL "+span(id.TTL))
	} else {
		parts = append(parts, "without an end")
	}
	if id.Uses > 0 {
		parts = append(parts, "good for "+plural(int(id.Uses), "further request", "further requests"))
	}
	if id.Type != "" {
		parts = append(parts, "type "+id.Type)
	}
	if id.Accessor != "" {
		parts = append(parts, "accessor "+id.Accessor)
	}
	return strings.Join(parts, "; ")
}

// cleanUp ends the session: a token that we got is revoked, one that was given
// to us stays.
func (e *exam) cleanUp(ctx context.Context) {
	for _, v := range e.kept {
		v.Wipe()
	}
	if e.opened == nil {
		e.skip(stepCleanUp, "", "there is nothing to clean up")
		return
	}
	if err := e.opened.Close(ctx); err != nil {
		var ps plan.Problems
		ps.Add(err)
		e.warn(stepCleanUp, "", ps[0].Error(), "")
		return
	}
	_, login, _ := e.opened.Record()
	switch {
	case login.Revoked:
		e.ok(stepCleanUp, "", "the token that we got is revoked")
	case login.TokenType == "batch":
		e.ok(stepCleanUp, "", "the token is a batch token, which ends by itself")
	case login.Method == "token":
		e.ok(stepCleanUp, "", "the token was given to us, and stays")
	default:
		e.ok(stepCleanUp, "", "nothing is left")
	}
}
