package main

import (
	"errors"
	"log/slog"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/receipt"
)

// init delivers and leaves.
func (a *app) init(cmd *cobra.Command, _ []string) error {
	p, err := a.declared(cmd)
	if err != nil {
		return err
	}
	a.warnMistyped(p)
	var ps plan.Problems
	a.ci, err = a.ciJob(p)
	ps.Add(err)
	ps.Add(a.withoutCommand(&p, "init"))
	if err := ps.Err(); err != nil {
		return err
	}
	held, err := a.bootstrap(cmd.Context(), p, nil, a.ci.tellsFolder())
	if err != nil {
		return err
	}
	for _, v := range held.Env {
		v.Value.Wipe()
	}
	// What tells others of the files comes first: they stay only if it could be said.
	if err = a.pending(); err == nil {
		err = a.ci.publish(held)
	}
	if err != nil {
		err = errors.Join(err, held.Close(cmd.Context()))
	} else {
		err = held.Release(cmd.Context())
	}
	if err != nil {
		a.ci.takeBack()
		return err
	}
	a.shredsLater(p)
	leaks := a.leaked()
	a.receipt.rewrite(receipt.Delivered, a.childCode, leaks) // now with what was revoked
	return nil
}

// withoutCommand takes out of the plan what only a command could have and is meant
// for one, and tells what else init or watch, who is one of them, cannot deliver.
func (a *app) withoutCommand(p *plan.Plan, who string) error {
	var ps plan.Problems
	fix := "deliver it as a file, or use run"
	if p.CI.IsSet {
		fix = "say where it goes with --ci-export, deliver it as a file, or use run"
	}
	var exported []plan.Env
	for _, e := range p.Env {
		switch {
		case e.Origin.Front == (declare.References{}).Name():
			//nolint:sloglint // it is one of two words
			a.logger().Warn(who+" starts no command; this reference is left as it is", slog.String("variable", e.Name))
		case e.Source.IsOpen():
			//nolint:sloglint // as above
			a.logger().Info(who+" starts no command; this variable is for the container to set", slog.String("variable", e.Name))
		case p.CIExport.IsSet:
			exported = append(exported, e)
		default:
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: e.Origin, What: "variable " + e.Name, Why: who + " starts no command that could have it", Fix: fix,
			})
		}
	}
	p.Env = exported
	for _, s := range p.EnvSets {
		if !p.CIExport.IsSet {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: s.Origin, What: s.Title(), Why: who + " starts no command that could have them",
				Fix: "deliver the secret as files, or use run",
			})
		}
	}
	ps.Add(placesWithout(*p, who))
	if len(p.Files)+len(p.Sets)+len(p.Env)+len(p.EnvSets) == 0 {
		ps.Add(&plan.Problem{Code: plan.CodeConfig, What: who, Why: "no file is declared", Fix: "give -c FILE, -f PATH=REF or -t SRC:PATH"})
	}
	return ps.Err()
}

// placesWithout tells which places of files nobody but a command could see.
func placesWithout(p plan.Plan, who string) error {
	var ps plan.Problems
	for _, f := range p.Files {
		if f.Memfd {
			ps.Add(&plan.Problem{
				Code: plan.CodeConfig, Origin: f.Origin, What: "memfd " + strconv.Quote(f.Path),
				Why: who + " starts no command that could inherit it, and it ends with us", Fix: "leave memfd out, or use run",
			})
		}
	}
	if p.Sink.Mount.Or(plan.MountShared) == plan.MountPrivate {
		ps.Add(&plan.Problem{
			Code: plan.CodeConfig, Origin: p.Sink.Mount.Origin, What: "mount: private",
			Why: who + " starts no command that could see it, and the mount ends with us", Fix: "use mount: shared, or run",
		})
	}
	ps.Add(checkExpires(p))
	return ps.Err()
}
