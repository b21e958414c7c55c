package doctor

import (
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/vault"
)

// configuration tells everything that is wrong with what was declared and needs
// no network to see. It leaves the server that the next steps ask.
func (e *exam) configuration() {
	p := e.order.Plan
	var ps plan.Problems
	ps.Add(e.order.Declared)
	ps.Add(p.Check())
	ps.Add(vault.CheckServer(p.Vault))
	choice, err := vault.Choose(p.Vault, p.Login)
	ps.Add(err)
	ps.Add(e.prepareServer())
	if err := ps.Err(); err != nil {
		e.fail(stepConfiguration, "", err)
		return
	}
	if declared(p) == 0 {
		e.warn(stepConfiguration, "", "no file and no variable is declared", "give -c FILE, --from KIND, -f PATH=REF, -t SRC:PATH or -e NAME=REF")
		return
	}
	detail := plural(len(p.Files)+len(p.Sets), "file", "files") + ", " + plural(len(p.Env)+len(p.EnvSets), "variable", "variables")
	if choice.Method != "" && !p.Vault.Dev.IsSet {
		detail += "; login " + choice.Method + ": " + choice.Why
	}
	if n := len(p.Ignored); n > 0 {
		detail += "; " + plural(n, "part of the declaration is", "parts of the declaration are") + " not needed, see secretboot plan"
	}
	e.ok(stepConfiguration, "", detail)
}

// declared counts what is to be delivered.
func declared(p plan.Plan) int { return len(p.Files) + len(p.Sets) + len(p.Env) + len(p.EnvSets) }

// prepareServer makes the server ready to be asked, if one is wanted.
func (e *exam) prepareServer() error {
	p := e.order.Plan
	switch {
	case p.Vault.Dev.IsSet:
		e.unserved = "a local file stands in for Vault"
		return nil
	case !p.Vault.Address.IsSet && (e.order.NoLogin || declared(p) == 0):
		e.unserved = "no address is given"
		return nil
	}
	e.unserved = "no usable address"
	server, err := e.world.Server()
	if err == nil {
		e.server = server
	}
	return err
}
