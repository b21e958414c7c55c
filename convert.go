package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"

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
		Args:    noArgument, DisableFlagsInUseLine: true,
	}
	a.addNamedFlags(cmd, convertOptions())
	output := cmd.Flags().StringP("output", "o", "yaml", "yaml; or patch, what makes a manifest's workload start with us, and configmap, what that mounts")
	image := cmd.Flags().String("image", "", "for -o patch: the `IMAGE` that has secretboot")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case !slices.Contains([]string{"yaml", "patch", "configmap"}, *output):
			return &plan.Problem{Code: plan.CodeUsage, What: "--output", Why: "must be yaml, patch or configmap"}
		case *output == "patch" && *image == "":
			return &plan.Problem{Code: plan.CodeUsage, What: "-o patch", Why: "no image is named for our init container", Fix: "give --image"}
		case *output != "patch" && *image != "":
			return &plan.Problem{Code: plan.CodeUsage, What: "--image", Why: "it goes with -o patch", Fix: "leave it out"}
		}
		return a.convert(cmd, *output, *image)
	}
	return cmd
}

// convert prints what the declarations say as one configuration file, or the patch
// of a manifest's workload, or its ConfigMap. Nothing is asked of Vault.
func (a *app) convert(cmd *cobra.Command, output, image string) error {
	in := a.input()
	flags, env := &builder{in: in, logLevel: a.level.Level()}, &builder{in: in, logLevel: a.level.Level()}
	var ps plan.Problems
	_, err := a.fromEnvironment(env)
	ps.Add(err)
	flags.logLevel = env.logLevel
	ps.Add(a.fromFlags(cmd, flags))
	a.level.Set(flags.logLevel)
	// The folder and the rest that variables name is of the machine, not of the declaration.
	of := &builder{fronts: env.fronts}
	if len(fronts(flags, of)) == 0 {
		ps.Add(&plan.Problem{Code: plan.CodeUsage, What: "convert", Why: "nothing to convert was named", Fix: "give --from KIND[:PATH]"})
	}
	if output != "yaml" && ps.Err() == nil {
		return a.patch(in, fronts(flags, of), output, image)
	}
	p, err := a.fromFiles(in, fronts(flags, of), plan.Plan{})
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

// patch prints the patch of the one workload that was named, or its ConfigMap.
func (a *app) patch(in declare.Input, asked []declare.Front, output, image string) error {
	m, ok := asked[0].(declare.Manifest)
	if !ok || len(asked) > 1 {
		return &plan.Problem{Code: plan.CodeUsage, What: "-o " + output, Why: "it is of one workload", Fix: "give one --from manifest:PATH"}
	}
	var text bytes.Buffer
	var err error
	if output == "configmap" {
		err = m.ConfigMap(&text, in)
	} else {
		var notes declare.PatchNotes
		notes, err = m.Patch(&text, in, image)
		a.patchNotes(notes)
	}
	if err != nil {
		return err
	}
	_, err = text.WriteTo(a.stdout)
	return written(err)
}

// patchNotes tells what is not in a patch.
func (a *app) patchNotes(notes declare.PatchNotes) {
	for _, i := range notes.Ignored {
		a.logger().Info("left as it is", slog.String("what", i.What), slog.String("why", i.Why), slog.String("at", i.Origin.String()))
	}
	if len(notes.ByHand) > 0 {
		a.logger().Warn("stays to be done by hand", slog.String("what", strings.Join(notes.ByHand, "; ")))
	}
}
