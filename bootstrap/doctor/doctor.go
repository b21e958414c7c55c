// Package doctor asks every part that a run needs whether it would work, for
// real and in the order of a run, and says what to fix.
//
// No step stops the next: what cannot be tried is skipped, with the reason. The
// doctor delivers nothing and leaves nothing: no file, no lease, no token that it
// got itself. It does not read what might make a credential, and it does not log
// in where that uses something up, unless it is told to.
//
// A finding holds names (of paths, fields, policies, files) and sizes, never a
// value. docs/doctor.md has the steps, and what each asks of Vault.
package doctor

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/bootstrap/vault"
	"github.com/secretboot/secretboot/volume"
)

// Order says what to examine.
type Order struct {
	Plan     plan.Plan
	Declared error // what is wrong with the declaration itself

	NoLogin bool   // ask the server nothing that needs a token
	UseUp   bool   // log in even where that uses something up
	Probe   string // a URL that the tracking credentials of the plan are tried at; "": none
}

// Server is a server as anybody sees it; *vault.Client is one.
type Server interface {
	// Way tells how requests get there.
	Way() (vault.Way, error)
	// Health asks it how it is.
	Health(ctx context.Context) (vault.Health, error)
}

// Examiner is what a session can tell beside what a run needs; *vault.Client
// can. A session without it is a local file that stands in for Vault.
type Examiner interface {
	// UsesUp says what a login would use up, "" for nothing.
	UsesUp() string
	// Whoami asks who the token is.
	Whoami(ctx context.Context) (vault.Identity, error)
	// Locate tells where a read goes.
	Locate(ctx context.Context, r plan.Read) (vault.Place, error)
	// Capabilities asks what the token may do at each path.
	Capabilities(ctx context.Context, paths []string) (map[string][]string, error)
}

// Job carries out a plan without delivering it; *bootstrap.Job is one.
type Job interface {
	Rehearse(ctx context.Context) ([]bootstrap.Made, error)
}

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// World is what the steps are tried against.
type World struct {
	Resolver Resolver
	Server   func() (Server, error)                             // prepares it; sends nothing, needs no login
	Session  func() (bootstrap.Vault, error)                    // prepares the login; sends nothing
	Job      func(plan.Plan, bootstrap.Vault) (Job, error)      // checks a part of the plan and prepares it
	Sink     func() (volume.Options, error)                     // the folder for relative paths; Dir "": none is needed
	Command  func() (detail string, err error)                  // finds the command; nil: there is none
	Variable func(name string, value secret.Value) error        // whether a command can have it
	Lookup   func(string) (string, bool)                        // the environment
	Ask      func(ctx context.Context, r Question) (int, error) // for Probe: the status of the answer
}

// stepTimeout bounds one step on the network.
const stepTimeout = 10 * time.Second

// Examine carries out every step and then ends what it began. When ctx ends the
// steps that are left find little.
func Examine(ctx context.Context, o Order, w World) Report {
	e := &exam{order: o, world: w, told: map[string]bool{}, failed: map[string]error{}, kept: map[string]secret.Value{}}
	e.configuration()
	e.reach(ctx)
	e.login(ctx)
	e.paths(ctx)
	e.render(ctx)
	e.sink()
	e.command()
	e.kernel()
	e.probe(ctx)
	e.cleanUp(ctx)
	return e.report()
}

// exam is one examination under way.
type exam struct {
	order Order
	world World
	found []Finding
	told  map[string]bool // problems by their text: each is told once

	server   Server // nil: none can be asked
	unserved string // why

	session  bootstrap.Vault // nil: we are not logged in
	opened   bootstrap.Vault // what a login was tried with, which may have something to revoke
	examiner Examiner        // nil: a local file
	asNobody string          // why we are not logged in

	read   readFunc                // each path once
	failed map[string]error        // why a read that has a finding of its own gave nothing, by key
	made   uint64                  // bytes of all files
	kept   map[string]secret.Value // what Probe needs, by variable
}

// add enters one finding. What it says may come from a server or a file name.
func (e *exam) add(f Finding) {
	f.Subject, f.Detail, f.Fix = clean(f.Subject), clean(f.Detail), clean(f.Fix)
	e.found = append(e.found, f)
}

func (e *exam) ok(step, subject, detail string) {
	e.add(Finding{Step: step, Subject: subject, Status: OK, Detail: detail})
}

func (e *exam) warn(step, subject, detail, fix string) {
	e.add(Finding{Step: step, Subject: subject, Status: Warn, Detail: detail, Fix: fix})
}

func (e *exam) skip(step, subject, why string) {
	e.add(Finding{Step: step, Subject: subject, Status: Skipped, Detail: why})
}

// fail enters what err holds: one finding for each problem that was not told
// before, or one that points back when all were.
func (e *exam) fail(step, subject string, err error) {
	var ps plan.Problems
	ps.Add(err)
	fresh := 0
	for _, p := range ps {
		if e.told[p.Error()] {
			continue
		}
		e.told[p.Error()] = true
		fresh++
		said := *p
		said.Fix = ""
		e.add(Finding{Step: step, Subject: subject, Status: Fail, Detail: said.Error(), Fix: p.Fix, Code: p.Code})
	}
	if fresh == 0 {
		e.skip(step, subject, "it cannot work: see above")
	}
}

// clean keeps a text to one printable line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// plural counts things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return itoa(n) + " " + many
}
