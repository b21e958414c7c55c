package main

import (
	"bytes"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
)

// convertOptions are the options that say what is converted. All others are no
// part of a declaration.
func convertOptions() []string { return []string{"config", "from", "log-level", "log-format"} }

func (a *app) convertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "convert --from KIND[:PATH] [flags]",
		Short:   "write our own configuration from any declaration",
		Example: "  secretboot convert --from externalsecret:es.yaml > secretboot.yaml",
		Args:    cobra.NoArgs, DisableFlagsInUseLine: true,
	}
	addNamedFlags(cmd, convertOptions())
	output := cmd.Flags().StringP("output", "o", "yaml", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return a.convert(cmd, *output) }
	return cmd
}

// convert prints what the declarations say as one configuration file. Nothing is
// asked of Vault.
func (a *app) convert(cmd *cobra.Command, output string) error {
	if output != "yaml" {
		return &plan.Problem{Code: plan.CodeUsage, What: "--output", Why: "must be yaml"}
	}
	in := a.input()
	flags, env := &builder{in: in, logLevel: a.level.Level()}, &builder{in: in, logLevel: a.level.Level()}
	var ps plan.Problems
	_, err := fromEnvironment(env)
	ps.Add(err)
	flags.logLevel = env.logLevel
	ps.Add(fromFlags(cmd, flags))
	a.level.Set(flags.logLevel)
	// The folder and the rest that variables name is of the machine, not of the declaration.
	of := &builder{fronts: env.fronts}
	if len(fronts(flags, of)) == 0 {
		ps.Add(&plan.Problem{Code: plan.CodeUsage, What: "convert", Why: "nothing to convert was named", Fix: "give --from KIND[:PATH]"})
	}
	p, err := a.fromFiles(in, flags, of)
	ps.Add(err)
	if err := ps.Err(); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := declare.Write(&text, p); err != nil {
		return err
	}
	_, err = text.WriteTo(a.stdout)
	return written(err)
}
